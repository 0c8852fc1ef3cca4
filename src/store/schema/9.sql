-- How long a token that was edited since was meant to live when it was minted: `never`, or as `lifetime` has it.
ALTER TABLE tokens ADD COLUMN minted_for TEXT;

-- What it called itself from where a sign of a leak came last.
ALTER TABLE leaks ADD COLUMN agent TEXT;
-- Whether it is on a member's word alone: who signs what they report is not crowded out by who does not.
ALTER TABLE leaks ADD COLUMN on_word INTEGER NOT NULL DEFAULT 0;
UPDATE leaks SET on_word = 1 WHERE kind = 'report' AND source <> 'github';

-- From where management keys were used.
CREATE TABLE key_networks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    network TEXT NOT NULL,
    address TEXT NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (key, network)
) STRICT;

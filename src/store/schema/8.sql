-- When a leak was last told of: its owner hears of further places of the same credential seldom.
ALTER TABLE leaks ADD COLUMN told_at INTEGER;
-- And whether that was on a member's word alone.
ALTER TABLE leaks ADD COLUMN told_on_word INTEGER;
-- The same of each place: who signs what they report is not crowded out by who does not.
ALTER TABLE leaks ADD COLUMN on_word INTEGER NOT NULL DEFAULT 0;

-- In which order notices go out: the urgent before the rest, and of what is as urgent that which failed already last.
ALTER TABLE outbox ADD COLUMN turn INTEGER GENERATED ALWAYS AS (
    CASE event WHEN 'token.leaked' THEN 0 WHEN 'key.leaked' THEN 0 WHEN 'token.suspected' THEN 2 ELSE 4 END
    + iif(attempts > 0, 1, 0)
) VIRTUAL;
CREATE INDEX outbox_by_turn ON outbox (channel, turn, due_at) WHERE dead_at IS NULL;

-- Counted every few seconds, and listed by their owner.
CREATE INDEX outbox_by_end ON outbox (dead_at);
CREATE INDEX outbox_by_event ON outbox (event, dead_at);
CREATE INDEX leaks_by_kind ON leaks (kind);
CREATE INDEX leaks_by_member ON leaks (member, id);

-- A member's limit looks at that member's groups alone.
CREATE INDEX standing_by_member ON standing (member);
CREATE INDEX standing_by_emptiness ON standing (tokens) WHERE tokens = 0;

-- Whose a notice is: a letter goes to the address that its member has when it is sent.
ALTER TABLE outbox ADD COLUMN member INTEGER;

-- From where a sign of a leak came last.
ALTER TABLE leaks ADD COLUMN client TEXT;

-- Whether a call is remembered for as long as what it was about.
ALTER TABLE repeats ADD COLUMN lasts INTEGER NOT NULL DEFAULT 0;

-- Up to which network owners were told of new ones: not of those that were there before.
INSERT INTO meta (name, value)
SELECT 'networks_seen', CAST(coalesce(max(number), 0) AS TEXT) FROM token_networks;

-- From where management keys were used.
CREATE TABLE key_networks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    network TEXT NOT NULL,
    address TEXT NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (key, network)
) STRICT;

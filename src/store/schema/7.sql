-- What was reported to have leaked, or is used as if it had, each once for a place; a copy of what it was outlives it.
CREATE TABLE leaks (
    id TEXT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    source TEXT NOT NULL,
    place TEXT NOT NULL,
    member INTEGER REFERENCES members (id),
    app TEXT,
    environment TEXT,
    label TEXT NOT NULL,
    hint TEXT NOT NULL,
    done TEXT NOT NULL,
    ends_at INTEGER,
    count INTEGER NOT NULL DEFAULT 1,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    UNIQUE (subject, kind, source, place)
) STRICT;
CREATE INDEX leaks_by_age ON leaks (last_at);

-- What others are still to be told, written with what happened. A row goes when it was delivered; `dead_at` is when it
-- was given up.
CREATE TABLE outbox (
    id TEXT NOT NULL,
    channel TEXT NOT NULL,
    event TEXT NOT NULL,
    subject TEXT NOT NULL,
    recipient TEXT NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data)),
    created_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    dead_at INTEGER,
    PRIMARY KEY (id, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_by_time ON outbox (channel, due_at) WHERE dead_at IS NULL;

-- The last day's notice; `expiry_noted_at` is of the last week's.
ALTER TABLE tokens ADD COLUMN last_day_noted_at INTEGER;
CREATE INDEX tokens_unnoted_last_day ON tokens (expires_at)
    WHERE last_day_noted_at IS NULL AND last_used_at IS NOT NULL;

-- From where tokens were used, so that a first time can be told.
CREATE TABLE token_networks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    network TEXT NOT NULL,
    address TEXT NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (token, network)
) STRICT;

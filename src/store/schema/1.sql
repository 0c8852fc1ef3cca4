-- Times are Unix milliseconds. Of credentials only the SHA-256 is here.

-- What the writer must remember even if every row it came from is deleted.
CREATE TABLE meta (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT;

-- A member added again after a removal is another row: what the earlier one made stays with the earlier one.
CREATE TABLE members (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT,
    created_at INTEGER NOT NULL,
    removed_at INTEGER
) STRICT;
CREATE UNIQUE INDEX members_by_name ON members (name) WHERE removed_at IS NULL;

-- What the store knows of environments; `proxy.toml` knows the rest. `app` is '*' for what holds in every app.
CREATE TABLE environments (
    app TEXT NOT NULL,
    name TEXT NOT NULL,
    opened_at INTEGER,
    PRIMARY KEY (app, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id TEXT PRIMARY KEY NOT NULL,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    hint TEXT NOT NULL,
    label TEXT NOT NULL,
    description TEXT NOT NULL,
    app TEXT NOT NULL,
    environment TEXT NOT NULL,
    deployment TEXT,
    on_publish TEXT NOT NULL,
    member INTEGER REFERENCES members (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    revoked_at INTEGER,
    revoked_by TEXT,
    revoke_reason TEXT
) STRICT;
CREATE INDEX tokens_by_environment ON tokens (app, environment, id);
CREATE INDEX tokens_by_member ON tokens (member, id);
CREATE INDEX tokens_by_expiry ON tokens (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX tokens_by_revocation ON tokens (revoked_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE keys (
    id TEXT PRIMARY KEY NOT NULL,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    hint TEXT NOT NULL,
    label TEXT NOT NULL,
    member INTEGER NOT NULL REFERENCES members (id),
    scopes TEXT NOT NULL,
    app TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE INDEX keys_by_member ON keys (member, id);

-- What changed, for the follower: it reads the changed row itself, or `digest` where the row is gone.
CREATE TABLE feed (
    revision INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    digest BLOB
) STRICT;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL CHECK (json_valid(detail))
) STRICT;
CREATE TRIGGER audit_is_not_updated BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- INSERT OR REPLACE deletes without firing the trigger above.
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

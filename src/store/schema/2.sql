-- Deployments, switches, rules of tokens, rotation, limits, and what makes a call repeatable.

ALTER TABLE members ADD COLUMN removed_by TEXT;
ALTER TABLE members ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;

-- `seq` is the number of the deployment that the environment serves; 0 is `initial`, which nobody published.
-- `switched_on` is NULL until somebody used the switch.
ALTER TABLE environments ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE environments ADD COLUMN switched_on INTEGER CHECK (switched_on IN (0, 1));
ALTER TABLE environments ADD COLUMN switched_at INTEGER;
ALTER TABLE environments ADD COLUMN switched_by TEXT;

-- Numbers have no gaps: what replaced one is the next. `published_at` is NULL where nobody published it.
CREATE TABLE deployments (
    app TEXT NOT NULL,
    environment TEXT NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    published_at INTEGER,
    published_by TEXT,
    released_at INTEGER,
    upstreams TEXT CHECK (upstreams IS NULL OR json_valid(upstreams)),
    archived_at INTEGER,
    archived_by TEXT,
    PRIMARY KEY (app, environment, seq)
) STRICT, WITHOUT ROWID;

-- `deployment_seq` is the environment's number when the token was minted: endings of a whole deployment are derived from
-- it, as those of a member's tokens are from the member's row.
ALTER TABLE tokens ADD COLUMN deployment_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(scopes));
ALTER TABLE tokens ADD COLUMN allowed_addresses TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(allowed_addresses));
ALTER TABLE tokens ADD COLUMN rate_limit TEXT;
ALTER TABLE tokens ADD COLUMN lifetime TEXT;
ALTER TABLE tokens ADD COLUMN counts_from INTEGER;
ALTER TABLE tokens ADD COLUMN predecessor TEXT;
ALTER TABLE tokens ADD COLUMN successor TEXT;
ALTER TABLE tokens ADD COLUMN last_used_from TEXT;
ALTER TABLE tokens ADD COLUMN expiry_noted_at INTEGER;
ALTER TABLE tokens ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
UPDATE tokens SET lifetime = min(max((expires_at - created_at) / 1000, 1), 4294967295) || 's' WHERE expires_at IS NOT NULL;
-- Those in use of which it was not noted yet that they end.
CREATE INDEX tokens_unnoted ON tokens (expires_at) WHERE expiry_noted_at IS NULL AND last_used_at IS NOT NULL;
CREATE INDEX tokens_by_deployment ON tokens (app, environment, deployment_seq) WHERE on_publish <> 'keep';

ALTER TABLE keys ADD COLUMN revoked_by TEXT;
ALTER TABLE keys ADD COLUMN last_used_at INTEGER;
ALTER TABLE keys ADD COLUMN last_used_from TEXT;

-- Whose act it was, also where another member has the same name by now.
ALTER TABLE audit ADD COLUMN member INTEGER REFERENCES members (id);
CREATE INDEX audit_by_member ON audit (member, seq) WHERE member IS NOT NULL;

-- What a call with an `Idempotency-Key` made. `caller` is a management key's id, or `operator`; of the name that the
-- caller chose, and of what was asked for, only the SHA-256 is here.
CREATE TABLE repeats (
    caller TEXT NOT NULL,
    key BLOB NOT NULL CHECK (length(key) = 32),
    request BLOB NOT NULL CHECK (length(request) = 32),
    subject TEXT NOT NULL,
    ended INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX repeats_by_age ON repeats (at);

-- What was refused because its time was over, and when that was first seen: a clock that is set back revives none of it.
CREATE TABLE sightings (
    subject TEXT PRIMARY KEY NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Upstream secrets. `sealed` is what XChaCha20-Poly1305 made of the value, under the key that `sealing_key` in `meta` names;
-- name, kind, places and grant are sealed in with it.

CREATE TABLE secrets (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    description TEXT NOT NULL,
    apps TEXT NOT NULL CHECK (json_valid(apps)),
    products TEXT NOT NULL CHECK (json_valid(products)),
    environments TEXT NOT NULL CHECK (json_valid(environments)),
    grant_terms TEXT CHECK (grant_terms IS NULL OR json_valid(grant_terms)),
    sealed_with TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    set_at INTEGER NOT NULL,
    set_by TEXT NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    revoked_by TEXT,
    revision INTEGER NOT NULL DEFAULT 1
) STRICT;

-- Links that sign a browser in. Each has a token of its own, whose value nobody was shown; it ends with that.
CREATE TABLE shares (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    token TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    landing TEXT NOT NULL,
    uses INTEGER NOT NULL,
    used INTEGER NOT NULL DEFAULT 0 CHECK (used BETWEEN 0 AND uses)
) STRICT, WITHOUT ROWID;
CREATE INDEX shares_by_token ON shares (token);

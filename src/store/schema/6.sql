-- Rows of tokens are in the order of their ids, as both only grow: lists go by the row, which needs no index to find it.
DROP INDEX tokens_by_environment;
CREATE INDEX tokens_by_environment ON tokens (app, environment);
DROP INDEX tokens_by_member;
CREATE INDEX tokens_by_member ON tokens (member);

-- How many tokens stand, of each group that ends together: neither revoked by themselves nor expired by the time in
-- `standing_at`. Triggers keep it, so that a limit costs no count of all tokens. `member` is 0 for the operator.
ALTER TABLE tokens ADD COLUMN stands_until INTEGER
    GENERATED ALWAYS AS (iif(revoked_at IS NULL, coalesce(expires_at, 9223372036854775807), 0)) VIRTUAL;
CREATE TABLE standing_at (at INTEGER NOT NULL) STRICT;
INSERT INTO standing_at (at) VALUES (0);
CREATE TABLE standing (
    app TEXT NOT NULL,
    environment TEXT NOT NULL,
    deployment_seq INTEGER NOT NULL,
    on_publish TEXT NOT NULL,
    member INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    PRIMARY KEY (app, environment, deployment_seq, on_publish, member)
) STRICT, WITHOUT ROWID;
INSERT INTO standing
    SELECT app, environment, deployment_seq, on_publish, coalesce(member, 0), count(*) FROM tokens
    WHERE stands_until > 0 GROUP BY 1, 2, 3, 4, 5;
CREATE TRIGGER tokens_stand AFTER INSERT ON tokens
WHEN NEW.stands_until > (SELECT at FROM standing_at)
BEGIN
    INSERT INTO standing
        VALUES (NEW.app, NEW.environment, NEW.deployment_seq, NEW.on_publish, coalesce(NEW.member, 0), 1)
        ON CONFLICT DO UPDATE SET tokens = tokens + 1;
END;
CREATE TRIGGER tokens_stand_otherwise AFTER UPDATE OF expires_at, revoked_at ON tokens
BEGIN
    INSERT INTO standing
        SELECT NEW.app, NEW.environment, NEW.deployment_seq, NEW.on_publish, coalesce(NEW.member, 0),
            (NEW.stands_until > at) - (OLD.stands_until > at) FROM standing_at WHERE true
        ON CONFLICT DO UPDATE SET tokens = tokens + excluded.tokens;
END;
CREATE TRIGGER tokens_stand_no_more AFTER DELETE ON tokens
WHEN OLD.stands_until > (SELECT at FROM standing_at)
BEGIN
    UPDATE standing SET tokens = tokens - 1
        WHERE app = OLD.app AND environment = OLD.environment AND deployment_seq = OLD.deployment_seq
        AND on_publish = OLD.on_publish AND member = coalesce(OLD.member, 0);
END;
-- Those that are in the place of another for a while.
CREATE INDEX tokens_in_place ON tokens (counts_from) WHERE counts_from IS NOT NULL;

-- Rows of tokens are in the order of their ids, as both only grow: lists go by the row, which needs no index to find it.
DROP INDEX tokens_by_environment;
CREATE INDEX tokens_by_environment ON tokens (app, environment);
DROP INDEX tokens_by_member;
CREATE INDEX tokens_by_member ON tokens (member);

-- How long a token that was edited since was meant to live when it was minted: `never`, or as `lifetime` has it.
ALTER TABLE tokens ADD COLUMN minted_for TEXT;

-- What it called itself from where a sign of a leak came last.
ALTER TABLE leaks ADD COLUMN agent TEXT;

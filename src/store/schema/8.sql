-- When a leak was last told of: its owner hears of further places of the same credential seldom.
ALTER TABLE leaks ADD COLUMN told_at INTEGER;

-- Version 5: repositories read by git's own protocol.

-- 1: every blob of commit_id's whole history was asked for, not only its tree's.
ALTER TABLE origin ADD COLUMN history INTEGER NOT NULL DEFAULT 0 CHECK (history IN (0, 1));

-- Version 11: by which reader an analysis was read from its report.

-- The version of the report reader (extract/report/read.h) that made the processes and counts. NULL: an older malseq, or not from a report.
ALTER TABLE analysis ADD COLUMN reader INTEGER;
-- 1: the grammar of the whole report was checked (import --strict).
ALTER TABLE analysis ADD COLUMN strict INTEGER NOT NULL DEFAULT 0 CHECK (strict IN (0, 1));

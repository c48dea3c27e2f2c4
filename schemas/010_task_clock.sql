-- Version 10: deadlines of tasks at a sandbox that a change of the wall clock does not move.

-- The monotonic clock at deadline_ms, and the boot of the machine it counts from (boot_id of the kernel). NULL: the wall clock is all
-- there is.
ALTER TABLE analysis ADD COLUMN deadline_mono_ms INTEGER;
ALTER TABLE analysis ADD COLUMN boot TEXT;

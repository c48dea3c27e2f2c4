-- Version 13: analyses whose calls are opcodes.

-- 1: its calls are the opcodes of a disassembly, not what a run of the program did: no dataset has both.
ALTER TABLE analysis ADD COLUMN opcodes INTEGER NOT NULL DEFAULT 0 CHECK (opcodes IN (0, 1));
UPDATE analysis SET opcodes = 1 WHERE sandbox = 'dataset:big-2015';

-- Version 8: which limits ended the opening of a blob.

-- JSON object: the options of collect whose limits ended it (max-members, max-unpacked, max-member, max-depth, max-time, max-file), each
-- with the value it had. NULL: none of them did, or a malseq that did not write them down. A blob is opened again when one is raised.
ALTER TABLE blob ADD COLUMN limits TEXT;

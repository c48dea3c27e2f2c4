-- Version 12: the manifest of a split (train/manifest.h), by its digest.

-- SHA-256 of models/NAME/split.jsonl of each model that was judged on it. NULL: an older malseq. Of a split that was repeated with
-- other seeds, the first has the name itself, the others NAME#2, NAME#3, …
ALTER TABLE split ADD COLUMN digest BLOB CHECK (length(digest) = 32);

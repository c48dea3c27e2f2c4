-- Version 9: digests that lie beside a file.

-- What files of digests beside the blob (x.zip.md5, x.sha256) say of it when it was opened: its own digest (archive), that of this
-- program (sample), or of neither, which is worth a look; NULL: there are none, or they speak of other files.
ALTER TABLE sighting ADD COLUMN side_file TEXT CHECK (side_file IN ('archive', 'sample', 'neither'));

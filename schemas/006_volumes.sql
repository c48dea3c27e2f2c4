-- Version 6: archives that lie in several files, and archives inside programs.

-- New words of blob.outcome. incomplete: a part of a multi-volume set is missing. apart: files named like a set that are none, each opened by itself.
-- sfx: 1 when programs in it were searched for archives.
CREATE TABLE blob_next (
    git_id           BLOB PRIMARY KEY CHECK (length(git_id) = 20),
    size             INTEGER NOT NULL,
    outcome          TEXT NOT NULL CHECK (outcome IN ('ok', 'no_pe', 'need_password', 'corrupt', 'unsupported', 'limit', 'crash', 'timeout', 'too_big', 'lfs_pointer', 'mismatch', 'gone', 'error', 'incomplete', 'apart')),
    reason           TEXT,
    unpacker_version INTEGER NOT NULL,
    password_set     BLOB NOT NULL,               -- digest of the candidates tried
    samples          INTEGER NOT NULL DEFAULT 0,
    first_ms         INTEGER NOT NULL,
    last_ms          INTEGER NOT NULL,
    run              INTEGER REFERENCES run (id),
    sfx              INTEGER NOT NULL DEFAULT 0 CHECK (sfx IN (0, 1))
) STRICT, WITHOUT ROWID;
INSERT INTO blob_next (git_id, size, outcome, reason, unpacker_version, password_set, samples, first_ms, last_ms, run)
    SELECT git_id, size, outcome, reason, unpacker_version, password_set, samples, first_ms, last_ms, run FROM blob;
CREATE TABLE blob_fault_next (
    git_id BLOB NOT NULL REFERENCES blob_next (git_id) ON DELETE CASCADE,
    chain  BLOB NOT NULL,
    fault  TEXT NOT NULL,
    detail TEXT,
    PRIMARY KEY (git_id, chain, fault)
) STRICT, WITHOUT ROWID;
INSERT INTO blob_fault_next SELECT git_id, chain, fault, detail FROM blob_fault;
DROP TABLE blob_fault;
DROP TABLE blob;
ALTER TABLE blob_next RENAME TO blob;
ALTER TABLE blob_fault_next RENAME TO blob_fault;

-- The parts of a joined set, in their order. The set's own id is a digest of theirs and stands in blob, in sightings and in tree_entry.set_id.
CREATE TABLE volume (
    set_id BLOB NOT NULL REFERENCES blob (git_id) ON DELETE CASCADE,
    number INTEGER NOT NULL,                      -- from 0
    git_id BLOB NOT NULL CHECK (length(git_id) = 20),
    PRIMARY KEY (set_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX volume_part ON volume (git_id);

-- At the path that names a set (its first part; the .zip behind .z01, .z02 …): the set.
ALTER TABLE tree_entry ADD COLUMN set_id BLOB CHECK (length(set_id) = 20);

-- Version 7: the history of repositories, taken up where the last run left it.

-- Commits of branches and tags whose whole history was gone through: what is not behind them is new.
CREATE TABLE origin_tip (
    origin    INTEGER NOT NULL REFERENCES origin (id) ON DELETE CASCADE,
    commit_id BLOB NOT NULL,
    PRIMARY KEY (origin, commit_id)
) STRICT, WITHOUT ROWID;

-- Blobs of commits that are no longer in the tree, as long as there may be more to be had of them (another password, a newer unpacker, a
-- server that did not send them): they are gone through again with the tree, without the commits being asked for again.
CREATE TABLE past_entry (
    origin    INTEGER NOT NULL REFERENCES origin (id) ON DELETE CASCADE,
    git_id    BLOB NOT NULL CHECK (length(git_id) = 20),
    path      BLOB NOT NULL,
    commit_id BLOB NOT NULL,                      -- one that held it there
    PRIMARY KEY (origin, git_id)
) STRICT, WITHOUT ROWID;

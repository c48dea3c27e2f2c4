-- The corpus, version 1. Digests are BLOBs; times are UTC milliseconds since 1970 unless the name says otherwise; strings from
-- outside (paths, process names, passwords) are BLOBs of any bytes; words from our own lists are TEXT with a CHECK.

-- One row a run of a tool: provenance.
CREATE TABLE run (
    id            INTEGER PRIMARY KEY,
    tool          TEXT NOT NULL,
    version       TEXT NOT NULL,
    argv          TEXT NOT NULL,              -- JSON array, secrets replaced
    config_digest BLOB,
    input_digest  BLOB,
    seed          INTEGER,
    counts        TEXT,                       -- JSON object, set at the end
    started_ms    INTEGER NOT NULL,
    ended_ms      INTEGER,
    exit_code     INTEGER
) STRICT;

-- A program, or a row of a dataset that stands for one. Hashes are known or NULL. sha1 and md5 are not unique: collisions are made
-- on purpose by others, and must not keep a sample out.
CREATE TABLE sample (
    id       INTEGER PRIMARY KEY,
    sha256   BLOB UNIQUE CHECK (length(sha256) = 32),
    sha1     BLOB CHECK (length(sha1) = 20),
    md5      BLOB CHECK (length(md5) = 16),
    git_blob BLOB CHECK (length(git_blob) = 20),  -- id of the bytes themselves as a git blob
    size     INTEGER,
    vaulted  INTEGER NOT NULL DEFAULT 0 CHECK (vaulted IN (0, 1)),
    private  INTEGER NOT NULL DEFAULT 0 CHECK (private IN (0, 1)),
    kind     TEXT,                                -- exe dll driver efi dotnet resource; NULL when no file was seen
    machine  INTEGER,                             -- COFF Machine
    flags    TEXT,                                -- words separated by blanks: truncated overlay disarmed signed …
    features TEXT,                                -- JSON object of static PE features
    run      INTEGER REFERENCES run (id)
) STRICT;
CREATE INDEX sample_sha1 ON sample (sha1) WHERE sha1 IS NOT NULL;
CREATE INDEX sample_md5 ON sample (md5) WHERE md5 IS NOT NULL;

-- Other names of a sample: a dataset's row number, a sandbox's file name. Never proof of identity.
CREATE TABLE alias (
    source      TEXT NOT NULL,
    external_id BLOB NOT NULL,
    sample      INTEGER NOT NULL REFERENCES sample (id) ON DELETE CASCADE,
    PRIMARY KEY (source, external_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX alias_sample ON alias (sample);

-- Where samples come from.
CREATE TABLE origin (
    id         INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('github', 'folder', 'list', 'dataset', 'reports')),
    name       TEXT NOT NULL,                     -- owner/repo, absolute folder, dataset name
    ref        TEXT NOT NULL DEFAULT '',          -- branch, tag or commit asked for; '' = HEAD
    url        TEXT,
    remote_id  INTEGER,                           -- the host's own id of the repository
    commit_id  BLOB,                              -- last commit whose tree was ingested whole
    licence    TEXT,
    claim      TEXT NOT NULL DEFAULT 'unknown' CHECK (claim IN ('malware', 'benign', 'unknown')),
    private    INTEGER NOT NULL DEFAULT 0 CHECK (private IN (0, 1)),
    state      TEXT NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'ok', 'partial', 'gone', 'legal', 'blocked', 'limited', 'empty', 'replaced', 'error')),
    reason     TEXT,
    checked_ms INTEGER,
    UNIQUE (kind, name, ref)
) STRICT;

-- A sample seen at a place. chain: names inside the blob joined by '!', empty for a bare file.
CREATE TABLE sighting (
    id        INTEGER PRIMARY KEY,
    sample    INTEGER NOT NULL REFERENCES sample (id) ON DELETE CASCADE,
    origin    INTEGER NOT NULL REFERENCES origin (id) ON DELETE CASCADE,
    git_blob  BLOB NOT NULL,                      -- of the top-level blob
    path      BLOB NOT NULL,
    chain     BLOB NOT NULL,
    commit_id BLOB,
    password  BLOB,                               -- the one that opened it; NULL = none needed
    claim     TEXT NOT NULL DEFAULT 'unknown' CHECK (claim IN ('malware', 'benign', 'unknown')),
    private   INTEGER NOT NULL DEFAULT 0 CHECK (private IN (0, 1)),
    seen_ms   INTEGER NOT NULL,
    gone_ms   INTEGER,
    run       INTEGER REFERENCES run (id),
    UNIQUE (sample, origin, path, chain)
) STRICT;
CREATE INDEX sighting_origin ON sighting (origin);
CREATE INDEX sighting_blob ON sighting (git_blob);

-- A top-level blob (file of a repository or folder) and what became of it: nothing is opened twice for nothing.
CREATE TABLE blob (
    git_id           BLOB PRIMARY KEY CHECK (length(git_id) = 20),
    size             INTEGER NOT NULL,
    outcome          TEXT NOT NULL CHECK (outcome IN ('ok', 'no_pe', 'need_password', 'corrupt', 'unsupported', 'limit', 'crash', 'timeout', 'too_big', 'lfs_pointer', 'mismatch', 'gone', 'error')),
    reason           TEXT,
    unpacker_version INTEGER NOT NULL,
    password_set     BLOB NOT NULL,               -- digest of the candidates tried
    samples          INTEGER NOT NULL DEFAULT 0,
    first_ms         INTEGER NOT NULL,
    last_ms          INTEGER NOT NULL,
    run              INTEGER REFERENCES run (id)
) STRICT, WITHOUT ROWID;

-- Parts of a blob that could not be read, by chain.
CREATE TABLE blob_fault (
    git_id BLOB NOT NULL REFERENCES blob (git_id) ON DELETE CASCADE,
    chain  BLOB NOT NULL,
    fault  TEXT NOT NULL,
    detail TEXT,
    PRIMARY KEY (git_id, chain, fault)
) STRICT, WITHOUT ROWID;

-- Which blob lies where in the last ingested tree of an origin: the next tree is compared with this.
CREATE TABLE tree_entry (
    origin INTEGER NOT NULL REFERENCES origin (id) ON DELETE CASCADE,
    path   BLOB NOT NULL,
    git_id BLOB NOT NULL,
    size   INTEGER,
    PRIMARY KEY (origin, path)
) STRICT, WITHOUT ROWID;

-- Passwords that opened something of an origin; tried first there.
CREATE TABLE origin_password (
    origin   INTEGER NOT NULL REFERENCES origin (id) ON DELETE CASCADE,
    password BLOB NOT NULL,
    uses     INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (origin, password)
) STRICT, WITHOUT ROWID;

-- What was removed by `forget` and must not come back.
CREATE TABLE tombstone (
    kind     TEXT NOT NULL CHECK (kind IN ('sample', 'origin')),
    key      BLOB NOT NULL,                       -- sha256 of the sample, or "KIND:NAME" of the origin
    made_ms  INTEGER NOT NULL,
    run      INTEGER REFERENCES run (id),
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

-- One detonation, imported report or dataset row. States until `reported` are the life of a task; the rest are ends.
CREATE TABLE analysis (
    id              INTEGER PRIMARY KEY,
    sample          INTEGER REFERENCES sample (id) ON DELETE CASCADE,
    origin          INTEGER REFERENCES origin (id),
    sandbox         TEXT NOT NULL,                -- cuckoo2 cape cuckoo1 dataset:NAME …
    sandbox_version TEXT,
    server          TEXT,                         -- base URL; NULL for imports
    task_id         TEXT,
    settings        TEXT,                         -- canonical text of the submission's settings
    settings_digest BLOB,
    state           TEXT NOT NULL CHECK (state IN ('queued', 'submitting', 'pending', 'running', 'completed', 'reported',
                        'ok', 'too_few_calls', 'no_calls', 'no_behavior', 'report_invalid', 'report_missing', 'failed', 'lost', 'refused')),
    reason          TEXT,
    attempts        INTEGER NOT NULL DEFAULT 0,
    submitted_ms    INTEGER,
    deadline_ms     INTEGER,
    updated_ms      INTEGER NOT NULL,
    package         TEXT,
    report_sha256   BLOB CHECK (length(report_sha256) = 32),  -- of the plain report, its name in the vault
    report_bytes    INTEGER,
    processes       INTEGER NOT NULL DEFAULT 0,
    calls           INTEGER NOT NULL DEFAULT 0,   -- entries, pseudo-calls included
    calls_expanded  INTEGER NOT NULL DEFAULT 0,   -- sum of 1 + repeated
    run             INTEGER REFERENCES run (id)
) STRICT;
CREATE UNIQUE INDEX analysis_report ON analysis (report_sha256) WHERE report_sha256 IS NOT NULL;
CREATE UNIQUE INDEX analysis_submission ON analysis (sample, settings_digest) WHERE settings_digest IS NOT NULL;
CREATE INDEX analysis_sample ON analysis (sample);
CREATE INDEX analysis_state ON analysis (state);

-- One process of an analysis; trace: store/trace/encode.h, indexes into the dictionary are api ids.
CREATE TABLE process (
    id             INTEGER PRIMARY KEY,
    analysis       INTEGER NOT NULL REFERENCES analysis (id) ON DELETE CASCADE,
    ord            INTEGER NOT NULL,              -- position in the report, from 0
    pid            INTEGER,
    parent_pid     INTEGER,
    name           BLOB,
    first_seen_us  INTEGER,                       -- the source's clock; NULL = unknown
    tracked        INTEGER NOT NULL DEFAULT 1 CHECK (tracked IN (0, 1)),
    calls          INTEGER NOT NULL,
    calls_expanded INTEGER NOT NULL,
    trace          BLOB NOT NULL,
    UNIQUE (analysis, ord)
) STRICT;

-- API, system-call and opcode names; text is printable (anything else was escaped).
CREATE TABLE api (
    id       INTEGER PRIMARY KEY,
    space    INTEGER NOT NULL CHECK (space IN (0, 1, 2)),  -- 0 api, 1 syscall, 2 opcode
    name     TEXT NOT NULL,
    category TEXT,
    UNIQUE (space, name)
) STRICT;

-- Answers of VirusTotal as they came. Append-only.
CREATE TABLE scan (
    id                  INTEGER PRIMARY KEY,
    sample              INTEGER NOT NULL REFERENCES sample (id) ON DELETE CASCADE,
    source              TEXT NOT NULL,            -- virustotal
    asked               TEXT NOT NULL,            -- the hash that was asked
    fetched_ms          INTEGER NOT NULL,
    last_analysis_ms    INTEGER,
    first_submission_ms INTEGER,
    body_sha256         BLOB NOT NULL,
    body                BLOB NOT NULL,            -- zstd
    run                 INTEGER REFERENCES run (id)
) STRICT;
CREATE INDEX scan_sample ON scan (sample, fetched_ms);

-- Each hash asked or to be asked, in exactly one state.
CREATE TABLE lookup (
    sample    INTEGER PRIMARY KEY REFERENCES sample (id) ON DELETE CASCADE,
    state     TEXT NOT NULL CHECK (state IN ('pending', 'labelled', 'not_found', 'invalid', 'error')),
    reason    TEXT,
    tries     INTEGER NOT NULL DEFAULT 0,
    asked_ms  INTEGER,
    due_ms    INTEGER NOT NULL DEFAULT 0          -- next time it may be asked
) STRICT;
CREATE INDEX lookup_due ON lookup (state, due_ms);

-- What a policy says of a sample. A new label for the same sample and policy supersedes the old one and keeps it.
CREATE TABLE label (
    id            INTEGER PRIMARY KEY,
    sample        INTEGER NOT NULL REFERENCES sample (id) ON DELETE CASCADE,
    policy        TEXT NOT NULL,                  -- ember2024, dataset:mal-api-2019, …
    verdict       TEXT NOT NULL CHECK (verdict IN ('malicious', 'benign', 'grayware', 'uncertain', 'immature', 'not_found')),
    class         TEXT,                           -- Adware Backdoor …; NULL = none
    family        TEXT,
    votes         TEXT,                           -- JSON object class -> groups
    margin        INTEGER,
    positives     INTEGER,
    responding    INTEGER,
    groups        INTEGER,                        -- correlated engine groups that say malicious
    vt_category   TEXT,                           -- VirusTotal's own, beside ours
    as_of_ms      INTEGER NOT NULL,               -- when what it rests on was known
    scan          INTEGER REFERENCES scan (id),
    made_ms       INTEGER NOT NULL,
    current       INTEGER NOT NULL DEFAULT 1 CHECK (current IN (0, 1)),
    run           INTEGER REFERENCES run (id)
) STRICT;
CREATE UNIQUE INDEX label_current ON label (sample, policy) WHERE current = 1;
CREATE INDEX label_policy ON label (policy, current);

-- The quota ledger: a row is committed before the request's bytes leave.
CREATE TABLE request (
    id         INTEGER PRIMARY KEY,
    key_print  TEXT NOT NULL,                     -- first 8 hex digits of SHA-256 of the key
    endpoint   TEXT NOT NULL,
    subject    TEXT,                              -- the hash
    sent_ms    INTEGER NOT NULL,
    settled_ms INTEGER,
    status     INTEGER,                           -- HTTP status; NULL = never settled
    error_code TEXT,
    counted    INTEGER NOT NULL DEFAULT 1 CHECK (counted IN (0, 1))
) STRICT;
CREATE INDEX request_sent ON request (key_print, sent_ms);

-- What the service last said of an account's limits.
CREATE TABLE quota (
    key_print TEXT NOT NULL,
    window    TEXT NOT NULL CHECK (window IN ('minute', 'hour', 'day', 'month')),
    allowed   INTEGER NOT NULL,
    used      INTEGER NOT NULL,
    read_ms   INTEGER NOT NULL,
    PRIMARY KEY (key_print, window)
) STRICT, WITHOUT ROWID;

-- A dataset made for training: which traces, how normalised, labelled by what.
CREATE TABLE dataset (
    id            INTEGER PRIMARY KEY,
    digest        BLOB NOT NULL UNIQUE,
    target        TEXT NOT NULL,                  -- malware, class, class=NAME
    policy        TEXT NOT NULL,
    normalisation TEXT NOT NULL,                  -- canonical text with its version
    samples       INTEGER NOT NULL,
    vocabulary    INTEGER NOT NULL,
    made_ms       INTEGER NOT NULL,
    run           INTEGER REFERENCES run (id)
) STRICT;

CREATE TABLE split (
    dataset  INTEGER NOT NULL REFERENCES dataset (id) ON DELETE CASCADE,
    name     TEXT NOT NULL,                       -- "holdout-15-seed1", "fold5-seed1", …
    analysis INTEGER NOT NULL REFERENCES analysis (id) ON DELETE CASCADE,
    part     INTEGER NOT NULL,                    -- 0 train, 1 test; or the fold
    grp      INTEGER NOT NULL,                    -- rows of one group share a part
    PRIMARY KEY (dataset, name, analysis)
) STRICT, WITHOUT ROWID;

CREATE TABLE model (
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    dataset  INTEGER REFERENCES dataset (id),
    split    TEXT,
    digest   BLOB NOT NULL,                       -- SHA-256 of the model file
    path     TEXT NOT NULL,                       -- inside the corpus
    metrics  TEXT NOT NULL,                       -- JSON object
    made_ms  INTEGER NOT NULL,
    run      INTEGER REFERENCES run (id)
) STRICT;

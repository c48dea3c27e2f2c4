-- Version 2: what labels rest on, reports of other formats, and the planning of look-ups.

-- A policy as it was when labels were made under it: NAME may mean something else tomorrow, its digest may not.
CREATE TABLE policy (
    digest   BLOB PRIMARY KEY CHECK (length(digest) = 32),  -- SHA-256 of text
    name     TEXT NOT NULL,
    text     TEXT NOT NULL,                                  -- the policy, in the canonical form of label/policy
    first_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE label ADD COLUMN policy_digest BLOB REFERENCES policy (digest);
ALTER TABLE label ADD COLUMN taxonomy BLOB;            -- digest of the word tables used, AVClass's data files included
ALTER TABLE label ADD COLUMN vt_class TEXT;            -- the class vt_category stands for; NULL = none of ours
ALTER TABLE label ADD COLUMN family_votes INTEGER;
ALTER TABLE label ADD COLUMN family_verified INTEGER CHECK (family_verified IN (0, 1));  -- 1: in AVClass's taxonomy; NULL: no family, or no taxonomy at hand
ALTER TABLE label ADD COLUMN contested TEXT;           -- what the newest scan says, until a second one agrees; NULL = it says the same

-- Of what form a stored body is; `source` says who gave it: virustotal (a look-up), import.
ALTER TABLE scan ADD COLUMN format TEXT NOT NULL DEFAULT 'vt3' CHECK (format IN ('vt3', 'vt2', 'opswat', 'simple'));
CREATE INDEX scan_body ON scan (body_sha256);

-- How many answers in a row brought nothing new, and when a new analysis was last asked for.
ALTER TABLE lookup ADD COLUMN unchanged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lookup ADD COLUMN rescan_ms INTEGER;

-- What was asked about one hash: an upload that a crash cut short must not be repeated blindly.
CREATE INDEX request_subject ON request (subject, endpoint);

-- Merging and forgetting samples, and the history of labels, go by sample.
CREATE INDEX label_sample ON label (sample, policy);

-- Where the verdict on a sample turned, by its scans: written whenever the label is derived, from all scans in the order of their
-- dates, so that the order in which they came to be known does not matter. What was never scanned has no row here.
CREATE TABLE label_flip (
    sample   INTEGER NOT NULL REFERENCES sample (id) ON DELETE CASCADE,
    policy   TEXT NOT NULL,
    seq      INTEGER NOT NULL,                             -- from 1, in order of time
    before   TEXT NOT NULL,
    after    TEXT NOT NULL,
    class    TEXT,                                         -- after it
    as_of_ms INTEGER NOT NULL,                             -- the date of the scan that turned it
    scan     INTEGER NOT NULL REFERENCES scan (id),
    PRIMARY KEY (sample, policy, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX label_flip_scan ON label_flip (scan);

-- Each change of a label in this corpus, whatever changed it: a newer scan, or a second one that agrees (scan), other rules (policy,
-- taxonomy), or an older scan that came to be known (history: the engines changed nothing then). Depends on the order of imports.
CREATE VIEW label_change AS
SELECT sample, policy, before, verdict AS after, class, as_of_ms, made_ms, scan, run,
    CASE WHEN policy_digest IS NOT old_policy THEN 'policy' WHEN taxonomy IS NOT old_taxonomy THEN 'taxonomy'
        WHEN as_of_ms < old_as_of THEN 'history' ELSE 'scan' END AS cause
FROM (
    SELECT *, lag(verdict) OVER w AS before, lag(policy_digest) OVER w AS old_policy, lag(taxonomy) OVER w AS old_taxonomy,
        lag(as_of_ms) OVER w AS old_as_of
    FROM label WINDOW w AS (PARTITION BY sample, policy ORDER BY id))
WHERE before IS NOT NULL AND before <> verdict;

-- Our class beside that of VirusTotal's own category; agrees is NULL where either is missing. The authors of Mal-API-2019 say Worms.
CREATE VIEW label_agreement AS
SELECT sample, policy, class, vt_category, vt_class, CASE class WHEN 'Worms' THEN 'Worm' ELSE class END = vt_class AS agrees
FROM label WHERE current = 1;

-- Counting a month's requests before each one must not read their rows.
DROP INDEX request_sent;
CREATE INDEX request_sent ON request (key_print, sent_ms) WHERE counted = 1;

-- Version 14: counts that are kept up by triggers, so that malseq status reads a few rows however large the corpus is.

-- How many rows say what: what 'blob': name = outcome; 'lookup': name = state; 'analysis': name = sandbox, detail = state;
-- 'label' (current ones): name = policy, detail = verdict, class = its class or ''.
CREATE TABLE tally (
    what   TEXT NOT NULL CHECK (what IN ('blob', 'lookup', 'label', 'analysis')),
    name   TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT '',
    class  TEXT NOT NULL DEFAULT '',
    n      INTEGER NOT NULL,
    PRIMARY KEY (what, name, detail, class)
) STRICT, WITHOUT ROWID;

-- One row: sums over whole tables.
CREATE TABLE total (
    id             INTEGER PRIMARY KEY CHECK (id = 1),
    samples        INTEGER NOT NULL DEFAULT 0,
    vaulted        INTEGER NOT NULL DEFAULT 0,
    private        INTEGER NOT NULL DEFAULT 0,
    vaulted_bytes  INTEGER NOT NULL DEFAULT 0,    -- of the programs themselves: the vault compresses them
    sightings      INTEGER NOT NULL DEFAULT 0,
    sightings_gone INTEGER NOT NULL DEFAULT 0,
    reports        INTEGER NOT NULL DEFAULT 0,    -- analyses that name one
    report_bytes   INTEGER NOT NULL DEFAULT 0,    -- of the plain reports
    processes      INTEGER NOT NULL DEFAULT 0,
    calls          INTEGER NOT NULL DEFAULT 0,
    calls_expanded INTEGER NOT NULL DEFAULT 0,
    detonated      INTEGER NOT NULL DEFAULT 0,    -- samples that a sandbox ran, here or where a data set or report came from
    traced         INTEGER NOT NULL DEFAULT 0     -- samples with an analysis of a run that is ok
) STRICT;

-- Analyses that count for total.detonated and total.traced; opcodes do not, for nothing ran.
CREATE VIEW analysis_ran AS
SELECT id, sample, state = 'ok' AS traced FROM analysis
WHERE sample IS NOT NULL AND opcodes = 0
    AND state IN ('completed', 'reported', 'ok', 'too_few_calls', 'no_calls', 'no_behavior', 'report_invalid', 'report_missing');

INSERT INTO tally SELECT 'blob', outcome, '', '', count(*) FROM blob GROUP BY outcome;
INSERT INTO tally SELECT 'lookup', state, '', '', count(*) FROM lookup GROUP BY state;
INSERT INTO tally SELECT 'label', policy, verdict, coalesce(class, ''), count(*) FROM label WHERE current = 1 GROUP BY policy, verdict, coalesce(class, '');
INSERT INTO tally SELECT 'analysis', sandbox, state, '', count(*) FROM analysis GROUP BY sandbox, state;
INSERT INTO total SELECT 1, s.n, s.vaulted, s.private, s.bytes, g.n, g.gone, a.reports, a.bytes, a.processes, a.calls, a.expanded,
    (SELECT count(DISTINCT sample) FROM analysis_ran), (SELECT count(DISTINCT sample) FROM analysis_ran WHERE traced)
FROM (SELECT count(*) AS n, coalesce(sum(vaulted), 0) AS vaulted, coalesce(sum(private), 0) AS private,
        coalesce(sum(vaulted * coalesce(size, 0)), 0) AS bytes FROM sample) s,
    (SELECT count(*) AS n, count(gone_ms) AS gone FROM sighting) g,
    (SELECT count(report_sha256) AS reports, coalesce(sum(CASE WHEN report_sha256 IS NOT NULL THEN report_bytes END), 0) AS bytes,
        coalesce(sum(processes), 0) AS processes, coalesce(sum(calls), 0) AS calls, coalesce(sum(calls_expanded), 0) AS expanded FROM analysis) a;

CREATE TRIGGER sample_in AFTER INSERT ON sample BEGIN
    UPDATE total SET samples = samples + 1, vaulted = vaulted + NEW.vaulted, private = private + NEW.private,
        vaulted_bytes = vaulted_bytes + NEW.vaulted * coalesce(NEW.size, 0);
END;
CREATE TRIGGER sample_out AFTER DELETE ON sample BEGIN
    UPDATE total SET samples = samples - 1, vaulted = vaulted - OLD.vaulted, private = private - OLD.private,
        vaulted_bytes = vaulted_bytes - OLD.vaulted * coalesce(OLD.size, 0);
END;
CREATE TRIGGER sample_turn AFTER UPDATE OF vaulted, private, size ON sample
WHEN OLD.vaulted <> NEW.vaulted OR OLD.private <> NEW.private OR OLD.size IS NOT NEW.size BEGIN
    UPDATE total SET vaulted = vaulted - OLD.vaulted + NEW.vaulted, private = private - OLD.private + NEW.private,
        vaulted_bytes = vaulted_bytes - OLD.vaulted * coalesce(OLD.size, 0) + NEW.vaulted * coalesce(NEW.size, 0);
END;

CREATE TRIGGER sighting_in AFTER INSERT ON sighting BEGIN
    UPDATE total SET sightings = sightings + 1, sightings_gone = sightings_gone + (NEW.gone_ms IS NOT NULL);
END;
CREATE TRIGGER sighting_out AFTER DELETE ON sighting BEGIN
    UPDATE total SET sightings = sightings - 1, sightings_gone = sightings_gone - (OLD.gone_ms IS NOT NULL);
END;
CREATE TRIGGER sighting_turn AFTER UPDATE OF gone_ms ON sighting WHEN (OLD.gone_ms IS NULL) <> (NEW.gone_ms IS NULL) BEGIN
    UPDATE total SET sightings_gone = sightings_gone - (OLD.gone_ms IS NOT NULL) + (NEW.gone_ms IS NOT NULL);
END;

CREATE TRIGGER blob_in AFTER INSERT ON blob BEGIN
    INSERT INTO tally VALUES ('blob', NEW.outcome, '', '', 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER blob_out AFTER DELETE ON blob BEGIN
    UPDATE tally SET n = n - 1 WHERE what = 'blob' AND name = OLD.outcome AND detail = '' AND class = '';
END;
CREATE TRIGGER blob_turn AFTER UPDATE OF outcome ON blob WHEN OLD.outcome <> NEW.outcome BEGIN
    UPDATE tally SET n = n - 1 WHERE what = 'blob' AND name = OLD.outcome AND detail = '' AND class = '';
    INSERT INTO tally VALUES ('blob', NEW.outcome, '', '', 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER lookup_in AFTER INSERT ON lookup BEGIN
    INSERT INTO tally VALUES ('lookup', NEW.state, '', '', 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER lookup_out AFTER DELETE ON lookup BEGIN
    UPDATE tally SET n = n - 1 WHERE what = 'lookup' AND name = OLD.state AND detail = '' AND class = '';
END;
CREATE TRIGGER lookup_turn AFTER UPDATE OF state ON lookup WHEN OLD.state <> NEW.state BEGIN
    UPDATE tally SET n = n - 1 WHERE what = 'lookup' AND name = OLD.state AND detail = '' AND class = '';
    INSERT INTO tally VALUES ('lookup', NEW.state, '', '', 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER label_in AFTER INSERT ON label WHEN NEW.current = 1 BEGIN
    INSERT INTO tally VALUES ('label', NEW.policy, NEW.verdict, coalesce(NEW.class, ''), 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER label_out AFTER DELETE ON label WHEN OLD.current = 1 BEGIN
    UPDATE tally SET n = n - 1 WHERE what = 'label' AND name = OLD.policy AND detail = OLD.verdict AND class = coalesce(OLD.class, '');
END;
CREATE TRIGGER label_from AFTER UPDATE OF current, policy, verdict, class ON label WHEN OLD.current = 1 BEGIN
    UPDATE tally SET n = n - 1 WHERE what = 'label' AND name = OLD.policy AND detail = OLD.verdict AND class = coalesce(OLD.class, '');
END;
CREATE TRIGGER label_to AFTER UPDATE OF current, policy, verdict, class ON label WHEN NEW.current = 1 BEGIN
    INSERT INTO tally VALUES ('label', NEW.policy, NEW.verdict, coalesce(NEW.class, ''), 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER analysis_in AFTER INSERT ON analysis BEGIN
    INSERT INTO tally VALUES ('analysis', NEW.sandbox, NEW.state, '', 1) ON CONFLICT DO UPDATE SET n = n + 1;
    UPDATE total SET reports = reports + (NEW.report_sha256 IS NOT NULL),
        report_bytes = report_bytes + CASE WHEN NEW.report_sha256 IS NULL THEN 0 ELSE coalesce(NEW.report_bytes, 0) END,
        processes = processes + NEW.processes, calls = calls + NEW.calls, calls_expanded = calls_expanded + NEW.calls_expanded;
END;
CREATE TRIGGER analysis_out AFTER DELETE ON analysis BEGIN
    UPDATE tally SET n = n - 1 WHERE what = 'analysis' AND name = OLD.sandbox AND detail = OLD.state AND class = '';
    UPDATE total SET reports = reports - (OLD.report_sha256 IS NOT NULL),
        report_bytes = report_bytes - CASE WHEN OLD.report_sha256 IS NULL THEN 0 ELSE coalesce(OLD.report_bytes, 0) END,
        processes = processes - OLD.processes, calls = calls - OLD.calls, calls_expanded = calls_expanded - OLD.calls_expanded;
END;
CREATE TRIGGER analysis_turn AFTER UPDATE OF sandbox, state ON analysis WHEN OLD.sandbox <> NEW.sandbox OR OLD.state <> NEW.state BEGIN
    UPDATE tally SET n = n - 1 WHERE what = 'analysis' AND name = OLD.sandbox AND detail = OLD.state AND class = '';
    INSERT INTO tally VALUES ('analysis', NEW.sandbox, NEW.state, '', 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER analysis_counts AFTER UPDATE OF report_sha256, report_bytes, processes, calls, calls_expanded ON analysis BEGIN
    UPDATE total SET reports = reports - (OLD.report_sha256 IS NOT NULL) + (NEW.report_sha256 IS NOT NULL),
        report_bytes = report_bytes - CASE WHEN OLD.report_sha256 IS NULL THEN 0 ELSE coalesce(OLD.report_bytes, 0) END
            + CASE WHEN NEW.report_sha256 IS NULL THEN 0 ELSE coalesce(NEW.report_bytes, 0) END,
        processes = processes - OLD.processes + NEW.processes, calls = calls - OLD.calls + NEW.calls,
        calls_expanded = calls_expanded - OLD.calls_expanded + NEW.calls_expanded;
END;

-- A sample counts once: when its first such analysis comes, and until its last one goes.
CREATE TRIGGER analysis_ran_in AFTER INSERT ON analysis WHEN NEW.sample IS NOT NULL AND NEW.opcodes = 0
    AND NEW.state IN ('completed', 'reported', 'ok', 'too_few_calls', 'no_calls', 'no_behavior', 'report_invalid', 'report_missing') BEGIN
    UPDATE total SET detonated = detonated + NOT EXISTS (SELECT 1 FROM analysis_ran r WHERE r.sample = NEW.sample AND r.id <> NEW.id),
        traced = traced + (NEW.state = 'ok' AND NOT EXISTS (SELECT 1 FROM analysis_ran r WHERE r.sample = NEW.sample AND r.id <> NEW.id AND r.traced));
END;
CREATE TRIGGER analysis_ran_out AFTER DELETE ON analysis WHEN OLD.sample IS NOT NULL AND OLD.opcodes = 0
    AND OLD.state IN ('completed', 'reported', 'ok', 'too_few_calls', 'no_calls', 'no_behavior', 'report_invalid', 'report_missing') BEGIN
    UPDATE total SET detonated = detonated - NOT EXISTS (SELECT 1 FROM analysis_ran r WHERE r.sample = OLD.sample),
        traced = traced - (OLD.state = 'ok' AND NOT EXISTS (SELECT 1 FROM analysis_ran r WHERE r.sample = OLD.sample AND r.traced));
END;
CREATE TRIGGER analysis_ran_from AFTER UPDATE OF sample, opcodes, state ON analysis
WHEN (OLD.state <> NEW.state OR OLD.opcodes <> NEW.opcodes OR OLD.sample IS NOT NEW.sample) AND OLD.sample IS NOT NULL AND OLD.opcodes = 0
    AND OLD.state IN ('completed', 'reported', 'ok', 'too_few_calls', 'no_calls', 'no_behavior', 'report_invalid', 'report_missing') BEGIN
    UPDATE total SET detonated = detonated - NOT EXISTS (SELECT 1 FROM analysis_ran r WHERE r.sample = OLD.sample AND r.id <> OLD.id),
        traced = traced - (OLD.state = 'ok' AND NOT EXISTS (SELECT 1 FROM analysis_ran r WHERE r.sample = OLD.sample AND r.id <> OLD.id AND r.traced));
END;
CREATE TRIGGER analysis_ran_to AFTER UPDATE OF sample, opcodes, state ON analysis
WHEN (OLD.state <> NEW.state OR OLD.opcodes <> NEW.opcodes OR OLD.sample IS NOT NEW.sample) AND NEW.sample IS NOT NULL AND NEW.opcodes = 0
    AND NEW.state IN ('completed', 'reported', 'ok', 'too_few_calls', 'no_calls', 'no_behavior', 'report_invalid', 'report_missing') BEGIN
    UPDATE total SET detonated = detonated + NOT EXISTS (SELECT 1 FROM analysis_ran r WHERE r.sample = NEW.sample AND r.id <> NEW.id),
        traced = traced + (NEW.state = 'ok' AND NOT EXISTS (SELECT 1 FROM analysis_ran r WHERE r.sample = NEW.sample AND r.id <> NEW.id AND r.traced));
END;

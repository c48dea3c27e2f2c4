-- Version 15: reports and programs whose time in the vault is over (malseq retain).

-- When the report's object was given up; its digest stays, so that the report is known and is not kept again. NULL: it is there.
ALTER TABLE analysis ADD COLUMN report_gone_ms INTEGER;
-- When the program's bytes were given up, which is for good: collect keeps them no more, and vaulted stays 0.
ALTER TABLE sample ADD COLUMN bytes_gone_ms INTEGER;

-- Reports that are gone count no more.
DROP TRIGGER analysis_in;
DROP TRIGGER analysis_out;
DROP TRIGGER analysis_counts;
CREATE TRIGGER analysis_in AFTER INSERT ON analysis BEGIN
    INSERT INTO tally VALUES ('analysis', NEW.sandbox, NEW.state, '', 1) ON CONFLICT DO UPDATE SET n = n + 1;
    UPDATE total SET reports = reports + (NEW.report_sha256 IS NOT NULL AND NEW.report_gone_ms IS NULL),
        report_bytes = report_bytes + CASE WHEN NEW.report_sha256 IS NULL OR NEW.report_gone_ms IS NOT NULL THEN 0 ELSE coalesce(NEW.report_bytes, 0) END,
        processes = processes + NEW.processes, calls = calls + NEW.calls, calls_expanded = calls_expanded + NEW.calls_expanded;
END;
CREATE TRIGGER analysis_out AFTER DELETE ON analysis BEGIN
    UPDATE tally SET n = n - 1 WHERE what = 'analysis' AND name = OLD.sandbox AND detail = OLD.state AND class = '';
    UPDATE total SET reports = reports - (OLD.report_sha256 IS NOT NULL AND OLD.report_gone_ms IS NULL),
        report_bytes = report_bytes - CASE WHEN OLD.report_sha256 IS NULL OR OLD.report_gone_ms IS NOT NULL THEN 0 ELSE coalesce(OLD.report_bytes, 0) END,
        processes = processes - OLD.processes, calls = calls - OLD.calls, calls_expanded = calls_expanded - OLD.calls_expanded;
END;
CREATE TRIGGER analysis_counts AFTER UPDATE OF report_sha256, report_bytes, report_gone_ms, processes, calls, calls_expanded ON analysis BEGIN
    UPDATE total SET reports = reports - (OLD.report_sha256 IS NOT NULL AND OLD.report_gone_ms IS NULL) + (NEW.report_sha256 IS NOT NULL AND NEW.report_gone_ms IS NULL),
        report_bytes = report_bytes - CASE WHEN OLD.report_sha256 IS NULL OR OLD.report_gone_ms IS NOT NULL THEN 0 ELSE coalesce(OLD.report_bytes, 0) END
            + CASE WHEN NEW.report_sha256 IS NULL OR NEW.report_gone_ms IS NOT NULL THEN 0 ELSE coalesce(NEW.report_bytes, 0) END,
        processes = processes - OLD.processes + NEW.processes, calls = calls - OLD.calls + NEW.calls,
        calls_expanded = calls_expanded - OLD.calls_expanded + NEW.calls_expanded;
END;

-- Version 16: how many stored samples never went to a sandbox, kept up by triggers as the other counts.

-- Stored, not private, and without a row of analysis_sent. A report that came by import, and a task that waits in the queue, change nothing.
ALTER TABLE total ADD COLUMN unsubmitted INTEGER NOT NULL DEFAULT 0;

-- Analyses whose sample was given to a sandbox of ours, be it that the task failed or was lost: submitted_ms goes when a task is queued again.
CREATE VIEW analysis_sent AS SELECT id, sample FROM analysis WHERE sample IS NOT NULL AND (submitted_ms IS NOT NULL OR attempts > 0);

UPDATE total SET unsubmitted = (SELECT count(*) FROM sample s WHERE s.vaulted = 1 AND s.private = 0
    AND NOT EXISTS (SELECT 1 FROM analysis_sent a WHERE a.sample = s.id));

DROP TRIGGER sample_in;
DROP TRIGGER sample_turn;
CREATE TRIGGER sample_in AFTER INSERT ON sample BEGIN
    UPDATE total SET samples = samples + 1, vaulted = vaulted + NEW.vaulted, private = private + NEW.private,
        vaulted_bytes = vaulted_bytes + NEW.vaulted * coalesce(NEW.size, 0),
        unsubmitted = unsubmitted + (NEW.vaulted AND NOT NEW.private);
END;
CREATE TRIGGER sample_turn AFTER UPDATE OF vaulted, private, size ON sample
WHEN OLD.vaulted <> NEW.vaulted OR OLD.private <> NEW.private OR OLD.size IS NOT NEW.size BEGIN
    UPDATE total SET vaulted = vaulted - OLD.vaulted + NEW.vaulted, private = private - OLD.private + NEW.private,
        vaulted_bytes = vaulted_bytes - OLD.vaulted * coalesce(OLD.size, 0) + NEW.vaulted * coalesce(NEW.size, 0),
        unsubmitted = unsubmitted + ((NEW.vaulted AND NOT NEW.private) - (OLD.vaulted AND NOT OLD.private))
            * NOT EXISTS (SELECT 1 FROM analysis_sent a WHERE a.sample = NEW.id);
END;
-- Before, for its analyses go with it and are gone afterwards; to their triggers it is none that is stored.
CREATE TRIGGER sample_unsubmitted_out BEFORE DELETE ON sample WHEN OLD.vaulted AND NOT OLD.private BEGIN
    UPDATE total SET unsubmitted = unsubmitted - NOT EXISTS (SELECT 1 FROM analysis_sent a WHERE a.sample = OLD.id);
END;

CREATE TRIGGER analysis_sent_in AFTER INSERT ON analysis WHEN NEW.sample IS NOT NULL AND (NEW.submitted_ms IS NOT NULL OR NEW.attempts > 0) BEGIN
    UPDATE total SET unsubmitted = unsubmitted - (EXISTS (SELECT 1 FROM sample s WHERE s.id = NEW.sample AND s.vaulted AND NOT s.private)
        AND NOT EXISTS (SELECT 1 FROM analysis_sent a WHERE a.sample = NEW.sample AND a.id <> NEW.id));
END;
CREATE TRIGGER analysis_sent_out AFTER DELETE ON analysis WHEN OLD.sample IS NOT NULL AND (OLD.submitted_ms IS NOT NULL OR OLD.attempts > 0) BEGIN
    UPDATE total SET unsubmitted = unsubmitted + (EXISTS (SELECT 1 FROM sample s WHERE s.id = OLD.sample AND s.vaulted AND NOT s.private)
        AND NOT EXISTS (SELECT 1 FROM analysis_sent a WHERE a.sample = OLD.sample));
END;
CREATE TRIGGER analysis_sent_from AFTER UPDATE OF sample, submitted_ms, attempts ON analysis
WHEN OLD.sample IS NOT NULL AND (OLD.submitted_ms IS NOT NULL OR OLD.attempts > 0)
    AND (OLD.sample IS NOT NEW.sample OR (NEW.submitted_ms IS NULL AND NEW.attempts = 0)) BEGIN
    UPDATE total SET unsubmitted = unsubmitted + (EXISTS (SELECT 1 FROM sample s WHERE s.id = OLD.sample AND s.vaulted AND NOT s.private)
        AND NOT EXISTS (SELECT 1 FROM analysis_sent a WHERE a.sample = OLD.sample AND a.id <> OLD.id));
END;
CREATE TRIGGER analysis_sent_to AFTER UPDATE OF sample, submitted_ms, attempts ON analysis
WHEN NEW.sample IS NOT NULL AND (NEW.submitted_ms IS NOT NULL OR NEW.attempts > 0)
    AND (OLD.sample IS NOT NEW.sample OR (OLD.submitted_ms IS NULL AND OLD.attempts = 0)) BEGIN
    UPDATE total SET unsubmitted = unsubmitted - (EXISTS (SELECT 1 FROM sample s WHERE s.id = NEW.sample AND s.vaulted AND NOT s.private)
        AND NOT EXISTS (SELECT 1 FROM analysis_sent a WHERE a.sample = NEW.sample AND a.id <> NEW.id));
END;

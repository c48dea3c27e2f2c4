"""malseq retain: reports and programs that have had their time go, rows and traces stay, nothing comes back by itself, and a death in
between loses nothing. The programs are generated headers without code; nothing leaves the machine."""
import json
import resource
import sqlite3
import unittest

from corpus_case import CorpusCase
from gen import pe, report

DAY_MS = 86400000


def made(number):
    data = report.cuckoo([report.Process("a.exe", ["NtOpenFile", "NtReadFile"] * 20)], task=number + 1, sample=b"MZ%d" % number)
    return data if isinstance(data, bytes) else data.encode()


class Retain(CorpusCase):
    def setUp(self):
        super().setUp()
        self.reports = self.root / "reports"
        self.reports.mkdir()
        for name in ("benign", "malicious", "nothing", "waiting"):
            (self.input / name).write_bytes(pe.pe(name))
        for number in range(2):
            (self.reports / f"{number}.json").write_bytes(made(number))
        self.tool("collect", "--dir", self.input, "-q")
        self.tool("extract", "import", self.reports, "-q")
        self.sql("UPDATE run SET started_ms = started_ms - ?", 40 * DAY_MS)
        self.sql("UPDATE analysis SET updated_ms = updated_ms - ?", 40 * DAY_MS)
        for name in ("benign", "malicious"):
            self.sql("INSERT INTO label (sample, policy, verdict, as_of_ms, made_ms) SELECT sample, 'p', ?, 1, 1 FROM sighting WHERE path = ?",
                     name, name.encode())
        # What another policy says of it does not matter to a program that this one calls malicious.
        self.sql("INSERT INTO label (sample, policy, verdict, as_of_ms, made_ms) SELECT sample, 'q', 'benign', 1, 1 FROM sighting WHERE path = ?", b"malicious")
        self.sql("INSERT INTO analysis (sample, sandbox, state, updated_ms) SELECT sample, 'cape', 'running', 1 FROM sighting WHERE path = ?", b"waiting")

    def retain(self, *args, **more):
        return {line["rule"]: line["objects"] for line in map(json.loads, self.tool("malseq", "retain", "--json", *args, **more).splitlines())}

    def stored(self):
        return (sorted(bytes(name).decode() for name, in self.sql("SELECT path FROM sighting g JOIN sample s ON s.id = g.sample WHERE vaulted")),
                sum(path.is_file() for path in (self.corpus / "samples").rglob("*")),
                sum(path.is_file() for path in (self.corpus / "reports").rglob("*")))

    def test_rules(self):
        rules = ("--reports", 30, "--benign", 30, "--unlabelled", 30)
        everything = (["benign", "malicious", "nothing", "waiting"], 4, 2)
        self.assertEqual(self.retain("--reports", 50, "--benign", 50), {"reports": 0, "benign": 0})
        self.assertEqual(self.retain(*rules, "--dry-run"), {"reports": 2, "benign": 1, "unlabelled": 1})
        self.assertEqual(self.stored(), everything)
        traces = self.sql("SELECT count(*), sum(length(trace)) FROM process")
        self.assertEqual(self.retain(*rules), {"reports": 2, "benign": 1, "unlabelled": 1})
        left = (["malicious", "waiting"], 2, 0)
        self.assertEqual(self.stored(), left)
        self.assertEqual(self.sql("SELECT count(*), sum(length(trace)) FROM process"), traces)
        self.tool("malseq", "fsck")
        self.assertEqual(self.retain(*rules), {"reports": 0, "benign": 0, "unlabelled": 0})
        # What reads them again knows them: new names, blobs that are forgotten, the same reports.
        self.sql("DELETE FROM blob")
        self.sql("DELETE FROM tree_entry")
        (self.input / "benign").rename(self.input / "renamed")
        self.tool("collect", "--dir", self.input, "-q")
        self.tool("extract", "import", self.reports, "-q")
        self.assertEqual(self.stored()[1:], left[1:])
        self.tool("malseq", "fsck")
        self.assertEqual(self.sql("SELECT count(*) FROM sample WHERE bytes_gone_ms IS NOT NULL"), [(2,)])

    def test_time_runs_from_the_bytes(self):
        """Not from the row, which a list of hashes may have made long before; and without any time nothing goes."""
        self.sql("INSERT INTO run (id, tool, version, argv, started_ms) SELECT -1, 'label', '0', '[]', min(started_ms) - ? FROM run", 360 * DAY_MS)
        self.sql("UPDATE sample SET run = -1")
        self.assertEqual(self.retain("--benign", 300, "--unlabelled", 300), {"benign": 0, "unlabelled": 0})
        self.assertEqual(self.retain("--benign", 30, "--unlabelled", 30, "--dry-run"), {"benign": 1, "unlabelled": 1})
        self.sql("UPDATE sample SET run = NULL")
        self.sql("UPDATE sighting SET run = NULL")
        self.assertEqual(self.retain("--benign", 1, "--unlabelled", 1, "--dry-run"), {"benign": 0, "unlabelled": 0})

    def test_a_clock_that_was_behind_makes_nothing_old(self):
        """A night in 1970 that met a known program under a new path: its first run by number tells its age."""
        insert = "INSERT INTO run (id, tool, version, argv, started_ms) SELECT max(id) + 1, 'collect', '0', '[]', {} FROM run"
        self.sql(insert.format(0))
        self.sql("INSERT INTO sighting (sample, origin, git_blob, path, chain, seen_ms, run)"
                 " SELECT sample, origin, git_blob, CAST('again' AS BLOB), chain, 0, (SELECT max(id) FROM run) FROM sighting WHERE path = ?", b"benign")
        self.sql(insert.format(f"min(started_ms + {30 * DAY_MS}) FILTER (WHERE started_ms > 0)"))
        self.assertEqual(self.retain("--benign", 365), {"benign": 0})
        self.assertEqual(self.retain("--benign", 30), {"benign": 1})

    def test_what_may_still_be_labelled_stays(self):
        nothing = "(SELECT sample FROM sighting WHERE path = CAST('nothing' AS BLOB))"
        for change, back in (("UPDATE sample SET private = 1 WHERE id = ", "UPDATE sample SET private = 0 WHERE id = "),
                             ("INSERT INTO lookup (state, sample) SELECT 'pending', ", "UPDATE lookup SET state = 'error' WHERE sample = "),
                             ("SELECT ", "UPDATE lookup SET state = 'not_found' WHERE sample = ")):
            self.sql(change + nothing)
            self.assertEqual(self.retain("--unlabelled", 30, "--dry-run"), {"unlabelled": 0}, change)
            self.sql(back + nothing)
        self.assertEqual(self.retain("--unlabelled", 30), {"unlabelled": 1})

    def test_a_wrong_clock_gives_nothing_up(self):
        """Neither with the runs of the wrong clock's own night beside it, nor when the right one comes after; a week of runs settles it."""
        rules, whole = ("--reports", 30, "--benign", 30), self.stored()
        for days in (160, -400):
            with self.subTest(days=days):
                self.sql("UPDATE run SET started_ms = started_ms - ?", days * DAY_MS)
                self.tool("collect", "--dir", self.input, "-q")
                for more in ((), ("--dry-run",)):
                    self.assertEqual(self.retain(*rules, *more, expect=3), {})
                    self.assertIn("the clock and the corpus's runs do not agree (one began ", self.talk)
                    self.assertIn("malseq doctor", self.talk)
                self.assertEqual(self.stored(), whole)
        self.sql("UPDATE run SET started_ms = started_ms - ? WHERE id = (SELECT max(id) FROM run)", 8 * DAY_MS)
        self.assertEqual(self.retain("--reports", 30), {"reports": 2})

    def test_a_death_between_row_and_object(self):
        for step in ("store.retain.marked:1", "store.vault.removed:2", "store.corpus.committed:1"):
            with self.subTest(step=step):
                self.retain("--reports", 30, "--benign", 30, expect=-9, env={"MALSEQ_TEST_KILL": step})
                self.tool("malseq", "fsck", "--repair")
                self.tool("malseq", "fsck")
        self.retain("--reports", 30, "--benign", 30)
        self.tool("malseq", "fsck")
        self.assertEqual(self.stored(), (["malicious", "nothing", "waiting"], 3, 0))

    def test_a_full_disk(self):
        """A limit on file sizes stands for it: each of the log's pages, from the first on, is once the one that finds no room. Rows and
        objects agree wherever it ends, and with room it goes on."""
        view = sqlite3.connect(self.corpus / "corpus.db", isolation_level=None)
        self.addCleanup(view.close)
        for number in range(40):  # so that the log, which a view holds, is larger than the index beside it
            view.execute("UPDATE run SET seed = ?", (number,))
        view.execute("BEGIN")
        view.execute("SELECT count(*) FROM run").fetchone()
        log, (soft, hard), ends = self.corpus / "corpus.db-wal", resource.getrlimit(resource.RLIMIT_FSIZE), []
        self.assertGreater(log.stat().st_size, 32768)
        while not ends or ends[-1] != "marked":
            resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 4120 * len(ends), hard))
            try:
                said = self.tool("malseq", "retain", "--reports", 30, "--json", expect=None)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            ends.append("marked" if self.sql("SELECT 1 FROM analysis WHERE report_gone_ms IS NOT NULL") else "rules" if said else "run")
            self.assertLess(len(ends), 12, ends)
            self.assertEqual(self.stored()[2], 0 if ends[-1] == "marked" else 2, self.talk)
            self.assertTrue(ends[-1] == "marked" or "malseq: error: " in self.talk, self.talk)
        self.assertEqual((ends[0], "rules" in ends), ("run", True))
        view.close()
        self.assertEqual(self.retain("--reports", 30, "--benign", 30), {"reports": 0, "benign": 1})
        self.tool("malseq", "fsck")

    def test_nothing_asked_for(self):
        self.retain(expect=2)


if __name__ == "__main__":
    unittest.main()

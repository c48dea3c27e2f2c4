"""malseq retain: reports and programs that have had their time go, rows and traces stay, nothing comes back by itself, and a death in
between loses nothing. The programs are generated headers without code; nothing leaves the machine."""
import json
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

    def test_a_death_between_row_and_object(self):
        for step in ("store.retain.marked:1", "store.vault.removed:2", "store.corpus.committed:1"):
            with self.subTest(step=step):
                self.retain("--reports", 30, "--benign", 30, expect=-9, env={"MALSEQ_TEST_KILL": step})
                self.tool("malseq", "fsck", "--repair")
                self.tool("malseq", "fsck")
        self.retain("--reports", 30, "--benign", 30)
        self.tool("malseq", "fsck")
        self.assertEqual(self.stored(), (["malicious", "nothing", "waiting"], 3, 0))

    def test_nothing_asked_for(self):
        self.retain(expect=2)


if __name__ == "__main__":
    unittest.main()

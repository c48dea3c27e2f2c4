"""kill -9 at every named step of extract import and extract dataset: the next run ends with the corpus of an undisturbed one.
Each step three times; once, at another of its times from step to step, under AddressSanitizer."""
# ctest: full also-release no-leaks cost=50
import collections
import concurrent.futures
import hashlib
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from gen import datasets, report  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MALSEQ_BIN", ROOT / "build/release/bin"))
HITS = 1 if os.environ.get("MALSEQ_SANITIZED") == "1" else 3  # each step is hit that often at least
IMPORT_STEPS = {"extract.import." + step for step in ("started", "opened", "parsed", "vaulted", "begun", "analysis", "process", "rows", "committed")}
DATASET_STEPS = {"extract.dataset." + step for step in ("begun", "some", "rows", "committed")}


class Kill(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="malseq-kill-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.base = pathlib.Path(cls.folder.name)
        reports = cls.base / "reports"
        reports.mkdir()
        for number in range(3):
            calls = ["NtCreateFile", "NtClose", "RegOpenKeyExW%d" % number] * (5 + number)
            processes = [report.Process("a%d.exe" % number, calls), report.Process("b.exe", calls[3:])]
            make = report.cape if number % 2 else report.cuckoo
            (reports / ("%d.json" % number)).write_bytes(make(processes, sha256="%064x" % number, task=number))
        (reports / "3.json").write_bytes(b'{"info": {"version": "2.0.7"}, "behavior": {"processes"')
        (reports / "4.json").write_bytes(report.cuckoo([], behavior=False, task=9))
        dataset = cls.base / "dataset"
        dataset.mkdir()
        rows = 3 * 256 + 20  # the step "some" comes every 256 rows
        (dataset / "all_analysis_data.txt").write_text("".join("a b%d c\n" % (number % 7) for number in range(rows)))
        (dataset / "labels.csv").write_text("Virus\nWorms\n" * (rows // 2))
        files = cls.base / "avast.zip"
        with zipfile.ZipFile(files, "w", zipfile.ZIP_DEFLATED) as archive:  # commits come every 256 records
            archive.writestr("public_labels.csv", datasets.csv_text(datasets.avast_labels(600), datasets.AVAST_HEAD))
            for number in range(600):
                full = report.cape([report.Process("a.exe", ["NtClose", "NtOpenKey%d" % (number % 9)])], sha256=datasets.sha256(number))
                archive.writestr(f"{datasets.sha256(number)}.json", datasets.reduced_report(number) if number % 3 else full[:-number % 2 or None])
        cls.commands = {"import": ["import", str(reports)], "dataset": ["dataset", "mal-api-2019", str(dataset)], "files": ["dataset", "avast-ctu", str(files)]}

    def extract(self, what, corpus, **environment):
        done = subprocess.run([str(BIN / "extract"), *self.commands[what], "--corpus", str(corpus), "-q", "--jobs", "1"], capture_output=True, timeout=250,
                              env={**os.environ, **{key: str(value) for key, value in environment.items()}})
        return done.returncode

    def digest(self, corpus):
        done = subprocess.run([str(BIN / "malseq"), "fsck", "--digest", "--corpus", str(corpus)], capture_output=True, text=True, timeout=250)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def own_digest(self, corpus):
        """The same question asked without malseq's own answer: rows by natural keys, and the vault's names."""
        digest = hashlib.sha256()
        with sqlite3.connect(f"file:{corpus / 'corpus.db'}?mode=ro", uri=True) as connection:
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            self.assertEqual(connection.execute("PRAGMA foreign_key_check").fetchall(), [])
            for sql in ("SELECT sha256, sha1, md5, vaulted FROM sample ORDER BY 1, 2, 3", "SELECT space, name, category FROM api ORDER BY 1, 2",
                        "SELECT a.source, a.external_id, s.sha256 FROM alias a JOIN sample s ON s.id = a.sample ORDER BY 1, 2",
                        "SELECT report_sha256, state, reason, sandbox, calls, calls_expanded, settings, s.sha256 FROM analysis a LEFT JOIN sample s ON s.id = a.sample ORDER BY 1, 7",
                        "SELECT a.report_sha256, a.settings, p.ord, p.pid, p.parent_pid, p.name, p.first_seen_us, p.tracked, p.calls, p.calls_expanded, p.trace FROM process p"
                        " JOIN analysis a ON a.id = p.analysis ORDER BY 1, 2, 3",
                        "SELECT policy, verdict, class, count(*) FROM label GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"):
                digest.update(repr(connection.execute(sql).fetchall()).encode())
        digest.update(repr(sorted(str(path.relative_to(corpus)) for path in (corpus / "reports").rglob("*") if path.is_file())).encode())
        return digest.hexdigest()

    def undisturbed(self, what, exit_code):
        corpus, log = self.base / (what + "-whole"), self.base / (what + "-steps")
        self.assertEqual(self.extract(what, corpus, MALSEQ_TEST_STEPS=log), exit_code)
        reached = collections.Counter(log.read_text().split())
        self.assertEqual(self.extract(what, corpus), exit_code)  # a second run changes nothing
        return corpus, reached

    def check(self, what, exit_code, expected_steps):
        whole, reached = self.undisturbed(what, exit_code)
        self.assertLessEqual(expected_steps, set(reached))
        wanted, own = self.digest(whole), self.own_digest(whole)
        hits = collections.Counter()

        def kill(step, hit, at):
            corpus, log = self.base / f"{what}-{step}-{hit}", self.base / f"{what}-{step}-{hit}.steps"
            ended = self.extract(what, corpus, MALSEQ_TEST_KILL=f"{step}:{at}", MALSEQ_TEST_STEPS=log)
            self.assertEqual(ended, -signal.SIGKILL, f"{step}:{at}")
            self.assertEqual(log.read_text().split()[-1], step)
            self.assertEqual(self.extract(what, corpus), exit_code, f"after {step}:{at}")
            self.assertEqual(self.own_digest(corpus), own, f"after {step}:{at}")
            self.assertEqual(self.digest(corpus), wanted, f"after {step}:{at}")
            return step

        if what != "import":  # the store's own steps are hit in the import
            reached = {step: times for step, times in reached.items() if step in expected_steps}
        with concurrent.futures.ThreadPoolExecutor(4) as pool:  # most of the time goes by in waiting for the disk
            runs = [pool.submit(kill, step, hit, 1 + (hit + number) % times) for number, (step, times) in enumerate(sorted(reached.items())) for hit in range(HITS)]
            for run in runs:
                hits[run.result()] += 1
        print("kill -9 at:", ", ".join(f"{step} {count}x" for step, count in sorted(hits.items())), file=sys.stderr)
        self.assertTrue(all(hits[step] >= HITS for step in reached))

    def test_import(self):
        self.check("import", 1, IMPORT_STEPS)

    def test_dataset(self):
        self.check("dataset", 0, DATASET_STEPS)

    def test_files(self):
        self.check("files", 1, DATASET_STEPS)

    def test_killed_twice(self):
        """A run killed at one step, resumed and killed at a later one."""
        whole = self.base / "twice-whole"
        self.assertEqual(self.extract("import", whole), 1)
        corpus = self.base / "twice"
        for kill in ("extract.import.vaulted:2", "extract.import.rows:2", "extract.import.process:1", "extract.import.committed:4"):
            self.assertIn(self.extract("import", corpus, MALSEQ_TEST_KILL=kill), (-signal.SIGKILL, 1), kill)
        self.assertEqual(self.extract("import", corpus), 1)
        self.assertEqual(self.own_digest(corpus), self.own_digest(whole))
        self.assertEqual(self.digest(corpus), self.digest(whole))


if __name__ == "__main__":
    unittest.main()

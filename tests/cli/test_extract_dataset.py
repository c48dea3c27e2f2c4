"""extract dataset: the published formats in small, generated files, damaged ones, and the real ones."""
import csv
import gzip
import hashlib
import io
import json
import os
import pathlib
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from gen.schema import Schema  # noqa: E402

SCHEMA = Schema("extract.schema.json")
BIN = pathlib.Path(os.environ.get("MALSEQ_BIN", ROOT / "build/release/bin"))
SANITIZED = os.environ.get("MALSEQ_SANITIZED") == "1"
DATA = os.environ.get("MALSEQ_DATA")
CLASSES = "Adware Backdoor Downloader Dropper Spyware Trojan Virus Worms".split()


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="malseq-dataset-")
        self.addCleanup(self.folder.cleanup)
        self.base = pathlib.Path(self.folder.name)
        self.corpus = self.base / "corpus"

    def run_dataset(self, name, path, expect=0, options=()):
        done = subprocess.run([str(BIN / "extract"), "dataset", name, str(path), "--corpus", str(self.corpus), "--json", *options],
                              capture_output=True, text=True, timeout=200)
        self.assertEqual(done.returncode, expect, done.stderr)
        self.stderr = done.stderr
        summary = json.loads(done.stdout) if done.stdout else None
        if summary:
            SCHEMA.check(summary, "dataset")
        return summary

    def query(self, sql):
        with sqlite3.connect(f"file:{self.corpus / 'corpus.db'}?mode=ro", uri=True) as connection:
            return connection.execute(sql).fetchall()

    def calls(self, sql):
        done = subprocess.run([str(BIN / "malseq"), "query", "--json", "--corpus", str(self.corpus), sql], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def make(self, lines, classes, folder="d", form="zip", end="\n"):
        path = self.base / folder
        path.mkdir(exist_ok=True)
        text = end.join(lines) + end
        if form == "zip":
            with zipfile.ZipFile(path / "mal-api-2019.zip", "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("readme.txt", "not this one")
                archive.writestr("all_analysis_data.txt", text)
        else:
            (path / "all_analysis_data.txt").write_bytes(gzip.compress(text.encode()) if form == "gzip" else text.encode())
        (path / "labels.csv").write_text(end.join(classes) + end)
        return path


class MalApi(Case):
    def generate(self, rng, rows):
        names = ["ntclose", "ldrloaddll", "regopenkeyexw", "getasynckeystate", "connect"]
        lines = [" ".join(rng.choice(names) for _ in range(rng.randrange(1, 60))) for _ in range(rows)]
        return lines, [rng.choice(CLASSES) for _ in range(rows)]

    def check(self, lines, classes):
        total = sum(len(line.split()) for line in lines)
        self.assertEqual(self.query("SELECT count(*), sum(calls), sum(calls_expanded), min(sandbox), max(state) FROM analysis"),
                         [(len(lines), total, total, "dataset:mal-api-2019", "ok")])
        rows = self.query("SELECT CAST(a.external_id AS INTEGER), l.class, l.verdict, l.policy, p.calls FROM alias a JOIN label l ON l.sample = a.sample"
                          " JOIN analysis n ON n.sample = a.sample JOIN process p ON p.analysis = n.id WHERE a.source = 'mal-api-2019' ORDER BY 1")
        self.assertEqual(rows, [(number, word.replace("Worms", "Worm"), "malicious", "dataset:mal-api-2019", len(line.split()))
                                for number, (line, word) in enumerate(zip(lines, classes), 1)])
        stored = {}
        for row in self.calls("SELECT sample, api FROM calls ORDER BY sample, process, seq"):
            stored.setdefault(row["sample"], []).append(row["api"])
        self.assertEqual([" ".join(stored[key]) for key in sorted(stored)], [" ".join(line.split()) for line in lines])

    def test_forms(self):
        rng = random.Random(5)
        lines, classes = self.generate(rng, 40)
        for form in ("zip", "text", "gzip"):
            self.corpus = self.base / ("corpus-" + form)
            path = self.make(lines, classes, folder=form, form=form)
            summary = self.run_dataset("mal-api-2019", path)
            self.assertEqual((summary["samples"], summary["calls"], summary["new"], summary["known"]), (40, sum(len(line.split()) for line in lines), 40, 0))
            self.check(lines, classes)
            again = self.run_dataset("mal-api-2019", path)
            self.assertEqual((again["samples"], again["calls"], again["new"], again["known"]), (40, summary["calls"], 0, 40))
            self.check(lines, classes)
        self.assertEqual(self.query("SELECT kind, name, licence, claim, state FROM origin"), [("dataset", "mal-api-2019", "MIT", "malware", "ok")])

    def test_odd_text(self):
        """Blanks of all kinds, Windows line ends, no line feed at the end, names across block boundaries, an over-long name."""
        lines = ["a  b\tc ", " d", "e" * 1000 + " f", "x" * 9 + " " + "yz " * 200000]
        path = self.make(lines, ["Virus"] * 4, end="\r\n", form="text")
        text = (path / "all_analysis_data.txt").read_bytes()
        (path / "all_analysis_data.txt").write_bytes(text.rstrip())
        summary = self.run_dataset("mal-api-2019", path)
        self.assertEqual((summary["samples"], summary["calls"]), (4, 3 + 1 + 2 + 200001))
        self.assertEqual(self.query("SELECT max(length(name)) FROM api"), [(256,)])

    def test_empty_line(self):
        path = self.make(["a b", "", "c"], ["Virus", "Trojan", "Adware"])
        summary = self.run_dataset("mal-api-2019", path)
        self.assertEqual((summary["samples"], summary["calls"], summary["without_calls"]), (3, 3, 1))
        self.assertEqual(self.query("SELECT state FROM analysis ORDER BY id"), [("ok",), ("no_calls",), ("ok",)])

    def test_bad(self):
        lines, classes = ["a b", "c d", "e"], ["Virus", "Trojan", "Worms"]
        cases = {"more rows": (lines + ["f"], classes), "more classes": (lines, classes + ["Virus"]), "class": (lines, ["Virus", "Troja\x1bn", "Worms"])}
        for number, (words, (rows, labels)) in enumerate(cases.items()):
            self.run_dataset("mal-api-2019", self.make(rows, labels, folder=f"bad{number}"), expect=3)
            self.assertIn("labels.csv", self.stderr, words)
            self.assertNotIn("\x1b", self.stderr)
        cut = self.make(["ntclose " * 5000] * 50, ["Virus"] * 50, folder="cut")
        packed = (cut / "mal-api-2019.zip").read_bytes()
        (cut / "mal-api-2019.zip").write_bytes(packed[:200] + b"\xff" * 40 + packed[240:])
        self.run_dataset("mal-api-2019", cut, expect=3)
        (cut / "mal-api-2019.zip").write_bytes(b"no archive")
        self.run_dataset("mal-api-2019", cut, expect=3)
        empty = self.base / "empty"
        empty.mkdir()
        self.run_dataset("mal-api-2019", empty, expect=3)
        self.run_dataset("mal-api-2019", self.base / "missing", expect=3)
        self.run_dataset("mal-api-2020", empty, expect=2)
        # Nothing of them stayed.
        self.assertEqual(self.query("SELECT (SELECT count(*) FROM sample), (SELECT count(*) FROM analysis), (SELECT count(*) FROM label), (SELECT count(*) FROM api)"), [(0, 0, 0, 0)])

    def test_other_edition(self):
        self.run_dataset("mal-api-2019", self.make(["a b", "c"], ["Virus", "Virus"], folder="one"))
        self.run_dataset("mal-api-2019", self.make(["a b", "d"], ["Virus", "Virus"], folder="two"), expect=3)
        self.assertIn("another edition", self.stderr)
        # New labels for the same rows supersede the old ones.
        self.run_dataset("mal-api-2019", self.make(["a b", "c"], ["Virus", "Trojan"], folder="three"))
        self.assertEqual(self.query("SELECT class, current FROM label ORDER BY id"), [("Virus", 1), ("Virus", 0), ("Trojan", 1)])

    def test_dry_run(self):
        summary = self.run_dataset("mal-api-2019", self.make(["a b", "c"], ["Virus", "Virus"]), options=["--dry-run"])
        self.assertEqual((summary["samples"], summary["calls"]), (2, 3))
        self.assertFalse(self.corpus.exists())

    @unittest.skipUnless(DATA, "MALSEQ_DATA is not set")
    def test_real(self):
        path = pathlib.Path(DATA) / "mal-api-2019-subset"
        summary = self.run_dataset("mal-api-2019", path)
        self.assertEqual((summary["samples"], summary["calls"], summary["rejected"]), (808, 15566181, 0))
        # One line alone has 1,485,396 calls; the text is 251 MB.
        if not SANITIZED:
            self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, 64 << 10)
        self.assertEqual(self.query("SELECT max(calls) FROM analysis"), [(1485396,)])
        self.assertEqual(self.query("SELECT class, count(*) FROM label GROUP BY 1"), [(word.replace("Worms", "Worm"), 101) for word in CLASSES])
        self.assertEqual(self.calls("SELECT count(*) AS n FROM calls"), [{"n": 15566181}])
        with zipfile.ZipFile(path / "mal-api-2019.zip") as archive, archive.open("all_analysis_data.txt") as text:
            first = text.readline().decode().split()
        self.assertEqual([row["api"] for row in self.calls("SELECT api FROM calls WHERE sample = 1 ORDER BY seq")], first)


class Behav(Case):
    def write(self, rows, head=True):
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        if head:
            writer.writerow(["sha256", "labels"] + list(range(6)) + ["", ""])
        writer.writerows(rows)
        path = self.base / "set.csv"
        path.write_text(out.getvalue())
        return path

    def test_rows(self):
        digest = [hashlib.sha256(bytes([n])).hexdigest() for n in range(4)]
        rows = [[digest[0], 0, "a", "b", "", ""], [digest[1].upper(), 1, "c", "", "", ""], [digest[0], 1, "a"], ["zz", 1, "a"], [digest[2], 2, "a"], [digest[3], 1]]
        summary = self.run_dataset("malbehavd-v1", self.write(rows), expect=1)
        self.assertEqual((summary["samples"], summary["calls"], summary["without_calls"], summary["rejected"]), (4, 4, 1, 2))
        self.assertEqual(self.query("SELECT lower(hex(s.sha256)), l.verdict FROM sample s JOIN label l ON l.sample = s.id WHERE l.current = 1 ORDER BY s.id"),
                         [(digest[0], "malicious"), (digest[1], "malicious"), (digest[3], "malicious")])
        self.assertEqual(self.query("SELECT count(*) FROM analysis"), [(4,)])
        again = self.run_dataset("malbehavd-v1", self.base / "set.csv", expect=1)
        self.assertEqual((again["samples"], again["new"], again["known"]), (4, 0, 4))
        self.assertEqual(self.query("SELECT (SELECT count(*) FROM analysis), (SELECT count(*) FROM label)"), [(4, 4)])

    def test_not_the_dataset(self):
        self.run_dataset("malbehavd-v1", self.write([["a" * 64, 1, "x"]], head=False), expect=3)
        self.assertIn("MalBehavD", self.stderr)

    @unittest.skipUnless(DATA, "MALSEQ_DATA is not set")
    def test_real(self):
        path = pathlib.Path(DATA) / "malbehavd-v1/MalBehavD-V1-dataset.csv"
        with open(path, newline="") as file:
            rows = list(csv.reader(file))[1:]
        summary = self.run_dataset("malbehavd-v1", path)
        self.assertEqual((summary["samples"], summary["calls"]), (len(rows), sum(sum(1 for cell in row[2:] if cell) for row in rows)))
        self.assertEqual(len(rows), 1934)
        self.assertEqual((sum(row[1] == "0" for row in rows), sum(row[1] == "1" for row in rows)), (1014, 920))
        last = {row[0].lower(): "malicious" if row[1] == "1" else "benign" for row in rows}  # some hashes occur twice
        self.assertEqual(dict(self.query("SELECT lower(hex(s.sha256)), l.verdict FROM label l JOIN sample s ON s.id = l.sample WHERE l.current = 1")), last)


if __name__ == "__main__":
    if not DATA:
        print("test_extract_dataset: MALSEQ_DATA is not set; the real datasets are skipped")
    unittest.main()

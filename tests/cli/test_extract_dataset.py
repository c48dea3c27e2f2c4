"""extract dataset: the published formats in small, generated files, damaged ones, and the real ones."""
# in release: MalApi.test_real Oliveira.test_long_line
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
from gen import datasets  # noqa: E402
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
                              capture_output=True, text=True, timeout=250)
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
        done = subprocess.run([str(BIN / "malseq"), "query", "--json", "--corpus", str(self.corpus), sql], capture_output=True, text=True, timeout=250)
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
        # There is no sample to send again.
        done = subprocess.run([str(BIN / "extract"), "retry", "--state", "no_calls", "--corpus", str(self.corpus), "--json"], capture_output=True, timeout=250)
        self.assertEqual(json.loads(done.stdout)["queued"], 0)
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

    def test_copies_of_the_labels(self):
        """Lists that went through a spreadsheet: quotes, other case, a line of names, a byte order mark, mixed line ends."""
        path = self.make(["a b", "c", "d e"], ["Virus"] * 3)
        (path / "labels.csv").write_bytes(b'\xef\xbb\xbfClass\r\n"Worms"\nTROJAN \r\n"virus"')
        self.run_dataset("mal-api-2019", path)
        self.assertEqual(self.query("SELECT class FROM label ORDER BY id"), [("Worm",), ("Trojan",), ("Virus",)])
        # One line of names, and only in front.
        for text in ("class\nclass\nVirus\nVirus\nVirus\n", "Virus\nclass\nVirus\n"):
            (path / "labels.csv").write_text(text)
            self.run_dataset("mal-api-2019", path, expect=3)
            self.assertIn("line 2: 'class'", self.stderr)

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
        self.assertEqual(summary["contradicting"], 1)
        self.assertIn("line 5: its first column is no SHA-256", self.stderr)
        self.assertIn("line 6: its label is neither 0 nor 1", self.stderr)
        self.assertEqual(self.query("SELECT lower(hex(s.sha256)), l.verdict FROM sample s JOIN label l ON l.sample = s.id WHERE l.current = 1 ORDER BY s.id"),
                         [(digest[0], "malicious"), (digest[1], "malicious"), (digest[3], "malicious")])
        self.assertEqual(self.query("SELECT count(*) FROM analysis"), [(4,)])
        again = self.run_dataset("malbehavd-v1", self.base / "set.csv", expect=1)
        self.assertEqual((again["samples"], again["new"], again["known"]), (4, 0, 4))
        self.assertEqual(self.query("SELECT (SELECT count(*) FROM analysis), (SELECT count(*) FROM label)"), [(4, 4)])

    def test_odd_text(self):
        """Quotes, doubled ones, mixed line ends, a byte order mark, NUL, gzip, and rows whose quotes are damaged, which cost themselves alone."""
        d = [datasets.sha256(number) for number in range(7)]
        text = (b"\xef\xbb\xbf\"sha256\",labels,0,1\r\n\"%s\",\"1\",\"a\"\"b\",c\r%s,0,x\n\n%s,1,\"open\n%s,1,\"shut\"ter\r\n%s,1,p\0q,r\n%s\n%s,0"
                % tuple(x.encode() for x in d))
        path = self.base / "odd.csv.gz"
        path.write_bytes(gzip.compress(text))
        summary = self.run_dataset("malbehavd-v1", path, expect=1)
        self.assertEqual((summary["samples"], summary["calls"], summary["without_calls"], summary["rejected"]), (4, 5, 1, 3))
        for line, why in ((5, "quotation"), (6, "quotation"), (8, "1 columns instead of 2")):
            self.assertRegex(self.stderr, f"line {line}: .*{why}")
        self.assertEqual([(row["hash"], row["api"]) for row in self.calls("SELECT lower(hex(s.sha256)) AS hash, c.api FROM calls c JOIN sample s ON s.id = c.sample ORDER BY 1, c.seq")],
                         sorted([(d[0], 'a"b'), (d[0], "c"), (d[1], "x"), (d[4], "p\\x00q"), (d[4], "r")], key=lambda row: row[0]))

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


class Oliveira(Case):
    def write(self, rows, head=datasets.OLIVEIRA_HEAD, end="\n"):
        path = self.base / "oliveira.csv"
        path.write_text(datasets.csv_text(rows, head, end))
        return path

    def stored(self):
        out = {}
        for row in self.calls("SELECT lower(hex(s.md5)) AS hash, c.api FROM calls c JOIN sample s ON s.id = c.sample ORDER BY c.sample, c.process, c.seq"):
            out.setdefault(row["hash"], []).append(row["api"])
        return out

    def test_rows(self):
        rows = datasets.oliveira(random.Random(3), 300)
        names = datasets.oliveira_names()
        self.assertEqual((len(names), len(set(names)), names[0], names[215], names[306]), (307, 307, "NtOpenThread", "NtClose", "__exception__"))
        for end in ("\n", "\r\n"):
            self.corpus = self.base / f"corpus{len(end)}"
            path = self.write(rows, end=end)
            summary = self.run_dataset("oliveira", path)
            self.assertEqual([summary[key] for key in ("samples", "calls", "without_calls", "new", "known", "rejected", "contradicting")], [300, 30000, 0, 300, 0, 0, 0])
            self.assertEqual(summary["apis"], len({cell for row in rows for cell in row[1:101]}))
            self.assertEqual(self.stored(), {row[0]: [names[cell] for cell in row[1:101]] for row in rows})
            self.assertEqual(dict(self.query("SELECT lower(hex(s.md5)), l.verdict FROM sample s JOIN label l ON l.sample = s.id")),
                             {row[0]: "malicious" if row[101] else "benign" for row in rows})
            again = self.run_dataset("oliveira", path)
            self.assertEqual((again["samples"], again["new"], again["known"]), (300, 0, 300))
        self.assertEqual(self.query("SELECT o.kind, o.name, o.licence, o.claim, o.state, count(*) FROM origin o JOIN analysis a ON a.origin = o.id"),
                         [("dataset", "oliveira", "CC-BY-4.0", "unknown", "ok", 300)])
        self.assertEqual(self.query("SELECT DISTINCT sandbox, state FROM analysis"), [("dataset:oliveira", "ok")])

    def test_wrong_rows(self):
        rows = datasets.oliveira(random.Random(4), 12)
        for number, cell, value in ((1, 50, 307), (2, 1, "-1"), (3, 100, "1.0"), (4, 3, ""), (5, 101, 2), (6, 0, "x" * 32), (7, 0, datasets.sha256(1)),
                                    (8, 9, "4294967296"), (9, 9, "99999999999999999999")):
            rows[number][cell] = value
        rows.append(rows[0][:101])               # a column short
        rows.append(rows[0] + [1])               # one too many
        rows.append([rows[0][0].upper()] + rows[0][1:101] + [1 - rows[0][101]])  # says the opposite of the first
        path = self.write(rows)
        summary = self.run_dataset("oliveira", path, expect=1)
        self.assertEqual([summary[key] for key in ("samples", "rejected", "contradicting", "calls")], [4, 11, 1, 400])
        for line, why in ((3, "t_49 is none"), (4, "t_0 is none"), (5, "t_99 is none"), (6, "t_2 is none"), (7, "neither 0 nor 1"), (8, "no MD5"), (9, "no MD5"),
                          (10, "t_8 is none"), (11, "t_8 is none"), (14, "101 columns instead of 102"), (15, "103 columns instead of 102")):
            self.assertRegex(self.stderr, f"line {line}: .*{why}")
        self.assertEqual(self.query("SELECT count(*) FROM sample"), [(3,)])
        self.assertEqual(self.query(f"SELECT l.verdict FROM label l JOIN sample s ON s.id = l.sample WHERE l.current AND hex(s.md5) = upper('{rows[0][0]}')"),
                         [("benign" if rows[0][101] else "malicious",)])

    def test_not_the_dataset(self):
        rows = datasets.oliveira(random.Random(5), 2)
        for head in (None, OTHER_HEADS[0], OTHER_HEADS[1], OTHER_HEADS[2]):
            self.run_dataset("oliveira", self.write(rows, head), expect=3)
            self.assertIn("not Oliveira's", self.stderr)
        (self.base / "empty.csv").write_text("")
        self.run_dataset("oliveira", self.base / "empty.csv", expect=3)
        self.run_dataset("oliveira", self.base, expect=4)
        done = subprocess.run([str(BIN / "extract"), "dataset", "oliveira", "a", "b", "--corpus", str(self.corpus)], capture_output=True, text=True, timeout=250)
        self.assertEqual(done.returncode, 2)

    def test_long_line(self):
        """A line of 100 MB, twice: one field, and fields without end. It costs itself."""
        rows = datasets.oliveira(random.Random(6), 3)
        text = datasets.csv_text(rows, datasets.OLIVEIRA_HEAD).encode().split(b"\n")
        mebibytes = 6 if SANITIZED else 100
        path = self.base / "long.csv"
        with open(path, "wb") as file:  # piece by piece: the memory of this process would count as that of its children
            for before, piece in ((text[0] + b"\n" + text[1] + b"\n", b"a" * (1 << 20)), (b"\n" + text[2] + b"\n", b"\0," * (1 << 19))):
                file.write(before)
                for _ in range(mebibytes):
                    file.write(piece)
            file.write(b"\n" + text[3] + b"\n")
        summary = self.run_dataset("oliveira", path, expect=1)
        self.assertEqual((summary["samples"], summary["rejected"], summary["calls"]), (3, 2, 300))
        self.assertRegex(self.stderr, "line 3: 1 columns")
        self.assertRegex(self.stderr, f"line 5: {(mebibytes << 19) + 1} columns")
        if not SANITIZED:
            self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, 64 << 10)

    def test_two_datasets(self):
        """One file in two datasets that say the opposite: each keeps its own label, and neither contradicts itself."""
        digest = datasets.sha256(1)
        path = self.base / "behav.csv"
        path.write_text(f"sha256,labels,0\n{digest},0,NtClose\n")
        self.run_dataset("malbehavd-v1", path)
        rows = datasets.oliveira(random.Random(7), 1)
        rows[0][0], rows[0][101] = datasets.md5(1), 1
        with sqlite3.connect(self.corpus / "corpus.db") as connection:  # its MD5 became known meanwhile, as by a look-up
            connection.execute("UPDATE sample SET md5 = ?", (bytes.fromhex(datasets.md5(1)),))
        summary = self.run_dataset("oliveira", self.write(rows))
        self.assertEqual((summary["samples"], summary["contradicting"]), (1, 0))
        self.assertEqual(self.query("SELECT lower(hex(s.sha256)), l.policy, l.verdict FROM sample s JOIN label l ON l.sample = s.id ORDER BY 2"),
                         [(digest, "dataset:malbehavd-v1", "benign"), (digest, "dataset:oliveira", "malicious")])


OTHER_HEADS = [datasets.OLIVEIRA_HEAD[:-1] + ["label"], datasets.OLIVEIRA_HEAD[:50] + datasets.OLIVEIRA_HEAD[51:], datasets.OLIVEIRA_HEAD + ["more"]]


if __name__ == "__main__":
    if not DATA:
        print("test_extract_dataset: MALSEQ_DATA is not set; the real datasets are skipped")
    unittest.main()

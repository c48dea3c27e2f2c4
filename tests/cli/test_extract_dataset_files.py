"""extract dataset avast-ctu and big-2015: a file a sample, in folders and in the archives they are published in; damaged and hostile ones."""
# in release: Big.test_large
import gzip
import io
import json
import os
import pathlib
import random
import resource
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from gen import datasets, report, sevenzip  # noqa: E402
from gen.schema import Schema  # noqa: E402

SCHEMA = Schema("extract.schema.json")
BIN = pathlib.Path(os.environ.get("MALSEQ_BIN", ROOT / "build/release/bin"))
SANITIZED = os.environ.get("MALSEQ_SANITIZED") == "1"


def zipped(entries, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


def tarred(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="malseq-dataset-")
        self.addCleanup(self.folder.cleanup)
        self.base = pathlib.Path(self.folder.name)
        self.corpus = self.base / "corpus"

    def run_dataset(self, name, *paths, expect=0, options=()):
        done = subprocess.run([str(BIN / "extract"), "dataset", name, *map(str, paths), "--corpus", str(self.corpus), "--json", *options],
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

    def traces(self):
        """The calls of each sample, by its name."""
        done = subprocess.run([str(BIN / "malseq"), "query", "--json", "--corpus", str(self.corpus),
                               "SELECT coalesce(CAST(a.external_id AS TEXT), lower(hex(s.sha256))) AS name, c.api FROM calls c JOIN sample s ON s.id = c.sample"
                               " LEFT JOIN alias a ON a.sample = s.id ORDER BY c.sample, c.process, c.seq"], capture_output=True, text=True, timeout=250)
        self.assertEqual(done.returncode, 0, done.stderr)
        out = {}
        for line in done.stdout.splitlines():
            row = json.loads(line)
            out.setdefault(row["name"], []).append(row["api"])
        return out

    def digest(self):
        done = subprocess.run([str(BIN / "malseq"), "fsck", "--digest", "--corpus", str(self.corpus)], capture_output=True, text=True, timeout=250)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def write(self, name, data):
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    def write_all(self, folder, entries):
        for name, data in entries:
            self.write(f"{folder}/{name}", data)
        return self.base / folder


class Big(Case):
    COUNT = 20

    def setUp(self):
        super().setUp()
        rng = random.Random(15)
        self.ids = [datasets.big_id(number) for number in range(self.COUNT)]
        made = [datasets.listing(rng, 10 * (number + 1)) for number in range(self.COUNT)]
        self.opcodes = {key: opcodes for key, (_, opcodes) in zip(self.ids, made)}
        self.sizes = {key: rng.randrange(1, 300) for key in self.ids}
        self.classes = {key: number % 9 + 1 for number, key in enumerate(self.ids)}
        self.entries = [entry for key, (data, _) in zip(self.ids, made) for entry in ((f"{key}.asm", data), (f"{key}.bytes", datasets.dump(rng, self.sizes[key])))]
        self.labels = self.write("trainLabels.csv", datasets.csv_text([[f'"{key}"', label] for key, label in self.classes.items()], ['"Id"', '"Class"']))
        for key, (data, opcodes) in zip(self.ids, made):  # in .text, what the competition's solutions find; digits end their words
            text = datasets.literature_opcodes(data)
            quarter = len(opcodes) // 4
            self.assertEqual(text, [name.rstrip("0123456789").replace("cvtsi2sd", "cvtsi") for name in opcodes[:quarter] + opcodes[3 * quarter:]])

    def check(self, summary, new=COUNT):
        calls = sum(map(len, self.opcodes.values()))
        self.assertEqual([summary[key] for key in ("samples", "calls", "without_calls", "sizes", "new", "known", "rejected", "contradicting")],
                         [self.COUNT, calls, 0, self.COUNT, new, self.COUNT - new, 0, 0])
        self.assertEqual(summary["apis"], len({name for names in self.opcodes.values() for name in names}))
        self.assertEqual(self.traces(), self.opcodes)
        self.assertEqual(dict(self.query("SELECT CAST(a.external_id AS TEXT), s.size FROM alias a JOIN sample s ON s.id = a.sample")), self.sizes)
        self.assertEqual(self.query("SELECT DISTINCT space FROM api"), [(2,)])
        family = {key: datasets.BIG_FAMILIES[label - 1] for key, label in self.classes.items()}
        self.assertEqual(self.query("SELECT CAST(a.external_id AS TEXT), l.policy, l.verdict, l.class, l.family FROM label l JOIN alias a ON a.sample = l.sample ORDER BY 1"),
                         sorted((key, "dataset:big-2015", "malicious", family[key], family[key]) for key in self.ids))

    def test_forms(self):
        digests = set()
        forms = {"folder": self.write_all("folder/train", self.entries),
                 "7z": self.write("train.7z", sevenzip.packed([(f"train/{name}", data) for name, data in self.entries])),
                 "zip": self.write("train.zip", zipped([(f"train/{name}", data) for name, data in self.entries] + [("readme.txt", b"x")])),
                 "sorted otherwise": self.write("other.tar", tarred(sorted(self.entries, key=lambda entry: entry[0][::-1])))}
        for form, path in forms.items():
            with self.subTest(form):
                self.corpus = self.base / ("corpus-" + form)
                self.check(self.run_dataset("big-2015", path, self.labels))
                digests.add(self.digest())
                self.check(self.run_dataset("big-2015", self.labels, path), new=0)
                digests.add(self.digest())
        self.assertEqual(len(digests), 1)
        self.assertEqual(self.query("SELECT kind, name, licence, claim, state FROM origin"), [("dataset", "big-2015", "rules of the Kaggle competition", "malware", "ok")])
        # Single files, and compressed ones.
        self.corpus = self.base / "corpus-single"
        first = self.write(f"{self.ids[0]}.asm.gz", gzip.compress(self.entries[0][1]))
        summary = self.run_dataset("big-2015", self.labels, first)
        self.assertEqual((summary["samples"], summary["calls"], summary["sizes"]), (1, len(self.opcodes[self.ids[0]]), 0))

    def test_hostile(self):
        """Each file is a fault of its own, and costs itself alone."""
        good = self.entries[0][1]
        long_word = b".text:00401000 55 " + b"a" * 500 + b"\r\n"
        # Between two good samples, so that what is left of one would show in the next.
        cases = [("asm", b"", "no line of it"), ("asm", b"\0" * 1000, "no line of it"), ("asm", b"push ebp\n" * 50, "no line of it"),
                 ("bytes", b"00401000 5\n", "line 1: it is not an address"), ("bytes", b"00401000 55 8B\n00401010 5G\n", "line 2: "), ("bytes", b"0040 55\n", "line 1: "),
                 ("bytes", b"00401000 55 ?5\n", "line 1: "), ("bytes", b"x" * (1 << 20), "line 1: ")]
        entries = [self.entries[0]]
        for number, (end, data, _) in enumerate(cases):
            entries.append((f"{self.ids[number + 1]}.{end}", data))
        entries += [("0NotInTheList00000000.asm", good), ("._" + self.entries[0][0], b"mac"), (self.ids[12] + ".asm", long_word + good),
                    (self.ids[13] + ".asm", good.replace(b"\r\n", b"\n").rstrip())]
        for path in (self.write_all("hostile", entries), self.write("hostile.zip", zipped(entries))):
            self.corpus = self.base / ("corpus-" + path.name)
            summary = self.run_dataset("big-2015", path, self.labels, expect=1)
            self.assertEqual([summary[key] for key in ("samples", "sizes", "rejected", "calls")], [3, 0, len(cases) + 1, 3 * len(self.opcodes[self.ids[0]])])
            for number, (_, _, why) in enumerate(cases):
                self.assertRegex(self.stderr, f"{self.ids[number + 1]}.*{why}")
            self.assertRegex(self.stderr, "0NotInTheList00000000.*the list of labels does not have it")
            self.assertEqual(self.traces(), {self.ids[number]: self.opcodes[self.ids[0]] for number in (0, 12, 13)})
        # A program without instructions is a sample without calls.
        self.run_dataset("big-2015", self.write(f"{self.ids[14]}.asm", b".data:00401000 00 00\t db 0\n"), self.labels)
        self.assertEqual(self.query("SELECT state, calls FROM analysis ORDER BY id DESC LIMIT 1"), [("no_calls", 0)])

    def test_archives(self):
        """Cut, damaged, empty and no archives; what is whole in them is taken."""
        whole = zipped(self.entries, zipfile.ZIP_STORED)
        at = whole.index(self.entries[4][1]) + 20
        damaged = whole[:at] + b"\xff" * 8 + whole[at + 8:]
        summary = self.run_dataset("big-2015", self.write("damaged.zip", damaged), self.labels, expect=1)
        self.assertEqual((summary["samples"], summary["sizes"], summary["rejected"]), (19, 20, 1))
        self.assertRegex(self.stderr, f"{self.ids[2]}.*damaged archive")
        self.assertNotIn(self.ids[2], {key for key, names in self.traces().items() if names})
        packed = sevenzip.packed(self.entries)
        for number, data in enumerate((packed[:len(packed) // 2], b"no archive", b"", whole[:3000])):
            summary = self.run_dataset("big-2015", self.write(f"bad{number}.{'7z' if number < 1 else 'zip'}", data), self.labels, expect=1)
            self.assertGreaterEqual(summary["rejected"], 1)
        # An archive in an archive in an archive is not opened, and what stands beside it is.
        nested = zipped([("a.zip", zipped([("b.zip", zipped(self.entries[:1])), self.entries[2]])), self.entries[4]])
        self.corpus = self.base / "corpus-nested"
        summary = self.run_dataset("big-2015", self.write("nested.zip", nested), self.labels, expect=1)
        self.assertEqual((summary["samples"], set(self.traces())), (2, {self.ids[1], self.ids[2]}))

    def test_labels(self):
        folder = self.write_all("train", self.entries)
        self.run_dataset("big-2015", folder, expect=3)
        self.assertIn("no trainLabels.csv", self.stderr)
        ids = self.ids
        self.write("train/trainLabels.csv", f"ID,Class\n{ids[0]},1\n{ids[1]},0\n{ids[2]},10\n{ids[3]}\n{ids[4]},4,4\nin/valid,3\n{ids[5]},2\n{ids[5]},2\n{ids[5]},3\n{ids[6]},\n")
        summary = self.run_dataset("big-2015", folder, expect=1)
        self.assertEqual((summary["samples"], summary["sizes"], summary["contradicting"], summary["rejected"]), (2, 2, 1, 7 + 2 * 18))
        for line, why in ((3, "number from 1 to 9"), (4, "number from 1 to 9"), (5, "1 columns"), (6, "3 columns"), (7, "id is none"), (10, "something else than line 8"), (11, "number")):
            self.assertRegex(self.stderr, f"trainLabels.csv', line {line}: .*{why}")
        self.assertEqual(self.query("SELECT class FROM label ORDER BY class"), [("Lollipop",), ("Ramnit",)])
        for text in ("", "Id,Kind\na,1\n", f"{ids[0]},1\n"):
            self.run_dataset("big-2015", folder, self.write("other/trainLabels.csv", text), expect=3)
        self.run_dataset("big-2015", self.base / "missing", expect=3)
        self.run_dataset("big-2015", self.write("x.txt", ""), self.labels, expect=3)

    def test_dry_run(self):
        summary = self.run_dataset("big-2015", self.write_all("folder", self.entries), self.labels, options=["--dry-run"])
        self.assertEqual((summary["samples"], summary["calls"], summary["sizes"]), (20, sum(map(len, self.opcodes.values())), 20))
        self.assertFalse(self.corpus.exists())

    def test_large(self):
        """A listing of 140 MB, the largest published, and a line of 100 MB: memory does not know of it."""
        size = (3 if SANITIZED else 140) << 20
        block = self.entries[-2][1]
        path = self.base / f"{self.ids[0]}.asm"
        times = size // len(block)
        with open(path, "wb") as file:
            for _ in range(times):
                file.write(block)
            file.write(b".text:00401000 90 nop ; ")
            for _ in range(size // len(block) * 2 // 3):
                file.write(block.replace(b"\r\n", b"  "))
        summary = self.run_dataset("big-2015", path, self.labels)
        self.assertEqual(summary["calls"], times * len(self.opcodes[self.ids[-1]]) + 1)
        if not SANITIZED:
            self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, 128 << 10)


class Avast(Case):
    COUNT = 24

    def setUp(self):
        super().setUp()
        self.rows = datasets.avast_labels(self.COUNT)
        self.label_text = datasets.csv_text(self.rows, datasets.AVAST_HEAD)
        self.reduced = [(f"public_small_reports/{datasets.sha256(number)}.json", datasets.reduced_report(number)) for number in range(self.COUNT)]

    def check_reduced(self, summary, new=COUNT):
        self.assertEqual([summary[key] for key in ("samples", "calls", "without_calls", "new", "known", "rejected")], [self.COUNT, 0, self.COUNT, new, self.COUNT - new, 0])
        self.assertEqual(self.query("SELECT state, sandbox, processes, count(*) FROM analysis GROUP BY 1, 2, 3"), [("no_calls", "dataset:avast-ctu", 0, self.COUNT)])
        self.assertEqual(self.query("SELECT lower(hex(s.sha256)), l.family, l.class, date(l.as_of_ms / 1000, 'unixepoch'), l.verdict, l.policy FROM label l JOIN sample s ON s.id = l.sample ORDER BY 1"),
                         sorted((*row, "malicious", "dataset:avast-ctu") for row in self.rows))

    def test_forms(self):
        flat = zipped([("public_labels.csv", self.label_text)] + self.reduced)
        inside = zipped([("public_labels.csv", self.label_text), ("public_small_reports.zip", zipped(self.reduced))])
        last = zipped([("public_small_reports.zip", zipped(self.reduced)), ("__MACOSX/._public_labels.csv", b"mac"), ("public_labels.csv", self.label_text)], zipfile.ZIP_STORED)
        digests = set()
        for form, data in (("flat", flat), ("nested", inside), ("labels last", last)):
            with self.subTest(form):
                self.corpus = self.base / ("corpus-" + form)
                path = self.write(f"{form}.zip", data)
                self.check_reduced(self.run_dataset("avast-ctu", path))
                self.check_reduced(self.run_dataset("avast-ctu", path), new=0)
                digests.add(self.digest())
        folder = self.write_all("unpacked", self.reduced + [("public_labels.csv", self.label_text)])
        self.corpus = self.base / "corpus-folder"
        self.check_reduced(self.run_dataset("avast-ctu", folder))
        digests.add(self.digest())
        self.assertEqual(len(digests), 1)
        self.assertEqual(self.query("SELECT kind, name, licence, claim FROM origin"), [("dataset", "avast-ctu", "MIT", "malware")])

    def test_full(self):
        """Full reports have calls, and stand beside the reduced ones of the same samples."""
        rng = random.Random(9)
        entries, wanted = [], {}
        for number in range(6):
            processes = [report.Process("a.exe", [rng.choice(("NtClose", "NtOpenKey", "LdrLoadDll", "__anomaly__")) for _ in range(rng.randrange(1, 50))]) for _ in range(number % 3 + 1)]
            data = report.cape(processes, sha256=datasets.sha256(number))
            entries.append((f"public_full_reports/{datasets.sha256(number)}.json", data))
            counts = report.count_json(data)
            wanted[datasets.sha256(number)] = (counts["processes"], counts["calls"], counts["calls_expanded"])
        entries.append((f"public_full_reports/{datasets.sha256(6)}.json", report.cape([report.Process("a.exe", ["NtClose"])], sha256=datasets.sha256(7))))
        labels = self.write("public_labels.csv", self.label_text)
        self.run_dataset("avast-ctu", labels, self.write("small.zip", zipped(self.reduced)))
        summary = self.run_dataset("avast-ctu", self.write("full.zip", zipped(entries)), labels, expect=1)
        self.assertEqual((summary["samples"], summary["new"], summary["rejected"], summary["calls"]), (6, 6, 1, sum(counts[1] for counts in wanted.values())))
        self.assertRegex(self.stderr, f"{datasets.sha256(6)}.*about another file")
        rows = self.query("SELECT lower(hex(s.sha256)), a.processes, a.calls, a.calls_expanded FROM analysis a JOIN sample s ON s.id = a.sample WHERE a.state = 'ok'")
        self.assertEqual({row[0]: row[1:] for row in rows}, wanted)
        self.assertEqual(self.query("SELECT count(*) FROM sample"), [(self.COUNT,)])

    def test_hostile(self):
        good = datasets.reduced_report(0)
        cut = report.cape([report.Process("a.exe", ["NtClose"] * 40 + ["NtOpenKey", "LdrLoadDll"] * 30)], sha256=datasets.sha256(5))
        entries = [self.reduced[0], (f"r/{datasets.sha256(1)}.json", good[:-1]), (f"r/{datasets.sha256(2)}.json", b""), (f"r/{datasets.sha256(3)}.json", b"[]"),
                   (f"r/{datasets.sha256(4)}.json", good.replace(b"Sleep", b"\xff\xfe")), (f"r/{datasets.sha256(5)}.json", cut[:len(cut) // 2]),
                   ("r/short.json", good), (f"r/{'f' * 64}.json", good), (f"r/{datasets.sha256(8).upper()}.json", good), (f"r/{datasets.sha256(9)}.json", b"[" * 100000),
                   (f"r/{datasets.sha256(10)}.json", b'{"behavior": {}}'), (f"r/{datasets.sha256(11)}.json", b'{"info": {}}'),
                   (f"r/{datasets.sha256(12)}.json", report.cape([report.Process("b.exe", ["NtClose"])], sha256=datasets.sha256(12)))]
        labels = self.write("public_labels.csv", self.label_text)
        for path in (self.write("hostile.zip", zipped(entries)), self.write_all("hostile", entries)):
            self.corpus = self.base / ("corpus-" + path.name)
            summary = self.run_dataset("avast-ctu", path, labels, expect=1)
            self.assertEqual((summary["samples"], summary["rejected"], summary["calls"]), (5, 8, 1))
            self.assertEqual(self.query("SELECT lower(hex(s.sha256)), a.state FROM analysis a JOIN sample s ON s.id = a.sample ORDER BY 1"),
                             sorted([(datasets.sha256(0), "no_calls"), (datasets.sha256(8), "no_calls"), (datasets.sha256(10), "no_calls"), (datasets.sha256(11), "no_behavior"),
                                     (datasets.sha256(12), "ok")]))
            self.assertEqual(self.traces(), {datasets.sha256(12): ["NtClose"]})  # and nothing of the report that was cut before it
            self.assertNotIn("\x1b", self.stderr)

    def test_labels(self):
        folder = self.write_all("r", self.reduced[:4])
        rows = [[*row] for row in self.rows[:4]]
        order = [[row[3], "0", row[0].upper(), row[2], row[1]] for row in rows]
        order[1][0] = "2019-02-30"
        order[2][4] = "<script>"
        order += [["2019-01-05", "9", rows[0][0], "rat", "Emotet"], ["2019-01-05 10:11:12", "9", "a" * 64, "rat", "njRAT"], ["soon", "1", "b" * 64, "rat", "njRAT"]]
        head = ["date", "", "sha256", "classification_type", "classification_family"]
        summary = self.run_dataset("avast-ctu", folder, self.write("public_labels.csv", datasets.csv_text(order, head)), expect=1)
        self.assertEqual((summary["samples"], summary["contradicting"], summary["rejected"]), (2, 1, 4 + 2))
        for line, why in ((3, "date is none"), (4, "no word"), (6, "something else than line 2"), (8, "date is none")):
            self.assertRegex(self.stderr, f"public_labels.csv', line {line}: .*{why}")
        self.assertNotIn("\x1b", self.stderr)


if __name__ == "__main__":
    unittest.main()

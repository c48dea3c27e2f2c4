"""malseq export --what traces: the normalisation against a plain one over random reports, each format read back by somebody else's
reader, the card, what must stay inside, and that the same corpus gives the same bytes. Nothing leaves the machine."""
import collections
import csv
import hashlib
import io
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from gen import normal  # noqa: E402
from gen.schema import Schema  # noqa: E402

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
SCHEMA = Schema("traces.schema.json")
APIS = ["CreateFileW", "CreateFileA", "createfilew", "NtClose", "ZwClose", "RegOpenKeyExA", "RegOpenKeyExW", "__exception__", "Sleep", "=cmd|'x'!A1",
        "with blank", "höhe"]
SHELL = "=2+2.exe"
# numpy may belong to the system's Python alone.
NUMPY = """
import json, sys
import numpy
arrays = numpy.load(sys.argv[1])
print(json.dumps({name: {"dtype": arrays[name].dtype.str, "values": arrays[name].tolist()} for name in arrays.files}))
"""


def sha256(number):
    return hashlib.sha256(b"%d" % number).hexdigest()


def random_processes(rng):
    processes = []
    for _ in range(rng.randrange(1, 5)):
        now, calls = rng.randrange(40) / 4, []
        while len(calls) < rng.randrange(1, 120):
            block = [rng.choice(APIS) for _ in range(rng.randrange(1, 6))]
            for name in block * rng.choice((1, 1, 1, 2, 5)):
                now += rng.choice((0, 0, 0, .25, -.25, 1))
                calls.append({"api": name, "time": now + 1600000000, "repeated": rng.choice((0, 0, 0, 0, 1, 7))})
        processes.append({"first_seen": rng.choice((None, 1, 2, 3, 3.5)), "track": rng.random() > .2, "calls": calls})
    processes[0]["track"] = True
    return processes


def report_of(number, processes):
    """As Cuckoo 2 writes it, with CAPE's `repeated`: readers go by the shape of each field."""
    rows = []
    for pid, process in enumerate(processes):
        calls = [{"category": "misc", "api": call["api"], "status": 1, "return_value": 0, "arguments": {}, "flags": {}, "time": call["time"],
                  "tid": 7, "repeated": call["repeated"]} for call in process["calls"]]
        row = {"type": "process", "pid": pid + 4, "ppid": 4, "process_name": "x.exe", "track": process["track"], "calls": calls}
        if process["first_seen"] is not None:
            row["first_seen"] = process["first_seen"] + 1600000000
        rows.append(row)
    return {"info": {"version": "2.0.7"}, "target": {"category": "file", "file": {"sha256": sha256(number), "name": SHELL}},
            "behavior": {"processes": rows}}


class TracesCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-traces-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.corpus = self.root / "corpus"

    def tool(self, name, *args, expect=0, corpus=None, **more):
        command = [os.path.join(BIN, name), *map(str, args), "--corpus", str(corpus or self.corpus)]
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=250, check=False, **more)
        self.talk = done.stderr.decode("utf-8", "replace")
        self.assertEqual(done.returncode, expect, self.talk)
        return done.stdout

    def fill(self, traces, corpus=None, batches=1):
        """Imports {number: processes} in this order, in so many runs, and labels them by number."""
        numbers = list(traces)
        for batch in range(batches):
            folder = self.root / "reports"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for place, number in enumerate(numbers[batch::batches]):
                (folder / f"{place:03d}.json").write_text(json.dumps(report_of(number, traces[number])))
            self.tool("extract", "import", folder, "-q", corpus=corpus)
        with sqlite3.connect((corpus or self.corpus) / "corpus.db") as db:
            for number in numbers:
                verdict, name = ("benign", None) if number % 3 == 0 else ("malicious", ("Worm", "=Virus")[number % 2])
                db.execute("INSERT INTO label (sample, policy, verdict, class, family, as_of_ms, made_ms) SELECT id, 'ember2024', ?, ?, ?, 5, 1"
                           " FROM sample WHERE sha256 = ?", (verdict, name, name and "fam", bytes.fromhex(sha256(number))))

    def rows(self, *args, corpus=None):
        rows = [json.loads(line) for line in self.tool("malseq", "export", "--what", "traces", *args, corpus=corpus).decode().splitlines()]
        for row in rows:
            SCHEMA.check(row, "trace")
        return rows


class Normalisation(TracesCase):
    def test_against_a_plain_one(self):
        rng = random.Random(5)
        traces = {number: random_processes(rng) for number in range(24)}
        self.fill(traces)
        keys = {sha256(number): processes for number, processes in traces.items()}
        seen = collections.Counter()
        for _ in range(12):
            options = {"order": rng.choice(("process", "time")), "fold": rng.choice(("none", "case", "suffix", "native", "case+suffix+native")),
                       "pseudo": rng.choice(("drop", "keep")), "repeated": rng.choice(("expand", "entry")), "collapse": rng.choice((0, 1, 2)),
                       "loops": rng.choice((0, 2, 5, 32)), "once": rng.choice(("no", "no", "yes")), "cut": rng.choice(("head", "tail", "middle")),
                       "max_calls": rng.choice((0, 7, 100))}
            typed = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
            rows = self.rows(*typed)
            self.assertEqual([row["id"] for row in rows], sorted(row["id"] for row in rows))
            left = 0
            for row in rows:
                expected, length = normal.normalise(keys[row["id"]], **options)
                self.assertEqual(row["calls"], expected, options)
                self.assertEqual(row["cut"], length > len(expected))
                seen["cut"] += row["cut"]
                left += 1
                whole, _ = normal.normalise(keys[row["id"]], repeated=options["repeated"], pseudo=options["pseudo"])
                self.assertEqual(row["length"], len(whole))
            self.assertEqual(left, sum(bool(normal.normalise(p, **options)[0]) for p in traces.values()))
            seen["rows"] += left
        self.assertGreater(seen["cut"], 30)
        self.assertGreater(seen["rows"], 200)
        lengths = sorted(len(normal.normalise(p)[0]) for p in traces.values())
        self.assertEqual(len(self.rows("--min-calls", lengths[10])), sum(n >= lengths[10] for n in lengths))
        self.assertIn("case, suffix and native", (self.tool("malseq", "export", "--what", "traces", "--fold", "upper", expect=2), self.talk)[1])
        self.tool("malseq", "export", "--what", "traces", "--loops", "33", expect=2)
        self.tool("malseq", "export", "--loops", "3", expect=2)
        self.tool("malseq", "export", "--format", "npz", "--out", self.root / "x", expect=2)
        self.tool("malseq", "export", "--what", "traces", "--format", "npz", expect=2)
        self.tool("malseq", "export", "--what", "traces", "--sightings", expect=2)


class Formats(TracesCase):
    made = None     # the corpus, its traces and their rows: made by the first test, copied by the others

    def setUp(self):
        super().setUp()
        self.options = ["--collapse", "1", "--fold", "case"]
        if not Formats.made:
            rng = random.Random(6)
            traces = {number: random_processes(rng) for number in range(18)}
            self.fill(traces)
            folder = tempfile.TemporaryDirectory(prefix="malseq-traces-")
            self.addClassCleanup(folder.cleanup)
            shutil.copytree(self.corpus, pathlib.Path(folder.name) / "corpus")
            Formats.made = (pathlib.Path(folder.name) / "corpus", traces, self.rows(*self.options))
        template, self.traces, self.expected = Formats.made
        if not self.corpus.exists():
            shutil.copytree(template, self.corpus)

    def write(self, name, *args, corpus=None, folder="out"):
        out = self.root / folder / f"t.{name}"
        out.parent.mkdir(exist_ok=True)
        self.tool("malseq", "export", "--what", "traces", "--format", name, "--out", out, *self.options, *args, corpus=corpus)
        return out

    def test_csv(self):
        csv.field_size_limit(1 << 24)
        text = self.write("csv", "--names").read_bytes().decode()
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        self.assertEqual(len(rows), len(self.expected))
        guard = lambda name: "'" + name if name[0] in "=+-@" else name      # noqa: E731
        for row, expected in zip(rows, self.expected):
            self.assertEqual((row["id"], row["verdict"], row["class"] or None, row["family"] or None, int(row["length"]), row["cut"] == "1"),
                             (expected["id"], expected["verdict"], expected["class"] and guard(expected["class"]), expected["family"],
                              expected["length"], expected["cut"]))
            self.assertEqual(row["calls"].split(" "), [guard(name.replace(" ", "\\x20")) for name in expected["calls"]])
            for cell in row.values():
                self.assertNotIn((cell or "x")[0], "=+-@\t\r")

    def test_npz(self):
        out = self.write("npz")
        python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
        done = subprocess.run([python, "-c", NUMPY, str(out)], capture_output=True, text=True, timeout=250, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        arrays = json.loads(done.stdout)
        values = {name: array["values"] for name, array in arrays.items()}
        self.assertEqual((arrays["calls"]["dtype"], arrays["offsets"]["dtype"], arrays["cut"]["dtype"]), ("<i2", "<i8", "|b1"))
        self.assertEqual(values["vocabulary"][0], "")
        counts = collections.Counter(name for row in self.expected for name in row["calls"])
        self.assertEqual(values["vocabulary"][1:], sorted(counts, key=lambda name: (-counts[name], name.encode())))
        self.assertEqual(len(values["offsets"]), len(self.expected) + 1)
        pick = lambda name, number: values[name][number] if number >= 0 else None      # noqa: E731
        for place, row in enumerate(self.expected):
            calls = values["calls"][values["offsets"][place]:values["offsets"][place + 1]]
            self.assertEqual([values["vocabulary"][call] for call in calls], row["calls"])
            self.assertEqual((values["ids"][place], pick("verdicts", values["verdict"][place]), pick("classes", values["class"][place]),
                              pick("families", values["family"][place]), pick("sandboxes", values["sandbox"][place]), values["length"][place],
                              values["cut"][place]),
                             (row["id"], row["verdict"], row["class"], row["family"], row["sandbox"], row["length"], row["cut"]))

    def lines(self, path):
        for line in path.read_text().splitlines():
            label, *pairs = line.split(" ")
            pairs = [tuple(map(int, pair.split(":"))) for pair in pairs]
            self.assertEqual(pairs, sorted(pairs))
            self.assertEqual(len(dict(pairs)), len(pairs))
            yield int(label), dict(pairs)

    @staticmethod
    def grams(calls, most):
        return collections.Counter(tuple(calls[at:at + n]) for n in range(1, most + 1) for at in range(len(calls) - n + 1))

    def test_libsvm(self):
        out = self.write("libsvm", "--ngrams", "3")
        names = (out.parent / "t.libsvm.features").read_text().splitlines()
        ids = (out.parent / "t.libsvm.ids").read_text().splitlines()
        self.assertEqual(ids, [row["id"] for row in self.expected])
        for (label, counts), row in zip(self.lines(out), self.expected):
            self.assertEqual(label, int(row["verdict"] == "malicious"))
            self.assertEqual({names[index - 1]: count for index, count in counts.items()},
                             {" ".join(gram): count for gram, count in self.grams(row["calls"], 3).items()})
        # By class: those that have none are left out.
        out = self.write("libsvm", "--target", "class")
        malicious = [row for row in self.expected if row["verdict"] == "malicious"]
        classes = sorted({row["class"] for row in malicious})
        self.assertEqual([label for label, _ in self.lines(out)], [classes.index(row["class"]) for row in malicious])
        self.assertEqual((out.parent / "t.libsvm.ids").read_text().splitlines(), [row["id"] for row in malicious])
        card = json.loads((out.parent / "t.libsvm.json").read_text())
        self.assertEqual((card["counts"]["traces"], card["counts"]["left_out_off_target"]), (len(malicious), len(self.expected) - len(malicious)))

    def test_libsvm_hashed(self):
        def index(gram, bits):
            value = 0xcbf29ce484222325
            for byte in "\n".join(gram).encode():
                value = (value ^ byte) * 0x100000001b3 & (1 << 64) - 1
            return ((value ^ value >> 32) & (1 << bits) - 1) + 1
        out = self.write("libsvm", "--ngrams", "2", "--hash-bits", "6")
        self.assertFalse((out.parent / "t.libsvm.features").exists())
        for (_, counts), row in zip(self.lines(out), self.expected):
            expected = collections.Counter()
            for gram, count in self.grams(row["calls"], 2).items():
                expected[index(gram, 6)] += count
            self.assertEqual(counts, expected)

    def test_card(self):
        out = self.write("jsonl")
        text = (out.parent / "t.jsonl.json").read_text()
        card = json.loads(text)
        SCHEMA.check(card, "card")
        data = out.read_bytes()
        self.assertEqual((card["sha256"], card["bytes"], card["file"]), (hashlib.sha256(data).hexdigest(), len(data), "t.jsonl"))
        content = hashlib.sha256()
        for row in self.expected:
            for name in ("id", "verdict", "class", "family"):
                content.update((row[name] or "").encode() + b"\0")
            content.update("".join(name + "\n" for name in row["calls"]).encode() + b"\0")
        self.assertEqual(card["content_sha256"], content.hexdigest())
        self.assertEqual(card["labels"]["verdicts"], dict(sorted(collections.Counter(row["verdict"] for row in self.expected).items())))
        self.assertEqual(card["labels"]["classes"], dict(sorted(collections.Counter(row["class"] for row in self.expected if row["class"]).items())))
        self.assertEqual(card["labels"]["as_of"], {"first_ms": 5, "last_ms": 5})
        self.assertEqual((card["counts"]["traces"], card["counts"]["calls"]), (len(self.expected), sum(len(row["calls"]) for row in self.expected)))
        self.assertIn("collapse=1", card["normalisation"]["options"])
        self.assertLessEqual({source["kind"] for source in card["sources"]}, {"reports", "unknown"})
        self.assertNotIn(str(self.root), text + (out.parent / "t.jsonl.md").read_text())
        for name in ("csv", "npz", "libsvm"):
            other = json.loads((self.write(name).parent / f"t.{name}.json").read_text())
            SCHEMA.check(other, "card")
            self.assertEqual((other["content_sha256"], other["vocabulary_sha256"]), (card["content_sha256"], card["vocabulary_sha256"]), name)

    def test_the_same_bytes(self):
        """Twice, and from a corpus built in another order: other row ids, other numbers of calls, other times."""
        other = self.root / "other"
        self.fill(dict(reversed(self.traces.items())), corpus=other, batches=3)
        for name in ("jsonl", "csv", "npz", "libsvm"):
            for folder, corpus in (("one", None), ("two", None), ("three", other)):
                self.write(name, corpus=corpus, folder=folder)
        files = {path.name: path.read_bytes() for path in (self.root / "one").iterdir()}
        self.assertEqual(len(files), 14)
        for folder in ("two", "three"):
            self.assertEqual({path.name: path.read_bytes() for path in (self.root / folder).iterdir()}, files)

    def test_what_stays_inside(self):
        """A private sample, a sample seen at a private place, and one that was forgotten."""
        everybody = self.root / "everybody.jsonl"
        private, place, forgotten = sha256(1), sha256(2), sha256(3)
        with sqlite3.connect(self.corpus / "corpus.db") as db:
            sample = lambda key: db.execute("SELECT id FROM sample WHERE sha256 = ?", (bytes.fromhex(key),)).fetchone()[0]      # noqa: E731
            db.execute("UPDATE sample SET private = 1 WHERE id = ?", (sample(private),))
            origin = db.execute("INSERT INTO origin (kind, name) VALUES ('folder', '/secret') RETURNING id").fetchone()[0]
            db.execute("INSERT INTO sighting (sample, origin, git_blob, path, chain, private, seen_ms) VALUES (?, ?, ?, ?, ?, 1, 1)",
                       (sample(place), origin, b"1" * 20, b"secret/name.exe", b""))
            other = sample(sha256(4))
            db.execute("INSERT INTO sighting (sample, origin, git_blob, path, chain, seen_ms) VALUES (?, ?, ?, ?, ?, 1)",
                       (other, origin, b"1" * 20, b"open/b.zip", b"a/" + SHELL.encode()))
        self.tool("collect", "forget", forgotten)
        self.tool("malseq", "export", "--what", "traces", "--names", "--unlabelled", "--out", everybody)
        rows = {row["id"]: row for row in map(json.loads, everybody.read_text().splitlines())}
        self.assertEqual(set(rows), {row["id"] for row in self.expected} - {private, place, forgotten})
        self.assertIn(SHELL, rows[sha256(4)]["names"])
        self.assertNotIn("names", self.rows()[0])
        self.assertNotIn("names", self.rows("--names", "--no-names")[0])
        self.assertNotIn("secret", everybody.read_text())

    def test_appears_whole(self):
        folder = self.root / "little"
        folder.mkdir()

        def little_room():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        for name in ("jsonl", "npz", "libsvm"):
            self.tool("malseq", "export", "--what", "traces", "--format", name, "--out", folder / "t", expect=4, preexec_fn=little_room)
            self.assertEqual(list(folder.iterdir()), [])

    def test_labels_asked_for(self):
        self.assertEqual(self.tool("malseq", "export", "--what", "traces", "--policy", "othr", expect=3), b"")
        with sqlite3.connect(self.corpus / "corpus.db") as db:
            db.execute("DELETE FROM label WHERE sample = (SELECT id FROM sample WHERE sha256 = ?)", (bytes.fromhex(sha256(7)),))
        self.assertNotIn(sha256(7), [row["id"] for row in self.rows()])
        row, = (row for row in self.rows("--unlabelled") if row["id"] == sha256(7))
        self.assertEqual((row["verdict"], row["policy"]), (None, None))


if __name__ == "__main__":
    unittest.main()

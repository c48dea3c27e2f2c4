"""What train says of the reports that it held out, detect says of the same files: one input and one score, for every kind of model."""
import hashlib
import json
import os
import pathlib
import random
import sqlite3
import subprocess
import tempfile
import unittest

from gen import report

BIN = os.environ["MALSEQ_BIN"]
COMMON = ["NtClose", "NtCreateFile", "NtReadFile", "LdrLoadDll", "RegOpenKeyExW", "NtAllocateVirtualMemory", "GetSystemMetrics", "NtOpenKey"]
REPORTS = 48


def run(tool, *args, timeout=250):
    return subprocess.run([os.path.join(BIN, tool), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)


def made_report(number):
    """Several processes, pseudo-calls, runs; who is malicious shows in most, and only behind the first calls. So no model is always right."""
    rng = random.Random(number)
    malicious = number % 2 == 0
    calls = [name for name in rng.choices(COMMON, k=40) for _ in range(rng.choice((1, 1, 5)))]
    if rng.random() < .8:
        calls += ["WriteProcessMemory", "CreateRemoteThread"] if malicious else ["CreateRemoteThread", "WriteProcessMemory"]
    calls.insert(5, "__exception__")
    other = rng.choices(COMMON, k=rng.randrange(1, 20))
    make = report.cuckoo if number % 3 else report.cape
    return make([report.Process("a.exe", calls), report.Process("b.exe", other)], sha256=hashlib.sha256(b"%d" % number).hexdigest())


class Held(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = pathlib.Path(folder.name)
        cls.corpus, cls.files = cls.root / "corpus", cls.root / "files"
        cls.files.mkdir()
        for number in range(REPORTS):
            (cls.files / (hashlib.sha256(b"%d" % number).hexdigest() + ".json")).write_bytes(made_report(number))
        done = run("extract", "import", cls.files, "--corpus", cls.corpus)
        if done.returncode != 0:
            raise AssertionError(done.stderr.decode())
        with sqlite3.connect(cls.corpus / "corpus.db") as db:
            for number in range(REPORTS):
                db.execute("INSERT INTO label (sample, policy, verdict, as_of_ms, made_ms) SELECT id, 'dataset:test', ?, 1, 1 FROM sample WHERE sha256 = ?",
                           ("benign" if number % 2 else "malicious", hashlib.sha256(b"%d" % number).digest()))
        db.close()

    def check(self, *args):
        done = run("train", "--corpus", self.corpus, "--name", "m", "--json", "--baselines", "no", "--test-share", ".4", "--jobs", "1", *args)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        result = json.loads(done.stdout)
        model = self.corpus / "models" / "m"
        rows = [json.loads(line) for line in (model / "split.jsonl").read_text().splitlines()[1:]]
        held = [row["key"] for row in rows if row["parts"] == [1]]
        self.assertEqual((len(rows), len(held)), (REPORTS, result["judged"]))
        self.assertGreater(len(held), 12)
        done = run("detect", "--model", model, "--json", *(self.files / (key + ".json") for key in held))
        self.assertIn(done.returncode, (0, 1), done.stderr.decode())
        counts = [[0, 0], [0, 0]]
        verdicts = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(len(verdicts), len(held))
        truth = {hashlib.sha256(b"%d" % number).hexdigest(): number % 2 for number in range(REPORTS)}
        for verdict in verdicts:
            self.assertIn(verdict["verdict"], ("malicious", "benign"))
            counts[verdict["verdict"] == "benign"][truth[pathlib.Path(verdict["file"]).stem]] += 1
        self.assertEqual(counts, result["confusion"]["counts"])
        return {pathlib.Path(verdict["file"]).stem: verdict["score"] for verdict in verdicts}

    def test_every_kind(self):
        small = ["--hidden", "8", "--epochs", "3"]
        kinds = {"lstm": small, "gru": [*small, "--wide", "yes"], "linear": [], "boosted": [], "ensemble": ["--members", "1", *small]}
        scores = {}
        for kind, more in kinds.items():
            with self.subTest(kind=kind):
                scores[kind] = self.check("--kind", kind, *more)
        for kind, by_file in scores.items(): # else nothing was compared
            with self.subTest(kind=kind):
                self.assertGreater(len(set(by_file.values())), 3)

    def test_the_order_of_calls_behind_the_view_is_seen(self):
        """The net's view is cut before what tells the programs apart; the n-grams are of the whole trace."""
        seen = self.check("--kind", "linear", "--max-calls", "5")
        first, second = ([score for key, score in seen.items() if key in {hashlib.sha256(b"%d" % n).hexdigest() for n in range(start, REPORTS, 2)}] for start in (0, 1))
        self.assertGreater(sum(first) / len(first), sum(second) / len(second) + .2)


if __name__ == "__main__":
    unittest.main()

"""Every kind of model on a small generated corpus: what is learnt, baselines beside it, detection with it, and a corpus that stays free meanwhile."""
import hashlib
import json
import os
import pathlib
import random
import sqlite3
import subprocess
import tempfile
import time
import unittest

from gen import report

BIN = os.environ["MALSEQ_BIN"]
COMMON = ["NtClose", "NtCreateFile", "NtReadFile", "NtWriteFile", "LdrLoadDll", "RegOpenKeyExW", "NtOpenKey", "NtQueryValueKey"]
BAD, GOOD = ["WriteProcessMemory", "CreateRemoteThread"], ["MessageBoxTimeoutW", "DrawTextExW"]
TINY = ["--epochs", "6", "--hidden", "6", "--lr", "0.02", "--batch", "8"]
KINDS = {"lstm": TINY, "gru": TINY, "linear": [], "boosted": ["--rounds", "30"], "ensemble": [*TINY, "--members", "1", "--rounds", "30"]}
MANY = 30 if "MALSEQ_TEST_VALGRIND" in os.environ else 400         # epochs that take seconds


def run(tool, *args, timeout=250, **more):
    return subprocess.run([os.path.join(BIN, tool), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **more)


def calls_of(rng, malicious):
    calls = rng.sample(COMMON, 6)
    for name in BAD if malicious else GOOD:
        calls.insert(rng.randrange(len(calls)), name)
    return calls


class Kinds(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.root, rng = pathlib.Path(cls.folder.name), random.Random(5)
        lines = ["sha256,labels," + ",".join(map(str, range(8)))]
        for i in range(80):
            lines.append(",".join([hashlib.sha256(b"%d" % i).hexdigest(), str(i % 2), *calls_of(rng, i % 2)]))
        (cls.root / "set.csv").write_text("\n".join(lines) + "\n")
        cls.corpus = cls.root / "corpus"
        cls.good(run("extract", "dataset", "malbehavd-v1", cls.root / "set.csv", "--corpus", cls.corpus, "-q"))
        cls.reports = cls.root / "reports"
        cls.reports.mkdir()
        for i in range(8):
            data = report.cuckoo([report.Process("a.exe", calls_of(rng, i % 2))])
            (cls.reports / ("%d-%s.json" % (i, "malicious" if i % 2 else "benign"))).write_bytes(data)

    @staticmethod
    def good(done):
        if done.returncode != 0:
            raise AssertionError("exit %d: %s" % (done.returncode, done.stderr.decode()))
        return done

    def train(self, *args):
        return json.loads(self.good(run("train", "--corpus", self.corpus, "--json", "-q", *([] if "--folds" in args else ["--test-share", ".2"]), *args)).stdout)

    def test_each_kind_learns_and_does_not_depend_on_jobs(self):
        for kind, args in KINDS.items():
            with self.subTest(kind=kind):
                one = self.train("--kind", kind, "--baselines", "no", "--name", kind, *args)
                self.assertEqual(one["kind"], kind)
                self.assertGreaterEqual(one["accuracy"], .9)
                self.assertEqual(one["baselines"], [])
                self.assertEqual(bool(one["curve"]), kind not in ("linear", "boosted"))
                made = [f["text"] for f in one["findings"] if "is the mean of" in f["text"]]
                self.assertEqual(made, ["The model is the mean of recurrent+hybrid+boosted."] if kind == "ensemble" else [])
                lines = run("detect", "--model", self.corpus / "models" / kind, self.reports, "--json").stdout.splitlines()
                verdicts = [json.loads(line) for line in lines]
                right = sum(("-" + v["verdict"] + ".") in v["file"] for v in verdicts)
                self.assertEqual((len(verdicts), right >= 7), (8, True), verdicts)
                two = self.train("--kind", kind, "--baselines", "no", "--name", "again", "--jobs", "2", *args)
                self.assertEqual(one["model_digest"], two["model_digest"])

    def test_baselines_on_identical_parts_and_predictions(self):
        r = self.train("--kind", "lstm", *TINY, "--rounds", "20", "--folds", "2", "--repeats", "2", "--name", "beside")
        self.assertEqual([b["kind"] for b in r["baselines"]], ["majority", "linear", "boosted", "pooled"])
        self.assertEqual(r["judged"], 160)
        lines = [json.loads(line) for line in (self.corpus / "models" / "beside" / "predictions.jsonl").read_text().splitlines()]
        head, rows = lines[0], lines[1:]
        self.assertEqual((head["entries"], head["repeats"], head["folds"], len(rows)), (["lstm", "majority", "linear", "boosted", "pooled"], 2, 2, 160))
        for e, accuracy in enumerate([r["accuracy"]] + [b["accuracy"] for b in r["baselines"]]):
            self.assertAlmostEqual(sum(row["predicted"][e] == row["truth"] for row in rows) / 160, accuracy)
            self.assertTrue(all(abs(sum(row["scores"][e]) - 1) < 1e-4 for row in rows))
        self.assertEqual({(row["repeat"], row["fold"]) for row in rows}, {(0, 0), (0, 1), (1, 0), (1, 1)})
        self.assertEqual(len({row["key"] for row in rows}), 80)
        for b in r["baselines"]:
            self.assertAlmostEqual(b["margin"], r["accuracy"] - b["accuracy"])
        self.assertIn("the best baseline", r["verdict"])
        done = self.good(run("train", "compare", "beside", "beside:linear", "--corpus", self.corpus, "--json"))
        self.assertTrue(json.loads(done.stdout))

    def test_a_model_that_loses_to_a_baseline_says_so(self):
        r = self.train("--kind", "lstm", "--epochs", "1", "--hidden", "1", "--lr", "1e-7", "--rounds", "20", "--folds", "2", "--name", "loser")
        self.assertLess(r["baselines"][1]["margin"], -.2)
        self.assertIn("WORSE than the best baseline", r["verdict"])

    def test_options_that_do_not_go_together(self):
        for args, why in (((["--kind", "linear", "--epochs", "3"]), "are for nets"), ((["--kind", "lstm", "--members", "2"]), "--kind ensemble"),
                          ((["--patience", "2", "--average", "yes"]), "no --average"), ((["--kind", "linear", "--cost", "-1"]), "--cost"),
                          ((["--kind", "svm"]), "--kind"),
                          ((["--ensemble", "hybrid+linear", "--baselines", "no", "--rounds", "9"]), "--rounds")):
            with self.subTest(args=args):
                done = run("train", "--corpus", self.corpus, *args)
                self.assertEqual(done.returncode, 2)
                self.assertIn(why, done.stderr.decode())

    def test_patience_averaging_and_weights(self):
        for args in (["--patience", "1"], ["--average", "yes"], ["--class-weights", "balanced"], ["--wide", "yes"]):
            with self.subTest(args=args):
                r = self.train("--kind", "lstm", "--baselines", "no", *TINY, *args, "--name", "variant")
                self.assertGreaterEqual(r["accuracy"], .7)

    def test_the_corpus_is_free_while_a_model_is_trained(self):
        """Others write meanwhile, one sample is forgotten, and the model waits for a lock that is held when it is done."""
        corpus = self.root / "busy"
        self.good(run("extract", "dataset", "malbehavd-v1", self.root / "set.csv", "--corpus", corpus, "-q"))
        args = ["train", "--corpus", corpus, "--json", "-q", "--kind", "lstm", "--baselines", "no", "--epochs", MANY, "--hidden", "24", "--test-share", ".2", "--name", "slow"]
        training = subprocess.Popen([os.path.join(BIN, args[0]), *map(str, args[1:])], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            database, begun = corpus / "corpus.db", 0
            for _ in range(6000):
                begun = sqlite3.connect(database).execute("select count(*) from run where tool = 'train'").fetchone()[0]
                if begun:
                    break
                time.sleep(.02)
            self.assertEqual(begun, 1)
            time.sleep(.5)
            self.assertIsNone(training.poll(), "training ended before the test began: give it more epochs")
            forgotten = run("collect", "forget", hashlib.sha256(b"3").hexdigest(), "--corpus", corpus)
            self.assertEqual(forgotten.returncode, 0, forgotten.stderr)
            self.assertIsNone(training.poll(), "the other run waited for the training")
            out, err = training.communicate(timeout=250)
        finally:
            if training.poll() is None:
                training.kill()
                training.wait()
        self.assertEqual(training.returncode, 0, err)
        self.assertEqual(json.loads(out)["samples"], 80)
        rows = sqlite3.connect(database).execute("select exit_code, ended_ms is not null from run where tool = 'train'").fetchall()
        self.assertEqual(rows, [(0, 1)])
        self.assertEqual(sqlite3.connect(database).execute("select count(*) from split").fetchone()[0], 79)


if __name__ == "__main__":
    unittest.main()

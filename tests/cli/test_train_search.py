"""train search on a small set whose traces differ by which calls they have: output, schema, determinism, refusals."""
import json
import os
import pathlib
import random
import subprocess
import tempfile
import unittest

from cli.test_train_detect import check_schema

BIN = pathlib.Path(os.environ["MALSEQ_BIN"])
SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "schemas" / "train-search.schema.json"
CALLS = ["NtClose", "NtCreateFile", "NtReadFile", "NtWriteFile", "LdrLoadDll", "RegOpenKeyExW", "WriteProcessMemory", "MessageBoxTimeoutW"]
QUICK = ["--target", "malware", "--folds", "2", "--inner", "2", "--seeds", "1", "--epochs", "1", "-q"]


def run(tool, *args):
    return subprocess.run([str(BIN / tool), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=250)


class Search(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        root = pathlib.Path(folder.name)
        rng, rows = random.Random(4), []
        for i in range(48):
            calls = rng.sample(CALLS[:6], 6)
            calls.insert(rng.randrange(6), CALLS[6 + i % 2])
            rows.append(",".join(["%064x" % (i + 1), str(1 - i % 2), *calls]))
        (root / "set.csv").write_text("sha256,labels," + ",".join(map(str, range(7))) + "\n" + "\n".join(rows) + "\n")
        cls.corpus = root / "corpus"
        done = run("extract", "dataset", "malbehavd-v1", root / "set.csv", "--corpus", cls.corpus)
        if done.returncode != 0:
            raise AssertionError(done.stderr.decode())

    def search(self, *args):
        done = run("train", "search", "--corpus", self.corpus, *QUICK, *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode()

    def test_json_and_determinism(self):
        before = sorted(self.corpus.rglob("*.json*"))  # of models
        found = [json.loads(self.search("--json", "--candidates", "pooled,linear,pooled+linear", "--jobs", jobs)) for jobs in (1, 2)]
        for one in found:
            check_schema(one, json.loads(SCHEMA.read_text()))
            self.assertGreater(one.pop("seconds"), 0)
        self.assertEqual(found[0], found[1])
        one = found[0]
        self.assertEqual([c["parts"] for c in one["candidates"]], ["pooled", "linear", "pooled+linear"])
        self.assertEqual(sum(c["chosen"] for c in one["candidates"]), 2)
        self.assertIn(one["chosen"], ("linear", "pooled+linear"))  # which calls there are says all, and one epoch is no training
        self.assertEqual(sum(fold["rows"] for fold in one["outer"]), 48)
        self.assertGreater(one["linear"]["accuracy"]["value"], .9)
        self.assertAlmostEqual(one["difference"]["accuracy"]["a"], one["nested"]["accuracy"]["value"])
        self.assertEqual(before, sorted(self.corpus.rglob("*.json*")))

    def test_text(self):
        text = self.search("--candidates", "linear,pooled")
        for word in ("candidate", "judged outside", "the reference", "the difference", "chosen in all rows: linear"):
            self.assertIn(word, text)

    def test_dry_run(self):
        # 2 outer folds and all rows, 2 inner folds each, 1 net; and the chosen one an outer fold
        self.assertIn("at most 8 nets", self.search("--candidates", "pooled,linear", "--dry-run"))

    def test_wrong_options(self):
        for args, why in ([["--candidates", "lstm"], "lstm"], [["--candidates", "linear,linear"], "twice"], [["--candidates", ""], "must be"],
                          [["--seeds", "64"], "--seeds"], [["--split-file", "x", "--split", "near"], "--split-file"]):
            done = run("train", "search", "--corpus", self.corpus, *args)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(why, done.stderr.decode())

    def test_an_ensemble_of_the_chosen_parts_detects(self):
        done = run("train", "-q", "--corpus", self.corpus, "--name", "mix", "--ensemble", "pooled+linear", "--members", "2", "--epochs", "1", "--test-share", ".2",
                   "--baselines", "no", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("parts=pooled+linear seeds=2", done.stdout.decode())
        done = run("detect", "--model", self.corpus / "models" / "mix", "--json", "--min-calls", "1", "--corpus", self.corpus, "%064x" % 1)
        self.assertIn(done.returncode, (0, 1), done.stderr)  # 1: it calls it malicious
        self.assertIn("score", json.loads(done.stdout.decode().splitlines()[0]))
        for args in (["--ensemble", "linear"], ["--ensemble", "pooled", "--kind", "lstm"], ["--ensemble", "pooled", "--wide", "yes"]):
            self.assertEqual(run("train", "--corpus", self.corpus, *args).returncode, 2)


if __name__ == "__main__":
    unittest.main()

"""A training killed anywhere and resumed makes the model, byte for byte, and the figures that it would have made; what is not its own
checkpoint is refused."""
import json
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import unittest

BIN = pathlib.Path(os.environ["MALSEQ_BIN"])
CALLS = ["NtClose", "NtCreateFile", "NtReadFile", "NtWriteFile", "LdrLoadDll", "RegOpenKeyExW", "NtOpenKey", "GetSystemMetrics"]
SMALL = ["--kind", "lstm", "--hidden", "4", "--lr", "0.01", "--batch", "8", "--baselines", "no"]


def run(*args, env=None, corpus=None):
    args = [str(BIN / args[0]), *map(str, args[1:]), *(["--corpus", str(corpus)] if corpus else [])]
    return subprocess.run(args, env=dict(os.environ, **(env or {})), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=250)


def figures(value):
    """Without what is measured in seconds, and what tells one run from another."""
    if isinstance(value, dict):
        return {k: figures(v) for k, v in value.items() if "second" not in k and k not in ("made", "made_ms", "command", "name", "model", "jobs")}
    return [figures(v) for v in value] if isinstance(value, list) else value


class Resume(unittest.TestCase):
    known = {}  # the arguments of the run "whole", and its batches

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = pathlib.Path(folder.name)
        cls.corpus = cls.make_corpus("corpus", 48)

    @classmethod
    def make_corpus(cls, name, rows):
        rng, lines = random.Random(5), []
        for i in range(rows):
            calls = rng.sample(CALLS, 6) + ["WriteProcessMemory" if i % 2 else "DrawTextExW"] * (rng.random() < .7)
            lines.append(",".join(["%064x" % (i + 1), str(i % 2), *calls, *[""] * (7 - len(calls))]))
        table = cls.root / (name + ".csv")
        table.write_text("sha256,labels," + ",".join(map(str, range(7))) + "\n" + "\n".join(lines) + "\n")
        done = run("extract", "dataset", "malbehavd-v1", table, corpus=cls.root / name)
        if done.returncode != 0:
            raise AssertionError(done.stderr.decode())
        return cls.root / name

    def train(self, name, *args, kill=None, code=None, **more):
        env = dict(more.pop("env", {}))
        if kill:
            env["MALSEQ_TEST_KILL"] = kill
        judged = [] if {"--folds", "--test-share"} & set(args) else ["--test-share", "0.2"]
        done = run("train", "-q", "--name", name, *SMALL, *judged, *args, env=env, corpus=more.pop("corpus", self.corpus))
        self.assertEqual(done.returncode, (-9 if kill else 0) if code is None else code, done.stderr.decode())
        return done.stderr.decode()

    def result(self, name):
        folder = self.corpus / "models" / name
        return (folder / "model.safetensors").read_bytes(), figures(json.loads((folder / "metrics.json").read_text()))

    def batches(self, name, *args):
        """Runs and counts the batches that were computed."""
        log = self.root / "steps"
        log.unlink(missing_ok=True)
        self.train(name, *args, env={"MALSEQ_TEST_STEPS": str(log)})
        return log.read_text().split().count("train.fit.batch")

    def check(self, args, kills, every):
        """A run never killed, then one killed at each of `kills` in turn."""
        known = tuple(map(str, args))
        if self.known.get("args") != known:
            self.known.update(args=known, whole=self.batches("whole", *args, "--checkpoint-every", "never"))
        whole = self.known["whole"]
        self.assertFalse((self.corpus / "models" / "whole" / "checkpoint").exists())
        self.train("killed", *args, "--checkpoint-every", every, kill=kills[0])
        for kill in kills[1:]:
            self.train("killed", *args, "--checkpoint-every", every, "--resume", kill=kill)
        self.assertTrue((self.corpus / "models" / "killed" / "checkpoint" / "run.json").exists())
        left = self.batches("killed", *args, "--checkpoint-every", every, "--resume")
        self.assertLess(left, whole)  # it went on, and did not begin anew
        self.assertEqual(self.result("killed"), self.result("whole"))
        self.assertFalse((self.corpus / "models" / "killed" / "checkpoint").exists())
        return whole, left

    def test_two_folds_killed_in_each(self):
        # 24 training rows a fold: 3 batches an epoch, 9 a fit; then 18 of the model itself
        args = ["--folds", "2", "--epochs", "3"]
        whole, left = self.check(args, ["train.fit.batch:5", "train.fit.batch:9", "train.checkpoint.begin:2"], "epoch")
        self.assertEqual(whole, 9 + 9 + 18)
        self.check(args, ["train.checkpoint.saved:7", "train.publish.files:1"], "2")

    def test_averaged_and_stopped_early(self):
        self.check(["--average", "yes", "--epochs", "8", "--folds", "2"], ["train.fit.batch:20"], "epoch")
        self.check(["--patience", "1", "--epochs", "12", "--lr", "0.1"], ["train.fit.batch:7"], "2")

    def test_members_side_by_side(self):
        self.check(["--kind", "ensemble", "--members", "2", "--epochs", "2", "--jobs", "2"], ["train.fit.batch:9", "train.checkpoint.saved:3"], "3")

    def test_others_are_refused(self):
        args = ["--epochs", "4"]
        self.train("other", *args, "--checkpoint-every", "epoch", kill="train.fit.batch:9")
        folder = self.corpus / "models" / "other" / "checkpoint"
        for more, words in [(["--epochs", "5"], "other settings: 'epochs=4', here 'epochs=5'"), (["--seed", "2"], "another"),
                            (["--lr", "0.02"], "other settings: 'lr="), (["--test-share", "0.3"], "another split"),
                            (["--max-calls", "3"], "another dataset")]:
            with self.subTest(more=more):
                self.assertIn(words, self.train("other", *args, *more, "--resume", code=3))
        self.assertIn("--resume", self.train("other", *args, "--resume", "--checkpoint-every", "never", code=2))
        self.assertIn("--checkpoint-every", self.train("other", *args, "--checkpoint-every", "2x", code=2))
        state, = folder.glob("*.safetensors")
        whole = state.read_bytes()
        for damaged in (whole[:-1], whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]):
            state.write_bytes(damaged)
            self.assertIn("damaged", self.train("other", *args, "--resume", code=3))
        state.write_bytes(whole)
        record = folder / "run.json"
        text = record.read_text()
        record.write_text(text.replace('"version": "', '"version": "9'))
        self.assertIn("another version of malseq", self.train("other", *args, "--resume", code=3))
        record.write_text(text)
        shutil.copytree(folder, self.corpus / "models" / "moved" / "checkpoint")  # a name decides nothing
        for name in ("other", "moved"):
            self.train(name, *args, "--resume")
        self.train("anew", *args)
        self.assertEqual(self.result("other"), self.result("anew"))
        self.assertEqual(self.result("moved"), self.result("anew"))
        self.assertIn("no unfinished run", self.train("other", *args, "--resume", code=3))
        self.assertIn("no unfinished run", self.train("never", *args, "--resume", code=3))

    def test_begun_anew_nothing_old_is_used(self):
        args = ["--epochs", "3", "--checkpoint-every", "epoch"]
        self.train("again", *args, kill="train.fit.batch:9")
        self.assertEqual(self.batches("again", *args), 3 * 5)
        self.assertFalse((self.corpus / "models" / "again" / "checkpoint").exists())


if __name__ == "__main__":
    unittest.main()

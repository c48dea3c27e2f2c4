"""train on opcodes and on static features, and detect by them: BIG 2015 as it is published, and a vault of generated programs, whose code is a few
harmless bytes of files that no loader takes."""
import hashlib
import json
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

from gen import datasets, pe, report

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
FAST = ["--kind", "linear", "--baselines", "no"]
PAIRS = (b"\x8b\xc0", b"\x33\xdb", b"\x03\xc8", b"\x90", b"\x40", b"\x49")    # mov, xor, add, nop, inc, dec


class Corpus(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-train-opcodes-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.corpus = self.root / "corpus"

    def tool(self, name, *args, expect=0):
        result = subprocess.run([os.path.join(BIN, name), *map(str, args), "--corpus", str(self.corpus)], capture_output=True,
                                stdin=subprocess.DEVNULL, timeout=250, check=False)
        self.talk = result.stderr.decode("utf-8", "replace")
        self.assertEqual(result.returncode, expect, self.talk + result.stdout.decode("utf-8", "replace"))
        return result.stdout.decode()

    def train(self, *args, expect=0):
        """What train says; and the folder of the model."""
        text = self.tool("train", "--json", *args, expect=expect)
        return json.loads(text) if text else None

    def detect(self, model, *operands, expect=0):
        text = self.tool("detect", "--model", model["folder"], "--json", "--fast", *operands, expect=expect)
        return [json.loads(line) for line in text.splitlines()]


class Published(Corpus):
    def test_big_2015(self):
        rng, labels = random.Random(1), ["Id,Class"]
        folder = self.root / "big"
        folder.mkdir()
        for number in range(54):
            key, family = datasets.big_id(number), number % 9
            # each family prefers two mnemonics
            liked = [datasets.MNEMONICS[family], datasets.MNEMONICS[(family + 3) % len(datasets.MNEMONICS)]]
            lines = [".text:%08X 90\t\t\t\t %s    eax, ebx" % (0x401000 + i, rng.choice(liked * 4 + list(datasets.MNEMONICS))) for i in range(60)]
            (folder / (key + ".asm")).write_text("\r\n".join(lines) + "\r\n")
            labels.append("%s,%d" % (key, family + 1))
        (folder / "trainLabels.csv").write_text("\n".join(labels) + "\n")
        self.tool("extract", "dataset", "big-2015", folder)
        made = self.train("--target", "class", "--sequence", "opcode", "--folds", "2", *FAST)
        self.assertEqual((made["sequence"], made["static"], made["samples"], len(made["by_class"])), ("opcode", "no", 54, 9))
        self.assertGreater(made["accuracy"], made["majority_accuracy"] + .2)
        self.assertIn("sequence=opcode", made["settings"])
        self.train("--target", "class", *FAST, expect=3)        # they are no calls of runs
        self.assertIn("--sequence opcode", self.talk)
        self.train("--target", "class", "--sequence", "opcode", "--static", "joined", *FAST, expect=3)
        self.assertIn("static features", self.talk)


class Vault(Corpus):
    """40 programs, half of them malicious: these like xor and add, and export more. Made once, and copied for each test."""

    @classmethod
    def setUpClass(cls):
        holder = tempfile.TemporaryDirectory(prefix="malseq-train-opcodes-")
        cls.addClassCleanup(holder.cleanup)
        cls.made = pathlib.Path(holder.name) / "corpus"
        rng, folder = random.Random(2), pathlib.Path(holder.name) / "in"
        folder.mkdir()
        cls.bad, cls.good = [], []
        for number in range(40):
            bad = number % 2 == 0
            code = b"".join(rng.choice(PAIRS + PAIRS[1:3] * 4 if bad else PAIRS + PAIRS[4:] * 4) for _ in range(40)) + b"\xc3"
            program = pe.pe(number, code=code, sections=4, exports=["f%d" % i for i in range(8 if bad else 1)], body_bytes=rng.randrange(3000, 9000))
            (folder / ("%d.exe" % number)).write_bytes(program)
            (cls.bad if bad else cls.good).append(hashlib.sha256(program).hexdigest())
        for command in (["collect", "--dir", str(folder)], ["extract", "opcodes"]):
            subprocess.run([os.path.join(BIN, command[0]), *command[1:], "--corpus", str(cls.made)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=250, check=True)
        cls.label()

    def setUp(self):
        super().setUp()
        shutil.copytree(self.made, self.corpus)

    @classmethod
    def label(cls):
        with sqlite3.connect(cls.made / "corpus.db") as db:
            for verdict, hashes in (("malicious", cls.bad), ("benign", cls.good)):
                for sha256 in hashes:
                    db.execute("INSERT INTO label (sample, policy, verdict, as_of_ms, made_ms) SELECT id, 'dataset:made', ?, 1, 1 FROM sample WHERE sha256 = ?",
                               (verdict, bytes.fromhex(sha256)))

    def report(self):
        path = self.root / "report.json"
        path.write_bytes(report.cuckoo([report.Process("a.exe", ["mov", "xor", "add", "ret", "nop"] * 3)]))
        return path

    def judged(self, model):
        """Which of the programs are flagged."""
        lines = self.detect(model, *self.bad, *self.good, expect=1)
        self.assertEqual(len(lines), 40)
        self.assertEqual({line["file"].split("#")[0] for line in lines}, {*self.bad, *self.good})
        return {line["file"].split("#")[0] for line in lines if line["verdict"] == "malicious"}

    def test_opcodes_of_the_vault(self):
        made = self.train("--sequence", "opcode", "--folds", "2", *FAST)
        self.assertGreater(made["accuracy"], .9)
        self.assertEqual(made["sources"], ["opcodes"])
        self.assertEqual(self.judged(made), set(self.bad))
        # mnemonics in a report are calls of that name, not opcodes
        line, = self.detect(made, self.report())
        self.assertEqual(line["verdict"], "unknown")
        self.assertIn("the model reads opcodes", line["reason"])
        refused = subprocess.run([os.path.join(BIN, "detect-example"), made["folder"]], stdin=subprocess.DEVNULL, capture_output=True, timeout=250)
        self.assertEqual((refused.returncode, refused.stderr), (1, b"detect-example: the model reads opcodes, not calls\n"))
        self.train(*FAST, expect=3)
        self.assertIn("--sequence opcode", self.talk)

    def test_both_kinds_of_a_sample(self):
        """A report of each sample beside its opcodes: each model has its own rows, and the report is what is exported."""
        for number, sha256 in enumerate(self.bad + self.good):
            calls = ["NtClose", "NtOpenKey", "connect" if sha256 in self.bad else "MessageBoxW", *["f%d" % (number * k % 7) for k in range(1, 5)]]
            (self.root / ("%d.json" % number)).write_bytes(report.cuckoo([report.Process("a.exe", calls)], sha256=sha256))
        self.tool("extract", "import", *sorted(self.root.glob("*.json")))
        self.tool("extract", "opcodes", self.bad[0])            # now the younger analysis
        calls, codes = self.train(*FAST), self.train("--sequence", "opcode", *FAST)
        self.assertEqual((calls["sequence"], calls["samples"], calls["sources"]), ("api", 40, ["cuckoo2"]))
        self.assertEqual((codes["sequence"], codes["samples"], codes["sources"]), ("opcode", 40, ["opcodes"]))
        self.assertNotEqual(calls["dataset"], codes["dataset"])
        self.assertEqual(self.judged(calls), set(self.bad))     # one line a sample: the other kind is not looked at
        self.assertEqual(self.judged(codes), set(self.bad))
        text = self.tool("malseq", "export", "--what", "traces")
        self.assertIn("ntclose", text.lower())
        self.assertNotIn("xor", text)

    def test_static_features(self):
        with sqlite3.connect(self.corpus / "corpus.db") as db:      # two of which nothing is known
            db.execute("UPDATE sample SET features = '{\"version\":1,\"error\":\"crash\"}' WHERE sha256 = ?", (bytes.fromhex(self.bad[0]),))
            db.execute("UPDATE sample SET features = NULL WHERE sha256 = ?", (bytes.fromhex(self.good[0]),))
            # and two that are one to who sees their headers alone
            db.execute("UPDATE sample SET features = (SELECT features FROM sample WHERE sha256 = ?) WHERE sha256 = ?",
                       (bytes.fromhex(self.good[1]), bytes.fromhex(self.good[2])))
        known = set(self.bad[1:])
        for args in (["--static", "alone", *FAST], ["--static", "alone", "--baselines", "no", "--rounds", "5"], ["--static", "joined", *FAST]):
            with self.subTest(" ".join(args)):
                made = self.train("--sequence", "opcode", "--folds", "2", "--seed", "3", *args)
                self.assertEqual((made["static"], made["samples"]), (args[1], 38))
                alone = args[1] == "alone"
                self.assertEqual([made["copies"][which]["distinct"] for which in ("raw", "collapsed", "seen_by_net")], [38, 38 - alone, 38 - alone])
                self.assertGreater(made["accuracy"], .9)
                self.assertEqual(self.judged(made), known)
                lacking = self.detect(made, self.bad[0], self.good[0], self.report())
                self.assertEqual([line["verdict"] for line in lacking], ["unknown"] * 3)
                self.assertEqual(["needs the sample's static features" in line["reason"] for line in lacking], [False, True, True])
                self.assertIn("the model reads opcodes", lacking[0]["reason"])
        self.assertEqual(made["kind"], "linear")
        again = self.train("--sequence", "opcode", "--static", "joined", "--folds", "2", "--seed", "3", *FAST)
        self.assertEqual((again["dataset"], again["model_digest"]), (made["dataset"], made["model_digest"]))
        plain = self.train("--sequence", "opcode", *FAST)
        self.assertNotEqual(plain["dataset"], made["dataset"])
        self.tool("train", "--static", "alone", "--kind", "lstm", expect=2)
        self.tool("train", "--static", "joined", "--kind", "lstm", expect=2)

    def test_static_features_in_a_net(self):
        made = self.train("--sequence", "opcode", "--static", "joined", "--kind", "lstm", "--wide", "yes", "--baselines", "no", "--epochs", "12", "--hidden", "4",
                          "--lr", ".02", "--test-share", ".2")
        self.assertEqual((made["kind"], made["static"]), ("lstm", "joined"))
        flagged = self.judged(made)
        self.assertGreater(len(flagged & set(self.bad)) - len(flagged & set(self.good)), 15)


if __name__ == "__main__":
    unittest.main()

"""Calibration, thresholds and bands of doubt: found without the judged rows, and the same in train, train evaluate and detect."""
import hashlib
import json
import math
import os
import pathlib
import random
import shutil
import sqlite3
import tempfile
import unittest

from gen import report
from test_train_detect import SCHEMAS, check_schema, run

COMMON = ["NtClose", "NtCreateFile", "NtReadFile", "NtWriteFile", "LdrLoadDll", "RegOpenKeyExW", "NtOpenKey", "NtQueryValueKey", "NtMapViewOfSection"]
LEANING = (["WriteProcessMemory", "CreateRemoteThread", "RegSetValueExW"], ["MessageBoxTimeoutW", "DrawTextExW", "GetSystemMetrics"])
SMALL = ["--kind", "linear", "--baselines", "no", "-q"]


def write_set(path, count, rng):
    """Malicious rows have more of the one kind of calls than of the other, but not always."""
    lines = ["sha256,labels," + ",".join(map(str, range(8)))]
    for i in range(count):
        calls = rng.sample(COMMON, 4) + [rng.choice(LEANING[(i % 2 == 0) ^ (rng.random() < .3)]) for _ in range(4)]
        rng.shuffle(calls)
        lines.append(",".join([hashlib.sha256(b"%d" % i).hexdigest(), str(i % 2), *calls]))
    path.write_text("\n".join(lines) + "\n")


def platt(rows):
    """(a, b) of Platt's method on pairs of score and whether it is positive; plain Newton on the smoothed targets."""
    n = [sum(1 for _, t in rows if t == k) for k in (False, True)]
    targets = {False: 1 / (n[0] + 2), True: (n[1] + 1) / (n[1] + 2)}
    a, b = 1.0, 0.0
    points = [(math.log(s / (1 - s)), targets[t]) for s, t in rows]
    for _ in range(50):
        g = [0.0, 0.0]
        h = [1e-9, 0.0, 1e-9]
        for x, t in points:
            q = 1 / (1 + math.exp(-(a * x + b)))
            w = q * (1 - q)
            g = [g[0] + (q - t) * x, g[1] + q - t]
            h = [h[0] + w * x * x, h[1] + w * x, h[2] + w]
        det = h[0] * h[2] - h[1] ** 2
        a, b = a - (h[2] * g[0] - h[1] * g[1]) / det, b - (h[0] * g[1] - h[1] * g[0]) / det
    return a, b


class Calibrate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = pathlib.Path(folder.name)
        cls.corpus = cls.root / "corpus"
        write_set(cls.root / "set.csv", 200, random.Random(5))
        cls.good(run("extract", "dataset", "malbehavd-v1", cls.root / "set.csv", "--corpus", cls.corpus, "-q"))

    @staticmethod
    def good(done):
        if done.returncode != 0:
            raise AssertionError("exit %d: %s" % (done.returncode, done.stderr.decode()))
        return done

    def train(self, name, *args):
        r = json.loads(self.good(run("train", "--corpus", self.corpus, "--json", *SMALL, "--name", name, *args)).stdout)
        check_schema(r, json.loads((SCHEMAS / "train.schema.json").read_text()))
        return r

    def rows(self, name):
        lines = [json.loads(line) for line in (self.corpus / "models" / name / "predictions.jsonl").read_text().splitlines()]
        return lines[0], lines[1:]

    def metadata(self, name):
        data = (self.corpus / "models" / name / "model.safetensors").read_bytes()
        return json.loads(data[8:8 + int.from_bytes(data[:8], "little")])["__metadata__"]

    def test_defaults(self):
        r = self.train("plain", "--test-share", ".3")
        self.assertEqual((r["threshold"], r["tuning"]["calibration"], r["tuning"]["rows"], r["tuning"]["before"], r["tuning"]["unknown_band"]), (.5, "none", 0, None, None))
        meta = self.metadata("plain")
        self.assertEqual((meta["threshold"], meta["calibration"], meta["unknown_band"]), ("0.5", "none", "none"))
        self.assertEqual(self.train("article", "--preset", "article", "--folds", "3")["tuning"]["calibration"], "none")

    def test_judged_by_folds_unless_told(self):
        """Grouped, stratified, five, and calibrated, which costs nothing there."""
        for args, split, calibrated in (([], "fold5-seed1", "platt"), (["--split", "near"], "near-fold5-seed1", "platt"), (["--folds", "3"], "fold3-seed1", "platt"),
                                        (["--test-share", ".3"], "holdout-30-seed1", "none"), (["--preset", "article"], "holdout-15-seed1", "none")):
            with self.subTest(args=args):
                r = self.train("judged", *args)
                self.assertEqual((r["split"]["name"], r["tuning"]["calibration"].split()[0]), (split, calibrated))
                self.assertEqual(r["judged"] == 200, "fold" in split)

    def test_folds_are_calibrated_by_the_others(self):
        raw = self.train("raw", "--folds", "4", "--calibrate", "none")
        r = self.train("folded", "--folds", "4", "--target-fpr", ".2")
        self.assertEqual(raw["split"]["digest"], r["split"]["digest"])
        before, after = self.rows("raw")[1], self.rows("folded")[1]
        want = {}
        for fold in range(4):
            want[fold] = platt([(row["scores"][0][0], row["truth"] == 0) for row in before if row["fold"] != fold])
        for old, new in zip(before, after):
            a, b = want[old["fold"]]
            s = old["scores"][0][0]
            self.assertAlmostEqual(new["scores"][0][0], 1 / (1 + math.exp(-(a * math.log(s / (1 - s)) + b))), delta=1e-6)
        kind, a, b = r["tuning"]["calibration"].split()
        a_all, b_all = platt([(row["scores"][0][0], row["truth"] == 0) for row in before])
        self.assertEqual(kind, "platt")
        self.assertAlmostEqual(float(a), a_all, delta=1e-4)
        self.assertAlmostEqual(float(b), b_all, delta=1e-4)
        self.assertEqual(self.metadata("folded")["calibration"], r["tuning"]["calibration"])
        self.assertAlmostEqual(r["tuning"]["before"]["brier"]["value"], raw["figures"]["brier"]["value"])
        # the threshold is the final model's: at most a fifth of all negatives, one more would be too many
        negatives = [1 / (1 + math.exp(-(a_all * math.log(s / (1 - s)) + b_all))) for s in (row["scores"][0][0] for row in before if row["truth"] == 1)]
        reached = sum(p >= r["threshold"] for p in negatives) / len(negatives)
        self.assertLessEqual(reached, .2)
        self.assertAlmostEqual(reached, r["tuning"]["at_threshold"]["fpr_when_found"])
        # what is reported was reached on the judged rows
        wrong = [row["predicted"][0] == 0 for row in after if row["truth"] == 1]
        self.assertAlmostEqual(r["tuning"]["at_threshold"]["fpr"]["value"], sum(wrong) / len(wrong))
        right = [row["predicted"][0] == 0 for row in after if row["truth"] == 0]
        self.assertAlmostEqual(r["tuning"]["at_threshold"]["tpr"]["value"], sum(right) / len(right))
        self.assertLess(r["tuning"]["at_threshold"]["fpr"]["low"], r["tuning"]["at_threshold"]["fpr"]["high"])

    def test_baselines_get_thresholds_as_the_model_does(self):
        """What a linear baseline says is what a linear model of the same split says: calibrated, at its own threshold."""
        for how in (["--folds", "4"], ["--test-share", ".3", "--calibrate", "auto"]):
            tuned = [*how, "--target-fpr", ".2"]
            self.train("alone", *tuned)
            done = self.good(run("train", "--corpus", self.corpus, "-q", "--kind", "lstm", "--hidden", "2", "--epochs", "1", "--rounds", "2", "--name", "beside", *tuned, "--json"))
            figures = {b["kind"]: b for b in json.loads(done.stdout)["baselines"]}
            self.assertEqual(figures["majority"]["accuracy"], .5)
            head, rows = self.rows("beside")
            at = head["entries"].index("linear")
            alone = self.rows("alone")[1]
            self.assertEqual([row["predicted"][at] for row in rows], [row["predicted"][0] for row in alone])
            for row, one in zip(rows, alone):
                self.assertAlmostEqual(row["scores"][at][0], one["scores"][0][0], delta=1e-12)
            self.assertNotEqual([row["predicted"][at] for row in rows], [int(row["scores"][at][0] < .5) for row in rows])

    def test_a_missed_rate_is_said(self):
        """A net that learnt nothing yet: its fits differ in little but the level of their scores."""
        done = self.good(run("train", "--corpus", self.corpus, "-q", "--kind", "lstm", "--hidden", "4", "--epochs", "1", "--folds", "3", "--target-fpr", ".05",
                             "--baselines", "no", "--name", "missed", "--json"))
        r = json.loads(done.stdout)
        said = [s["text"] for s in r["findings"] if s["warning"] and "MISSED" in s["text"]]
        self.assertEqual(bool(said), r["tuning"]["at_threshold"]["fpr"]["low"] > .05)
        self.assertLessEqual(r["tuning"]["at_threshold"]["fpr_when_found"], .05)

    def test_labels_of_judged_rows_do_not_reach_the_tuning(self):
        args = ["--calibrate", "auto", "--target-fpr", ".3", "--unknown-band", "auto"]
        one = self.train("honest", "--test-share", ".2", *args)
        split = self.corpus / "models" / "honest" / "split.jsonl"
        judged = [row["key"] for row in map(json.loads, split.read_text().splitlines()[1:]) if row["parts"] == [1]]
        turned = self.root / "turned"
        shutil.copytree(self.corpus, turned)
        with sqlite3.connect(turned / "corpus.db") as db:
            for key in judged:
                db.execute("UPDATE label SET verdict = CASE verdict WHEN 'benign' THEN 'malicious' ELSE 'benign' END WHERE sample = (SELECT id FROM sample WHERE sha256 = ?)",
                           (bytes.fromhex(key),))
        two = json.loads(self.good(run("train", "--corpus", turned, "--json", *SMALL, "--name", "honest", "--split-file", split, *args)).stdout)
        self.assertAlmostEqual(one["accuracy"] + two["accuracy"], 1)
        for name in ("calibration", "rows"):
            self.assertEqual(one["tuning"][name], two["tuning"][name])
        self.assertEqual((one["threshold"], one["tuning"]["unknown_band"]["from"]), (two["threshold"], two["tuning"]["unknown_band"]["from"]))

    def test_repeats_and_isotonic(self):
        r = self.train("iso", "--folds", "3", "--repeats", "2", "--calibrate", "isotonic", "--unknown-band", "auto")
        band = r["tuning"]["unknown_band"]
        self.assertLess(band["from"], band["to"])
        self.assertAlmostEqual(band["coverage"], 1 - band["unknown"] / r["judged"])
        self.assertEqual(r["judged"], 400)

    def test_train_evaluate_and_detect_agree(self):
        r = self.train("held", "--test-share", ".3", "--calibrate", "auto", "--target-fpr", ".3", "--unknown-band", "auto")
        self.assertTrue(r["tuning"]["calibration"].startswith("platt "))
        held = [json.loads(line) for line in (self.corpus / "models" / "held" / "split.jsonl").read_text().splitlines()[1:]]
        self.assertEqual(r["tuning"]["rows"], sum(row["parts"] == [0] for row in held))  # five inner parts have every training row, and no other
        self.assertEqual(r["tuning"]["rows"] + r["judged"], 200)
        self.assertNotEqual(r["threshold"], .5)
        self.assertLessEqual(r["tuning"]["at_threshold"]["fpr_when_found"], .3)

        model = self.corpus / "models" / "held"
        e = json.loads(self.good(run("train", "evaluate", model, "--corpus", self.corpus, "--json")).stdout)
        check_schema(e, json.loads((SCHEMAS / "evaluate.schema.json").read_text()))
        self.assertEqual(e["judged"], r["judged"])
        for name in ("accuracy", "auc", "brier", "log_loss", "ece"):
            self.assertAlmostEqual(e["figures"][name]["value"], r["figures"][name]["value"], delta=1e-6, msg=name)
        self.assertAlmostEqual(e["tuning"]["before"]["ece"]["value"], r["tuning"]["before"]["ece"]["value"], delta=1e-6)
        for name in ("from", "to", "unknown", "coverage", "accuracy"):
            self.assertAlmostEqual(e["tuning"]["unknown_band"][name], r["tuning"]["unknown_band"][name], delta=1e-9, msg=name)
        self.assertAlmostEqual(e["tuning"]["at_threshold"]["fpr"]["value"], r["tuning"]["at_threshold"]["fpr"]["value"])

        band, verdicts = r["tuning"]["unknown_band"], {}
        for row in self.rows("held")[1]:
            verdicts[row["key"].split(":")[-1]] = row
        hashes = [key for key in verdicts if len(key) == 64]
        self.assertEqual(len(hashes), r["judged"])
        done = run("detect", "--model", model, "--corpus", self.corpus, "--fast", "--json", *hashes)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(len(lines), len(hashes))
        for line in lines:
            row = verdicts[line["file"].split("#")[0]]
            self.assertAlmostEqual(line["score"], row["scores"][0][0], delta=1e-6)
            doubt = band["from"] <= line["score"] < band["to"]
            self.assertEqual(line["verdict"], "unknown" if doubt else ["malicious", "benign"][row["predicted"][0]])
            if doubt:
                self.assertIn("is no verdict", line["reason"])
        self.assertEqual(sum(line["verdict"] == "unknown" for line in lines), band["unknown"])
        self.assertGreater(band["unknown"], 0)
        done = run("detect", "--model", model, "--corpus", self.corpus, "--fast", "--json", "--unknown", "none", *hashes)
        self.assertNotIn("unknown", {json.loads(line)["verdict"] for line in done.stdout.splitlines()})
        text = self.good(run("train", "evaluate", model, "--corpus", self.corpus)).stdout.decode()
        self.assertIn("are no verdict: %d of %d rows" % (band["unknown"], r["judged"]), text)

    def test_calls_that_n_grams_alone_know(self):
        """What a linear model is shown of the trace has no name that it knows; the n-grams of the rest have."""
        self.train("ngrams")
        strange = ["Zw%d" % i for i in range(450)]
        for tail, verdicts in ((LEANING[0] + COMMON, ("malicious",)), (LEANING[1] + COMMON, ("benign",)), ([], ("unknown",))):
            done = run("detect", "--model", self.corpus / "models" / "ngrams", "--json", "-", stdin=report.cuckoo([report.Process("a.exe", strange + tail)]))
            self.assertIn(json.loads(done.stdout)["verdict"], verdicts)

    def test_net_in_a_hold_out(self):
        """A net is trained once more, on four fifths of the training rows."""
        r = json.loads(self.good(run("train", "--corpus", self.corpus, "--json", "-q", "--kind", "lstm", "--baselines", "no", "--epochs", "3", "--hidden", "4", "--lr", ".02",
                                     "--name", "net", "--calibrate", "temperature", "--test-share", ".2")).stdout)
        self.assertTrue(r["tuning"]["calibration"].startswith("temperature "))
        self.assertAlmostEqual(r["tuning"]["rows"] / (200 - r["judged"]), .2, delta=.03)

    def test_refusals(self):
        for args, why in ((["--target-fpr", "0"], "--target-fpr"), (["--target-fpr", "1"], "--target-fpr"), (["--target", "class", "--target-fpr", ".1"], "no negatives"),
                          (["--calibrate", "free"], "--calibrate"), (["--unknown-band", ".6:.4"], "--unknown-band")):
            done = run("train", "--corpus", self.corpus, *args)
            self.assertEqual(done.returncode, 2, args)
            self.assertIn(why, done.stderr.decode())


if __name__ == "__main__":
    unittest.main()

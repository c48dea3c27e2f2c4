"""train's splits from files, comparisons of models, and evaluation that refuses what trained."""
import json
import os
import pathlib
import sqlite3
import tempfile
import unittest

from test_train_detect import SCHEMAS, check_schema, run, write_malbehavd

SMALL = ["--kind", "linear", "--baselines", "no", "-q"]


class Judge(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = pathlib.Path(folder.name)
        cls.corpus = cls.root / "corpus"
        write_malbehavd(cls.root / "set.csv", 100)
        cls.good(run("extract", "dataset", "malbehavd-v1", cls.root / "set.csv", "--corpus", cls.corpus))
        cls.train("--name", "first", "--folds", "2", "--repeats", "2")

    @staticmethod
    def good(done):
        if done.returncode != 0:
            raise AssertionError("exit %d: %s" % (done.returncode, done.stderr.decode()))
        return done

    @classmethod
    def train(cls, *args):
        return json.loads(cls.good(run("train", "--corpus", cls.corpus, "--json", *SMALL, *args)).stdout)

    def refused(self, done, why):
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn(why, done.stderr)

    def test_compares_on_one_split(self):
        split = self.corpus / "models" / "first" / "split.jsonl"
        self.train("--name", "second", "--split-file", split, "--cost", "0.01", "--seed", "3")
        self.assertEqual(split.read_bytes(), (self.corpus / "models" / "second" / "split.jsonl").read_bytes())
        r = json.loads(self.good(run("train", "compare", "first", "second", "--corpus", self.corpus, "--json")).stdout)
        check_schema(r, json.loads((SCHEMAS / "compare.schema.json").read_text()))
        self.assertEqual(len(r["repeats"]), 2)
        self.assertEqual(r["t_test"]["fits"], 4)
        self.assertAlmostEqual(r["accuracy"]["difference"], r["accuracy"]["a"] - r["accuracy"]["b"])
        rows = [json.loads(line) for line in (self.corpus / "models" / "first" / "predictions.jsonl").read_text().splitlines()[1:]]
        right = sum(row["predicted"][0] == row["truth"] for row in rows)
        self.assertAlmostEqual(r["accuracy"]["a"], right / len(rows))  # both repeats have all rows
        same = json.loads(self.good(run("train", "compare", "first", "first", "--corpus", self.corpus, "--json")).stdout)
        self.assertEqual((same["accuracy"]["difference"], same["repeats"][0]["mcnemar_exact_p"]), (0, 1))
        self.train("--name", "elsewhere", "--folds", "2", "--seed", "9")
        self.refused(run("train", "compare", "first", "elsewhere", "--corpus", self.corpus), b"not judged on the same split")
        self.refused(run("train", "compare", "first", "first:nothing", "--corpus", self.corpus), b"not judged beside a 'nothing'")

    def test_changed_split_file(self):
        split = self.corpus / "models" / "first" / "split.jsonl"
        lines = split.read_text().splitlines(True)
        changed = self.root / "changed.jsonl"
        changed.write_text("".join(lines[:-1]))
        self.refused(run("train", "--corpus", self.corpus, *SMALL, "--split-file", changed), b"not those the header")
        done = run("train", "--corpus", self.corpus, *SMALL, "--split-file", split, "--folds", "2")
        self.assertEqual(done.returncode, 2)

    def test_refuses_what_trained(self):
        self.train("--name", "held", "--test-share", ".3")
        model = self.corpus / "models" / "held"
        rows = [json.loads(line) for line in (model / "split.jsonl").read_text().splitlines()[1:]]
        trained = {row["key"] for row in rows if row["parts"] == [0]}
        r = json.loads(self.good(run("train", "evaluate", model, "--corpus", self.corpus, "--json")).stdout)
        check_schema(r, json.loads((SCHEMAS / "evaluate.schema.json").read_text()))
        self.assertEqual((r["refused_trained"], r["judged"]), (len(trained), 100 - len(trained)))
        self.assertEqual(r["refused_same_sequence"], 0)

        # in another corpus: one trace that trained, under its own name and as a copy under another; one that did not
        lines = (self.root / "set.csv").read_text().splitlines()
        old = next(line for line in lines[1:] if line.split(",")[0] in trained)
        new = [line for line in lines[1:] if line.split(",")[0] not in trained]
        label = old.split(",")[1]
        kept = [next(line for line in new if line.split(",")[1] == want) for want in "01"]
        copy = ",".join(["ab" * 32] + old.split(",")[1:])
        (self.root / "other.csv").write_text("\n".join([lines[0], old, copy] + kept) + "\n")
        other = self.root / "other"
        self.good(run("extract", "dataset", "malbehavd-v1", self.root / "other.csv", "--corpus", other))
        r = json.loads(self.good(run("train", "evaluate", model, "--corpus", other, "--json")).stdout)
        self.assertEqual((r["refused_trained"], r["refused_same_sequence"], r["judged"]), (1, 1, 2))
        self.assertIn(label, "01")

        # a corpus of one class alone can be judged: how much of it is found, and of how much nothing is said
        bad = [line for line in new if line.split(",")[1] == "1"]
        (self.root / "bad.csv").write_text("\n".join([lines[0]] + bad) + "\n")
        self.good(run("extract", "dataset", "malbehavd-v1", self.root / "bad.csv", "--corpus", self.root / "bad"))
        self.train("--name", "doubts", "--split-file", model / "split.jsonl", "--unknown-band", ".3:.9")
        r = json.loads(self.good(run("train", "evaluate", self.corpus / "models" / "doubts", "--corpus", self.root / "bad", "--json")).stdout)
        check_schema(r, json.loads((SCHEMAS / "evaluate.schema.json").read_text()))
        (one,) = r["classes"]
        self.assertEqual((one["class"], one["rows"], r["judged"]), ("malware", len(bad), len(bad)))
        self.assertEqual(one["verdict_unknown"], r["tuning"]["unknown_band"]["unknown"])
        self.assertAlmostEqual(one["recall"], r["figures"]["accuracy"]["value"])
        self.assertLessEqual(one["verdict_right"] + one["verdict_unknown"], len(bad))

        # folds end in a model of all rows: nothing is left
        self.refused(run("train", "evaluate", self.corpus / "models" / "first", "--corpus", self.corpus), b"no trace is left")
        text = (model / "split.jsonl").read_text()
        (model / "split.jsonl").write_text(text.replace('"name":"holdout', '"name":"heldout'))
        self.refused(run("train", "evaluate", model, "--corpus", self.corpus), b"not the split that this model was trained on")

    def test_split_by_time(self):
        db = sqlite3.connect(self.corpus / "corpus.db")
        for number, (sample,) in enumerate(db.execute("select id from sample order by sha256").fetchall()):
            db.execute("insert into scan (sample, source, asked, fetched_ms, first_submission_ms, body_sha256, body) values (?, 'virustotal', 'x', 1, ?, ?, x'')",
                       (sample, None if number == 7 else 1577836800000 + number * 3 * 86400000, bytes(32)))
        db.commit()
        db.close()
        r = self.train("--name", "timed", "--split", "time", "--split-date", "2020-07-01")["split"]
        self.assertEqual((r["how"], r["time"]["date"], r["time"]["undated"]), ("time", "2020-07-01", 1))
        whole = json.loads((self.corpus / "models" / "timed" / "metrics.json").read_text())
        check_schema(whole, json.loads((SCHEMAS / "train.schema.json").read_text()))
        months = [w["month"] for w in r["time"]["windows"]]
        self.assertEqual(months[0], "2020-07")
        self.assertEqual(months, sorted(months))
        page = (self.corpus / "models" / "timed" / "report.html").read_text()
        for w in r["time"]["windows"]:
            self.assertIn("<td>%s</td><td>%d</td><td>%d</td><td>%.3f</td>" % (w["month"], w["rows"], w["positive"], w["accuracy"]), page)
        self.assertIn("first seen from 2020-07-01 on", page)
        for args in (["--split-date", "2020-07-01"], ["--split", "time", "--folds", "3"], ["--split", "time", "--split-date", "2020-13-01"],
                     ["--split", "time", "--test-ratio", "1.5"]):
            self.assertEqual(run("train", "--corpus", self.corpus, *SMALL, *args).returncode, 2, args)


if __name__ == "__main__":
    unittest.main()

"""train on the published datasets (needs MALSEQ_DATA): what must hold of any honest run, no particular accuracy.
With MALSEQ_LONG set, also what cli.test_train_detect shows on generated data."""
# ctest: full release cost=50
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

BIN = os.environ["MALSEQ_BIN"]
LONG = bool(os.environ.get("MALSEQ_LONG"))
DATA = os.environ.get("MALSEQ_DATA")
CLASSES = ["Adware", "Backdoor", "Downloader", "Dropper", "Spyware", "Trojan", "Virus", "Worm"]


def run(tool, *args, timeout=250):
    done = subprocess.run([os.path.join(BIN, tool), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
    if done.returncode != 0:
        raise AssertionError("exit %d: %s" % (done.returncode, done.stderr.decode()))
    return done.stdout.decode()


@unittest.skipUnless(DATA, "MALSEQ_DATA is not set")
@unittest.skipIf(os.environ.get("MALSEQ_SANITIZED") == "1", "too slow under AddressSanitizer: the release build runs it")
class Real(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.classes, cls.verdicts = (pathlib.Path(cls.folder.name, name) for name in ("classes", "verdicts"))
        run("extract", "dataset", "mal-api-2019", pathlib.Path(DATA, "mal-api-2019-subset"), "--corpus", cls.classes)
        run("extract", "dataset", "malbehavd-v1", pathlib.Path(DATA, "malbehavd-v1", "MalBehavD-V1-dataset.csv"), "--corpus", cls.verdicts)

    def train(self, corpus, *args):
        judged = [] if "--preset" in args else ["--test-share", ".2"]
        return json.loads(run("train", "--corpus", corpus, "--json", "-q", "--baselines", "no", *judged, *args))

    def check(self, r):
        """What must hold of every run."""
        counts, n = r["confusion"]["counts"], r["judged"]
        classes = range(len(counts))
        self.assertEqual(sum(map(sum, counts)), n)
        self.assertAlmostEqual(sum(counts[c][c] for c in classes) / n, r["accuracy"])
        support = [sum(row[c] for row in counts) for c in classes]
        self.assertEqual(support, [s["support"] for s in r["by_class"]])
        self.assertEqual([sum(row) for row in counts], [s["predicted"] for s in r["by_class"]])
        self.assertAlmostEqual(max(support) / n, r["majority_accuracy"])
        for c in classes:
            self.assertAlmostEqual(r["by_class"][c]["recall"], counts[c][c] / support[c])
        interval = r["accuracy_interval"]
        self.assertTrue(interval["low"] <= r["accuracy"] <= interval["high"])
        self.assertEqual(r["split"]["copies_in_training"], 0)

    def test_article_as_published_and_with_small_batches(self):
        for batch in (1000, 32):
            with self.subTest(batch=batch):
                r = self.train(self.classes, "--preset", "article", "--target", "class=Virus", "--batch", batch, "--baselines", "no", "--name", "b%d" % batch)
                self.check(r)
                self.assertEqual((r["samples"], r["judged"], r["parameters"]), (808, 121, 369537))
                self.assertEqual([c["samples"] for c in r["classes"]], [101, 707])
                self.assertGreater(r["majority_accuracy"], .85)
                self.assertTrue(.8 <= r["accuracy"] <= .96, r["accuracy"])
                self.assertEqual(r["lengths"], [12, 223, 629, 2035, 1485396])
                self.assertEqual(r["copies"]["raw"]["distinct"], 786)
                self.assertEqual(r["copies"]["collapsed"]["distinct"], 784)

    def test_eight_classes(self):
        r = self.train(self.classes, "--target", "class", "--members", "1")
        self.check(r)
        self.assertEqual(r["confusion"]["classes"], CLASSES)
        self.assertLess(r["majority_accuracy"], .15)
        self.assertTrue(.33 <= r["accuracy"] <= .67, r["accuracy"])

    @unittest.skipUnless(LONG, "MALSEQ_LONG is not set: cli.test_train_detect and cli.test_demo shuffle labels of small sets")
    def test_shuffled_labels_are_chance(self):
        r = self.train(self.classes, "--target", "class", "--shuffle-labels", "--epochs", "6", "--members", "1", "--baselines", "no")
        self.assertLess(r["accuracy"], .26)

    def test_malware_or_benign(self):
        # a third of the rows are copies, one sequence stands 164 times: a hold-out with it says little
        r = self.train(self.verdicts, "--copies", "one", "--members", "1", "--epochs", "10")
        self.check(r)
        self.assertEqual(r["confusion"]["classes"], ["malware", "benign"])
        with open(pathlib.Path(DATA, "malbehavd-v1", "MalBehavD-V1-dataset.csv"), encoding="utf-8") as rows:
            hashes = {line.split(",", 1)[0] for line in rows} - {"sha256"}  # some occur twice
        self.assertEqual((r["samples"] + sum(r["dropped"].values()), r["dropped"]["damaged"]), (len(hashes), 0))
        self.assertTrue(.88 <= r["accuracy"] <= .99, r["accuracy"])
        self.assertGreater(r["auc"], .93)

    @unittest.skipUnless(LONG, "MALSEQ_LONG is not set: cli.test_train_kinds and cli.test_train_detect do this on a small set")
    def test_jobs_do_not_matter(self):
        one, two = (self.train(self.classes, "--target", "class", "--epochs", "3", "--members", "1", "--baselines", "no", "--jobs", jobs, "--name", "jobs%d" % jobs) for jobs in (1, 2))
        self.assertEqual(one["model_digest"], two["model_digest"])
        self.assertEqual(one["curve"], two["curve"])


if __name__ == "__main__":
    if not DATA:
        print("skipped: MALSEQ_DATA is not set")
    elif os.environ.get("MALSEQ_SANITIZED") == "1":
        print("skipped: the release build runs it")
    unittest.main()

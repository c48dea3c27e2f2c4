"""The demo from end to end, small: its world learnt, its shuffled labels not, its folder and messages."""
# ctest: full release cost=60
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.environ.get("MALSEQ_BIN", os.path.join(ROOT, "build", "release", "bin"))
MALSEQ = os.path.join(BIN, "malseq")
DATA = os.environ.get("MALSEQ_DATA")
LONG_UNDER_VALGRIND = unittest.skipIf("MALSEQ_TEST_VALGRIND" in os.environ, "several trainings: hours there; services.test_nightly is whole nights")


def demo(*words, env=None, timeout=280):
    return subprocess.run([MALSEQ, "demo", *words], capture_output=True, text=True, timeout=timeout, env=dict(os.environ, **(env or {})), stdin=subprocess.DEVNULL)


class Demo(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="malseq-test-demo-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.keep = os.path.join(self.folder, "run")

    def metrics(self, name):
        with open(os.path.join(self.keep, "corpus", "models", name, "metrics.json"), encoding="utf-8") as file:
            return json.load(file)

    def status(self):
        result = subprocess.run([MALSEQ, "status", "--json", "--corpus", os.path.join(self.keep, "corpus")], capture_output=True, text=True, timeout=250)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    @LONG_UNDER_VALGRIND
    def test_small_world(self):
        result = demo("--samples", "240", "--keep", self.keep)
        self.assertEqual(result.returncode, 0, result.stdout[-3000:] + result.stderr[-3000:])
        # The real tools, shown as they were run.
        for tool in ("collect", "label", "extract", "train", "detect"):
            self.assertRegex(result.stdout, r"(?m)^\$ malseq %s " % tool)
        with open(os.path.join(self.keep, "world", "services.json"), encoding="utf-8") as file:
            world = json.load(file)
        for secret in (world["vt_key"], world["github_token"], world["cuckoo_token"]):
            self.assertNotIn(secret, result.stdout + result.stderr)
        # What the world says is there is there, and all of it.
        counts, held = world["counts"], self.status()
        self.assertEqual(held["samples"]["all"], counts["samples"])
        self.assertEqual(held["analyses"].get("ok", 0), counts["samples"] - counts["without_behaviour"] - counts["without_report"])
        for state in set(counts["rejected_blobs"].values()):
            self.assertGreaterEqual(held["blobs"].get(state, 0), 1, state)
        # The net learnt something, and the matrix is there.
        malware = self.metrics("malware")
        self.assertGreater(malware["accuracy_interval"]["low"], malware["majority_accuracy"])
        classes = self.metrics("classes")
        self.assertGreater(classes["accuracy"], classes["majority_accuracy"] + 0.2)
        matrix = malware["confusion"]["counts"]
        self.assertEqual(sum(map(sum, matrix)), malware["judged"])
        self.assertAlmostEqual((matrix[0][0] + matrix[1][1]) / malware["judged"], malware["accuracy"], places=9)
        right, fresh = map(int, re.search(r"detect was right on (\d+) of (\d+) reports", result.stdout).groups())
        self.assertEqual(fresh, len(world["fresh_truth"]))
        self.assertGreaterEqual(right, fresh * 0.7)
        for name in ("classes", "malware"):
            page = os.path.join(self.keep, "corpus", "models", name, "report.html")
            self.assertIn(page, result.stdout)
            with open(page, encoding="utf-8") as file:
                self.assertIn("default-src 'none'", file.read())
        self.assertIn("This world is synthetic", result.stdout)
        # Nobody is left serving.
        with self.assertRaises(ProcessLookupError):
            os.kill(world["pid"], 0)

    @LONG_UNDER_VALGRIND
    def test_shuffled_labels_end_at_chance(self):
        result = demo("--samples", "100", "--shuffle-labels", "--keep", self.keep)
        self.assertEqual(result.returncode, 0, result.stdout[-3000:] + result.stderr[-3000:])
        self.assertIn("the run ended at chance, as it must", result.stdout)
        for name in ("classes", "malware"):
            metrics = self.metrics(name)
            self.assertLessEqual(metrics["accuracy_interval"]["low"], metrics["majority_accuracy"])

    def test_folder_in_use(self):
        os.makedirs(self.keep)
        precious = os.path.join(self.keep, "precious")
        with open(precious, "w"):
            pass
        result = demo("--keep", self.keep)
        self.assertEqual(result.returncode, 2)
        self.assertIn("--keep wants a new or empty folder", result.stderr)
        self.assertTrue(os.path.exists(precious))

    def test_wrong_words(self):
        for words in (["mal-api"], ["--samples", "39"], ["--samples", "x"], ["mal-api-2019", "a", "b"], ["--shuffle-labels", "mal-api-2019"]):
            self.assertEqual(demo(*words).returncode, 2, words)

    def test_no_python(self):
        os.makedirs(os.path.join(self.folder, "empty"))
        result = demo("--keep", self.keep, env={"PATH": os.path.join(self.folder, "empty")})
        self.assertEqual(result.returncode, 4)
        self.assertIn("is python3 installed?", result.stderr)

    def test_dataset_folder_without_the_files(self):
        result = demo("mal-api-2019", self.folder, "--keep", self.keep)
        self.assertEqual(result.returncode, 3)
        self.assertIn("does not hold mal-api-2019.zip and labels.csv", result.stderr)

    @unittest.skipUnless(DATA, "MALSEQ_DATA is not set")
    @LONG_UNDER_VALGRIND
    def test_mal_api_2019(self):
        result = demo("mal-api-2019", os.path.join(DATA, "mal-api-2019-subset"), "--keep", self.keep)
        self.assertEqual(result.returncode, 0, result.stdout[-3000:] + result.stderr[-3000:])
        held = self.status()
        self.assertEqual((held["samples"]["all"], held["traces"]["calls"]), (808, 15566181))
        virus = self.metrics("virus")
        self.assertAlmostEqual(virus["majority_accuracy"], 0.875, delta=0.02)
        classes = self.metrics("classes")
        self.assertGreater(classes["accuracy"], 0.2)
        self.assertLess(classes["accuracy"], 0.75)


class Published(BaseHTTPRequestHandler):
    def do_GET(self):
        body = {"/good-name/mal-api-2019.zip": b"not the published archive"}.get(self.path)
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *words):
        pass


class Download(unittest.TestCase):
    def setUp(self):
        self.server = HTTPServer(("127.0.0.1", 0), Published)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.folder = tempfile.mkdtemp(prefix="malseq-test-demo-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def download(self, path):
        return demo("mal-api-2019", "--dataset-url", "http://127.0.0.1:%d/%s" % (self.server.server_port, path),
                    "--keep", os.path.join(self.folder, "run"), env={"MALSEQ_DATA": ""})

    def test_wrong_bytes(self):
        result = self.download("good-name")
        self.assertEqual(result.returncode, 5)
        self.assertIn("is not the published file: its git blob id is", result.stderr)
        self.assertEqual(os.listdir(os.path.join(self.folder, "run", "mal-api-2019")), [])

    def test_missing(self):
        result = self.download("elsewhere")
        self.assertEqual(result.returncode, 5)
        self.assertIn("answered with 404", result.stderr)


if __name__ == "__main__":
    unittest.main()

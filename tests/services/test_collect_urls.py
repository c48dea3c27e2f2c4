"""collect --url-list against a loopback file server: conditional requests, states, addresses that are refused, and kills at each step."""
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import unittest

from gen import archive, pe
from gen.schema import Schema
from services.httpd import Response, Service

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
SCHEMA = Schema("collect.schema.json")
TOKEN = "ghp_onlyfortests0123456789"


class Files(Service):
    """files: {path: (bytes, validator)}; the validator is an ETag with its quotes, a date for Last-Modified, or None. answers: {path: Response}."""

    def __init__(self):
        super().__init__()
        self.files, self.answers = {}, {}

    def handle(self, request):
        if request.path in self.answers:
            return self.answers[request.path]
        if request.path not in self.files:
            return Response(404, b"not here", "text/plain")
        data, validator = self.files[request.path]
        header, condition = ("ETag", "if-none-match") if validator and '"' in validator else ("Last-Modified", "if-modified-since")
        if validator and request.header(condition) == validator:
            return Response(304)
        return Response(200, data, "application/octet-stream", [(header, validator)] if validator else [])


class UrlCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-urls-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.corpus, self.list = self.root / "corpus", self.root / "urls.txt"
        self.site = Files()
        self.site.start()
        self.addCleanup(self.site.stop)

    def write_list(self, *lines):
        self.list.write_text("".join(line.replace("SITE", self.site.url) + "\n" for line in lines))

    def collect(self, *args, expect=0, corpus=None, env=(), days=0):
        """Samples and the rest of a run `days` from now; stderr is kept in self.talk."""
        epoch = int((time.time() + days * 86400) * 1000)
        environment = dict(os.environ, MALSEQ_TEST_EPOCH_MS=str(epoch), MALSEQ_TEST_SPEED="200", GITHUB_TOKEN=TOKEN, **dict(env))
        command = [os.path.join(BIN, "collect"), "--url-list", str(self.list), "--github-url", self.site.url, "--corpus",
                   str(corpus or self.corpus), "--json", *args]
        result = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False)
        self.talk, out = result.stderr.decode("utf-8", "replace"), result.stdout.decode("utf-8", "replace")
        if expect is not None:
            self.assertEqual(result.returncode, expect, self.talk + out)
        self.code = result.returncode
        lines = [json.loads(line) for line in out.splitlines()]
        for line in lines:
            SCHEMA.check(line, line["type"])
        return [line for line in lines if line["type"] == "sample"], [line for line in lines if line["type"] != "sample"]

    def rows(self, sql):
        with sqlite3.connect("file:%s?mode=ro" % (self.corpus / "corpus.db"), uri=True) as db:
            return db.execute(sql).fetchall()

    def digest(self, corpus):
        command = [os.path.join(BIN, "malseq"), "fsck", "--digest", "--corpus", str(corpus)]
        return subprocess.run(command, capture_output=True, timeout=250, check=True).stdout.split()[-1]


class Urls(UrlCase):
    def test_one_conditional_request_each(self):
        self.site.files = {"/a/x.exe": (pe.pe("x"), '"v1"'), "/b.zip": (archive.zipped({"z.exe": pe.pe("z")}, "infected"), "Sat, 01 Feb 2025 00:00:00 GMT"),
                           "/plain/": (pe.pe("p"), None)}
        self.write_list("# files", "SITE/a/x.exe?v=1 claim=malware private", "", "SITE/b.zip  # a date", "SITE/plain/")
        samples, rest = self.collect()
        self.assertEqual(({line["path"] for line in samples}, rest), ({"x.exe", "b.zip", "download"}, []))
        self.assertEqual(self.rows("SELECT DISTINCT kind, state FROM origin"), [("list", "ok")])
        self.assertEqual(self.rows("SELECT path, claim, private FROM sighting ORDER BY 1"),
                         [(b"b.zip", "unknown", 0), (b"download", "unknown", 0), (b"x.exe", "malware", 1)])
        self.assertEqual([r["headers"].get("authorization") for r in self.site.requests()], [None] * 3)
        before = self.digest(self.corpus)
        self.site.clear_log()
        self.assertEqual(self.collect(days=1), ([], []))
        self.assertEqual([r["status"] for r in self.site.requests()], [304, 304, 200])
        self.assertEqual(self.digest(self.corpus), before)
        self.site.files["/a/x.exe"] = (pe.pe("new"), '"v2"')
        samples, _ = self.collect(days=2)
        self.assertEqual([line["path"] for line in samples], ["x.exe"])
        self.assertEqual(self.rows("SELECT count(*), count(gone_ms) FROM sighting"), [(4, 1)])
        self.write_list("SITE/a/x.exe?v=1 claim=benign")        # a claim of today reaches the sightings without a download
        self.assertEqual(self.collect(days=3), ([], []))
        self.assertEqual(self.rows("SELECT claim, private FROM sighting WHERE path = x'%s' AND gone_ms IS NULL" % b"x.exe".hex()), [("benign", 0)])

    def test_states(self):
        for name, status in (("gone", 404), ("dead", 410), ("law", 451), ("no", 403), ("ill", 500)):
            self.site.answers["/" + name] = Response(status, b"<html>", "text/html")
        self.site.files = {"/fine": (pe.pe("f"), '"1"')}
        self.write_list(*("SITE/" + name for name in ("gone", "dead", "law", "no", "ill", "fine")))
        samples, rest = self.collect(expect=5)
        self.assertEqual((len(samples), [line["state"] for line in rest]), (1, ["gone", "gone", "legal", "blocked", "error"]))
        self.site.clear_log()
        self.collect(expect=5, days=6)
        self.assertEqual({r["target"] for r in self.site.requests()}, {"/ill", "/fine"})
        self.site.answers.clear()
        self.site.files.update({"/" + name: (pe.pe(name), None) for name in ("gone", "dead", "law", "no", "ill")})
        samples, rest = self.collect(days=8)
        self.assertEqual((len(samples), rest), (5, []))

    def test_patience(self):
        self.site.files = {"/" + name: (pe.pe(name), None) for name in "abc"}
        self.site.fault("status", path="/b", status=429, retry_after=600)
        self.write_list("SITE/a", "SITE/b", "SITE/c")
        samples, _ = self.collect(expect=75)
        self.assertEqual((len(samples), self.site.count("/c")), (1, 0))
        self.assertIn("try again at 20", self.talk)
        self.site.clear_faults()
        samples, _ = self.collect()
        self.assertEqual(len(samples), 2)

    def test_addresses_and_lines_that_are_refused(self):
        other = Files()
        other.start()
        self.addCleanup(other.stop)
        other.files["/x"] = (pe.pe("x"), None)
        for name, location in (("r1", other.url + "/x"), ("r2", "https://10.0.0.1/x"), ("r3", "file:///etc/passwd")):
            self.site.answers["/" + name] = Response(302, b"", None, [("Location", location)])
        self.write_list(other.url + "/x", "https://192.168.0.1/x", "https://[::1]/x", "https://169.254.169.254/x", "SITE/r1", "SITE/r2", "SITE/r3")
        samples, rest = self.collect(expect=1)
        self.assertEqual((samples, [line["state"] for line in rest]), ([], ["error"] * 7))
        self.assertEqual(other.count(), 0)
        self.write_list("http://example.invalid/x", "ftp://example.invalid/x", "https://a:b@example.invalid/x", "justaname", "SITE/x claim=evil", "/etc/passwd")
        self.assertEqual(self.collect(expect=1, corpus=self.root / "other"), ([], []))
        for number in range(1, 7):
            self.assertIn("urls.txt:%d: " % number, self.talk)

    def test_faults_of_the_wire(self):
        self.site.files = {"/x": (pe.pe("x", body_bytes=5000), '"1"'), "/y": (pe.pe("y"), None)}
        self.write_list("SITE/x", "SITE/y")
        for index, (kind, more) in enumerate((("cut", {}), ("reset", {}), ("oversize", {"declare": True}), ("status", {"status": 304}))):
            with self.subTest(kind=kind):
                self.site.fault(kind, path="/x", **more)
                samples, rest = self.collect(expect=None, corpus=self.root / str(index))
                self.assertEqual(([line["path"] for line in samples], [line["state"] for line in rest]), (["y"], ["error"]))
                self.assertIn(self.code, (1, 5))
                self.site.clear_faults()
                samples, _ = self.collect(corpus=self.root / str(index))
                self.assertEqual([line["path"] for line in samples], ["x"])

    def test_passwords_heal(self):
        self.site.files = {"/x.zip": (archive.zipped({"x.exe": pe.pe("x")}, "odd word"), '"1"')}
        self.write_list("SITE/x.zip")
        self.collect(expect=1)
        self.site.clear_log()
        self.collect()
        self.assertEqual([r["status"] for r in self.site.requests()], [304])
        (self.root / "words").write_text("odd word\n")
        samples, _ = self.collect("--password-list", str(self.root / "words"))
        self.assertEqual(len(samples), 1)

    def test_kill_then_again(self):
        self.site.files = {"/x.exe": (pe.pe("x"), '"1"'), "/b.zip": (archive.zipped({"z.exe": pe.pe("z")}), None)}
        self.write_list("SITE/x.exe claim=malware", "SITE/b.zip")
        log, whole = self.root / "steps", self.root / "whole"
        self.collect(corpus=whole, env={"MALSEQ_TEST_STEPS": str(log)})
        want, reached = self.digest(whole), log.read_text().split()
        self.assertIn("collect.urls.asked", reached)
        for step in sorted({step for step in reached if step.startswith("collect.")}):
            for nth in range(1, reached.count(step) + 1):
                corpus = self.root / ("%s.%d" % (step, nth))
                self.collect(expect=-signal.SIGKILL, corpus=corpus, env={"MALSEQ_TEST_KILL": "%s:%d" % (step, nth)})
                self.collect(corpus=corpus)
                self.assertEqual(self.digest(corpus), want, (step, nth))


if __name__ == "__main__":
    unittest.main()

"""What tests of collect over git's protocol share: a server on loopback, a list, runs of collect, and looks into the corpus."""
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

from gen.schema import Schema
from services.githttp import GitServer, available

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
SCHEMA = Schema("collect.schema.json")


class GitCase(unittest.TestCase):
    def setUp(self):
        if not available():
            print("skipped: git and its http-backend are not installed")
            self.skipTest("no git")
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-git-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.corpus, self.list = self.root / "corpus", self.root / "repos.txt"
        self.host = GitServer(self.root / "served")
        self.host.start()
        self.addCleanup(self.host.stop)

    def write_list(self, *lines):
        self.list.write_text("".join(line.replace("@HOST@", self.host.url) + "\n" for line in lines))

    def collect(self, *args, expect=0, corpus=None, env=(), token=None, host=True):
        environment = dict(os.environ, MALSEQ_TEST_EPOCH_MS=str(int(time.time() * 1000)), MALSEQ_TEST_SPEED="200")
        environment.update(env)
        environment.pop("GITHUB_TOKEN", None)
        if token:
            environment["GITHUB_TOKEN"] = token
        command = [os.path.join(BIN, "collect"), "--github-list", str(self.list), "--corpus", str(corpus or self.corpus), "--json",
                   *(["--git-host", self.host.url] if host else []), *args]
        result = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False)
        self.talk, out = result.stderr.decode("utf-8", "replace"), result.stdout.decode("utf-8", "replace")
        if expect is not None:
            self.assertEqual(result.returncode, expect, self.talk + out)
        self.code = result.returncode
        self.assertNotIn("ERROR: AddressSanitizer", self.talk)
        if expect == -signal.SIGKILL:      # the last line may be cut
            return None
        lines = [json.loads(line) for line in out.splitlines()]
        for line in lines:
            SCHEMA.check(line, line["type"])
        return [line for line in lines if line["type"] == "sample"], [line for line in lines if line["type"] != "sample"]

    def rows(self, sql, corpus=None):
        with sqlite3.connect("file:%s?mode=ro" % ((corpus or self.corpus) / "corpus.db"), uri=True) as db:
            return db.execute(sql).fetchall()

    def digest(self, corpus):
        command = [os.path.join(BIN, "malseq"), "fsck", "--digest", "--corpus", str(corpus)]
        return subprocess.run(command, capture_output=True, timeout=250, check=True).stdout.split()[-1]

    def tool(self, name, *args, expect=0):
        result = subprocess.run([os.path.join(BIN, name), *args, "--corpus", str(self.corpus)], stdin=subprocess.DEVNULL, capture_output=True,
                                timeout=250, check=False)
        self.assertEqual(result.returncode, expect, result.stderr)
        return result.stdout.decode()

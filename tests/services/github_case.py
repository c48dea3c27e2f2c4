"""What tests of collect --github-list share: the loopback GitHub, a list, a corpus, and runs of the tool whose output is checked against its
schema. Time runs faster than the world's where a wait is part of the case."""
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile
import time
import unittest

from gen import archive, pe
from gen.schema import Schema
from services.gitobjects import SUBMODULE, SYMLINK
from services.github import GitHub, pointer

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
SCHEMA = Schema("collect.schema.json")
TOKEN = "ghp_onlyfortests0123456789"
SPEED = "200"
LARGE = b"a large file that is no program\n"


class GitHubCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-github-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.corpus, self.list = self.root / "corpus", self.root / "repos.txt"
        self.hub = GitHub(token=TOKEN)
        self.hub.put_lfs(LARGE)
        self.hub.start()
        self.addCleanup(self.hub.stop)

    def write_list(self, *lines):
        self.list.write_text("".join(line + "\n" for line in lines))

    def collect(self, *args, expect=0, token=TOKEN, corpus=None, env=(), days=0):
        """JSON objects of a run `days` from now, samples and the rest apart; stderr is kept in self.talk."""
        epoch = int((time.time() + days * 86400) * 1000)
        environment = dict(os.environ, MALSEQ_TEST_EPOCH_MS=str(epoch), MALSEQ_TEST_SPEED=SPEED)
        environment.pop("GITHUB_TOKEN", None)
        environment.update(dict(env))
        if token:
            environment["GITHUB_TOKEN"] = token
            args = ("--github-token", "env:GITHUB_TOKEN", *args) if "--github-token" not in args else args
        command = [os.path.join(BIN, "collect"), "--github-list", str(self.list), "--github-url", self.hub.url, "--corpus",
                   str(corpus or self.corpus), "--json", *args]
        result = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False)
        self.talk, out = result.stderr.decode("utf-8", "replace"), result.stdout.decode("utf-8", "replace")
        if expect is not None:
            self.assertEqual(result.returncode, expect, self.talk + out)
        self.code = result.returncode
        self.assertNotIn(TOKEN, self.talk + out)
        lines = [json.loads(line) for line in out.splitlines()]
        for line in lines:
            SCHEMA.check(line, line["type"])
        return [line for line in lines if line["type"] == "sample"], [line for line in lines if line["type"] != "sample"]

    def rows(self, sql, corpus=None):
        with sqlite3.connect("file:%s?mode=ro" % ((corpus or self.corpus) / "corpus.db"), uri=True) as db:
            return db.execute(sql).fetchall()

    def states(self):
        return dict(self.rows("SELECT name, state FROM origin"))

    def digest(self, corpus):
        command = [os.path.join(BIN, "malseq"), "fsck", "--digest", "--corpus", str(corpus)]
        return subprocess.run(command, capture_output=True, timeout=250, check=True).stdout.split()[-1]

    def downloads(self):
        return self.hub.count("/git/blobs/")


def zoo():
    return {"README.md": b"The password is `infected`.\n", "malware/A/A.zip": archive.zipped({"a.exe": pe.pe("a")}, "infected"),
            "malware/A/A.pass": b"infected\n", "malware/B/b.exe": pe.pe("b"), "malware/link": (SYMLINK, b"../README.md"),
            "vendor": (SUBMODULE, "1" * 40), "large.txt": pointer(LARGE)}

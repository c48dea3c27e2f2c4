"""A test with a corpus of its own: the built tools run on it, its rows changed by hand."""
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")


class CorpusCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-corpus-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.input, self.corpus = self.root / "in", self.root / "corpus"
        self.input.mkdir()

    def tool(self, name, *args, expect=0, corpus=None, env=()):
        """What the tool says on stdout; self.talk is what it says on stderr. `expect` is its exit code, None: any."""
        result = subprocess.run([os.path.join(BIN, name), *map(str, args), "--corpus", str(corpus or self.corpus)], capture_output=True,
                                stdin=subprocess.DEVNULL, timeout=250, check=False, env=dict(os.environ, **dict(env)))
        self.talk = result.stderr.decode("utf-8", "replace")
        if expect is not None:
            self.assertEqual(result.returncode, expect, self.talk + result.stdout.decode("utf-8", "replace"))
        return result.stdout.decode()

    def minding_rights(self, *command):
        """The command, for whom a closed file is closed: root opens it, unless that is taken away."""
        if os.geteuid() != 0:
            return list(command)
        if not shutil.which("setpriv"):
            self.skipTest("root needs setpriv here")
        return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *command]

    def sql(self, text, *values):
        db = sqlite3.connect(self.corpus / "corpus.db")
        with db:
            rows = db.execute(text, values).fetchall()
        db.close()
        return rows

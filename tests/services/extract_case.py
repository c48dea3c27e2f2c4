"""What the tests of extract --cuckoo share: a corpus with a few generated programs, pretended servers, the run, and a look at its rows."""
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

from gen import pe, report
from services.cape import Cape
from services.cuckoo import Cuckoo
from services.drakvuf import Drakvuf

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
SPEED = 20              # how many times faster the tool's clock runs
SHORT = {"pending_seconds": 0.02, "running_seconds": 0.02, "processing_seconds": 0.02}


def calls_of(data):
    return ["NtCreateFile", "NtWriteFile"] + ["RegOpenKeyExW", "NtClose"] * (2 + len(data) % 5)


def cuckoo_report(task, data):
    return report.cuckoo([report.Process("sample.exe", calls_of(data))], sha256=task.sample.sha256, task=task.id)


def cape_report(task, data):
    return report.cape([report.Process("sample.exe", calls_of(data))], sha256=task.sample.sha256, task=task.id)


def drakvuf_log(task, data):
    """A line for each call, and one of another kind; the sample's digest makes it a log of its own."""
    lines = [{"Plugin": "apimon", "TimeStamp": "1700000000.%06d" % index, "PID": 4 + task.id, "PPID": 4, "TID": 8, "UserName": "SessionID", "UserId": 1,
              "ProcessName": "C:\\%s.exe" % task.sample.sha256[:8], "Method": name, "EventUID": hex(index), "Event": "api_called", "CLSID": None,
              "CalledFrom": "0x7ff0", "ReturnValue": "0x0", "Arguments": ["Arg0=0x1"]} for index, name in enumerate(calls_of(data))]
    lines.insert(1, {"Plugin": "apimon", "TimeStamp": "1700000000.000000", "PID": 4 + task.id, "PPID": 4, "TID": 8, "Event": "dll_loaded", "DllName": "x.dll"})
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


REPORTS = {Cuckoo: cuckoo_report, Cape: cape_report, Drakvuf: drakvuf_log}


class ExtractCase(unittest.TestCase):
    samples = 4

    def setUp(self):
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-extract-", dir=memory))
        self.addCleanup(shutil.rmtree, self.root, True)
        self.corpus = self.root / "corpus"
        self.add(["sandbox/%d" % index for index in range(self.samples)])

    def add(self, names, *more):
        """Programs by these seeds into the corpus."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.root))
        for index, name in enumerate(names):
            (folder / ("%04d.bin" % index)).write_bytes(pe.pe(name, ("exe", "dll")[index % 2]))
        self.run_tool(0, "collect", "--dir", str(folder), *more)

    def run_tool(self, expected, tool, *arguments, env=None, timeout=250):
        done = subprocess.run([os.path.join(BIN, tool), *map(str, arguments), "--corpus", str(self.corpus)], capture_output=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, env=dict(os.environ, **(env or {})), check=False)
        self.talk = done.stderr.decode("utf-8", "replace")
        if expected is not None:
            self.assertEqual(done.returncode, expected, (tool, arguments, done.stdout[-800:], self.talk[-2000:]))
        return done

    def arguments(self, servers, *more):
        given = []
        for server in servers if isinstance(servers, (list, tuple)) else [servers]:
            given += ["--cuckoo", server if isinstance(server, str) else getattr(server, "api", server.url)]
        return [*given, "--poll", "1", "--grace", "20", "--progress", "never", *more]

    def extract(self, expected, servers, *more, env=None, speed=SPEED, **settings):
        return self.run_tool(expected, "extract", *self.arguments(servers, *more), env=dict({"MALSEQ_TEST_SPEED": str(speed)}, **(env or {})), **settings)

    def serve(self, kind=Cuckoo, **settings):
        server = kind(reports=next(make for base, make in REPORTS.items() if issubclass(kind, base)), **dict(SHORT, **settings))
        server.start()
        self.addCleanup(server.stop)
        return server

    def sql(self, text):
        db = sqlite3.connect(self.corpus / "corpus.db")
        try:
            rows = db.execute(text).fetchall()
            db.commit()
            return rows
        finally:
            db.close()

    def states(self):
        return dict(self.sql("SELECT state, count(*) FROM analysis GROUP BY state"))

    def submitted(self, *servers):
        """How often each sample came to the servers, by their own count: the most."""
        counts = {}
        for server in servers:
            for sample in server.table.samples.values():
                counts[sample.sha256] = counts.get(sample.sha256, 0) + len(sample.tasks)
        return max(counts.values(), default=0)

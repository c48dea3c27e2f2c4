"""extract import: reports made to hurt its reader, a small one of each kind; each has one outcome, and costs the report beside it nothing."""
# in release: Hostile.test_endless_strings
import gzip
import json
import os
import pathlib
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from gen import report  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MALSEQ_BIN", ROOT / "build/release/bin"))
SANITIZED = os.environ.get("MALSEQ_SANITIZED") == "1"
LARGE = os.environ.get("MALSEQ_LARGE") == "1"     # the sizes that were met, in place of small ones
PROCESSES_MAX = 65536                             # base/limits.h
MEMORY_KIB = 96 << 10                             # of all that is run here: less than one of the endless strings

CALL = b'{"api": "NtClose", "tid": 1, "time": 1.5, "status": 1, "arguments": {}}'
HEAD = b'{"info": {"version": "2.0.7"}, "behavior": {"processes": ['
GOOD = report.cuckoo([report.Process("good.exe", ["NtCreateFile", "NtClose"] * 3)])


def process(calls=CALL, name=b'"a.exe"', pid=b"7", more=b""):
    return b'{"pid": %s, "ppid": 4, "process_name": %s%s, "calls": [%s]}' % (pid, name, more, calls)


def document(*processes):
    return HEAD + b", ".join(processes) + b"]}}"


def event(pid=7, name="a.exe", method="Sleep", **more):
    return json.dumps({"Plugin": "apimon", "TimeStamp": "1700000000.000001", "PID": pid, "PPID": 4, "TID": 8, "ProcessName": name, "Method": method,
                       "Event": "api_called", **more}).encode() + b"\n"


# name: (bytes, state, (processes, calls) or a part of the reason)
CASES = {
    "huge name": (document(process(name=b'"%s"' % (b"n" * 900_000))), "ok", (1, 1)),
    "huge api": (document(process(b'{"api": "%s", "tid": 1}' % (b"A" * 900_000))), "ok", (1, 1)),
    "huge argument": (document(process(CALL[:-2] + b'"b": "%s"}}' % (b"x" * 3_000_000))), "ok", (1, 1)),
    "same pid": (document(*[process()] * 50), "ok", (50, 50)),
    "wrong types": (document(b'{"pid": {}, "process_name": 7, "first_seen": [1], "calls": [{"api": 12, "tid": 1.5, "time": true, "repeated": "x"}, %s]}' % CALL),
                    "ok", (1, 2)),
    "calls of another type": (document(b'{"pid": 1, "calls": {"api": "x"}}'), "report_invalid", "no array"),
    "process of another type": (document(b"3"), "report_invalid", "no object"),
    "no number": (document(process(b'{"api": "x", "time": NaN}')), "report_invalid", "line 1, byte "),
    "negative pid": (document(process(pid=b"-1"), process(pid=b"1e400"), process(pid=b"99999999999999999999")), "ok", (3, 3)),
    "null": (document(process(b'{"api": "a\\u0000b", "tid": 1}', b'"a\\u0000b"')), "ok", (1, 1)),
    "null byte": (document(process(b'{"api": "a\0b", "tid": 1}')), "report_invalid", "line 1, byte "),
    "lone surrogate": (document(process(b'{"api": "\\ud800", "tid": 1}')), "ok", (1, 1)),
    "no utf-8": (document(process(b'{"api": "\xff\xfe", "tid": 1}')), "report_invalid", "line 1, byte "),
    "depth in a call": (document(process(CALL[:-2] + b'"d": %s%s}}' % (b"[" * 200_000, b"]" * 200_000))), "report_invalid", "line 1, byte "),
    "depth beside": (b'{"x": %s%s, ' % (b"[" * 200_000, b"]" * 200_000) + document(process())[1:], "report_invalid", "line 1, byte "),
    "same key in a call": (document(process(b'{"api": "first", "api": "NtClose", "tid": 1}')), "ok", (1, 1)),
    "two lists of calls": (document(process(more=b', "calls": []')), "report_invalid", "two lists of calls"),
    "two behaviors": (document(process())[:-1] + b', "behavior": {}}', "report_invalid", "twice"),
    "two documents": (document(process()) + b"\n" + document(process()), "report_invalid", "behind"),
    "open to the end": (b"[" * 500_000, "report_invalid", "line 1, byte "),
    "endless repeats": (b'{"behavior": {"processes": [{"process_id": 1, "calls": [{"timestamp": "2023-06-02 18:12:53,486", "thread_id": "1", "api": "x",'
                        b' "arguments": [], "repeated": 18446744073709551615}]}]}}', "ok", (1, 1)),
    "log: same pid": (b"".join(event(name="p%d" % (n % 40), method="m%d" % n) for n in range(400)), "ok", (40, 400)),
    "log: huge name": (event() + event(name="n" * 900_000) + event(), "ok", (2, 3)),
    "log: huge line": (event() + event(Arguments=["x" * 3_000_000]) + event(), "ok", (1, 2)),
    "log: depth": (event() + event()[:-2] + b', "d": %s%s}\n' % (b"[" * 9000, b"]" * 9000) + event(), "ok", (1, 2)),
    "log: no number": (event() + event().replace(b'"PID": 7', b'"PID": NaN') + event(), "ok", (1, 2)),
    "log: wrong types": (event() + event().replace(b'"Sleep"', b'["Sleep"]') + event(pid={}, name=[]), "ok", (2, 2)),
    "log: null byte": (event() + b"\0\n" + event(), "ok", (1, 2)),
}


class Hostile(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="malseq-hostile-")
        self.addCleanup(self.folder.cleanup)
        self.base = pathlib.Path(self.folder.name).resolve()
        self.corpus = self.base / "corpus"

    def run_import(self, *words, feed=None, expect=(0, 1)):
        """The rows of one run; `feed`: blocks for its standard input."""
        child = subprocess.Popen([str(BIN / "extract"), "import", "--json", "--progress", "never", "--corpus", str(self.corpus), *map(str, words)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        watch = threading.Timer(120, child.kill)
        watch.start()

        def give():
            try:
                for block in feed or ():
                    child.stdin.write(block)
                child.stdin.close()
            except BrokenPipeError:
                pass
        writer = threading.Thread(target=give, daemon=True)
        talk = []
        listener = threading.Thread(target=lambda: talk.append(child.stderr.read()), daemon=True)
        writer.start()
        listener.start()
        out = child.stdout.read()
        code = child.wait()
        watch.cancel()
        writer.join(10)
        listener.join(10)
        child.stdout.close()
        child.stderr.close()
        self.assertIn(code, expect, (talk[0] if talk else b"")[-2000:])
        return [json.loads(line) for line in out.splitlines()]

    def sound(self):
        done = subprocess.run([str(BIN / "malseq"), "fsck", "--corpus", str(self.corpus)], capture_output=True, text=True, timeout=250)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each(self):
        for number, (data, _, _) in enumerate(CASES.values()):
            (self.base / ("%02d.json" % number)).write_bytes(data)
            (self.base / ("%02d.json.gz" % number)).write_bytes(gzip.compress(b" " + data, 1))
        (self.base / "zz-good.json").write_bytes(GOOD)
        paths = [self.base / ("%02d.json%s" % (number, end)) for number in range(len(CASES)) for end in ("", ".gz")]
        rows = self.run_import(*paths, self.base / "zz-good.json")
        self.assertEqual(len(rows), len(paths) + 1)
        for number, (name, (_, state, what)) in enumerate(CASES.items()):
            for row in rows[2 * number:2 * number + 2]:
                with self.subTest(case=name, file=row["file"][-8:]):
                    self.assertEqual(row["status"], state, row)
                    if isinstance(what, str):
                        self.assertIn(what, row["reason"])
                        self.assertTrue(row["line"])
                    else:
                        self.assertEqual((row["processes"], row["calls"]), what, row)
        self.assertEqual((rows[-1]["status"], rows[-1]["calls"]), ("ok", 6))
        with sqlite3.connect(self.corpus / "corpus.db") as db:
            self.assertLessEqual(db.execute("SELECT max(length(name)) FROM api").fetchone()[0], 256)
            self.assertLessEqual(db.execute("SELECT max(length(name)) FROM process").fetchone()[0], 4096)
        self.sound()

    def test_too_many_processes(self):
        """Beyond the limit a report is refused where the limit is passed, whichever format; nothing of it is stored."""
        count = 1_000_000 if LARGE else PROCESSES_MAX + 1
        short = b'{"calls":[]}'
        for feed, where in (([HEAD, (short + b",") * (count - 1), short, b"]}}"], 1),
                            ((event(pid=n) for n in range(count)), PROCESSES_MAX + 1)):
            rows = self.run_import("--discard-reports", "-", feed=feed)
            self.assertEqual([(row["status"], row["processes"], row["line"]) for row in rows], [("report_invalid", 0, where)])
            self.assertIn("too many processes", rows[0]["reason"])
        with sqlite3.connect(self.corpus / "corpus.db") as db:
            self.assertEqual(db.execute("SELECT count(*) FROM process").fetchone(), (0,))
        self.sound()

    def test_endless_strings(self):
        """A string of any length, wherever it stands, costs no memory; 2 GB of it with MALSEQ_LARGE."""
        blocks, block = (2048 if LARGE else 24 if SANITIZED else 128), b"x" * (1 << 20)
        for number, (before, behind) in enumerate(((HEAD + b'{"pid": 1, "process_name": "', b'", "calls": [%s]}]}}' % CALL),
                                                   (HEAD + b'{"pid": 1, "calls": [{"api": "', b'"}]}]}}'),
                                                   (HEAD + b'{"pid": 1, "calls": [{"api": "x", "arguments": {"b": "', b'"}}]}]}}'),
                                                   (b'{"a": "', b'", ' + document(process())[1:]))):
            def feed(before=before, behind=behind):
                yield before
                for _ in range(blocks):
                    yield block
                yield behind
            row, = self.run_import("--discard-reports", "-", feed=feed())
            self.assertEqual((row["status"], row["calls"]), ("ok", 1), number)
        if not SANITIZED:
            self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, MEMORY_KIB)


if __name__ == "__main__":
    unittest.main()

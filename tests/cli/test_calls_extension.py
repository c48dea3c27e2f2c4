"""The loadable extension malseq_calls, on a corpus made here from the schema and the description of the trace format alone."""
# ctest: full also-release
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXTENSION = pathlib.Path(os.environ.get("MALSEQ_BIN", ROOT / "build/release/bin")).parent / "lib" / "malseq_calls"
SANITIZED = os.environ.get("MALSEQ_SANITIZED") == "1"


def varint(value):
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def zigzag(value):
    return (value << 1) if value >= 0 else (-value << 1) - 1


def zstd_raw(data):
    """One zstd frame with a single raw block (RFC 8878)."""
    size = len(data)
    head = b"\x28\xb5\x2f\xfd" + bytes([0xA0]) + size.to_bytes(4, "little")
    return head + ((size << 3) | 1).to_bytes(3, "little") + data


def encode(calls):
    """calls: (api id, tid, time or None, repeated). store/trace/encode.h, written a second time."""
    apis = []
    for call in calls:
        if call[0] not in apis:
            apis.append(call[0])
    expanded = sum(1 + call[3] for call in calls)
    head = bytes([1]) + varint(len(calls)) + varint(expanded) + varint(len(apis))
    head += b"".join(varint(api) for api in apis)
    if not calls:
        return head
    indexes = b"".join(varint(apis.index(call[0])) for call in calls)
    repeats, since = b"", 0
    for call in calls:
        if call[3]:
            repeats, since = repeats + varint(since) + varint(call[3]), 0
        else:
            since += 1

    def runs(values):
        out = []
        for value in values:
            if out and out[-1][1] == value:
                out[-1][0] += 1
            else:
                out.append([1, value])
        return out

    threads, last = b"", 0
    for length, tid in runs([call[1] for call in calls]):
        threads, last = threads + varint(length - 1) + varint(zigzag(tid - last)), tid
    times, last = b"", 0
    for length, time in runs([call[2] for call in calls]):
        times += varint((length - 1) * 2 + (time is not None))
        if time is not None:
            times, last = times + varint(zigzag(time - last)), time
    body = b"".join(varint(len(s)) for s in (indexes, repeats, threads)) + indexes + repeats + threads + times
    return head + varint(len(body)) + zstd_raw(body)


CALLS = [(7, 10, 1000, 0), (9, 10, None, 3), (7, 12, 900, 0), (7, 0, 900, 0), (300, 12, 2000000, 1)]
NAMES = {7: "NtClose", 9: "CreateFileW", 300: "__anomaly__"}


def make_corpus(path):
    db = sqlite3.connect(path)
    db.executescript((ROOT / "schemas/001_corpus.sql").read_text(encoding="utf-8"))
    db.executemany("INSERT INTO api (id, space, name) VALUES (?, 0, ?)", NAMES.items())
    db.execute("INSERT INTO sample (id) VALUES (5)")
    db.execute("INSERT INTO analysis (id, sample, sandbox, state, updated_ms) VALUES (1, 5, 'cape', 'ok', 0)")
    for ord_, calls in enumerate([CALLS, [], CALLS[::-1]]):
        db.execute("INSERT INTO process (analysis, ord, pid, calls, calls_expanded, trace) VALUES (1, ?, 77, ?, ?, ?)",
                   (ord_, len(calls), sum(1 + c[3] for c in calls), encode(calls)))
    db.commit()
    db.close()


def expected(process, calls):
    return [(5, process, seq, NAMES[api], tid or None, time, repeated) for seq, (api, tid, time, repeated) in enumerate(calls)]


@unittest.skipIf(SANITIZED, "the extension needs ASan's library in the host program")
class Extension(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="malseq-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "corpus.db")
        make_corpus(self.path)

    def test_python(self):
        db = sqlite3.connect(self.path)
        if not hasattr(db, "enable_load_extension"):
            self.skipTest("this Python's sqlite3 cannot load extensions")
        self.addCleanup(db.close)
        db.enable_load_extension(True)
        db.load_extension(str(EXTENSION))
        rows = expected(1, CALLS) + expected(3, CALLS[::-1])
        self.assertEqual(db.execute("SELECT * FROM calls").fetchall(), rows)
        self.assertEqual(db.execute("SELECT count(*) FROM calls").fetchone(), (len(rows),))
        self.assertEqual(db.execute("SELECT seq FROM calls WHERE process = 3 AND api = 'CreateFileW'").fetchall(), [(3,)])
        self.assertEqual(db.execute("SELECT count(*), sum(1 + repeated) FROM calls WHERE sample = 5").fetchone(), (10, 18))
        with self.assertRaises(sqlite3.Error):
            db.execute("DELETE FROM calls")
        db.execute("UPDATE process SET trace = x'0105050101' WHERE id = 3")
        with self.assertRaisesRegex(sqlite3.Error, "process 3"):
            db.execute("SELECT max(tid) FROM calls").fetchall()

    def test_shell(self):
        shell = shutil.which("sqlite3")
        if not shell:
            self.skipTest("no sqlite3 program")
        done = subprocess.run([shell, "-readonly", self.path, "-cmd", f".load {EXTENSION}",
                               "SELECT count(*), group_concat(api, ' ') FROM calls WHERE process = 1"],
                              capture_output=True, text=True, timeout=250, check=False)
        self.assertEqual(done.stdout, "5|NtClose CreateFileW NtClose NtClose __anomaly__\n", done.stderr)

    def test_exports_and_needs_little(self):
        readelf = shutil.which("readelf")
        if not readelf:
            self.skipTest("no readelf")
        done = subprocess.run([readelf, "-dW", "--dyn-syms", f"{EXTENSION}.so"], capture_output=True, text=True,
                              timeout=250, check=True)
        self.assertNotIn("libcurl", done.stdout)
        self.assertNotIn("libsqlite3", done.stdout)
        symbols = [line.split() for line in done.stdout.splitlines() if " GLOBAL DEFAULT " in line and " UND " not in line]
        self.assertEqual([s[-1] for s in symbols], ["sqlite3_malseqcalls_init"])


if __name__ == "__main__":
    unittest.main()

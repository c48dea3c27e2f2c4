"""extract import of large compressed reports, which two confined processes read: one decompresses, the other reads what it sends."""
# ctest: quick
import gzip
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from gen import report  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MALSEQ_BIN", ROOT / "build/release/bin"))
SANITIZED = os.environ.get("MALSEQ_SANITIZED") == "1"
BLOCK = 128 << 10
SOON_S = 20 if SANITIZED else 8


def frame(*parts, window_log=20):
    """A zstd frame (RFC 8878) without a checksum; a part is bytes, stored as they are, or (byte, how often)."""
    blocks = []
    for part in parts:
        if isinstance(part, bytes):
            blocks += [(0, part[at:at + BLOCK], len(part[at:at + BLOCK])) for at in range(0, len(part), BLOCK)]
        else:
            blocks += [(1, part[0], min(BLOCK, part[1] - at)) for at in range(0, part[1], BLOCK)]
    heads = [(size << 3 | kind << 1 | (index == len(blocks) - 1)).to_bytes(3, "little") for index, (kind, _, size) in enumerate(blocks)]
    return b"\x28\xb5\x2f\xfd\x00" + bytes([(window_log - 10) << 3]) + b"".join(head + block[1] for head, block in zip(heads, blocks))


def noisy_report():
    """A report with half a megabyte of what no compressor makes small, before and behind its calls."""
    noise = b", ".join(b'"%s"' % os.urandom(60).hex().encode() for _ in range(4000))
    text = report.cuckoo([report.Process("a.exe", ["NtClose", "NtOpenKey"] * 3000)])
    return text[:1] + b'"before": [' + noise + b"], " + text[1:].rstrip()[:-1] + b', "behind": [' + noise + b"]}"


def processes_of(pid):
    """The children of the process that forks workers, oldest first: of the one child that `pid` has."""
    def children(of):
        return [int(word) for word in pathlib.Path(f"/proc/{of}/task/{of}/children").read_text(encoding="ascii").split()]
    try:
        return [worker for nursery in children(pid) for worker in children(nursery)]
    except OSError:
        return []


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Fed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = noisy_report()
        cls.zstd, cls.gzip = frame(cls.text), gzip.compress(cls.text, 1)
        # Half a megabyte that goes on as four gigabytes of white space: busy for seconds.
        cls.endless = frame(b'{"before": "%s",' % (b"x" * 300000), (b" ", 4 << 30))

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="malseq-fed-")
        self.addCleanup(folder.cleanup)
        self.base = pathlib.Path(folder.name)

    def command(self, *words):
        return [str(BIN / "extract"), "import", "--json", "--corpus", str(self.base / "corpus"), *map(str, words)]

    def write(self, name, content):
        (self.base / name).write_bytes(content)
        return self.base / name

    def rows(self, *words, expect, stdin=None):
        done = subprocess.run(self.command(*words), input=stdin, capture_output=True, timeout=250, check=False)
        self.assertEqual(done.returncode, expect, done.stderr.decode("utf-8", "replace"))
        return [json.loads(line) for line in done.stdout.splitlines()]

    def begin(self, *words):
        """A run whose two workers are there: (run, feeder, reader)."""
        run = subprocess.Popen(self.command("--dry-run", *words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(run.stdout.close)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        end = time.monotonic() + SOON_S
        while time.monotonic() < end:
            workers = processes_of(run.pid)
            if len(workers) == 2:
                return (run, *workers)
            time.sleep(0.002)
        self.fail("there are no two workers: %s" % processes_of(run.pid))

    def test_like_one_process(self):
        """What comes through standard input is decompressed where it is read: every row must be the same."""
        skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
        cases = {
            "whole zstd": self.zstd, "whole gzip": self.gzip, "two frames": frame(self.text[:400000]) + skippable + frame(self.text[400000:]),
            "cut zstd": self.zstd[:len(self.zstd) // 2], "cut gzip": self.gzip[:-5], "cut behind a frame's head": self.zstd[:BLOCK * 3 + 2],
            "garbage behind zstd": self.zstd + b"garbage", "garbage behind gzip": self.gzip + b"garbage", "sum": self.gzip[:-8] + bytes(8),
            "bad block": self.zstd[:BLOCK + 9] + b"\xff\xff\xff" + self.zstd[BLOCK + 12:], "huge window": frame(self.text, window_log=31),
            "fault in the middle": frame(self.text.replace(b'"behavior"', b'"behavior', 1)), "no JSON": frame(b"no JSON " * 100000),
            "zip inside": frame(b"PK\3\4" + self.text), "tail": frame(self.text + b"x"), "zstd inside": frame(self.zstd),
        }
        for name, content in cases.items():
            with self.subTest(name):
                path = self.write("report", content)
                self.assertGreater(len(content), 300 << 10)
                expect = 0 if name in ("whole zstd", "whole gzip", "two frames") else 1
                fed, alone = self.rows("--dry-run", path, expect=expect), self.rows("--dry-run", "-", expect=expect, stdin=content)
                # Where damaged data ends depends on the sizes in which they are read.
                torn = {"line": 0, "byte": 0} if "is damaged at byte" in str(fed[0]["reason"]) else {}
                self.assertEqual([dict(row, file="", **torn) for row in fed], [dict(row, file="", **torn) for row in alone])
                self.assertEqual((fed[0]["status"], fed[0]["calls"]), ("report_invalid", 0) if expect else ("ok", 6000))
                if name.startswith(("cut", "garbage", "bad", "huge")):
                    self.assertRegex(fed[0]["reason"], "(gzip|zstd) data is damaged at byte")

    def test_corpus(self):
        """Kept, known again in every form, read again from the vault; a damaged one costs itself."""
        good, packed, cut = self.write("a.zst", self.zstd), self.write("b.gz", self.gzip), self.write("c.zst", self.zstd[:-1000])
        rows = self.rows(good, packed, cut, expect=1)
        self.assertEqual([(row["status"], row["calls"], row["known"]) for row in rows],
                         [("ok", 6000, False), ("ok", 6000, True), ("report_invalid", 0, False)])
        kept = list((self.base / "corpus" / "reports").rglob("*.zst"))
        self.assertGreater(max(path.stat().st_size for path in kept), 256 << 10)
        again = self.rows("--from-vault", "--all", expect=1)  # what came of the cut one is kept too
        self.assertEqual([(row["status"], row["calls"]) for row in again if row["status"] == "ok"], [("ok", 6000)])

    def test_discarded(self):
        good, plain = self.write("a.zst", self.zstd), self.write("b.json", self.text)
        rows = self.rows("--discard-reports", good, plain, expect=0)
        self.assertEqual([(row["status"], row["calls"], row["known"]) for row in rows], [("ok", 6000, False), ("ok", 6000, True)])

    def test_fault_at_the_first_byte_ends_at_once(self):
        """Sixteen gigabytes of NUL in one megabyte: nobody waits for them."""
        path = self.write("bomb.zst", frame(bytes(300000), (b"\0", 16 << 30)))
        begun = time.monotonic()
        row, = self.rows("--dry-run", path, expect=1)
        self.assertLess(time.monotonic() - begun, SOON_S)
        self.assertEqual((row["status"], row["line"], row["byte"]), ("report_invalid", 1, 0))

    @unittest.skipIf(SANITIZED, "takes long in a sanitized build: the bounds are in tests/unit/test_worker_feed.c too")
    def test_bomb(self):
        path = self.write("bomb.zst", frame(b'{"info": ' + b" " * 300000, (b" ", 8 << 30)))
        row, = self.rows("--dry-run", path, expect=1)
        self.assertEqual((row["status"], row["reason"]), ("report_invalid", "more than 8589934592 bytes"))

    def test_death_of_one(self):
        path = self.write("endless.zst", self.endless)
        for victim, reason in ((0, "worker: feeder: killed by signal 9 (SIGKILL)"), (1, "worker: killed by signal 9 (SIGKILL)")):
            run, *workers = self.begin(path)
            os.kill(workers[victim], signal.SIGKILL)
            out, _ = run.communicate(timeout=SOON_S)
            row, = [json.loads(line) for line in out.splitlines()]
            self.assertEqual((row["status"], row["reason"]), ("report_invalid", reason))
            self.assertFalse([pid for pid in workers if is_alive(pid)])

    def test_death_of_the_tool(self):
        run, *workers = self.begin(self.write("endless.zst", self.endless))
        run.kill()
        run.wait(SOON_S)
        end = time.monotonic() + SOON_S
        while any(map(is_alive, workers)) and time.monotonic() < end:
            time.sleep(0.005)
        self.assertFalse([pid for pid in workers if is_alive(pid)])


if __name__ == "__main__":
    unittest.main()

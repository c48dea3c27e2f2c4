"""A repository and a folder of archives that mean harm, good samples among them: each costs itself alone, is recorded with its reason and the
member's name, and is not opened again; its neighbours are kept, and the run ends 1."""
# ctest: full cost=45
# in release: Folder.test_folder
import functools
import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

from gen import archive, hostile, pe
from services.github_case import GitHubCase

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
SANITIZED = os.environ.get("MALSEQ_SANITIZED") == "1"
LIMITS = ("--max-unpacked", "24M", "--max-member", "8M", "--max-members", "2000", "--max-time", "40")   # no case below should end for its time
SOON = ("--max-time", "2")                                                                             # but these, which only time ends
TIMED = ("spin.bin", "spin.zip", "hang.bin")
VALGRIND = "MALSEQ_TEST_VALGRIND" in os.environ
MAGIC = b"malseq-test-worker: "
RSS_MIB = 1500 if SANITIZED else 400


def one_file(name, data):
    return hostile.tar_header(name, len(data)) + data.ljust(-(-len(data) // 512) * 512, b"\0")


def fifty_links():
    entries = [hostile.tar_header(b"link%d" % index, 0, b"2", b"/etc/passwd") for index in range(50)]
    hard = [hostile.tar_header(b"hard%d" % index, 0, b"1", b"../../outside") for index in range(50)]
    devices = [hostile.tar_header(b"dev", 0, b"3"), hostile.tar_header(b"fifo", 0, b"6")]
    return b"".join(entries + hard + devices) + one_file(b"in.exe", pe.pe("linked")) + b"\0" * 1024


@functools.cache
def cases():
    """{name: (bytes, outcome, words the reason or a fault must hold, programs kept)}"""
    made = {name: (data, "limit", "larger than a member" if name in ("bomb.zip",) else "", 0) for name, data in hostile.bombs(32).items()}
    del made["bomb.tar.gz"]
    big = pe.pe("big", body_bytes=9 << 20)
    made.update({
        "claims.tar": (one_file(b"first.exe", pe.pe("first")) + hostile.tar_header(b"eight-exbibytes.exe", (1 << 63) - 1) + b"MZ", "corrupt", "", 1),
        "claims.tar.gz": (archive.compressed(hostile.tar_header(b"much.exe", 1 << 60) + b"MZ" * 300, "gz"), "corrupt", "much.exe", 0),
        "sparse.tar": (hostile.sparse_tar(8 << 40), None, "", 0),
        "endless.gz": (hostile.endless_gzip(60), "limit", "", 0),
        "overlap.zip": (hostile.overlapping(200, 4), "limit", "", 0),
        "42.zip": (hostile.nest_of(12, 4, archive.zip_bomb(64 << 20)), "limit", "", 0),
        "nest.zip": (archive.nested(pe.pe("deep"), "deep.exe", 100), "limit", "level8.zip", 0),
        "many.zip": (hostile.empty_members(65535), "limit", "", 0),
        "million.zip": (hostile.empty_members(200000), "limit", "", 0),
        "dictionary.7z": (hostile.large_dictionary(pe.pe("dictionary")), None, "", None),
        "dictionary-locked.7z": (hostile.large_dictionary(pe.pe("dictionary"), "infected"), None, "", None),
        "names.zip": (archive.zipped([(name, pe.pe(index)) for index, name in enumerate(hostile.NAMES)]), "ok", "", 17),
        "links.tar": (fifty_links(), "ok", "", 1),
        "big.zip": (archive.zipped({"before.exe": pe.pe("before"), "big.exe": big, "after.exe": pe.pe("after")}), "limit",
                    "%d bytes, sha256 %s" % (len(big), hashlib.sha256(big).hexdigest()), 2),
        "spin.bin": (MAGIC + b"spin\n", "timeout", "worker: ", 0),
        "spin.zip": (archive.zipped([("good.exe", pe.pe("beside")), ("deep/spin.txt", MAGIC + b"spin\n"), ("lost.exe", pe.pe("lost"))]), "timeout",
                     "worker: ", 1),
        "hang.bin": (MAGIC + b"hang\n", "timeout", "no end after", 0),
        "segv.bin": (MAGIC + b"segv\n", "crash", "" if SANITIZED else "SIGSEGV", 0),
        "abort.zip": (archive.zipped([("good.exe", pe.pe("kept")), ("a.txt", MAGIC + b"abort\n")]), "crash", "SIGABRT", 1),
        "nonsense.bin": (MAGIC + b"nonsense\n", "crash", "made no sense", 0),
        "flood.bin": (MAGIC + b"flood\n", "limit", "more than its limit", 0),
    })
    return made


class Judge:
    def judge(self, made, samples, failures):
        """Every case against what --json told and what the rows say."""
        told = {line["path"]: line for line in failures}
        rows = {bytes(path).decode("utf-8", "surrogateescape"): (outcome, reason or "", count) for path, outcome, reason, count in
                self.rows("SELECT t.path, b.outcome, b.reason, b.samples FROM tree_entry t JOIN blob b ON b.git_id = t.git_id")}
        faults = {}
        for path, chain, fault, detail in self.rows("SELECT t.path, f.chain, f.fault, f.detail FROM tree_entry t JOIN blob_fault f ON f.git_id = t.git_id"):
            faults.setdefault(bytes(path).decode(), []).append((bytes(chain), fault, detail or ""))
        for name, (_, outcome, words, count) in made.items():
            got, reason, kept = rows[name]
            with self.subTest(name):
                self.assertIn(got, (outcome,) if outcome else ("limit", "corrupt", "unsupported", "ok", "no_pe"), reason)
                text = reason + repr(faults.get(name))
                self.assertIn(words, text)
                self.assertEqual(name in told, got not in ("ok", "no_pe"))
                if count is not None:
                    self.assertEqual(kept, count, text)
                for chain, fault, _ in faults.get(name, ()):
                    self.assertTrue(chain or fault != "limit_entry" or not name.endswith(".zip"), (name, faults[name]))


class Folder(unittest.TestCase, Judge):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-hostile-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.input, self.corpus = self.root / "in", self.root / "corpus"
        self.input.mkdir()

    def command(self, *args):
        return [os.path.join(BIN, "collect"), "--dir", str(self.input), "--json", "--jobs", "2", "--corpus", str(self.corpus), *args]

    def collect(self, *args, expect=0, hook=True):
        environment = dict(os.environ, **({"MALSEQ_TEST_WORKER": "1"} if hook else {}))
        result = subprocess.run(self.command(*args), env=environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=250, check=False)
        self.talk = result.stderr.decode("utf-8", "replace")
        self.assertEqual(result.returncode, expect, self.talk[-4000:])
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        return [line for line in lines if line["type"] == "sample"], [line for line in lines if line["type"] != "sample"]

    def rows(self, sql):
        with sqlite3.connect("file:%s?mode=ro" % (self.corpus / "corpus.db"), uri=True) as db:
            return db.execute(sql).fetchall()

    def opened(self):
        return json.loads(self.rows("SELECT counts FROM run ORDER BY id DESC LIMIT 1")[0][0])["opened"]

    def test_folder(self):
        made = {name: case for name, case in cases().items() if name not in TIMED}
        good = {"%s-%d.exe" % (letter, index): pe.pe("%s%d" % (letter, index)) for letter in "amz" for index in range(3)}
        for name, data in {**{name: case[0] for name, case in made.items()}, **good}.items():
            (self.input / name).write_bytes(data)
        samples, failures = self.collect(*LIMITS, expect=1)
        self.judge(made, samples, failures)
        self.assertLessEqual(set(good), {line["path"] for line in samples})
        self.assertEqual(self.opened(), len(made) + len(good))
        for control in range(32):
            self.assertNotIn(chr(control), self.talk.replace("\n", ""), "an escape sequence reached the terminal")
        # Nothing is opened again, by the same unpacker under the same limits.
        self.collect(*LIMITS)
        self.assertEqual(self.opened(), 0)
        # A higher limit opens what it ended, and nothing else.
        ended = self.rows("SELECT count(*) FROM blob WHERE limits LIKE '%max-depth%'")[0][0]
        self.collect(*LIMITS, "--max-depth", "9", expect=1)
        self.assertEqual((self.opened(), ended > 0), (ended, True))
        # Another unpacker opens all that failed.
        failed = self.rows("SELECT count(*) FROM blob WHERE outcome NOT IN ('ok', 'too_big')")[0][0]
        with sqlite3.connect(self.corpus / "corpus.db") as db:
            db.execute("UPDATE blob SET unpacker_version = 0")
        self.collect(*LIMITS, "--max-depth", "9", expect=1)
        self.assertEqual(self.opened(), failed)
        usage = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
        print("largest process: %d MiB" % usage, file=sys.stderr)
        self.assertLess(usage, RSS_MIB)

    @unittest.skipIf(VALGRIND, "SIGXCPU: valgrind makes calls of its own then, which are forbidden")
    def test_time(self):
        """What never ends is ended, costs no neighbour, and is not opened again under the same limit."""
        made = {name: case for name, case in cases().items() if name in TIMED}
        for name, data in {**{name: case[0] for name, case in made.items()}, "a.exe": pe.pe("a"), "z.exe": pe.pe("z")}.items():
            (self.input / name).write_bytes(data)
        samples, failures = self.collect(*SOON, expect=1)
        self.judge(made, samples, failures)
        self.assertLessEqual({"a.exe", "z.exe"}, {line["path"] for line in samples})
        self.assertEqual(self.opened(), 5)
        self.collect(*SOON)
        self.assertEqual(self.opened(), 0)

    def test_request_alone_is_inert(self):
        """Without the variable such a file is text; with it text of other kinds stays text."""
        (self.input / "spin.txt").write_bytes(MAGIC + b"spin\n")
        self.collect("--max-time", "1", hook=False)
        self.assertEqual(self.rows("SELECT outcome FROM blob"), [("no_pe",)])
        (self.input / "spin.txt").write_bytes(b" " + MAGIC + b"spin\n")
        self.collect("--max-time", "1")
        self.assertEqual(self.rows("SELECT DISTINCT outcome FROM blob"), [("no_pe",)])

    def children(self, pid):
        """[(pid, state)] of a process's children; zombies are none."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                text = path.read_text()
            except OSError:
                continue
            fields = text[text.rindex(")") + 2:].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append((int(path.parent.name), fields[0]))
        return found

    def start(self, *args):
        """A run, the process that forks its workers, and the worker that hangs: the one seen asleep twenty times in a row. Others come and go."""
        process = subprocess.Popen(self.command(*args), env=dict(os.environ, MALSEQ_TEST_WORKER="1"), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        last, seen, end = [], 0, time.monotonic() + 60
        while seen < 20 and time.monotonic() < end:
            asleep = [(parent, pid) for parent, _ in self.children(process.pid) for pid, state in self.children(parent) if state == "S"]
            seen = seen + 1 if asleep and asleep == last else 0
            last = asleep
            time.sleep(0.02)
        if seen < 20:
            process.kill()
            self.fail("no worker hangs: %s" % process.communicate()[1])
        return process, *last[0]

    def put_hanging(self):
        for name, data in {"a.exe": pe.pe("a"), "hang.bin": MAGIC + b"hang\n", "z.exe": pe.pe("z")}.items():
            (self.input / name).write_bytes(data)

    def test_worker_killed_from_outside(self):
        """As the kernel does when memory ends: the blob is lost, the run goes on."""
        self.put_hanging()
        process, _, worker = self.start("--jobs", "1")
        os.kill(worker, signal.SIGKILL)
        _, talk = process.communicate(timeout=250)
        self.assertEqual(process.returncode, 1, talk)
        self.assertEqual(sorted(self.rows("SELECT outcome, reason LIKE '%SIGKILL%' FROM blob")), [("crash", 1), ("ok", None), ("ok", None)])
        self.collect()
        self.assertEqual(self.opened(), 0)

    def test_nursery_killed_from_outside(self):
        """Ends the run with a message; the next one goes on where it was."""
        self.put_hanging()
        process, nursery, _ = self.start("--jobs", "1")
        os.kill(nursery, signal.SIGKILL)
        _, talk = process.communicate(timeout=250)
        self.assertIn(process.returncode, (4, 70), talk)
        self.assertIn(b"worker process is gone", talk)
        (self.input / "hang.bin").write_bytes(b"mended")
        self.collect()
        self.assertEqual(self.rows("SELECT count(*) FROM sample"), [(2,)])


class Repository(GitHubCase, Judge):
    def test_repository(self):
        made = {name: case for name, case in cases().items() if name not in TIMED + ("million.zip", "flood.bin")}
        files = {"good/%d.exe" % index: pe.pe("hub%d" % index) for index in range(3)}
        files.update({name: case[0] for name, case in made.items()})
        self.hub.add("lab/hostile", files)
        self.hub.add("lab/next", {"x.exe": pe.pe("x")})
        self.write_list("lab/hostile", "lab/next")
        hook = {"MALSEQ_TEST_WORKER": "1"}
        samples, failures = self.collect(*LIMITS, expect=1, env=hook)
        self.judge(made, samples, failures)
        found = {line["sha256"] for line in samples}
        for data in [pe.pe("hub%d" % index) for index in range(3)] + [pe.pe("x")]:
            self.assertIn(hashlib.sha256(data).hexdigest(), found)
        self.assertEqual(self.states(), {"lab/hostile": "ok", "lab/next": "ok"})
        samples, failures = self.collect(*LIMITS, env=hook)
        self.assertEqual((samples, failures), ([], []))
        self.assertEqual(json.loads(self.rows("SELECT counts FROM run ORDER BY id DESC LIMIT 1")[0][0])["opened"], 0)

    @unittest.skipIf(VALGRIND, "as test_time")
    def test_repository_that_takes_its_time(self):
        made = {"spin.zip": cases()["spin.zip"]}
        self.hub.add("lab/slow", {"spin.zip": made["spin.zip"][0]})
        self.hub.add("lab/next", {"x.exe": pe.pe("x")})
        self.write_list("lab/slow", "lab/next")
        samples, failures = self.collect(*SOON, expect=1, env={"MALSEQ_TEST_WORKER": "1"})
        self.judge(made, samples, failures)
        self.assertLessEqual({hashlib.sha256(pe.pe(name)).hexdigest() for name in ("beside", "x")}, {line["sha256"] for line in samples})
        self.assertEqual(self.states(), {"lab/slow": "ok", "lab/next": "ok"})


if __name__ == "__main__":
    unittest.main()

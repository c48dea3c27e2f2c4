"""kill -9 at every named step of a look-up run, 60 times (200 with MALSEQ_LONG set): at most one answer is lost each time, the ledger never counts less than the
service charged, and the next run ends with the corpus of an undisturbed one."""
# ctest: release cost=50
import collections
import concurrent.futures
import os
import pathlib
import queue
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from gen.antivirus import CLASSES  # noqa: E402
from services.label_case import Clock, digest, spec  # noqa: E402
from services.virustotal import VirusTotal  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MALSEQ_BIN", ROOT / "build/release/bin"))
KILLS, HITS, THREADS = 200 if os.environ.get("MALSEQ_LONG") else 60, 3, 8
# What a run of look-ups must pass at least; steps that are added later are found by themselves.
STEPS = {"label.run.begun", "label.run.queued", "label.quota.told", "label.run.shown",
         "label.lookup.reserved", "label.lookup.answered", "label.lookup.judged", "label.lookup.stored", "store.request.reserved", "store.request.settled",
         "store.corpus.commit", "store.corpus.committed", "store.migrate.applied"}
FOUND, UNKNOWN, BAD, SHAKY = (0, 1, 2), 3, 4, 5     # numbers of hashes; the last one gets a 429 and a 503 before its answer
ANSWERED = "state <> 'pending' AND asked_ms IS NOT NULL"


class World:
    """A service and a folder for one thread."""

    def __init__(self, base, number):
        self.folder = base / ("w%d" % number)
        self.folder.mkdir()
        self.vt = VirusTotal(minute=1000, hour=100000)
        self.vt.clock = Clock()
        self.vt.start()
        self.list = self.folder / "hashes"
        self.list.write_text("".join(digest(n) + "\n" for n in (*FOUND, UNKNOWN, BAD, SHAKY)))
        for n in (*FOUND, SHAKY):
            self.vt.add(spec(n, CLASSES[n]))

    def reset(self):
        """A day on which nothing was asked yet."""
        self.vt.clock.start += 86400
        self.vt.clear_log()
        self.vt.clear_faults()
        self.vt.fail(digest(BAD), "BadRequestError")
        self.vt.fault("status", path=digest(SHAKY), status=429, times=1, content_type="application/json",
                      body={"error": {"code": "QuotaExceededError", "message": "Quota exceeded"}})
        self.vt.fail(digest(SHAKY), "TransientError", times=1)
        self.before = self.vt.charged

    def charged(self):
        return self.vt.charged - self.before

    def label(self, corpus, *args, **environment):
        done = subprocess.run([str(BIN / "label"), "--vt-key", "--vt-url", self.vt.api, "--corpus", str(corpus), "--json", *args],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=250, check=False,
                              env={**os.environ, "VT_API_KEY": self.vt.key, "VT_USER": self.vt.user, "XDG_STATE_HOME": str(self.folder / "state"),
                                   **self.vt.clock.environment(), **environment})
        return done.returncode, done.stderr


def rows(corpus, sql):
    with sqlite3.connect("file:%s?mode=ro" % (corpus / "corpus.db"), uri=True) as connection:
        return connection.execute(sql).fetchall()


def one(corpus, sql):
    try:
        return rows(corpus, sql)[0][0]
    except sqlite3.OperationalError:    # killed before there were tables, or a file at all
        return 0


class Kill(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="malseq-label-kill-")
        cls.addClassCleanup(folder.cleanup)
        cls.base = pathlib.Path(folder.name)
        cls.worlds = queue.Queue()
        for number in range(THREADS):
            world = World(cls.base, number)
            cls.addClassCleanup(world.vt.stop)
            cls.worlds.put(world)

    def fsck(self, corpus, *args):
        done = subprocess.run([str(BIN / "malseq"), "fsck", *args, "--corpus", str(corpus)], capture_output=True, text=True, timeout=250, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout.strip()

    def undisturbed(self, world):
        corpus, log = world.folder / ("whole" + self.id().rsplit(".", 1)[1]), world.folder / (self.id() + ".steps")
        world.reset()
        status, talk = world.label(corpus, "--hashes", str(world.list), MALSEQ_TEST_STEPS=str(log))
        self.assertEqual(status, 1, talk)     # one hash is bad
        self.assertEqual(world.charged(), 7)  # six hashes and the 503; the 429 costs nothing
        self.assertEqual(world.vt.count("/files/"), 8)
        self.assertEqual(one(corpus, "SELECT count(*) FROM request WHERE counted = 1"), 7)
        self.assertEqual(one(corpus, "SELECT count(*) FROM lookup WHERE " + ANSWERED), 6)
        return self.fsck(corpus, "--digest"), collections.Counter(log.read_text().split())

    def check_ledger(self, world, corpus, at):
        """Never less than the service charged, and at most one more for each kill."""
        booked = one(corpus, "SELECT count(*) FROM request WHERE counted = 1")
        self.assertGreaterEqual(booked, world.charged(), at)
        self.assertLessEqual(booked, world.charged() + 1, at)

    def kill(self, number, step, hit, wanted):
        world = self.worlds.get()
        try:
            at = "%s:%d" % (step, hit)
            corpus, log = world.folder / ("k%d" % number), world.folder / ("k%d.steps" % number)
            world.reset()
            status, talk = world.label(corpus, "--hashes", str(world.list), MALSEQ_TEST_KILL=at, MALSEQ_TEST_STEPS=str(log))
            self.assertEqual(status, -signal.SIGKILL, at + talk)
            reached = log.read_text().split()
            self.assertEqual((reached[-1], reached.count(step)), (step, hit))
            # 200, 400 and 404 are answers; the 503 is none. Each but the one on its way is in the corpus.
            answers = sum(1 for entry in world.vt.requests("/files/") if entry["status"] in (200, 400, 404))
            stored = one(corpus, "SELECT count(*) FROM lookup WHERE " + ANSWERED)
            self.assertIn(answers - stored, (0, 1), at)
            self.check_ledger(world, corpus, at)
            # The same list again: only what was lost is asked a second time.
            status, talk = world.label(corpus, "--hashes", str(world.list))
            self.assertIn(status, (0, 1), at + talk)   # 1 when the bad hash is new to this run
            asked = collections.Counter(entry["target"].rsplit("/", 1)[1] for entry in world.vt.requests("/files/")
                                        if entry["status"] in (200, 400, 404))
            self.assertEqual(len(asked), 6, at)
            self.assertEqual(sum(asked.values()) - 6, answers - stored, at)
            self.check_ledger(world, corpus, at)
            self.assertEqual(one(corpus, "SELECT count(*) FROM lookup WHERE " + ANSWERED), 6, at)
            self.assertEqual(self.fsck(corpus, "--digest"), wanted, at)
            self.fsck(corpus)
            return step, answers - stored
        finally:
            self.worlds.put(world)

    def test_every_step(self):
        world = self.worlds.get()
        wanted, reached = self.undisturbed(world)
        self.worlds.put(world)
        self.assertLessEqual(STEPS, set(reached))
        # Round by round: in each, every step once, at another of the times it is reached.
        plan = [(step, 1 + turn % reached[step]) for turn in range(KILLS) for step in sorted(reached)][:max(KILLS, HITS * len(reached))]
        start, hits, lost = time.monotonic(), collections.Counter(), collections.Counter()
        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
            for run in [pool.submit(self.kill, number, step, hit, wanted) for number, (step, hit) in enumerate(plan)]:
                step, missing = run.result()
                hits[step] += 1
                lost[step] += missing
        print("kill -9, %d times in %.0f s: " % (len(plan), time.monotonic() - start) +
              ", ".join("%s %dx (%d answers lost)" % (step, count, lost[step]) for step, count in sorted(hits.items())), file=sys.stderr)
        self.assertGreaterEqual(sum(hits.values()), KILLS)
        self.assertTrue(all(hits[step] >= HITS for step in reached))
        self.assertGreater(lost["label.lookup.answered"], 0)    # what it must be able to see

    def test_killed_again_and_again(self):
        """Each run over one corpus is killed, at any step, until one comes through: one answer a kill, no more."""
        world = self.worlds.get()
        self.addCleanup(self.worlds.put, world)
        wanted, reached = self.undisturbed(world)
        rng, corpus, kills, lost = random.Random(5), world.folder / "again", 0, 0
        world.reset()
        for _ in range(40):
            status, talk = world.label(corpus, "--hashes", str(world.list), MALSEQ_TEST_KILL="%s:%d" % (rng.choice(sorted(reached)), rng.randint(1, 3)))
            if status != -signal.SIGKILL:
                self.assertIn(status, (0, 1), talk)
                continue
            kills += 1
            booked = one(corpus, "SELECT count(*) FROM request WHERE counted = 1")
            self.assertGreaterEqual(booked, world.charged())
            self.assertLessEqual(booked, world.charged() + kills)
            answers = sum(1 for entry in world.vt.requests("/files/") if entry["status"] in (200, 400, 404))
            lost = answers - one(corpus, "SELECT count(*) FROM lookup WHERE " + ANSWERED)
            self.assertLessEqual(lost, kills)
        print("killed %d times in a row: %d answers lost" % (kills, lost), file=sys.stderr)
        self.assertGreaterEqual(kills, 10)
        world.label(corpus, "--hashes", str(world.list))
        self.assertEqual(self.fsck(corpus, "--digest"), wanted)


if __name__ == "__main__":
    unittest.main()

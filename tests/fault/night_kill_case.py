"""Nights that go wrong in every way the tests know of, and what must come of them: an undisturbed night afterwards gives the corpus of an
undisturbed one. test_nightly_kill.py has a handful of such moments, test_nightly_kills.py hundreds."""
import collections
import concurrent.futures
import datetime
import json
import os
import pathlib
import queue
import random
import shutil
import signal
import subprocess
import tempfile
import time

from services.night_case import BIN, World, digest, memory, night, small_files, start

DAY_MS = 86400000
# What is passed at least; steps that are added later are found by themselves.
STEPS = {"nightly.locked", "nightly.begun", "nightly.step.begin", "nightly.step.end", "nightly.summary", "nightly.page", "nightly.record", "nightly.prune",
         "collect.intake.committed", "label.lookup.stored", "extract.task.sent", "extract.import.committed", "train.publish.files", "train.publish.rows",
         "store.vault.linked", "store.corpus.committed"}
DAYS = ("down", "clock", "turn")        # what of these failed is asked again on another day
SERVICES = {"hub": "/repos/.*", "vt": "/api/v3/files/.*", "cuckoo": "/tasks/.*"}


class Place:
    """A world for one thread, its undisturbed corpus, and the steps on the way to that."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.world = World(self.folder)
        log, begun = self.folder / "steps", time.monotonic()
        code, _, talk = night(self.world.conf(self.folder / "whole"), env={"MALSEQ_TEST_STEPS": str(log)})
        if code != 0:
            raise AssertionError(talk)
        self.night_s = time.monotonic() - begun     # beside those of the other threads, as all that follow
        self.whole, self.reached = digest(self.folder / "whole"), collections.Counter(log.read_text().split())

    def limited(self, conf, size):
        """A night whose files, the database among them, cannot grow beyond `size` bytes."""
        with start(conf, "-q", **small_files(size)) as process:
            return summed_up(process.communicate(timeout=250)[0]) and process.returncode

    def on_small_disk(self, conf, corpus, size):
        """A night on a file system of `size` bytes; None where none can be mounted."""
        script = 'mount -t tmpfs -o size=%d,mode=0700 none "$1" || exit 99; "$2" nightly -q --config "$3"; code=$?; cp -a "$1/." "$1.kept"; exit $code' % size
        corpus.mkdir()
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", str(corpus), os.path.join(BIN, "malseq"), str(conf)],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=250, check=False)
        if done.returncode in (99, 127) or not pathlib.Path(str(corpus) + ".kept").exists():
            return None
        corpus.rmdir()
        os.rename(str(corpus) + ".kept", corpus)
        return summed_up(done.stdout) and done.returncode

    def killed_in_time(self, conf, corpus, share):
        """kill -9 of the night and all that it started, after a share of what one takes; where it was over by then, another one from the start."""
        for _ in range(5):
            begun = time.monotonic()
            with start(conf, "-q", start_new_session=True) as process:
                while process.poll() is None and time.monotonic() - begun < self.night_s * share:
                    time.sleep(.002)
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    self.night_s = time.monotonic() - begun     # the machine has become faster
                process.communicate(timeout=250)
            if process.returncode == -signal.SIGKILL:
                break
            shutil.rmtree(corpus, True)
            self.world.clear()
        return process.returncode

    def turned_in_time(self, conf, corpus, share, days):
        """The clock is set by so many days after a share of what a night takes; where that was over by then, another one from the start."""
        for _ in range(5):
            begun = time.time()
            env = {"MALSEQ_TEST_TURN_AT_MS": str(int((begun + self.night_s * share) * 1000)), "MALSEQ_TEST_TURN_MS": str(days * DAY_MS)}
            code, out, talk = night(conf, "--json", "-q", env=env)
            from_to = [datetime.datetime.fromisoformat(json.loads(out)[key].replace("Z", "+00:00")) for key in ("started", "ended")]
            if round((from_to[1] - from_to[0]).total_seconds() * 1000 / DAY_MS) == days:
                return code
            self.night_s = time.time() - begun
            shutil.rmtree(corpus, True)
            self.world.clear()
        raise AssertionError(("the clock was not turned", talk))

    def disturb(self, moment, conf, corpus):
        """The night that goes wrong; its exit code, None where this machine cannot do it."""
        kind, *words = moment
        if kind == "step":
            return night(conf, "-q", env={"MALSEQ_TEST_KILL": "%s:%d" % tuple(words)})[0]
        if kind == "kill":
            return self.killed_in_time(conf, corpus, *words)
        if kind == "write":
            return self.limited(conf, *words)
        if kind == "disk":
            return self.on_small_disk(conf, corpus, *words)
        if kind == "quota":
            self.world.vt.day = self.world.vt.charged + words[0]
            return night(conf, "-q")[0]
        if kind == "clock":
            return night(conf, "-q", env=at(words[0]))[0]
        if kind == "turn":
            return self.turned_in_time(conf, corpus, *words)
        service, fault = words
        getattr(self.world, service).fault(fault, path=SERVICES[service], **({"seconds": .2} if fault == "hang" else {}))
        return night(conf, "-q", env={"MALSEQ_TEST_SPEED": "200"})[0]

    def live_through(self, number, moment):
        """(exit code of the bad night, nights until the corpus was whole); AssertionError where it never is."""
        corpus = self.folder / ("c%d" % number)
        # Where services are down the clock runs 200 times as fast: it is not the time that is to end that night.
        times = (("budget = 20m", "budget = 2d"), ("grace = 10s", "grace = 2h"), ("wait = 20s", "wait = 2h"))
        conf = self.world.conf(corpus, replace=times if moment[0] == "down" else ())
        self.world.clear()
        code = self.disturb(moment, conf, corpus)
        self.world.mend()
        talk = ""
        for again in range(1, 4):
            # What failed for good is asked again on another day; a killed night, or one that ran into a wall, needs one more of the same.
            # A quarter later than that, because the clock of a bad night may have run ahead, and a whole day has to be over.
            ended, _, talk = night(conf, env=at(1.25 * (again - 1)) if moment[0] in DAYS and again > 1 else None)
            if ended == 0 and digest(corpus) == self.whole:
                break
            if moment[0] not in DAYS:
                raise AssertionError((moment, code, ended, talk))
        else:
            raise AssertionError((moment, code, talk))
        checked = subprocess.run([os.path.join(BIN, "malseq"), "fsck", "--corpus", str(corpus)], capture_output=True, timeout=250, check=False)
        if checked.returncode != 0:
            raise AssertionError((moment, checked.stdout))
        shutil.rmtree(corpus)
        return code, again


def summed_up(out):
    """True; whatever the disk says, the summary comes."""
    if not out.startswith(b"Night ") or b"\naudit " not in out:
        raise AssertionError(("no summary", out))
    return True


def at(days):
    return {"MALSEQ_TEST_EPOCH_MS": str(int(time.time() * 1000 + days * DAY_MS))}


def spread(times, most):
    """`most` of 1..times, the first and the last among them."""
    return sorted({1 + round(i * (times - 1) / max(1, min(most, times) - 1)) for i in range(min(most, times))})


def all_moments(reached, most, kills, rng):
    moments = [("step", name, nth) for name, times in sorted(reached.items()) for nth in spread(times, most)]
    moments += [("kill", rng.random()) for _ in range(kills)]
    moments += [("write", size) for size in (0, 4096, 65536, 200000, 300000, 400000, 500000, 600000)]
    # Below 32 MiB of free space the vault takes nothing; the other sizes leave some for it.
    moments += [("disk", size << 10) for size in (64, 512, 4096, 32900, 33200, 33800, 34400)]
    moments += [("quota", left) for left in (0, 1, 7, 23)]
    moments += [("clock", days) for days in (-1, 1, -30)]           # all night
    moments += [("turn", share, days) for share in (.2, .5, .8) for days in (-1, 1)]
    moments += [("down", service, fault) for service in SERVICES for fault in ("status", "reset", "hang", "garbage")]
    return moments


def live_through_all(choose, threads, tell=lambda result: None):
    """Lets each thread's world live through the moments that choose(reached) gives; [(moment, exit code, nights)] and the steps there are.
    Where the corpus was lost the reason stands in the place of the nights. Each result is told as it comes."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="malseq-night-kill-", dir=memory()))
    places, free = [], queue.Queue()
    try:
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            places = list(pool.map(Place, [folder / ("w%d" % i) for i in range(threads)]))
            for place in places:
                free.put(place)

            def one(job):
                place = free.get()
                try:
                    result = (job[1], *place.live_through(*job))
                except (AssertionError, subprocess.TimeoutExpired) as reason:
                    result = (job[1], None, reason)
                finally:
                    free.put(place)
                tell(result)
                return result
            results = list(pool.map(one, enumerate(choose(places[0].reached))))
        return results, set(places[0].reached)
    finally:
        for place in places:
            place.world.stop()
        shutil.rmtree(folder, True)


def lost(results):
    return [(moment, reason) for moment, _, reason in results if not isinstance(reason, int)]


def expected(moment):
    """The exit codes that a night may end with; the first is that of a kill that took effect."""
    kind, name = moment[:2]
    if kind == "kill" or kind == "step" and name.startswith("nightly."):
        return (-signal.SIGKILL,)
    if kind == "step":
        return 4, 0                             # another order of things, and the step was not reached so often
    if kind == "down":
        return (75,) if name == "cuckoo" else (5,)
    return {"write": (4,), "disk": (4, None), "quota": (75,), "clock": (0,), "turn": (0,)}[kind]


def unexpected(results):
    return [(moment, code) for moment, code, _ in results if code not in expected(moment)]


def kills(results):
    """How many kill -9 took effect."""
    return sum(moment[0] in ("step", "kill") and code == expected(moment)[0] for moment, code, _ in results)


def table(results):
    """Counts by kind, to be printed."""
    kinds = collections.defaultdict(list)
    for moment, code, nights in results:
        kinds[moment[0] + (" " + moment[1] if moment[0] in ("step", "down") else "")].append((code, nights))
    lines = []
    for kind, ends in sorted(kinds.items()):
        codes = collections.Counter("cannot" if code is None else str(code) for code, _ in ends)
        mended = [nights for _, nights in ends if isinstance(nights, int)]
        lines.append("%-34s %3d moments, ended %s; mended by %s more; %d lost" % (
            kind, len(ends), " ".join("%s:%d" % item for item in sorted(codes.items())), max(mended, default="none"), len(ends) - len(mended)))
    return "\n".join(lines)

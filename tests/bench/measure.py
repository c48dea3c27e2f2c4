"""Runs two commands in turn, compares what they counted, and makes one line of the result. It knows no bench.

A Side is a command. Its time is its wall clock, from start to end, unless own_clock says that it prints {"seconds": …, "cpu_seconds": …}
itself; what it counted is {"totals": …} of its output, or what `totals` makes of that output. Two sides that counted differently are a
failure: a reader that skips its work is no peer.
"""
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.environ.get("MALSEQ_BIN", os.path.join(HERE, "..", "..", "build", "release", "bin"))
DATA = os.environ.get("MALSEQ_DATA")
RUNS = 5
LIMIT_S = 300


class Missing(Exception):
    """Something a bench needs is not there; the text says what."""


class Wrong(Exception):
    """A side failed, or the two did not count the same."""


class Side:
    def __init__(self, command, totals=None, own_clock=False, processors=1, environment=None):
        self.command, self.totals, self.own_clock = command, totals, own_clock
        self.processors, self.environment = processors, environment
        self.said = None        # what its last run printed, with own_clock


def tool(name, *words):
    path = os.path.join(BIN, name)
    if not os.path.exists(path):
        raise Missing("%s is not built" % name)
    return [path, *words]


def python(name, *words):
    """A peer of this folder, run by the interpreter that runs this."""
    return [sys.executable, "-B", os.path.join(HERE, name), *words]


def program(name):
    found = shutil.which(name)
    if not found:
        raise Missing("%s is not installed" % name)
    return found


def compiled(work, name, libraries):
    """Builds a peer of this folder once, as its users would: optimised for this processor."""
    source = os.path.join(HERE, name)
    out = os.path.join(work, os.path.splitext(name)[0])
    if not os.path.exists(out):
        compiler = ["c++", "-std=c++17"] if name.endswith(".cpp") else ["cc", "-std=c11", "-D_POSIX_C_SOURCE=200809L"]
        program(compiler[0])
        result = subprocess.run([*compiler, "-O3", "-march=native", "-DNDEBUG", "-o", out, source, *libraries], capture_output=True, text=True)
        if result.returncode:
            raise Missing("%s does not compile: %s" % (name, result.stderr.strip()[-300:]))
    return out


def processors(count):
    """The first `count` processors this process may use."""
    free = sorted(os.sched_getaffinity(0))
    if len(free) < count:
        raise Missing("%d processors are needed" % count)
    return set(free[:count])


def run(side, folder):
    """One run in a fresh folder: (seconds, processor seconds, totals). Exit code 1 is "done, with findings"."""
    shutil.rmtree(folder, True)
    os.makedirs(folder)
    chosen = processors(side.processors)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    result = subprocess.run(side.command, cwd=folder, capture_output=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL,
                            env=dict(os.environ, **(side.environment or {})), preexec_fn=lambda: os.sched_setaffinity(0, chosen))
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode not in (0, 1):
        raise Wrong("%s ended with %d: %s" % (side.command[0], result.returncode, result.stderr.decode(errors="replace")[-300:]))
    if side.own_clock:
        side.said = said = json.loads(result.stdout)
        return said["seconds"], said["cpu_seconds"] if side.processors == 1 else None, said.get("totals")
    totals = side.totals(result.stdout) if side.totals else None
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, totals


def last_json(out):
    return json.loads(out.decode().strip().rsplit("\n", 1)[-1])


def rounded(number):
    return float("%.4g" % number)


def race(work, bench, ours, peer, amount, unit, case=None, against=None, note=None, runs=RUNS):
    """Both in turn, each first in every second round; `amount` / seconds is the figure, so that more is better in every line."""
    folder, mine, other = os.path.join(work, "run"), [], []
    for index in range(runs):
        both = [(ours, mine), (peer, other)]
        for side, results in both[::-1] if index % 2 else both:
            results.append(run(side, folder))
        if mine[-1][2] is not None and other[-1][2] is not None and mine[-1][2] != other[-1][2]:
            raise Wrong("%s %s: ours counted %s, %s %s" % (bench, case or "", mine[-1][2], against or "the peer", other[-1][2]))
    line = {"bench": bench}
    if case:
        line["case"] = case
    line["ours"] = rounded(amount / statistics.median(result[0] for result in mine))
    line["peer"] = rounded(amount / statistics.median(result[0] for result in other))
    line["ratio"] = rounded(statistics.median(theirs[0] / own[0] for own, theirs in zip(mine, other)))
    if mine[0][1] and other[0][1]:
        line["cpu_ratio"] = rounded(statistics.median(theirs[1] / own[1] for own, theirs in zip(mine, other)))
    line.update(unit=unit, runs=runs, against=against)
    if note:
        line["note"] = note
    return line


def children(pid):
    """A process and all below it."""
    found = [pid]
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task)) as file:
                for child in file.read().split():
                    found += children(int(child))
    except OSError:
        pass
    return found


def held(pid, files):
    """Bytes of a process's own memory; its memfds are added to `files` by inode, for they are memory that no process shows."""
    try:
        with open("/proc/%d/smaps_rollup" % pid) as file:
            own = sum(int(row.split()[1]) for row in file if row.startswith("Pss_Anon:")) * 1024
        for name in os.listdir("/proc/%d/fd" % pid):
            path = "/proc/%d/fd/%s" % (pid, name)
            if os.readlink(path).startswith("/memfd:"):
                state = os.stat(path)
                files[state.st_ino] = max(files.get(state.st_ino, 0), state.st_blocks * 512)
        return own
    except OSError:
        return 0


def memory(side, folder):
    """Peak MiB of a command with all its processes: anonymous memory and memfds, looked at every few milliseconds."""
    shutil.rmtree(folder, True)
    os.makedirs(folder)
    process = subprocess.Popen(side.command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    peak, end = 0, time.monotonic() + LIMIT_S
    while process.poll() is None:
        files = {}
        peak = max(peak, sum(held(pid, files) for pid in children(process.pid)) + sum(files.values()))
        if time.monotonic() > end:
            process.kill()
        time.sleep(0.003)
    return round(peak / (1 << 20), 1)

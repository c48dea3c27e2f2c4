"""How commands grow with the corpus: generated corpora of MALSEQ_SCALE samples (default 10000,100000), imported by the product and then
asked for everything that a night or a person asks for. One line a command and size: seconds (wall and processor), peak memory, disk.

Lengths follow Mal-API-2019's, cut at 5,000 calls (tests/bench/scale_rows_bench.c). A command is run once at the larger sizes and as the median
of three up to 10,000 samples; `ratio` is the growth of processor time beside the size before, divided by the growth of the samples: 1 is
linear, more is worse than that.
"""
import json
import os
import resource
import statistics
import subprocess
import threading
import time

from measure import Wrong, children, held, program, rounded, tool

SIZES = [int(word) for word in (os.environ.get("MALSEQ_SCALE") or "10000,100000").split(",")]
LIMIT_S = float(os.environ.get("MALSEQ_SCALE_LIMIT", "1800"))
CONF = """[corpus]
dir = %s
[collect]
dir = %s
[label]
import = %s
[extract]
import = %s
[train]
target = malware
kind = linear
test-share = 0.2
[time]
budget = 3h
"""
# Label has one answer to take in, of a program the corpus does not know.
ANSWER = {"data": {"id": "ab" * 32, "type": "file", "attributes": {"last_analysis_date": 1700000000, "last_analysis_results": {
    "Engine": {"category": "malicious", "engine_name": "Engine", "result": "Trojan.Agent"}}}}}


class Peak(threading.Thread):
    """Anonymous memory and memfds of a command and all below it, looked at often, but no more than a hundredth of the time: the kernel
    walks all pages for a look, and keeps the command from getting memory meanwhile."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.bytes, self.ended = pid, 0, threading.Event()

    def run(self):
        pause = 0.05
        while not self.ended.wait(pause):
            files, begun = {}, time.perf_counter()
            self.bytes = max(self.bytes, sum(held(pid, files) for pid in children(self.pid)) + sum(files.values()))
            pause = max(0.05, 100 * (time.perf_counter() - begun))


def once(command, codes=(0, 1), out=subprocess.DEVNULL):
    """(seconds, processor seconds, peak MiB)."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    peak = Peak(process.pid)
    peak.start()
    try:
        said = process.communicate(timeout=LIMIT_S)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Wrong("%s took more than %g s" % (" ".join(command[:3]), LIMIT_S)) from None
    finally:
        peak.ended.set()
        peak.join()
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode not in codes:
        raise Wrong("%s ended with %d: %s" % (" ".join(command[:3]), process.returncode, said.decode(errors="replace")[-300:]))
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak.bytes / (1 << 20)


def disk(corpus):
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(corpus) for name in names)


def generate(work, size):
    """The table of `size` rows, compressed: the plain one would take 23 KB a row."""
    path = os.path.join(work, "rows.csv.zst")
    with open(path, "wb") as out:
        rows = subprocess.Popen(tool("bench_scale_rows", str(size)), stdout=subprocess.PIPE)
        packed = subprocess.run([program("zstd"), "-1", "-T1", "-q", "-c"], stdin=rows.stdout, stdout=out, check=False)
        rows.stdout.close()
        if rows.wait() or packed.returncode:
            raise Wrong("the rows could not be made")
    return path


def commands(work, corpus):
    """name: command. What changes nothing comes first; the night twice, for its second run finds nothing new."""
    empty, conf = os.path.join(work, "empty"), os.path.join(work, "nightly.conf")
    os.makedirs(empty, exist_ok=True)
    with open(os.path.join(work, "answer.json"), "w", encoding="utf-8") as file:
        json.dump(ANSWER, file)
    with open(conf, "w", encoding="utf-8") as file:
        file.write(CONF % (corpus, empty, os.path.join(work, "answer.json"), empty))
    at = ["--corpus", corpus]
    return [
        ("status", tool("malseq", "status", *at)),
        ("dataset", tool("train", "--dry-run", "--name", "scale", *at)),
        ("export.samples", tool("malseq", "export", "--out", os.path.join(work, "samples.jsonl"), *at)),
        ("export.npz", tool("malseq", "export", "--what", "traces", "--format", "npz", "--out", os.path.join(work, "traces.npz"), *at)),
        ("backup", tool("malseq", "backup", os.path.join(work, "backup"), *at)),
        ("fsck", tool("malseq", "fsck", *at)),
        ("nightly.first", tool("malseq", "nightly", "--config", conf, "-q")),
        ("nightly.unchanged", tool("malseq", "nightly", "--config", conf, "-q")),
    ]


def measured(work, corpus, size):
    """(name, (seconds, processor seconds, peak MiB), bytes on disk or None) of each command, as it ends."""
    rows = generate(work, size)
    yield "import", once(tool("extract", "dataset", "malbehavd-v1", rows, "-q", "--corpus", corpus)), disk(corpus)
    os.unlink(rows)
    for name, command in commands(work, corpus):
        try:
            runs = [once(command) for _ in range(3 if size <= 10000 and not name.startswith("nightly") else 1)]
        except Wrong as why:
            print(json.dumps({"bench": "scale." + name, "case": str(size), "failed": str(why)}), flush=True)
            continue
        yield name, tuple(statistics.median(run[i] for run in runs) for i in range(3)), None


def scale(work):
    before = {}
    for size in SIZES:
        corpus = os.path.join(work, "corpus-%d" % size)
        for name, (seconds, cpu, peak), taken in measured(work, corpus, size):
            line = {"bench": "scale." + name, "case": str(size), "ours": rounded(seconds), "cpu": rounded(cpu), "unit": "s", "peak_mib": rounded(peak)}
            if name in before:
                line["ratio"] = rounded(cpu / before[name][1] / (size / before[name][0]))
            if taken:
                line["disk_mib"] = rounded(taken / (1 << 20))
            before[name] = size, max(cpu, 0.001)
            yield line
        subprocess.run(["rm", "-rf", corpus, os.path.join(work, "backup")], check=False)

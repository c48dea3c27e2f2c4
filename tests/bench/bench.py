"""Ours beside a peer: one JSON object a line, {"bench", "ours", "peer", "ratio", "unit", "runs"}; medians, ratio = ours / peer.

    bench.py [NAME…]        names or their beginnings ("extract"); none: all

Both run in turn, pinned to one processor, so that what else the machine does hits both alike. Absolute figures mean little on a shared
machine; ratios do. Nothing here judges whether a result is right: the tests do.
"""
import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from gen import report  # noqa: E402 (the path must be set first)

BIN = os.environ.get("MALSEQ_BIN", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "release", "bin"))
DATA = os.environ.get("MALSEQ_DATA")
RUNS = 5
BENCHES = {}


class Missing(Exception):
    """Something a bench needs is not there; the text says what."""


def bench(name, unit="s"):
    def register(function):
        BENCHES[name] = (function, unit)
        return function
    return register


def tool(name, *words):
    return [os.path.join(BIN, name), *words]


def peer_python(code, *words):
    return [sys.executable, "-c", code, *words]


def pin():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def seconds(command, folder):
    """Runs one command in a fresh folder and takes its time. Exit code 1 is "done, with findings"."""
    shutil.rmtree(folder, True)
    os.makedirs(folder)
    begun = time.perf_counter()
    result = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=pin)
    taken = time.perf_counter() - begun
    if result.returncode not in (0, 1):
        raise Missing("%s ended with %d: %s" % (command[0], result.returncode, result.stderr.decode(errors="replace")[-300:]))
    return taken


def made_reports(folder, count=40, calls=8000):
    """CAPE reports of a few MB, as a sandbox writes them."""
    os.makedirs(folder, exist_ok=True)
    names = sorted(report.CATEGORY)
    for index in range(count):
        calls_of_one = [names[(index * 7 + step * step) % len(names)] for step in range(calls)]
        with open(os.path.join(folder, "%d.json" % index), "wb") as file:
            file.write(report.cape([report.Process("a.exe", calls_of_one)], sha256="%064x" % (index + 1)))
    return folder


PEER_JSON = """
import gzip, json, os, sys
for folder, _, files in os.walk(sys.argv[1]):
    for name in sorted(files):
        opened = gzip.open if name.endswith(".gz") else open
        with opened(os.path.join(folder, name), "rb") as file:
            document = json.load(file)
        calls = [call["api"] for process in document["behavior"]["processes"] for call in process["calls"]]
        print(name, len(calls))
"""


@bench("extract.import")
def extract_import(work):
    """Report files to stored traces; the peer only parses them with Python's json and counts the calls."""
    folder = os.path.join(DATA, "reports", "cape") if DATA else made_reports(os.path.join(work, "reports"))
    return tool("extract", "import", "--corpus", "corpus", "--jobs", "1", "--progress", "never", folder), peer_python(PEER_JSON, folder)


PEER_DATASET = """
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive, archive.open("all_analysis_data.txt") as file:
    for line in file:
        print(len(line.split()))
"""


@bench("extract.dataset")
def extract_dataset(work):
    """Mal-API-2019's archive to stored traces; the peer only splits its lines."""
    if not DATA:
        raise Missing("MALSEQ_DATA is not set")
    folder = os.path.join(DATA, "mal-api-2019-subset")
    return (tool("extract", "dataset", "mal-api-2019", folder, "--corpus", "corpus", "--jobs", "1", "--progress", "never"),
            peer_python(PEER_DATASET, os.path.join(folder, "mal-api-2019.zip")))


@functools.lru_cache(None)
def corpus_of(work):
    """A corpus for benches that read one."""
    path = os.path.join(work, "corpus-to-read")
    reports = made_reports(os.path.join(work, "reports-to-read"))
    subprocess.run(tool("extract", "import", "--corpus", path, "-q", reports), check=True, stdout=subprocess.DEVNULL)
    return path


PEER_COUNT = """
import collections, json, os, sys
counts = collections.Counter()
for name in os.listdir(sys.argv[1]):
    with open(os.path.join(sys.argv[1], name), "rb") as file:
        for process in json.load(file)["behavior"]["processes"]:
            counts.update(call["api"] for call in process["calls"])
print(counts.most_common(10))
"""


@bench("store.query")
def store_query(work):
    """The most frequent calls by SQL over stored traces; the peer counts them in the reports."""
    sql = "select api, count(*) n from calls group by api order by n desc limit 10"
    return tool("malseq", "query", "--corpus", corpus_of(work), sql), peer_python(PEER_COUNT, os.path.join(work, "reports-to-read"))


def measure(name, work):
    function, unit = BENCHES[name]
    ours_command, peer_command = function(work)
    ours, peer = [], []
    for _ in range(RUNS):
        ours.append(seconds(ours_command, os.path.join(work, "run")))
        peer.append(seconds(peer_command, os.path.join(work, "run")))
    mine, other = statistics.median(ours), statistics.median(peer)
    return {"bench": name, "ours": round(mine, 4), "peer": round(other, 4), "ratio": round(mine / other, 4), "unit": unit, "runs": RUNS}


def main(wanted):
    names = [name for name in BENCHES if not wanted or any(name.startswith(want) for want in wanted)]
    if not names:
        print("bench: there is %s" % ", ".join(BENCHES), file=sys.stderr)
        return 2
    failed = 0
    with tempfile.TemporaryDirectory(prefix="malseq-bench-") as work:
        for name in names:
            try:
                print(json.dumps(measure(name, work)), flush=True)
            except Missing as why:
                print("bench: %s: skipped: %s" % (name, why), file=sys.stderr)
                failed += 1
    return 1 if failed == len(names) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Bench of detect: from a report file to a verdict, beside parsing the file alone."""
import json
import os
import statistics
import subprocess

from extract_bench import made_dataset, made_report
from measure import RUNS, Side, Wrong, last_json, memory, python, race, rounded, run, tool

MOST_MS = 60    # for 20 MB, the confined reader and the default model's net included


def made_model(work):
    """A class model of one epoch: what it says does not matter here, what it costs does."""
    corpus = os.path.join(work, "detect-corpus")
    folder = made_dataset(os.path.join(work, "detect-dataset"), 2, 160)
    for command in (tool("extract", "dataset", "-q", "--corpus", corpus, "mal-api-2019", folder),
                    tool("train", "-q", "--corpus", corpus, "--target", "class", "--test-share", ".2", "--epochs", "1", "--name", "bench")):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode not in (0, 1):
            raise Wrong("%s ended with %d: %s" % (command[0], result.returncode, result.stderr[-300:]))
    return os.path.join(corpus, "models", "bench")


def report(work):
    path = made_report(os.path.join(work, "detect.json"), 37000)
    size = os.path.getsize(path) / 1e6
    whole = Side(tool("detect", "--json", "--fast", "-q", "--jobs", "1", "--model", made_model(work), path), lambda out: [json.loads(out)["calls"]])
    peer = Side(python("peer_json.py", path), lambda out: last_json(out)[1:])
    note = "%.0f MB; peak %.1f MiB" % (size, memory(whole, os.path.join(work, "run")))
    line = race(work, "detect.report", whole, peer, size, "MB/s", None, "python json, no verdict", note)
    yield line
    yield {"bench": "detect.report", "case": "from file to verdict", "ours": rounded(1e3 * size / line["ours"]), "peer": MOST_MS,
           "ratio": rounded(MOST_MS * line["ours"] / size / 1e3), "unit": "ms at most", "runs": RUNS, "against": "the bound"}
    # The report is read while the model is: with a second processor both go on at once.
    both = Side(whole.command, whole.totals, processors=2)
    milliseconds = 1e3 * statistics.median(run(both, os.path.join(work, "run"))[0] for _ in range(RUNS))
    yield {"bench": "detect.report", "case": "from file to verdict, two processors", "ours": rounded(milliseconds), "peer": MOST_MS,
           "ratio": rounded(MOST_MS / milliseconds), "unit": "ms at most", "runs": RUNS, "against": "the bound"}

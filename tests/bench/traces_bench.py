"""Benches of exported and audited traces: a corpus made of a published dataset, beside Python over the published text itself."""
import glob
import json
import os
import shlex
import subprocess
import zipfile

from extract_bench import made_dataset
from measure import DATA, Missing, Side, Wrong, last_json, memory, python, race, tool

KEEP = ("--pseudo", "keep")     # the text has pseudo-calls too, and the peer counts them


def corpora(work, bench):
    folders = [("generated", made_dataset(os.path.join(work, bench + "-dataset"), 30))]
    if DATA:
        folders.append(("real", os.path.join(DATA, "mal-api-2019-subset")))
    for case, folder in folders:
        archives = glob.glob(os.path.join(folder, "*.zip"))
        if not archives:
            raise Missing("no zip in %s" % folder)
        corpus = os.path.join(work, bench + "-" + case)
        result = subprocess.run(tool("extract", "dataset", "-q", "--corpus", corpus, "mal-api-2019", folder), capture_output=True, text=True)
        if result.returncode not in (0, 1):
            raise Wrong("extract dataset ended with %d: %s" % (result.returncode, result.stderr[-300:]))
        with zipfile.ZipFile(archives[0]) as archive, archive.open("all_analysis_data.txt") as lines:
            calls = sum(len(line.split()) for line in lines)
        yield case, corpus, archives[0], calls / 1e6


def card_totals(out):
    counts = json.loads(out)["counts"]
    return [counts["traces"], counts["calls"]]


def audit_totals(out):
    copies = last_json(out)["copies"]
    return [copies[kind]["distinct"] for kind in ("raw", "collapsed", "set")]


def exports(work):
    for case, corpus, archive, calls in corpora(work, "export"):
        for name in ("npz", "jsonl"):
            export = tool("malseq", "export", "-q", "--what", "traces", "--format", name, "--out", "t", "--corpus", corpus, *KEEP)
            ours = Side(["sh", "-c", shlex.join(export) + " && cat t.json"], card_totals)
            note = "%.1f M calls; peak %.1f MiB" % (calls, memory(ours, os.path.join(work, "run")))
            yield race(work, "malseq.export", ours, Side(python("peer_traces.py", archive, name), last_json), calls, "M calls/s", case + " " + name,
                       "python", note)


def audits(work):
    """The whole audit; the peer only counts distinct traces in the three ways."""
    for case, corpus, archive, calls in corpora(work, "audit"):
        ours = Side(tool("malseq", "audit", "--json", "--corpus", corpus, *KEEP), audit_totals)
        note = "%.1f M calls; peak %.1f MiB" % (calls, memory(ours, os.path.join(work, "run")))
        yield race(work, "malseq.audit", ours, Side(python("peer_traces.py", archive, "copies"), last_json), calls, "M calls/s", case,
                   "python, copies only", note)

"""Bench of collect's later nights: repositories in which nothing changed, and one blob among ten thousand. The loopback GitHub counts what
is asked for; a run that asks for more than it needs is a failure, not a slow run."""
import hashlib
import os
import statistics
import subprocess

from gen import pe
from measure import RUNS, Side, Wrong, last_json, python, rounded, run, tool
from services.github import GitHub
from services.gitobjects import object_id

REPOSITORIES = 1000
BLOBS = 10000
TOKEN = "ghp_bench"


def night(hub, names, work, label):
    """The command of a night over these repositories, and its corpus as the first night leaves it."""
    names_file, corpus = os.path.join(work, label + ".txt"), os.path.join(work, label + "-corpus")
    with open(names_file, "w") as file:
        file.write("".join(name + "\n" for name in names))
    command = tool("collect", "--github-list", names_file, "--github-url", hub.url, "--github-token", "env:MALSEQ_BENCH_TOKEN",
                   "--git-host", hub.codeload.url, "--corpus", corpus, "-q", "--progress", "never")
    environment = {"MALSEQ_BENCH_TOKEN": TOKEN}
    subprocess.run(command, env=dict(os.environ, **environment), check=True, capture_output=True)
    return Side(command, environment=environment)


def unchanged(work):
    """N unchanged repositories: exactly N conditional requests. The peer sends the same over one connection and keeps nothing."""
    with GitHub(token=TOKEN, limit=1 << 40) as hub:
        names = ["bench/r%04d" % index for index in range(REPOSITORIES)]
        for name in names:
            hub.add(name, {"n.txt": name.encode()})
        ours = night(hub, names, work, "unchanged")
        heads = os.path.join(work, "heads.txt")
        with open(heads, "w") as file:
            file.write("".join("%s %s\n" % (name, hub.get(name).head) for name in names))
        peer = Side(python("peer_conditional.py", hub.url, heads), last_json, environment={"MALSEQ_BENCH_TOKEN": TOKEN})
        mine, other = [], []
        for index in range(RUNS):
            for side, results in ((ours, mine), (peer, other))[::-1 if index % 2 else 1]:
                hub.clear_log()
                hub.codeload.clear_log()
                results.append(run(side, os.path.join(work, "run")))
                if (hub.count(), hub.count(status=304), hub.codeload.count()) != (REPOSITORIES, REPOSITORIES, 0):
                    raise Wrong("collect.unchanged: %d requests, %d of them answered by 304" % (hub.count(), hub.count(status=304)))
        cpu_ms = statistics.median(result[1] for result in mine) / REPOSITORIES * 1000
        yield {"bench": "collect.unchanged", "ours": rounded(REPOSITORIES / statistics.median(result[0] for result in mine)),
               "peer": rounded(REPOSITORIES / statistics.median(result[0] for result in other)),
               "ratio": rounded(statistics.median(theirs[0] / own[0] for own, theirs in zip(mine, other))),
               "cpu_ratio": rounded(statistics.median(theirs[1] / own[1] for own, theirs in zip(mine, other))),
               "unit": "repositories/s", "runs": RUNS, "against": "a Python loop over http.client",
               "cpu_ms_a_repository": rounded(cpu_ms), "requests": REPOSITORIES, "downloads": 0}
        if cpu_ms >= 1:
            raise Wrong("collect.unchanged: %.2f ms of processor time a repository" % cpu_ms)


def changed(work):
    """One blob changed among ten thousand: it alone is fetched. The peer compares the two trees, as the API gives them, in memory."""
    files = {"%03d/%05d.txt" % (index // 100, index): b"number %d" % index for index in range(BLOBS)}
    with GitHub(token=TOKEN, limit=1 << 40) as hub:
        hub.add("bench/large", files)
        ours = night(hub, ["bench/large"], work, "changed")
        mine, other = [], []
        for index in range(RUNS):
            before = os.path.join(work, "before.txt")
            with open(before, "w") as file:
                file.write("".join(object_id("blob", data) + "\n" for data in files.values()))
            files["050/05000.txt"] = pe.pe("night %d" % index)
            hub.commit("bench/large", files)
            want = object_id("blob", files["050/05000.txt"])
            peer = Side(python("peer_tree.py", hub.url, "bench/large", before), last_json, environment={"MALSEQ_BENCH_TOKEN": TOKEN})
            for side, results in ((ours, mine), (peer, other))[::-1 if index % 2 else 1]:
                hub.clear_log()
                hub.codeload.clear_log()
                results.append(run(side, os.path.join(work, "run")))
                blobs = [request["target"].rsplit("/", 1)[1] for request in hub.requests("/git/blobs/")]
                if blobs != [want] or hub.codeload.count():
                    raise Wrong("collect.changed: fetched %d blobs and %d tarballs" % (len(blobs), hub.codeload.count()))
            if other[-1][2] != {"sha256": hashlib.sha256(files["050/05000.txt"]).hexdigest()}:
                raise Wrong("collect.changed: the peer did not find the blob")
        yield {"bench": "collect.changed", "case": "one of %d blobs" % BLOBS, "ours": rounded(1 / statistics.median(result[0] for result in mine)),
               "peer": rounded(1 / statistics.median(result[0] for result in other)),
               "ratio": rounded(statistics.median(theirs[0] / own[0] for own, theirs in zip(mine, other))),
               "cpu_ratio": rounded(statistics.median(theirs[1] / own[1] for own, theirs in zip(mine, other))),
               "unit": "nights/s", "runs": RUNS, "against": "a Python script that compares two trees", "seconds": rounded(
                   statistics.median(result[0] for result in mine)), "blobs": 1,
               "note": "ours also writes the 10,000 rows of the new tree, opens the blob in the worker, and syncs it"}

"""Benches of store: every call of a corpus read back, by SQL and by the decoder, beside a plain table with a row a call."""
import csv
import io
import json
import os
import sqlite3
import statistics
import subprocess

from extract_bench import made_report
from measure import DATA, RUNS, Missing, Side, Wrong, program, python, race, rounded, tool

CALLS = 200000
FILES = 5


def made_corpus(work):
    corpus, folder = os.path.join(work, "store-corpus"), os.path.join(work, "store-reports")
    os.makedirs(folder)
    first = made_report(os.path.join(folder, "0.json"), CALLS, True)
    with open(first, "rb") as file:
        text = file.read()
    for index in range(1, FILES):
        with open(os.path.join(folder, "%d.json" % index), "wb") as file:
            file.write(text.replace(b"%064x" % 1, b"%064x" % (index + 1)))
    result = subprocess.run(tool("extract", "import", "-q", "--corpus", corpus, folder), capture_output=True, text=True)
    if result.returncode:
        raise Wrong("extract import ended with %d: %s" % (result.returncode, result.stderr[-300:]))
    return corpus


def made_table(corpus, path):
    """The same calls as rows: the layout one would write down first, clustered by process and position."""
    database = sqlite3.connect(path)
    database.executescript("""
        CREATE TABLE api (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
        CREATE TABLE call (process INT, seq INT, api INT, tid INT, time INT, PRIMARY KEY (process, seq)) WITHOUT ROWID;""")
    sql = "SELECT process, seq, api_id, tid, time, api FROM calls ORDER BY process, seq"
    query = subprocess.Popen(tool("malseq", "query", "--csv", "--corpus", corpus, "--limit", "100000000", sql), stdout=subprocess.PIPE)
    names = {}

    def rows():
        reader = csv.reader(io.TextIOWrapper(query.stdout, newline=""))
        next(reader)
        for process, seq, api, tid, when, name in reader:
            names[int(api)] = name
            yield int(process), int(seq), int(api), int(tid), int(when)

    database.executemany("INSERT INTO call VALUES (?, ?, ?, ?, ?)", rows())
    if query.wait():
        raise Wrong("malseq query ended with %d" % query.returncode)
    database.executemany("INSERT INTO api VALUES (?, ?)", names.items())
    database.commit()
    count = database.execute("SELECT count(*) FROM call").fetchone()[0]
    database.close()
    return count


def csv_rows(out):
    return list(csv.reader(io.StringIO(out.decode(), newline="")))


def calls(work):
    corpus, table = made_corpus(work), os.path.join(work, "store-table.db")
    count = made_table(corpus, table)
    size = [os.path.getsize(path) / 1e6 for path in (os.path.join(corpus, "corpus.db"), table)]
    note = "%d calls; corpus %.1f MB, table %.1f MB" % (count, *size)
    whole = (("sum", "SELECT count(*), sum(tid) FROM calls", "SELECT count(*), sum(tid) FROM call"),
             ("group by api", "SELECT api, count(*) n FROM calls GROUP BY api ORDER BY n DESC, api LIMIT 10",
              "SELECT name, count(*) n FROM call JOIN api ON api.id = call.api GROUP BY api ORDER BY n DESC, name LIMIT 10"))
    for case, ours, theirs in whole:
        mine = Side(tool("malseq", "query", "--csv", "--corpus", corpus, ours), lambda out: csv_rows(out)[1:])
        peer = Side([program("sqlite3"), "-csv", table, theirs], csv_rows)
        yield race(work, "store.calls", mine, peer, count / 1e6, "Mcalls/s", case, "sqlite3, a row a call", note)
    decoder = Side(tool("bench_calls", corpus), own_clock=True)
    yield race(work, "store.calls", decoder, Side(python("peer_rows.py", table), own_clock=True), count / 1e6, "Mcalls/s", "decoder",
               "sqlite3 in process, a row a call", note)
    for line in real_corpora(work):
        yield line


def bound(bench, case, ours, limit, unit, less=False, note=None):
    """A figure beside the bound it must keep; ratios above 1 keep it."""
    line = {"bench": bench, "case": case, "ours": rounded(ours), "peer": limit, "ratio": rounded(limit / ours if less else ours / limit),
            "unit": unit, "runs": RUNS, "against": "the bound"}
    return dict(line, note=note) if note else line


def imported(work, name, *words):
    corpus = os.path.join(work, "corpus-" + name)
    result = subprocess.run(tool("extract", *words[:1], "-q", "--corpus", corpus, *words[1:]), capture_output=True, text=True)
    if result.returncode not in (0, 1):
        raise Wrong("extract %s ended with %d: %s" % (words[0], result.returncode, result.stderr[-300:]))
    return corpus


def driver(corpus, *words):
    """Median of the runs: (processor seconds, totals). A bound is for one core, whatever else the machine does."""
    found = []
    for _ in range(RUNS):
        result = subprocess.run(tool("bench_calls", corpus, *map(str, words)), capture_output=True, text=True)
        if result.returncode:
            raise Wrong("bench_calls ended with %d: %s" % (result.returncode, result.stderr[-300:]))
        found.append(json.loads(result.stdout))
    return statistics.median(one["cpu_seconds"] for one in found), found[0]["totals"]


def real_corpora(work):
    """Mal-API-2019 and CAPE's reports: bytes a call of the whole database, calls read back a second, one sample's calls by SQL.

    A call read back is its API's id, and its thread and time where the trace has them, in arrays; bench_calls sums them up and SQL over the
    table `calls` must give the same sums."""
    if not DATA:
        raise Missing("MALSEQ_DATA is not set")
    for name, most, words in (("mal-api-2019", .6, ("dataset", "mal-api-2019", os.path.join(DATA, "mal-api-2019-subset"))),
                              ("cape", 4, ("import", os.path.join(DATA, "reports", "cape")))):
        corpus, passes = imported(work, name, *words), 5 if name == "mal-api-2019" else 200
        seconds, totals = driver(corpus, passes)
        database = sqlite3.connect(os.path.join(corpus, "corpus.db"))
        sql = "SELECT count(*), sum(api_id), total(tid), total(time & 1048575) FROM calls"
        result = subprocess.run(tool("malseq", "query", "--csv", "--corpus", corpus, sql), capture_output=True)
        if [int(float(field)) for field in csv_rows(result.stdout)[1]] != totals:
            raise Wrong("store.calls: the decoder read %s, SQL says %s" % (totals, result.stdout))
        size = os.path.getsize(os.path.join(corpus, "corpus.db"))
        yield bound("store.size", name, size / totals[0], most, "bytes/call", True, "the whole database, %d calls" % totals[0])
        yield bound("store.calls", name + " read back", totals[0] * passes / seconds / 1e6, 400, "Mcalls/s", False, "sums %s" % totals[1:])
        if name == "mal-api-2019":
            median = "SELECT a.sample, p.calls FROM process p JOIN analysis a ON a.id = p.analysis ORDER BY p.calls LIMIT 1 OFFSET " \
                     "(SELECT count(*) / 2 FROM process)"
            sample, length = database.execute(median).fetchone()
            seconds, totals = driver(corpus, 200, sample)
            if totals[0] != length:
                raise Wrong("store.calls: %d of %d calls of sample %d" % (totals[0], length, sample))
            yield bound("store.calls", "median sample by SQL", seconds * 1e3, 1, "ms", True, "%d calls, the query prepared each time" % length)
        database.close()

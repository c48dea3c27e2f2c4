"""Benches of store: every call of a corpus read back, by SQL and by the decoder, beside a plain table with a row a call."""
import csv
import io
import os
import sqlite3
import subprocess

from extract_bench import made_report
from measure import Side, Wrong, program, python, race, tool

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

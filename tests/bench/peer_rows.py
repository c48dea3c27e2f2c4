"""Peer of the bench: sums a plain SQLite table that has a row a call, in this process, so that no start-up counts."""
import json
import sqlite3
import sys
import time

begun, before = time.perf_counter(), time.process_time()
database = sqlite3.connect("file:%s?mode=ro" % sys.argv[1], uri=True)
totals = database.execute("SELECT count(*), sum(api), total(tid), sum(time & 1048575) FROM call").fetchone()
print(json.dumps({"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - before, "totals": [int(total or 0) for total in totals]}))

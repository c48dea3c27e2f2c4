"""Peer of the bench: v3 answers with Python's json, each body packed with zlib, rows in SQLite. No labels. Prints [records] as JSON."""
import hashlib
import json
import re
import sqlite3
import sys
import zlib

WHITE = re.compile(r"\s*")
with open(sys.argv[1], encoding="utf-8") as file:
    text = file.read()
connection = sqlite3.connect("peer.db", isolation_level=None)
connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE scan (sha256 BLOB UNIQUE, sha1 BLOB, md5 BLOB, analysed INTEGER,"
                         " positives INTEGER, body_sha256 BLOB, body BLOB); CREATE INDEX by_sha1 ON scan (sha1); CREATE INDEX by_md5 ON scan (md5)")
decoder = json.JSONDecoder()
records = 0
at = WHITE.match(text).end()
connection.execute("BEGIN")
while at < len(text):
    value, end = decoder.raw_decode(text, at)
    attributes = value["data"]["attributes"]
    body = text[at:end].encode()
    positives = sum(row["category"] == "malicious" for row in attributes["last_analysis_results"].values())
    connection.execute("INSERT INTO scan VALUES (?, ?, ?, ?, ?, ?, ?)", (*(bytes.fromhex(attributes[kind]) for kind in ("sha256", "sha1", "md5")),
                                                                       attributes["last_analysis_date"], positives, hashlib.sha256(body).digest(), zlib.compress(body, 1)))
    records += 1
    if records % 512 == 0:
        connection.execute("COMMIT")
        connection.execute("BEGIN")
    at = WHITE.match(text, end).end()
connection.execute("COMMIT")
print(json.dumps([records]))

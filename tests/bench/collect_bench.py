"""Bench of collect: a folder of password-protected zips, each with a PE file. The zips are generated."""
import os
import random

from gen import archive, pe
from measure import Side, last_json, program, python, race, tool

ZIPS = 320


def made_zips(folder):
    os.makedirs(folder)
    for index in range(ZIPS):
        body = pe.pe(index, body_bytes=random.Random(index).choice((2048, 8192, 16384)))
        with open(os.path.join(folder, "%03d.zip" % index), "wb") as file:
            file.write(archive.zipped({"%064x.exe" % index: body}, password="infected"))
    return folder


def zips(work):
    """Zip to vault, hashed, judged and synced to disk; the peers only decrypt, unpack and hash."""
    folder = made_zips(os.path.join(work, "zips"))
    whole = Side(tool("collect", "--dir", folder, "--corpus", "corpus", "-q", "--progress", "never"))
    yield race(work, "collect.zip", whole, Side(python("peer_zips.py", folder), last_json), ZIPS, "files/s", None, "python zipfile")
    loop = 'for zip in "$1"/*.zip; do "$2" -P infected -p "$zip" | sha256sum; done'
    shell = Side(["/bin/sh", "-c", loop, "sh", folder, program("unzip")])
    yield race(work, "collect.zip", whole, shell, ZIPS, "files/s", None, "a shell loop over unzip and sha256sum")

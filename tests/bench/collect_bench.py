"""Benches of collect: folders of password-protected zips, each with a PE file. All is generated."""
import os
import random
import subprocess

from gen import archive, pe
from measure import Side, last_json, program, python, race, tool

ZIPS = 320
WORKER_ZIPS = 2000


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


def worker_side(mode, folder, jobs=1):
    return Side(tool("bench_collect_worker", mode, folder, str(jobs)), own_clock=True, processors=jobs)


def worker_zips(work):
    """Zips of one half-compressible PE of 64 KiB each, under ZipCrypto; made once."""
    folder = os.path.join(work, "worker-zips")
    if not os.path.exists(folder):
        subprocess.run(tool("bench_collect_worker", "make", folder, str(WORKER_ZIPS)), check=True)
    return folder


def worker(work):
    """What collect does for each blob but for vault and rows, one confined child a blob, on one core; see collect_worker_bench.c."""
    folder = worker_zips(work)
    confined = worker_side("confined", folder)
    yield race(work, "collect.worker", confined, worker_side("libarchive", folder), WORKER_ZIPS, "files/s", "confined",
               "libarchive and SHA-256 in process", "ours also reads the features and takes MD5 and SHA-1")
    yield race(work, "collect.worker", confined, worker_side("walked", folder), WORKER_ZIPS, "files/s", "confinement alone",
               "the same work in process", "the fork of a child, its filter, and the pipe are what is between them")
    whole = Side(tool("collect", "--dir", folder, "--corpus", "corpus", "-q", "--progress", "never"))
    yield race(work, "collect.worker", whole, worker_side("libarchive", folder), WORKER_ZIPS, "files/s", "with vault and rows",
               "libarchive and SHA-256 in process", "ours also compresses and syncs each program, then its rows")


def workers(work):
    """Two workers beside one."""
    folder = worker_zips(work)
    yield race(work, "collect.workers", worker_side("confined", folder, 2), worker_side("confined", folder), WORKER_ZIPS, "files/s", None,
               "one worker")

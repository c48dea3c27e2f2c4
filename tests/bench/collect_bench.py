"""Benches of collect: folders of password-protected zips, each with a PE file. All is generated."""
import os
import random
import struct
import subprocess
import zipfile
import zlib

from gen import archive, pe
from measure import Side, Wrong, last_json, memory, program, python, race, rounded, tool

ZIPS = 320
WORKER_ZIPS = 2000
STORED = 20000


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


def store(work):
    """One archive of many small programs, as collections are handed out: each an object of the vault, durable before its rows are."""
    folder = os.path.join(work, "store")
    os.makedirs(folder)
    archive_path = os.path.join(folder, "part.zip")
    with zipfile.ZipFile(archive_path, "w") as file:
        for index in range(STORED):
            file.writestr("VirusShare_%032x" % index, pe.pe(index, body_bytes=512))
    whole = Side(tool("collect", "--dir", folder, "--corpus", "corpus", "--max-members", str(STORED), "--jobs", "1", "-q", "--progress", "never"))
    yield race(work, "collect.store", whole, Side(python("peer_store.py", archive_path, "stored"), last_json), STORED, "members/s", None,
               "python zipfile, sha256, a file each, one sync", "ours also opens it confined, compresses, reads the features, takes MD5 and SHA-1, and "
               "writes the rows")


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


LARGE_LIMIT_MIB = 256


def repeated(size, head, unit):
    """(crc, deflated bytes) of `head` and, up to `size` bytes, repetitions of `unit`: a deflated block is repeated too, which takes no time."""
    squeeze = zlib.compressobj(6, zlib.DEFLATED, -15)
    first = head + unit[len(head):]
    begun = squeeze.compress(first) + squeeze.flush(zlib.Z_FULL_FLUSH)
    block = squeeze.compress(unit) + squeeze.flush(zlib.Z_FULL_FLUSH)
    times = size // len(unit) - 1
    crc = zlib.crc32(first)
    for _ in range(times):
        crc = zlib.crc32(unit, crc)
    return crc, [begun, *[block] * times, squeeze.flush()]


def large_zip(path, members, stored=()):
    """A zip of (name, size, head, unit) members, and of stored ones (name, data), written without holding it."""
    central, count = [], 0
    with open(path, "wb") as file:
        def put(name, method, crc, size, pieces):
            common = struct.pack("<HHHHHIIIHH", 20, 0, method, 0x6000, 0x5821, crc, sum(map(len, pieces)), size, len(name), 0)
            central.append(b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, file.tell()) + name)
            file.write(b"PK\3\4" + common + name)
            file.writelines(pieces)
        for name, size, head, unit in members:
            crc, pieces = repeated(size, head, unit)
            put(name.encode(), 8, crc, size, pieces)
        for name, data in stored:
            put(name.encode(), 0, zlib.crc32(data), len(data), [data])
        at = file.tell()
        file.writelines(central)
        count = len(central)
        file.write(b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, file.tell() - at, at, 0))


def large(work):
    """One archive that gives close to 4 GiB, the most that is taken out of one: programs of 16 MiB, also in a zip inside, files of 400 MiB that
    are none, and a program blown up to 400 MiB with zeros."""
    mib, run = 1 << 20, os.path.join(work, "run")
    noise = random.Random(1).randbytes(4096) * 256
    programs = [("program-%d.exe" % i, 16 * mib, pe.pe(i), noise) for i in range(136)]
    inner = os.path.join(work, "inner.zip")
    large_zip(inner, programs[100:])
    with open(inner, "rb") as file:
        nested = file.read()
    members = programs[:100] + [("image-%d.raw" % i, 400 * mib, b"raw%d" % i, noise) for i in range(3)]
    members.append(("bloated.exe", 400 * mib, pe.pe(1000), bytes(mib)))
    for jobs in (1, 2):
        folder = os.path.join(work, "large-%d" % jobs)
        os.makedirs(folder)
        for index in range(jobs):
            large_zip(os.path.join(folder, "%d.zip" % index), members[::-1] if index else members, [("inner.zip", nested)])
        peak = memory(Side(tool("collect", "--dir", folder, "--corpus", "corpus", "--jobs", str(jobs), "-q", "--progress", "never")), run)
        found = subprocess.run(tool("malseq", "query", "--corpus", os.path.join(run, "corpus"), "select count(*) from sample"), capture_output=True)
        if found.stdout.split()[-1:] != [b"137"]:
            raise Wrong("collect.memory: %s of 137 programs found" % found.stdout.decode(errors="replace"))
        yield {"bench": "collect.memory", "case": "%d at once" % jobs, "ours": peak, "peer": LARGE_LIMIT_MIB, "ratio": rounded(LARGE_LIMIT_MIB / peak),
               "unit": "MiB at most", "runs": 1, "against": "the bound",
               "note": "anonymous memory and memfds of all processes, looked at every few milliseconds; file cache not counted"}

"""Benches of extract: sandbox reports and a published dataset. Files are generated; real ones join in where MALSEQ_DATA is set."""
import glob
import gzip
import io
import json
import os
import random
import shlex
import shutil
import subprocess
import zipfile

from gen import report
from measure import DATA, Missing, Side, Wrong, compiled, last_json, memory, program, python, race, rounded, tool

CLASSES = "Adware Backdoor Downloader Dropper Spyware Trojan Virus Worms".split()
REPORT_CALLS = 570000


def made_report(path, calls, compact=False):
    """A Cuckoo 2 report of eight processes; about 540 bytes a call, 200 when compact."""
    names, rng = sorted(report.CATEGORY), random.Random("bench/report")
    processes = []
    for index in range(8):
        listed = [(rng.choice(names[:120]), rng.random() > .1, rng.randrange(3)) for _ in range(calls // 8)]
        processes.append(report.Process("p%d.exe" % index, listed))
    text = report.cuckoo(processes, sha256="%064x" % 1)
    with open(path, "wb") as file:
        if compact:  # line by line: json.dumps of the whole would take gigabytes
            file.writelines(line.strip().replace(b'": ', b'":', 1) for line in io.BytesIO(text))
        else:
            file.write(text)
    return path


def report_files(work):
    folder = os.path.join(work, "reports")
    os.makedirs(folder, exist_ok=True)
    yield "indented", made_report(os.path.join(folder, "indented.json"), REPORT_CALLS)
    yield "compact", made_report(os.path.join(folder, "compact.json"), 5 * REPORT_CALLS // 2, True)
    for packed in sorted(glob.glob(os.path.join(DATA, "reports", "cuckoo2", "*.json.gz")))[:1] if DATA else ():
        path = os.path.join(folder, "real.json")
        with gzip.open(packed) as file, open(path, "wb") as out:
            shutil.copyfileobj(file, out)
        yield "real", path


def import_totals(out):
    found = last_json(out)
    return [found["processes"], found["calls"]]


def import_side(path):
    words = ["--dry-run", "--json", "-q", "--corpus", "corpus", "--jobs", "1", path]
    return Side(tool("extract", "import", *words), import_totals)


def packed_reports(work, case, path, size):
    """From a zstd file on two processors: beside the zstd program and simdjson on what it wrote, and beside the command with one process that
    decompresses and reads, as it does what comes through standard input."""
    packed = path + ".zst"
    subprocess.run([program("zstd"), "-q", "-f", "-3", path, "-o", packed], check=True)
    words = ["--dry-run", "--json", "-q", "--corpus", "corpus", "--jobs", "1"]
    totals = lambda out: import_totals(out)[1:]
    whole = Side(tool("extract", "import", *words, packed), totals, processors=2)
    script = "%s -q -d %s -o plain.json && exec %s plain.json" % tuple(map(shlex.quote, (program("zstd"), packed, compiled(work, "peer_simdjson.cpp", ["-lsimdjson"]))))
    peer = Side(["sh", "-c", script], lambda out: last_json(out)["totals"][:1], processors=2)
    note = "%.0f MB of JSON, %.0f of zstd; peak %.1f MiB" % (size, os.path.getsize(packed) / 1e6, memory(whole, os.path.join(work, "run")))
    yield race(work, "extract.report", whole, peer, size, "MB/s", case + " import from zstd", "zstd, then simdjson", note)
    script = "cat %s | %s -" % (shlex.quote(packed), " ".join(map(shlex.quote, tool("extract", "import", *words))))
    yield race(work, "extract.report", whole, Side(["sh", "-c", script], totals, processors=2), size, "MB/s", case + " import from zstd", "ours, one process")


def reports(work):
    """The whole command beside Python's json; the reader alone beside yajl's events and simdjson's On-Demand."""
    for case, path in report_files(work):
        size = os.path.getsize(path) / 1e6
        whole = import_side(path)
        reader = Side(tool("bench_report", path), own_clock=True)
        note = "%.0f MB; peak %.1f MiB" % (size, memory(whole, os.path.join(work, "run")))
        yield race(work, "extract.report", whole, Side(python("peer_json.py", path), last_json), size, "MB/s", case + " import", "python json", note)
        yajl, simdjson = compiled(work, "peer_yajl.c", ["-lyajl"]), compiled(work, "peer_simdjson.cpp", ["-lsimdjson"])
        yield race(work, "extract.report", reader, Side([yajl, path], own_clock=True), size, "MB/s", case + " reader", "yajl")
        # From the file: ours by blocks, the peer over a populated mapping; then both with the mapping there before the clock starts.
        peer = Side([simdjson, path], own_clock=True)
        yield race(work, "extract.report", reader, peer, size, "MB/s", case + " reader", "simdjson")
        held = Side(tool("bench_report", "--held", path), own_clock=True)
        peer = Side([simdjson, "--held", path], own_clock=True)
        yield race(work, "extract.report", held, peer, size, "MB/s", case + " reader, file held", "simdjson")
        if case != "real":
            yield from packed_reports(work, case, path, size)
        strict = Side(tool("bench_report", "--strict", path), own_clock=True)
        yield race(work, "extract.report", reader, strict, size, "MB/s", case + " reader", "ours --strict")


def made_dataset(folder, megabytes=60, samples=1000):
    """Mal-API-2019's files: a zip of one line of lower-case names a sample, and one class a line."""
    os.makedirs(folder)
    rng = random.Random("bench/dataset")
    names = [name.lower() for name in sorted(report.CATEGORY)]
    # Lengths as unequal as the published ones: most lines short, a few with most of the text.
    weights = [rng.lognormvariate(0, 2) for _ in range(samples)]
    pieces = []
    for _ in range(400):
        pool = rng.sample(names, 16)
        pieces.append(" ".join(rng.choice(pool) for _ in range(250)))
    piece_bytes = sum(len(piece) + 1 for piece in pieces) / len(pieces)
    wanted = megabytes * 1e6 / piece_bytes / sum(weights)
    with zipfile.ZipFile(os.path.join(folder, "mal-api-2019.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        lines = (" ".join(rng.choice(pieces) for _ in range(1 + int(weight * wanted))) for weight in weights)
        archive.writestr("all_analysis_data.txt", "\n".join(lines) + "\n")
    with open(os.path.join(folder, "labels.csv"), "w") as file:
        file.write("".join(CLASSES[index % 8] + "\n" for index in range(samples)))
    return folder


def dataset_totals(out):
    found = last_json(out)
    return [found["samples"], found["calls"]]


def datasets(work):
    """Text to stored traces and labels beside a reader that only splits and counts."""
    folders = [("generated", made_dataset(os.path.join(work, "dataset")))]
    if DATA:
        folders.append(("real", os.path.join(DATA, "mal-api-2019-subset")))
    for case, folder in folders:
        archives = glob.glob(os.path.join(folder, "*.zip"))
        if not archives:
            raise Missing("no zip in %s" % folder)
        with zipfile.ZipFile(archives[0]) as archive:
            size = archive.getinfo("all_analysis_data.txt").file_size / 1e6
        words = ["--json", "-q", "--corpus", "corpus", "--jobs", "1", "mal-api-2019", folder]
        whole = Side(tool("extract", "dataset", *words), dataset_totals, processors=2)
        note = "%.0f MB; peak %.1f MiB" % (size, memory(whole, os.path.join(work, "run")))
        yield race(work, "extract.dataset", whole, Side(python("peer_lines.py", archives[0]), last_json, processors=2), size, "MB/s", case, "python split", note)


MEMORY_MIB, LARGE_BYTES = 16, 42e8


def large_report(path, wanted):
    """A packed Cuckoo 2 report of so many plain bytes, without holding or packing them: gzip members one after another are one stream."""
    names, rng = sorted(report.CATEGORY), random.Random("bench/large")

    def calls(count):
        return ",".join(json.dumps({"category": "file", "status": 1, "stacktrace": [], "api": rng.choice(names), "return_value": "0x00000000",
                                    "arguments": {"buffer": "x" * rng.randrange(300)}, "time": 15e8 + rng.randrange(10 ** 9) / 1000,
                                    "tid": 4 * rng.randrange(9), "flags": {}}) for _ in range(count)).encode()

    piece = b"," + calls(40000)
    packed, open_process = gzip.compress(piece, 1), b'%s{"pid":%d,"ppid":4,"process_name":"p.exe","first_seen":1.5e9,"calls":[' + calls(1)
    head = b'{"info":{"id":1},"target":{"file":{"sha256":"%s"}},"behavior":{"processes":[' % (b"a" * 64)
    pieces, count = int(wanted / len(piece)) + 1, 0
    with open(path, "wb") as file:
        file.write(gzip.compress(head))
        for index in range(pieces):
            if index % (pieces // 3 + 1) == 0:
                file.write(gzip.compress((b"]}," if index else b"") + open_process % (b"", 100 + index)))
                count += 1
            file.write(packed)
            count += 40000
        file.write(gzip.compress(b"]}]}}"))
    return count


def large_log(path, calls):
    """A log of DRAKVUF by forty processes in turns, as gzip."""
    with gzip.open(path, "wb", 1) as file:
        for begin in range(0, calls, 4000):
            file.write(b"".join(b'{"Plugin":"apimon","TimeStamp":"%d.%06d","PID":%d,"PPID":4,"TID":%d,"ProcessName":"p%d.exe","Method":"NtRead%d",'
                                b'"Event":"api_called","Module":"kernel32","ReturnValue":"0x0","Arguments":[]}\n' %
                                (1700000000 + i // 100000, i % 100000 * 10, 100 + i * i % 40, i * i % 40 * 8 + i % 3, i * i % 40, i * 7 % 200)
                                for i in range(begin, min(begin + 4000, calls))))
    return calls


def large_zip(path, wanted):
    """A zip file whose one member is such a report."""
    piece = b",".join([b'{"category":"file","status":1,"stacktrace":[],"api":"NtReadFile","return_value":0,"arguments":{"buffer":"%s","length":4096},'
                       b'"time":1500000000.5,"tid":77,"flags":{}}' % (b"ab" * 40)] * 4000)
    pieces = int(wanted / len(piece)) + 1
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, archive.open("reports/report.json", "w", force_zip64=True) as file:
        file.write(b'{"info":{"id":1},"target":{"file":{"sha256":"%s"}},"behavior":{"processes":[' % (b"a" * 64))
        file.write(b'{"pid":100,"ppid":4,"process_name":"p.exe","first_seen":1.5e9,"calls":[')
        for index in range(pieces):
            file.write((b"," if index else b"") + piece)
        file.write(b"]}]}}")
    return pieces * 4000


def large(work):
    """The peak of an import beside the bound, of reports, logs and members of zip files that are small and large."""
    cases = (("42 MB", "large.json.gz", large_report, LARGE_BYTES / 100), ("4.2 GB", "large.json.gz", large_report, LARGE_BYTES),
             ("a log of 100,000 calls", "log.gz", large_log, 100000), ("a log of 4 million calls", "log.gz", large_log, 4000000),
             ("42 MB in a zip file", "large.zip", large_zip, LARGE_BYTES / 100), ("4.2 GB in a zip file", "large.zip", large_zip, LARGE_BYTES))
    for case, name, make, wanted in cases:
        path = os.path.join(work, name)
        count, run = make(path, wanted), os.path.join(work, "run")
        peak = memory(Side(tool("extract", "import", "-q", "--corpus", "corpus", path)), run)
        found = subprocess.run(tool("malseq", "query", "--csv", "--corpus", os.path.join(run, "corpus"), "select sum(calls) from process"),
                               capture_output=True)
        if found.stdout.split()[-1:] != [b"%d" % count]:
            raise Wrong("extract.memory: %s of %d calls found" % (found.stdout.decode(errors="replace"), count))
        yield {"bench": "extract.memory", "case": case, "ours": peak, "peer": MEMORY_MIB, "ratio": rounded(MEMORY_MIB / peak),
               "unit": "MiB at most", "runs": 1, "against": "the bound",
               "note": "%d calls; anonymous memory and memfds of all processes; file cache not counted" % count}

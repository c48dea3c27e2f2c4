"""The same antivirus report in the forms people keep it in, and files of them. Harmless: made from tests/gen/antivirus.py alone."""
import datetime
import gzip
import hashlib
import json
import struct

from gen import antivirus

FORMS = ("vt3", "feed", "vt2", "opswat", "simple")
FORMAT = {"vt3": "vt3", "feed": "vt3", "vt2": "vt2", "opswat": "opswat", "simple": "simple"}  # what the corpus calls them


def spec(number, cls="Worm", groups=12, **more):
    name = b"report %d" % number
    return antivirus.Spec(sha256=hashlib.sha256(name).hexdigest(), sha1=hashlib.sha1(name).hexdigest(), md5=hashlib.md5(name).hexdigest(),
                          cls=cls, family="zelphira", groups=groups, **more)


def _date(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def report(form, sample):
    """A document of this form about this antivirus.Spec."""
    v3 = antivirus.file_object(sample)
    attributes = v3["attributes"]
    rows = attributes["last_analysis_results"]
    hashes = {"md5": sample.md5, "sha1": sample.sha1, "sha256": sample.sha256}
    if form == "vt3":
        return {"data": v3}
    if form == "feed":
        return v3
    if form == "vt2":
        scans = {name: {"detected": row["category"] == "malicious", "version": row["engine_version"], "result": row["result"], "update": row["engine_update"]}
                 for name, row in rows.items() if row["category"] in ("malicious", "undetected")}
        return {"response_code": 1, "resource": sample.md5, "scan_id": "%s-%d" % (sample.sha256, sample.analysed), "scan_date": _date(sample.analysed),
                "positives": sum(row["detected"] for row in scans.values()), "total": len(scans), "verbose_msg": "Scan finished", "scans": scans, **hashes}
    if form == "opswat":
        details = {name: {"scan_result_i": 1 if row["result"] else 0, "threat_found": row["result"] or "", "def_time": "2023-01-01T00:00:00Z", "scan_time": 1}
                   for name, row in rows.items() if row["category"] in ("malicious", "undetected")}
        return {"data_id": sample.md5, "file_info": {"file_size": sample.size, "display_name": "a.exe", **hashes},
                "scan_results": {"scan_details": details, "scan_all_result_i": 1, "start_time": "2023-11-14T22:13:20.000Z"}}
    return {"av_labels": [[name, row["result"]] for name, row in rows.items() if row["result"]], **hashes}


def zstd(data):
    """A zstd frame of raw blocks, which every decoder reads and needs no encoder."""
    out = [struct.pack("<IBQ", 0xFD2FB528, 0xE0, len(data))]
    blocks = [data[at:at + 65536] for at in range(0, len(data), 65536)] or [b""]
    for index, block in enumerate(blocks):
        out.append(struct.pack("<I", (index == len(blocks) - 1) | len(block) << 3)[:3] + block)
    return b"".join(out)


CONTAINERS = {"plain": lambda data: data, "gzip": gzip.compress, "zstd": zstd,
              "gzip-members": lambda data: gzip.compress(data[:len(data) // 2]) + gzip.compress(data[len(data) // 2:])}


def lines(documents):
    return [json.dumps(document, separators=(",", ":")) for document in documents], "\n"


def indented(documents):
    return [json.dumps(document, indent=4) for document in documents], "\n"


def mixed(documents):
    return [json.dumps(document, indent=(None, 2, 4, 1)[index % 4]) for index, document in enumerate(documents)], " \n\n"


def one_line(documents):
    return [json.dumps(document) for document in documents], ""


def array(documents):
    return [json.dumps(document) for document in documents], ",\n", "[", "]\n"


def indented_array(documents):
    return [json.dumps(document, indent=2).replace("\n", "\n  ") for document in documents], ",\n  ", "[\n  ", "\n]"


def arrays(documents):
    """v2's answer to two resources, one array a line."""
    return [json.dumps(document) for document in documents], "]\n[", "[", "]"


LAYOUTS = {"lines": lines, "indented": indented, "mixed": mixed, "one_line": one_line, "array": array, "indented_array": indented_array, "arrays": arrays}


def write(layout, documents):
    """(file's text, [text of each record as it stands in the file])."""
    texts, between, *ends = LAYOUTS[layout](documents)
    begin, end = ends or ("", "\n")
    return (begin + between.join(texts) + end).encode(), [text.encode() for text in texts]

"""Benches of label: AVClass's output for files of reports."""
import hashlib
import itertools
import json
import os
import random

from gen import antivirus
from measure import DATA, Side, memory, python, race, tool

PEER_LINES = 2000
CASES = (("simplified", 200000), ("v3", 20000))


def made_rules(folder):
    """Rules of AVClass's size and form, with invented names."""
    rng = random.Random("bench/rules")
    os.makedirs(folder)
    family = lambda: "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randrange(2, 5)))
    families = sorted({family() for _ in range(3400)})[:2834]
    classes = ["grayware", "grayware:adware", "backdoor", "downloader", "spyware", "virus", "worm", "ransomware", "miner"]
    generic = "trojan variant generic gen malware agent heur dropper win32 malicious suspicious unsafe attribute score high".split()
    lines = ["FAM:" + name for name in families] + ["CLASS:" + name for name in classes] + ["GEN:" + name for name in generic]
    lines += ["FILE:os:windows", "BEH:execdownload", "BEH:selfpropagate"]
    rules = ["%s\t%s" % (name[:-1] + "x", name) for name in families] + ["win\twindows", "dldr\tdownloader", "dloader\tdownloader", "bkdr\tbackdoor"]
    for name, text in (("taxonomy", lines), ("tagging", rules), ("expansion", ["downloader\texecdownload", "worm\tselfpropagate"])):
        with open(os.path.join(folder, "default." + name), "w", encoding="utf-8") as stream:
            stream.write("\n".join(text) + "\n")
    return families


def label_sets(families):
    """Sets of (engine, label): real ones where MALSEQ_DATA is set, else the generator's."""
    if DATA:
        with open(os.path.join(DATA, "labels", "avclass", "mal_dataset_lb.jsonl"), encoding="utf-8") as stream:
            return [json.loads(line)["av_labels"] for line in stream]
    rng = random.Random("bench/labels")
    sets = []
    for number in range(500):
        spec = antivirus.Spec(sha256="%064x" % number, sha1="%040x" % number, md5="%032x" % number, cls=rng.choice(antivirus.CLASSES),
                              family=rng.choice(families), groups=rng.randrange(3, 30), seed=number)
        rows = antivirus.file_object(spec)["attributes"]["last_analysis_results"]
        sets.append([[engine, row["result"]] for engine, row in rows.items() if row["result"]])
    return sets


def made_reports(path, sets, form, count):
    """Each with hashes of its own and engines' labels of two sets mixed, so that no two are alike; 1.57 kB a line in the simplified form."""
    rng = random.Random("bench/" + form)
    with open(path, "w", encoding="utf-8") as out:
        for number in range(count):
            one, other = rng.choice(sets), rng.choice(sets)
            rows = dict(map(tuple, one))
            rows.update((engine, label) for engine, label in other if rng.random() < 0.5)
            rows = list(rows.items())[:len(one)]
            text = b"%s %d" % (form.encode(), number)
            hashes = {kind: hashlib.new(kind, text).hexdigest() for kind in ("sha1", "sha256", "md5")}
            if form == "simplified":
                report = dict(hashes, av_labels=rows, scan_date="2013-12-19 22:11:10", first_seen="2013-12-19 22:11:10")
            else:
                results = {engine: {"category": "malicious", "engine_name": engine, "engine_version": "1.0.0.1", "engine_update": "20240101",
                                    "method": "blacklist", "result": label} for engine, label in rows}
                results.update(("Engine%d" % i, {"category": "undetected", "engine_name": "Engine%d" % i, "engine_version": "1.0.0.1",
                                                 "engine_update": "20240101", "method": "blacklist", "result": None}) for i in range(70 - len(rows)))
                report = {"data": {"type": "file", "id": hashes["sha256"], "attributes": dict(hashes, last_analysis_results=results)}}
            out.write(json.dumps(report) + "\n")


def first_lines(path):
    """The digest of what came of the reports that the peer read, too."""
    out = hashlib.sha256()
    with open(path, "rb") as stream:
        for line in itertools.islice(stream, PEER_LINES):
            out.update(line)
    return out.hexdigest()


def avclass(work):
    """File to file on one processor, the start of the program and its confined process included; the peer on the first reports of the
    same file."""
    own = os.path.join(work, "avclass-rules")
    families = made_rules(own)
    rules = os.path.join(DATA, "labels", "avclass", "data") if DATA else own
    sets = label_sets(families)
    for form, count in CASES:
        path = os.path.join(work, form + ".jsonl")
        made_reports(path, sets, form, count)
        words = tool("label", "avclass", "--hash", "sha256", "--avclass-data", rules, path)
        out = os.path.join(work, "run", "out.tsv")
        ours = Side(["sh", "-c", 'exec "$@" >out.tsv', "sh", *words], lambda _, out=out: first_lines(out))
        peer = Side(python("peer_avclass.py", rules, path, str(PEER_LINES), str(count)), own_clock=True)
        note = "%d reports, %.0f MB, %s labels; peak %.1f MiB; the peer is a restatement of AVClass on the first %d" % (
            count, os.path.getsize(path) / 1e6, "real" if DATA else "made-up", memory(ours, os.path.join(work, "run")), PEER_LINES)
        yield race(work, "label.avclass", ours, peer, count, "reports/s", form, "python restatement", note)
        os.remove(path)

"""Benches of label: AVClass's output for files of reports, and reports into a corpus."""
import hashlib
import itertools
import json
import os
import random

from gen import antivirus, report
from measure import DATA, Side, last_json, memory, python, race, tool

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


def made_answer(number, rng):
    """A v3 answer with the parts that make genuine ones long: imports, sections, names, matched rules. Its hashes stand for others."""
    sample = antivirus.Spec(sha256="@" * 64, sha1="@" * 40, md5="@" * 32, size=rng.randrange(10**4, 10**7), cls=antivirus.CLASSES[number % 8] if number % 3 else None,
                            family="fam" + "bdfgklmnprst"[number % 12] + "a", groups=rng.choice((3, 8, 25)) if number % 3 else 0, seed=number)
    answer = antivirus.file_object(sample)
    attributes, names = answer["attributes"], sorted(report.CATEGORY)
    digest = lambda bits: "%0*x" % (bits // 4, rng.getrandbits(bits))
    attributes.update(
        names=[digest(128) + ".exe" for _ in range(rng.randrange(1, 40))], ssdeep="3072:" + digest(280), tlsh="T1" + digest(280).upper(), vhash=digest(80), authentihash=digest(256),
        pe_info={"timestamp": rng.randrange(10**9), "imphash": digest(128), "machine_type": 332, "entry_point": rng.randrange(10**6),
                 "sections": [{"name": ".s%d" % index, "md5": digest(128), "entropy": round(rng.random() * 8, 2), "virtual_address": 4096 * index, "raw_size": rng.randrange(10**6),
                               "chi2": round(rng.random() * 1e6, 2), "flags": "rx"} for index in range(rng.randrange(3, 12))],
                 "import_list": [{"library_name": name + ".dll", "imported_functions": rng.sample(names, rng.randrange(5, 60))} for name in ("kernel32", "user32", "advapi32", "ws2_32", "ntdll")]},
        sigma_analysis_results=[{"rule_id": digest(256), "rule_title": "Rule %d" % rng.randrange(500), "rule_level": "medium", "match_context": [
            {"values": {"Image": "C:\\Windows\\System32\\%s.exe" % digest(40), "CommandLine": '"C:\\a b\\c.exe" /q ' + digest(64)}} for _ in range(rng.randrange(1, 8))]}
            for _ in range(rng.randrange(45) * (number % 2))])
    return {"data": answer}


def made_answers(path, indent, megabytes):
    """Answers of 16 to 110 kB one behind the other, no two about one file; gives their number."""
    rng = random.Random("bench/answers")
    texts = [json.dumps(made_answer(number, rng), indent=indent, separators=None if indent else (",", ":")) for number in range(300)]
    count, left = 0, megabytes * 10**6
    with open(path, "w", encoding="utf-8") as out:
        while left > 0:
            text = texts[count % len(texts)]
            for kind in ("sha256", "sha1", "md5"):
                value = hashlib.new(kind, b"%d %d" % (count, indent or 0)).hexdigest()
                text = text.replace('"%s"' % ("@" * len(value)), '"%s"' % value)
            left -= out.write(text + "\n")
            count += 1
    return count


def imported(out):
    """Records by the table that label import prints."""
    return [int(line.split()[1]) for line in out.decode().splitlines() if line.split()[0] == "imported"]


def imports(work):
    """A file of v3 answers into a new corpus on disk, read, judged and stored; the peer reads with Python's json, packs with zlib and stores rows."""
    for case, indent in (("indented", 4), ("compact", None)):
        path = os.path.join(work, case + ".json")
        count = made_answers(path, indent, 300)
        size = os.path.getsize(path) / 1e6
        ours = Side(tool("label", "import", "-q", "--corpus", "corpus", path), imported, processors=2)
        note = "%d answers, %.0f MB; peak %.1f MiB" % (count, size, memory(ours, os.path.join(work, "run")))
        yield race(work, "label.import", ours, Side(python("peer_import.py", path), last_json, processors=2), size, "MB/s", case, "python json, zlib, sqlite3", note)
        os.remove(path)

"""What AVClass 2.8.10 prints, restated in plain Python from the description of its rules: the reference that `label avclass` is
compared with, and the peer of its bench. It is no part of AVClass and holds none of its code or data.

    avclass_oracle.py [-t] [--pup] [--vtt] [--hash md5|sha1|sha256] [--engines FILE] --avclass-data DIR FILE…

A line that cannot be used prints nothing and is counted; AVClass itself ends at some of them.
"""
import argparse
import gzip
import json
import os
import re
import string
import sys

CUT_AT_DOT = frozenset("Norman Avast Avira Kaspersky ESET-NOD32 Fortinet Jiangmin Comodo GData Sophos TrendMicro-HouseCall TrendMicro "
                       "NANO-Antivirus Microsoft".split())
PRINTABLE = frozenset(string.printable)
TOKEN = re.compile("[0-9A-Za-z]+")


class Unusable(Exception):
    """A line that gives no output."""


def lines_of(path):
    """The lines of a rule file that say something."""
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            if line != "\n" and not line.startswith("#"):
                yield line.strip()


def name_of(path):
    return path.split(":")[-1].lower()


class Rules:
    def __init__(self, folder):
        self.path, self.category, self.above = {}, {}, {}
        for line in lines_of(os.path.join(folder, "default.taxonomy")):
            parts = line.split(":")
            name = name_of(line)
            if name in self.path:
                continue
            category = parts[0].upper() if len(parts) > 1 else "UNC"
            between = [part.lower() for part in parts[1:-1]]
            self.path[name] = ":".join([category] + between + [name]) if len(parts) > 1 else name
            self.category[name] = category
            self.above[name] = between
        self.tagging = self.read(os.path.join(folder, "default.tagging"))
        self.expansion = self.read(os.path.join(folder, "default.expansion"))

    @staticmethod
    def read(path):
        rules = {}
        for line in lines_of(path):
            words = line.split()
            for word in words[1:]:
                if word != words[0]:
                    rules.setdefault(name_of(words[0]), set()).add(name_of(word))
        return rules

    def generic(self, word):
        return self.category.get(word) == "GEN"

    def tags_of_token(self, token):
        if self.generic(token):
            return set()
        if token in self.tagging:
            return {tag for tag in self.tagging[token] if not self.generic(tag)}
        return {token} if len(token) > 3 else set()

    def expanded(self, tags):
        out = set(tags)
        for tag in tags:
            out |= self.expansion.get(tag, set())
            out.update(part for part in self.above.get(tag, ()) if part in self.path)
        return out

    def path_of(self, tag):
        return self.path.get(tag, "UNK:" + tag)


def without_suffix(engine, label):
    if engine in CUT_AT_DOT:
        return label.rpartition(".")[0] if "." in label else label
    if engine == "AVG":
        head, dot, tail = label.rpartition(".")
        return head if dot and re.match("[A-Z0-9]+$", tail) else label
    if engine == "Agnitum":
        return label.rpartition("!")[0] if "!" in label else label
    return label


def rank(rules, hashes, labels, engines=None):
    """[(tag, labels)] of the tags that more than one label supports."""
    counts, seen = {}, set()
    for engine, label in labels:
        if not label or (engines and engine not in engines):
            continue
        if label.endswith(" (B)"):
            label = label[:-4]
        if label.startswith("Malware."):
            label = label[8:]
        if label in seen:
            continue
        seen.add(label)
        tags = set()
        for token in TOKEN.findall(without_suffix(engine, label)):
            token = token.lower().rstrip("0123456789")
            if not any(value.startswith(token) for value in hashes):
                tags |= rules.tags_of_token(token)
        for tag in rules.expanded(tags):
            counts[tag] = counts.get(tag, 0) + 1
    return sorted(((tag, count) for tag, count in counts.items() if count > 1), key=lambda pair: (pair[1], pair[0]), reverse=True)


def is_pup(rules, ranked):
    for tag, count in ranked:
        if rules.category.get(tag) == "CLASS":
            return "grayware" in rules.path[tag] and 2 * count >= ranked[0][1]
    return False


def cleaned(label):
    return "".join(char for char in label if char in PRINTABLE).strip()


def read_v3(report):
    report = report.get("data", report)
    attributes = report["attributes"]
    labels = [(engine, cleaned(row["result"])) for engine, row in attributes["last_analysis_results"].items() if row["result"] is not None]
    return (attributes["md5"], attributes["sha1"], attributes["sha256"]), labels, attributes.get("tags", [])


def read_v2(report):
    labels = [(engine, cleaned(row["result"])) for engine, row in report["scans"].items() if row["detected"]]
    return (report["md5"], report["sha1"], report["sha256"]), labels, report.get("tags", [])


def read_opswat(report):
    about = report["file_info"]
    labels = [(engine, cleaned(row["threat_found"])) for engine, row in report["scan_results"]["scan_details"].items()
              if row["threat_found"] is not None and row["scan_result_i"] == 1]
    return (about["md5"], about["sha1"], about["sha256"]), labels, []


def read_simple(report):
    return (report["md5"], report["sha1"], report["sha256"]), [tuple(pair) for pair in report["av_labels"]], []


READERS = (read_v3, read_v2, read_opswat, read_simple)


def attempt(reader, report):
    try:
        hashes, labels, tags = reader(report)
    except (KeyError, TypeError, AttributeError, ValueError) as why:
        raise Unusable(str(why)) from why
    if not all(isinstance(value, str) for value in hashes) or not all(isinstance(label, str) or not label for _, label in labels):
        raise Unusable("a value of the wrong kind")
    return hashes, labels, tags


def choose(report):
    for reader in READERS:
        try:
            attempt(reader, report)
            return reader
        except Unusable:
            continue
    return None


def line_for(rules, sample, options):
    hashes, labels, vt_tags = sample
    name = hashes[("md5", "sha1", "sha256").index(options.hash)]
    if not labels:
        return name + "\t-\t[]"
    ranked = rank(rules, hashes, labels, options.engines)
    if options.t:
        count = len(labels) if options.engines is None else sum(engine in options.engines for engine, _ in labels)
        return "%s\t%d\t%s" % (name, count, ",".join("%s|%d" % (rules.path_of(tag), n) for tag, n in ranked))
    family = next((tag for tag, _ in ranked if rules.category.get(tag, "UNK") in ("FAM", "UNK")), "SINGLETON:" + name)
    line = name + "\t" + family
    if options.pup:
        line += "\t1" if is_pup(rules, ranked) else "\t0"
    if options.vtt and vt_tags:
        line += "\t" + ",".join(vt_tags)
    return line


def label_file(rules, path, options, write):
    """Writes the file's lines; returns the numbers of those that gave none."""
    with open(path, "rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    bad, reader = [], None
    with (gzip.open if packed else open)(path, "rt", encoding="utf-8", errors="surrogateescape") as stream:
        for number, line in enumerate(stream, 1):
            if line == "\n":
                continue
            try:
                line.encode()  # fails where the file is no UTF-8
                report = json.loads(line)
                reader = reader or choose(report)
                if not reader:
                    raise Unusable("no known form")
                write(line_for(rules, attempt(reader, report), options) + "\n")
            except (Unusable, ValueError, TypeError):
                bad.append(number)
    return bad


def parse(words):
    parser = argparse.ArgumentParser()
    parser.add_argument("-t", action="store_true")
    parser.add_argument("--pup", action="store_true")
    parser.add_argument("--vtt", action="store_true")
    parser.add_argument("--hash", choices=("md5", "sha1", "sha256"), default="md5")
    parser.add_argument("--engines")
    parser.add_argument("--avclass-data", required=True)
    parser.add_argument("files", nargs="+")
    options = parser.parse_args(words)
    if options.engines:
        with open(options.engines, encoding="utf-8") as stream:
            options.engines = {line.strip() for line in stream}
    return options


def main(words):
    options = parse(words)
    rules = Rules(options.avclass_data)
    bad = 0
    for path in sorted(set(options.files)):
        bad += len(label_file(rules, path, options, sys.stdout.write))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

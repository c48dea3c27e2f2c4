"""Small files in the published forms of the datasets that `extract dataset` reads, and what is in them, counted here."""
import hashlib
import re
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
OLIVEIRA_HEAD = ["hash"] + [f"t_{number}" for number in range(100)] + ["malware"]


def oliveira_names():
    """The list of the product, read from its source: the tests compare what comes out with it by number."""
    text = (ROOT / "extract/dataset_oliveira.c").read_text()
    return re.findall(r'"([^"]+)",', text[text.index("[MS_OLIVEIRA_NAMES]"):])


def md5(number):
    return hashlib.md5(b"oliveira %d" % number).hexdigest()


def sha256(number):
    return hashlib.sha256(b"sample %d" % number).hexdigest()


def oliveira(rng, rows):
    """Rows as published: MD5, a hundred numbers from 0 to 306, no two neighbours equal, 1 for malware."""
    out = []
    for number in range(rows):
        calls = [rng.randrange(307)]
        while len(calls) < 100:
            call = rng.randrange(307)
            if call != calls[-1]:
                calls.append(call)
        out.append([md5(number)] + calls + [int(rng.random() < 0.9)])
    return out


def csv_text(rows, head=None, end="\n"):
    lines = ([head] if head else []) + rows
    return end.join(",".join(str(cell) for cell in line) for line in lines) + end

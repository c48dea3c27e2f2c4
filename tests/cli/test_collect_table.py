"""collect over every container of tests/gen/formats.py: alone, in a zip, in a compressed tar, and encrypted in encrypted, with right, wrong, several
and no passwords. Each program comes out byte for byte, or the recorded state is the right one. The README's table is what came out:
test_collect_table.py --readme prints it."""
# ctest: full release cost=60
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import typing
import unittest

from gen import archive, formats, pe, rar
from gen.formats import FILES, FIRST, PROGRAMS, SECOND

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
MARKS = ("<!-- what collect opens, by tests/cli/test_collect_table.py --readme -->\n", "<!-- end of what collect opens -->\n")
DIGESTS = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
OUTER = "outside"                     # opens what encrypted containers were put into
WRONG = ("The right one", "the right on", "b\u00e4d")
ALL = (*WRONG, "second", SECOND, FIRST, OUTER)
BATCH = 24                            # containers in one outer one


@dataclasses.dataclass
class Blob:
    """One file to open: rows under a prefix of their chains ("" for the container itself), behind a password or none."""
    path: str
    inside: list
    password: typing.Optional[str] = None

    def expected(self, words):
        """({chain: (digest, password)}, outcome) with these passwords."""
        if self.password and self.password not in words:
            return {}, "need_password"
        found, outcomes = {}, set()
        for prefix, row in self.inside:
            opened = row.opened_by(words)
            found.update({prefix + name: (DIGESTS[file], word) for name, (file, word) in opened.items()})
            closed = row.encrypted and not set(row.words) <= set(words)
            outcomes.add(row.locked if closed else row.state)
        # The state that another attempt may mend first.
        return found, next((state for state in ("need_password", "unsupported", "corrupt", "ok", "no_pe") if state in outcomes))


class Bench:
    """A folder with an input folder and corpora."""

    def __init__(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-table-"))
        self.input = self.root / "in"
        self.input.mkdir()
        self.box = formats.Box(self.root / "box")

    def remove(self):
        shutil.rmtree(self.root)

    def make_rows(self):
        """[(row, bytes)] of those whose tools are here."""
        rows = formats.rows()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            made = list(pool.map(self.box.make, rows))
        missing = sorted({tool for row, data in zip(rows, made) if data is None for tool in row.tools if not shutil.which(tool)})
        if missing:
            print("not installed, so their rows are left out: " + " ".join(missing))
        return [(row, data) for row, data in zip(rows, made) if data is not None]

    def made_in(self, folder, kind, *switches):
        return self.box.made("outer." + kind, "7zz", "a", "-bd", "-mmt=1", "-t" + kind, *switches, "{}", ".", cwd=folder)

    def put(self, path, data):
        path = self.input / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def collect(self, corpus, words, folders=(".",)):
        listed = self.root / "words"
        listed.write_text("".join(word + "\n" for word in words), encoding="utf-8")
        command = [os.path.join(BIN, "collect"), "--dir", *(str(self.input / folder) for folder in folders), "--json", "--jobs", "2",
                   "--corpus", str(self.root / corpus)]
        run = subprocess.run(command + (["--password-list", str(listed)] if words else []), stdin=subprocess.DEVNULL, capture_output=True, timeout=250,
                             check=False)
        return run

    def read(self, run):
        """({path: {chain: (digest, password)}}, {path: (outcome, reason)}) of a run."""
        samples, rest = {}, {}
        for line in map(json.loads, run.stdout.splitlines()):
            path = os.path.relpath(os.path.join(line["origin"], line["path"]), self.input)
            if line["type"] == "sample":
                samples.setdefault(path, {})[line["chain"]] = (line["sha256"], line["password"])
            else:
                rest[path] = (line["outcome"], line["reason"])
        return samples, rest

    def outcomes(self, corpus):
        """{path: outcome} of every blob, the good ones too."""
        with sqlite3.connect("file:%s?mode=ro" % (self.root / corpus / "corpus.db"), uri=True) as db:
            ids = dict(db.execute("SELECT hex(git_id), outcome FROM blob"))
        found = {}
        for path in self.input.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                found[str(path.relative_to(self.input))] = ids.get(hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest().upper())
        return found


# ---- the README's table ---------------------------------------------------------------------------

def listed(words):
    return list(dict.fromkeys(words))


def readme(results):
    """The table, of {row: outcome}. Methods and encryptions with one result share a line."""
    cells = {}
    for row, outcome in results.items():
        if row.told:
            text = {"ok": "opened", "no_pe": "not recognised"}.get(outcome, "`%s`" % outcome) + (": " + row.note if row.note else "")
            cells.setdefault(row.format, {}).setdefault(row.method, {}).setdefault(row.cipher, set()).add(text)
    lines = ["| format | methods | encryption | `collect` |", "|---|---|---|---|"]
    for name, methods in cells.items():
        alike = {}
        for method, ciphers in methods.items():
            by_text = {}
            for cipher, texts in ciphers.items():
                by_text.setdefault(" or ".join(sorted(texts)), []).append(cipher)
            for text, which in by_text.items():
                alike.setdefault((tuple(which), text), []).append(method)
        for (which, text), names in alike.items():
            lines.append("| %s | %s | %s | %s |" % (name, ", ".join(listed(names)), "; ".join(which) if which != (formats.CLEAR,) else "", text))
    return "\n".join(lines) + "\n"


def readme_now():
    text = README.read_text(encoding="utf-8")
    return text[text.index(MARKS[0]) + len(MARKS[0]):text.index(MARKS[1])]


def table_alone():
    """{row: outcome} of the rows alone with every password."""
    bench = Bench()
    try:
        made = bench.make_rows()
        for row, data in made:
            bench.put(row.name, data)
        run = bench.collect("corpus", ALL)
        assert run.returncode in (0, 1), run.stderr.decode()
        outcomes = bench.outcomes("corpus")
        return {row: outcomes[row.name] for row, _ in made}
    finally:
        bench.remove()


# ---- the table ------------------------------------------------------------------------------------

def chunks(items, size):
    return [items[at:at + size] for at in range(0, len(items), size)]


class Table(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.bench = Bench()
        cls.addClassCleanup(cls.bench.remove)
        cls.made = cls.bench.make_rows()
        cls.blobs = []
        cls.alone()
        cls.nested()
        cls.bench.box.remove()

    @classmethod
    def add(cls, path, data, inside, password=None):
        cls.bench.put(path, data)
        cls.blobs.append(Blob(path, inside, password))

    @classmethod
    def alone(cls):
        seen = set()
        for row, data in cls.made:
            # Without a password a lone container costs a key derivation for each candidate; those in one outer container share them.
            first = (row.format, row.cipher) not in seen
            seen.add((row.format, row.cipher))
            cls.add(("some/" if first else "alone/") + row.name, data, [("", row)])

    @classmethod
    def nested(cls):
        """In others: those that open, many at a time; each of the rest by itself, so that its state is seen."""
        good = [(row, data) for row, data in cls.made if row.state == "ok"]
        for number, part in enumerate(chunks(good, BATCH)):
            entries = {"d/" + row.name: data for row, data in part}
            inside = [("d/%s!" % row.name, row) for row, _ in part]
            cls.add("zip/%d" % number, archive.zipped(entries), inside)
            cls.add("tar/%d" % number, archive.tarred(entries, ("gz", "bz2", "xz")[number % 3]), inside)
        for row, data in cls.made:
            if row.state != "ok":
                cls.add("zip/" + row.name, archive.zipped({"x": data}), [("x!", row)])
        locked = [(row, data) for row, data in good if row.encrypted]
        for number, part in enumerate(chunks(locked, BATCH)):
            kind = ("7z", "zip", "rar5", "rar4")[number % 4]
            inside = [(row.name + "!", row) for row, _ in part]
            cls.add("locked/%d.%s" % (number, kind), cls.behind(kind, part), inside, OUTER)

    @classmethod
    def behind(cls, kind, part):
        if kind.startswith("rar"):
            write = rar.rar5 if kind == "rar5" else rar.rar4
            return write({row.name: data for row, data in part}, password=OUTER, hide_names=True)
        folder = cls.bench.root / "outer"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for row, data in part:
            (folder / row.name).write_bytes(data)
        switches = ["-mhe=on"] if kind == "7z" else ["-mm=LZMA", "-mem=AES256"]
        return cls.bench.made_in(folder, kind, "-p" + OUTER, *switches)

    def collect(self, corpus, words, folders, expect):
        run = self.bench.collect(corpus, words, folders)
        self.assertEqual(run.returncode, expect, run.stdout.decode() + run.stderr.decode())
        self.talk = run.stderr.decode("utf-8", "replace")
        return self.bench.read(run)

    def check(self, corpus, words, before, folders):
        """One run with these passwords over what `before` left closed (None: everything)."""
        samples, rest = self.collect(corpus, words, folders, 1)
        outcomes = self.bench.outcomes(corpus)
        for blob in self.blobs:
            if blob.path.split("/")[0] not in folders:
                continue
            found, outcome = blob.expected(words)
            with self.subTest(blob=blob.path, words=len(words)):
                self.assertEqual(outcomes[blob.path], outcome, rest.get(blob.path))
                if before is None or blob.expected(before)[1] == "need_password":
                    self.assertEqual(samples.get(blob.path, {}), found)
                    self.assertEqual(rest.get(blob.path, (outcome,))[0], outcome)
                else:
                    self.assertNotIn(blob.path, samples)
        return samples

    def test_none_then_wrong_then_several(self):
        """One corpus: nothing comes of wrong ones; what was closed opens with the right ones, late among the candidates."""
        folders = ("some", "zip", "locked")
        self.check("healing", (), None, folders)
        self.check("healing", (*WRONG, OUTER), (), folders)
        self.check("healing", ALL, (*WRONG, OUTER), folders)
        self.assertEqual(self.collect("healing", ALL, folders, 0), ({}, {}))
        self.assertIn(" 0 opened", self.talk)
        for name in PROGRAMS:
            cat = subprocess.run([os.path.join(BIN, "collect"), "cat", DIGESTS[name], "--corpus", str(self.bench.root / "healing")],
                                 stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False)
            self.assertEqual(cat.stdout, FILES[name])

    def test_right(self):
        """A corpus that knows the first password alone, and the one of what they lie in."""
        self.check("first", (FIRST, OUTER), None, ("some", "alone", "zip", "tar", "locked"))
        outcomes = self.bench.outcomes("first")
        results = {row: outcomes.get("alone/" + row.name) or outcomes["some/" + row.name] for row, _ in self.made if row.told}
        self.assertEqual(len(formats.rows()), len(self.made), "a tool is missing, so that the table is not whole")
        self.assertEqual(readme(results), readme_now(), "README.md: put there what test_collect_table.py --readme prints")


# ---- passwords that only seem right ----------------------------------------------------------------

class FalseAccepts(unittest.TestCase):
    """ZipCrypto's one check byte lets one wrong password in 256 pass."""

    COUNT = 44

    def setUp(self):
        self.bench = Bench()
        self.addCleanup(self.bench.remove)

    def test_they_give_no_sample(self):
        program = pe.pe("accepted", body_bytes=3000) + b"filler " * 300
        made = {method: archive.zipped({"x.exe": program}, FIRST, method) for method in ("store", "deflate")}
        for name, method in (("lzma", "LZMA"), ("bzip2", "BZip2"), ("ppmd", "PPMd"), ("xz", "xz")):
            made[name] = formats.zip_by_7zz(method, "ZipCrypto")(self.bench.box, formats.Row("zip", method, "ZipCrypto", None))
        made["streamed"] = formats.zip_streamed("ZipCrypto")(self.bench.box, None)
        for name, data in made.items():
            # A folder each, whose word list is that archive's own: candidates are capped for each archive.
            words = archive.wrong_but_accepted(data, self.COUNT, name)
            self.assertEqual(len(set(words)), self.COUNT)
            self.bench.put("%s/%s.zip" % (name, name), data)
            self.bench.put(name + "/passwords.txt", "".join(word + "\n" for word in words).encode())
        samples, rest = self.collect("wrong", ())
        self.assertEqual(samples, {})
        self.assertEqual({path: outcome for path, (outcome, _) in rest.items()}, {"%s/%s.zip" % (name, name): "need_password" for name in made})
        for name in made:
            with open(self.bench.input / name / "passwords.txt", "a", encoding="utf-8") as words:
                words.write(FIRST + "\n")
        samples, rest = self.collect("right", ())
        self.assertEqual(rest, {})
        own, both = {"x.exe": (hashlib.sha256(program).hexdigest(), FIRST)}, {name: (DIGESTS[name], FIRST) for name in PROGRAMS}
        self.assertEqual(samples, {"%s/%s.zip" % (name, name): own if name in ("store", "deflate") else both for name in made})

    def collect(self, corpus, words):
        run = self.bench.collect(corpus, words)
        self.assertIn(run.returncode, (0, 1), run.stderr.decode())
        return self.bench.read(run)


if __name__ == "__main__":
    if sys.argv[1:] == ["--readme"]:
        sys.stdout.write(readme(table_alone()))
    else:
        unittest.main()

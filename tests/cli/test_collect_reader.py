"""malseq-reader, the program that reads for collect what can be read quickly: the same corpus with it and without it, and nothing of collect
in it."""
# ctest: full also-release
import io
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest
import zipfile

from gen import archive, pe

BIN = pathlib.Path(os.environ.get("MALSEQ_BIN", "build/dev/bin"))
TEXT = b"The password is infected.\r\n" * 20


def stored(members, method=zipfile.ZIP_DEFLATED, comment=b""):
    """A zip file without encryption: [(name or ZipInfo, bytes)]."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as made:
        for name, data in members:
            made.writestr(name, data)
        made.comment = comment
    return out.getvalue()


def info(name, mode=0, system=3, **fields):
    made = zipfile.ZipInfo(name)
    made.external_attr, made.create_system, made.compress_type = mode << 16, system, zipfile.ZIP_DEFLATED
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def broken(data, at, value=b"\xff"):
    return data[:at] + bytes([data[at] ^ value[0]]) + data[at + 1:]


def cases():
    """{file: (bytes, is it the reader's?)}: each a program or zip file, plain in everything or odd in one thing."""
    a, b, c = (pe.pe(name) for name in "abc")
    plain, locked = stored([("a.exe", a), ("b.exe", b)]), archive.zipped({"a.exe": a}, "infected")
    utf8 = stored([("\u00e4.exe", a)])
    iso = stored([("a.exe", a + bytes(60000))], zipfile.ZIP_STORED)
    at = 32769
    return {
        "a.exe": (a, True), "short.exe": (b"MZ" + bytes(20), True), "dos.exe": (b"MZ" + bytes(4000), True),
        "large.exe": (pe.pe("large") + bytes(3 << 20), False), "text.txt": (TEXT, False), "empty": (b"", False),
        "plain.zip": (plain, True), "stored.zip": (stored([("a.exe", a)], zipfile.ZIP_STORED), True),
        "text.zip": (stored([("read me", TEXT), ("a.exe", a)]), True),
        "folder.zip": (stored([("folder/", b""), ("folder/a.exe", a)]), True),
        "comment.zip": (stored([("a.exe", a)], comment=b"hello"), False),
        "prefixed.zip": (b"#!/bin/sh\n" + plain, False), "appended.zip": (plain + b"PK\5\6" + bytes(18), None),
        "locked.zip": (locked, True), "locked two.zip": (archive.zipped({"a.exe": a, "b.exe": b, "readme": TEXT}, "infected"), True),
        "closed.zip": (archive.zipped({"c.exe": c}, "nobody knows"), False),
        "damaged.zip": (broken(plain, 60), False), "locked damaged.zip": (broken(locked, 80), False),
        "cut.zip": (plain[:-30], False),
        "nested.zip": (stored([("plain.zip", plain), ("c.exe", c)]), False),
        "nested text.zip": (stored([("a.ar", b"!<arch>\n" + b"a.txt/          0           0     0     644     4         `\nabc\n")]), False),
        "binary.zip": (stored([("noise", bytes(range(256)) * 4), ("a.exe", a)]), False),
        "nothing.zip": (stored([]), False), "empty.zip": (stored([("empty", b""), ("a.exe", a)]), False),
        "utf8.zip": (utf8, False), "backslash.zip": (plain.replace(b"a.exe", b"\\.exe"), False),
        "link.zip": (stored([(info("link", 0o120777), b"a.exe"), (info("a.exe", 0o100644), a)]), False),
        "mode.zip": (stored([(info("a.exe", 0o100755), a)]), True),
        "dosfolder.zip": (stored([(info("a.exe", 0, 0, external_attr=16), a)]), False),
        "late.zip": (stored([(info("a.exe", 0o100644, flag_bits=8), a)]), None),
        "twice.zip": (stored([("a.exe", a), ("A.exe", b)]), True),
        "many.zip": (stored([("%d.exe" % i, pe.pe("many%d" % i)) for i in range(40)]), True),
        "too many.zip": (stored([("%d.txt" % i, TEXT) for i in range(300)]), False),
        "bzip2.zip": (stored([("a.exe", a)], zipfile.ZIP_BZIP2), False),
        "bomb.zip": (stored([("a.exe", a + bytes(50 << 20))]), False),
        "iso too.zip": (iso[:at] + b"CD001" + iso[at + 5:], False),
        "sizes.zip": (plain.replace(struct.pack("<I", len(a)), struct.pack("<I", len(a) + 1)), False),
    }


class Reader(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-reader-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.input = self.root / "in"
        self.input.mkdir()

    def collect(self, program, corpus, *args, **env):
        log = self.root / "steps"
        run = subprocess.run([str(program), "--dir", str(self.input), "--corpus", str(self.root / corpus), "--progress", "never", "--jobs", "2", *args],
                             env=dict(os.environ, MALSEQ_TEST_STEPS=str(log), **env), stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False)
        self.assertIn(run.returncode, (0, 1), run.stderr)
        steps = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return steps.count("collect.intake.quick")

    def digest(self, corpus):
        run = subprocess.run([str(BIN / "malseq"), "fsck", "--digest", "--corpus", str(self.root / corpus)], stdin=subprocess.DEVNULL, capture_output=True,
                             timeout=250, check=True)
        return run.stdout

    def alone(self):
        """A collect with no reader beside it."""
        folder = self.root / "bin"
        folder.mkdir(exist_ok=True)
        shutil.copy(BIN / "collect", folder / "collect")
        return folder / "collect"

    def test_same_corpus(self):
        """All together, with it, without it, and through a link; only what is plain is the reader's."""
        made = cases()
        for name, (data, _) in made.items():
            (self.input / name).write_bytes(data)
        link = self.root / "link"
        link.symlink_to((BIN / "collect").resolve())
        quick = self.collect(link, "with")
        self.assertGreaterEqual(quick, 10)
        self.assertEqual(self.collect(self.alone(), "without"), 0)
        self.assertEqual(self.digest("with"), self.digest("without"))

    def test_whose(self):
        """One by one: which files the reader has an answer for, and that the answer is the worker's."""
        made, alone = cases(), self.alone()
        if os.environ.get("MALSEQ_SANITIZED") == "1":     # all of them are in test_same_corpus, and here in the release build
            made = dict(list(made.items())[::5])
        for number, (name, (data, mine)) in enumerate(made.items()):
            path = self.input / name
            path.write_bytes(data)
            quick = self.collect(BIN / "collect", "with%d" % number)
            if mine is not None:
                self.assertEqual(quick, mine, name)
            if quick:
                self.collect(alone, "without%d" % number)
                self.assertEqual(self.digest("with%d" % number), self.digest("without%d" % number), name)
            path.unlink()

    def test_not_asked(self):
        """Not where more is to be looked for than it knows of, and not without confinement."""
        (self.input / "a.exe").write_bytes(pe.pe("a"))
        self.assertEqual(self.collect(BIN / "collect", "plain"), 1)
        self.assertEqual(self.collect(BIN / "collect", "sfx", "--recurse-sfx"), 0)
        self.assertEqual(self.collect(BIN / "collect", "hooks", MALSEQ_TEST_WORKER="1"), 0)

    def test_alone(self):
        run = subprocess.run([str(BIN / "malseq-reader")], stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False)
        self.assertEqual(run.returncode, 2)
        self.assertIn(b"of no use alone", run.stderr)

    def test_little_is_linked(self):
        """What is mapped is what a fork costs, and what a broken reader could use."""
        run = subprocess.run(["ldd", str(BIN / "malseq-reader")], capture_output=True, text=True, timeout=250, check=True)
        for name in ("archive", "curl", "sqlite3", "ssl", "xml2", "jansson"):
            self.assertNotIn("lib%s." % name, run.stdout)


if __name__ == "__main__":
    unittest.main()

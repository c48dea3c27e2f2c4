"""Static features of PE files: what the generator wrote into the headers comes out of the corpus; some hundred good and damaged files give the
same as pefile, field by field, imphash and Rich hash included. Headers and tables only, no code; nothing leaves the machine."""
import hashlib
import json
import os
import pathlib
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import unittest

from gen import pe
from gen.schema import Schema

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
ORACLE = pathlib.Path(__file__).resolve().parent.parent / "ref" / "pefile_features.py"
SCHEMA = Schema("features.schema.json")
MUTANTS = 420
DIRECTORIES = ["export", "import", "resource", "exception", "certificate", "relocation", "debug", "architecture", "global", "tls", "load_config",
               "bound_import", "iat", "delay_import", "clr", "reserved"]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def imphash(imports, names=None):
    """As it is defined: lower case, suffix off, ordinals as ordN where no name is known."""
    parts = []
    for dll, functions in imports.items():
        stem = dll.lower()
        stem = stem[:-4] if stem[-4:] in (".dll", ".ocx", ".sys") else stem
        parts += ["%s.%s" % (stem, ((names or {}).get(f, "ord%d" % f) if isinstance(f, int) else f).lower()) for f in functions]
    return hashlib.md5(",".join(parts).encode()).hexdigest() if parts else None


def oracle_python():
    """A Python that has pefile, or None: Debian's package is seen by Debian's Python alone."""
    for python in (sys.executable, "/usr/bin/python3"):
        if os.path.exists(python) and subprocess.run([python, "-c", "import pefile"], capture_output=True, check=False).returncode == 0:
            return python
    return None


class FeaturesCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-features-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.input, self.corpus = self.root / "in", self.root / "corpus"
        self.input.mkdir()

    def tool(self, *args, name="collect", expect=0):
        result = subprocess.run([os.path.join(BIN, name), *map(str, args), "--corpus", str(self.corpus)], capture_output=True,
                                stdin=subprocess.DEVNULL, timeout=250, check=False)
        self.assertEqual(result.returncode, expect, result.stderr.decode("utf-8", "replace"))
        return result.stdout.decode()

    def query(self, sql):
        return [json.loads(line) for line in self.tool("query", sql, "--json", name="malseq").splitlines()]

    def features(self, files):
        """sha256 -> features of these files, collected."""
        for index, data in enumerate(files):
            (self.input / ("%05d" % index)).write_bytes(data)
        self.tool("--dir", self.input, "-q")
        rows = self.query("select lower(hex(sha256)) sha256, features from sample where features is not null")
        found = {row["sha256"]: json.loads(row["features"]) for row in rows}
        for value in found.values():
            SCHEMA.check(value, "features")
        return found

    def of(self, data):
        return self.features([data])[sha256(data)]

    def test_what_was_written_comes_out(self):
        for bits in (32, 64):
            imports = {"KERNEL32.dll": ["Sleep", "CloseHandle"], "WS2_32.dll": ["send", 23, 999], "a.ocx": [7], "plain.exe": ["x"]}
            data = pe.pe("facts/%d" % bits, "dll", bits, imports=imports, delayed={"user32.dll": ["GetDC", "ShowWindow"]}, exports=["one", "two"],
                         resources=4711, rich=9, checksum_right=True, overlay=b"tail" * 9)
            got = self.of(data)
            self.assertEqual(got["imphash"], imphash(imports, {23: "socket"}))
            self.assertEqual((got["imports"]["libraries"], got["imports"]["functions"], got["imports"]["ordinals"]), (4, 7, 3))
            self.assertEqual(got["imports"]["names"][0], {"name": "KERNEL32.dll", "functions": 2})
            self.assertEqual((got["delay_imports"]["libraries"], got["delay_imports"]["functions"]), (1, 2))
            self.assertEqual(got["exports"], {"functions": 2, "names": 2, "timestamp": 0x5F000000})
            self.assertEqual(got["directories"]["resource"]["size"], 4711)
            self.assertEqual((got["stack_reserve"], got["heap_commit"], got["dll_characteristics"]), (0x100000, 0x1000, 0x8140))
            self.assertEqual((got["os_major"], got["os_minor"], got["entry_point"]), (6, 0, 0))
            self.assertEqual(got["image_base"], 0x140000000 if bits == 64 else 0x400000)
            self.assertEqual((got["section_count"], len(got["sections"])), (3, 3))
            self.assertEqual(len(got["rich_hash"]), 32)
            row = self.query("select flags, kind, json_extract(features,'$.imphash') imphash from sample where sha256 = x'%s'" % sha256(data))[0]
            self.assertEqual((row["kind"], row["imphash"]), ("resource", got["imphash"]))    # no code, no entry point
            self.assertEqual({"overlay", "checksum_ok"} - set(row["flags"].split()), set())

    def test_bound_and_without_lookup_table(self):
        imports = {"kernel32.dll": ["Sleep", "ReadFile"], "user32.dll": ["GetDC"]}
        for bits in (32, 64):
            got = self.of(pe.pe("bound", bits=bits, imports=imports, bound=True))
            self.assertEqual((got["imphash"], got["imports"]["bound"]), (imphash(imports), 2))
            got = self.of(pe.pe("borland", bits=bits, imports=imports, lookup=False))
            self.assertEqual((got["imphash"], got["imports"]["bound"]), (imphash(imports), 0))

    def test_few_directories(self):
        got = self.of(pe.pe("none", imports={"kernel32.dll": ["Sleep"]}, directory_count=0))
        self.assertIsNone(got["imphash"])      # other tools see no imports there either
        self.assertEqual((got["imports"]["libraries"], got["directory_count"]), (1, 0))
        self.assertNotEqual(got["directories"]["import"]["address"], 0)

    def test_names_are_escaped(self):
        data = bytearray(pe.pe("names", imports={}))
        at = data.index(struct.pack("<I", 0x4550)) + 24 + 224
        data[at:at + 8] = b'\x1b"\\\xe2\x80\xae\nx'
        self.assertEqual(self.of(bytes(data))["sections"][0]["name"], '\\x1b"\\\\xe2\\x80\\xae\\x0ax')

    def test_tiny_and_cut(self):
        whole = pe.pe("tiny", imports={}, sections=1)
        start = whole.index(b"PE\0\0")
        tiny = b"MZ\0\0" + whole[start:start + 24 + 70]
        tiny = tiny[:0x3C] + struct.pack("<I", 4) + tiny[0x40:]
        for data, heap_commit in ((tiny, 0), (whole[:start + 24 + 68], 0), (whole[:start + 24 + 85], 0x00), (whole[:start + 24 + 96 + 3], 0x1000)):
            got = self.of(data)
            self.assertEqual(got["magic"], 0x10B)
            self.assertEqual((got["heap_commit"], got["imphash"], got["directories"]["clr"]["size"]), (heap_commit, None, 0))

    def test_hostile_tables_end(self):
        """Tables that loop, lie on each other or claim everything: quick, and no more than the limits kept."""
        many = pe.pe("many", imports={"lib%d.dll" % i: ["f"] for i in range(200)}, sections=90)
        self.assertEqual(len(self.of(many)["imports"]["names"]), 64)
        self.assertEqual(self.of(many)["imports"]["libraries"], 200)
        data = bytearray(pe.pe("loop", imports={"kernel32.dll": ["Sleep"]}, body_bytes=1 << 20, sections=90, fill="zero"))
        start = data.index(b"PE\0\0")
        struct.pack_into("<H", data, start + 6, 65535)
        for index in range(90):     # every section is the whole file
            struct.pack_into("<4I", data, start + 24 + 224 + 40 * index + 8, 1 << 20, 4096, len(data), 0)
        got = self.of(bytes(data))
        self.assertEqual((got["section_count"], len(got["sections"])), (65535, 96))
        self.assertEqual(sum(section["entropy"] is not None for section in got["sections"][:90]), 1)

    def test_samples_of_an_older_version(self):
        files = [pe.pe("old/%d" % index, bits=(32, 64)[index % 2]) for index in range(6)]
        before = self.features(files)
        digest = self.tool("fsck", "--digest", name="malseq")
        with sqlite3.connect(self.corpus / "corpus.db") as db:
            db.execute("UPDATE sample SET features = NULL WHERE id <> 1")
        db.close()
        self.tool("--dir", self.input, "--dry-run")
        self.assertEqual(self.query("select count(*) n from sample where features is null"), [{"n": 5}])
        lost = self.query("select id, lower(hex(sha256)) sha256 from sample where id = 3")[0]["sha256"]
        path = self.corpus / "samples" / lost[:2] / lost[2:4] / lost
        data = path.read_bytes()
        path.unlink()
        self.tool("--dir", self.input)
        self.assertEqual(self.query("select id from sample where features is null"), [{"id": 3}])
        path.write_bytes(data)
        path.chmod(0o400)
        self.assertEqual(self.features([]), before)
        self.assertEqual(self.tool("fsck", "--digest", name="malseq"), digest)

    def corpus_of_files(self):
        rng = random.Random("features")
        files = []
        for index in range(40):
            bits, kind = (32, 64)[index % 2], ("exe", "dll", "driver", "dotnet", "efi")[index % 5]
            imports = None if index % 3 else {dll: rng.sample(names, 2) + ([rng.randint(1, 500)] if index % 2 else [])
                                              for dll, names in list(pe.NAMES.items()) + [("OLEAUT32.dll", [2, 3, 9, 150])]}
            files.append(pe.pe("oracle/%d" % index, kind, bits, imports=imports, delayed={"gdi32.dll": ["GetPixel"]} if index % 4 == 0 else None,
                               bound=index % 7 == 0, lookup=index % 6 != 0, exports=["e%d" % i for i in range(index % 5)], rich=index % 4 * 3,
                               resources=index * 16, sections=1 + index % 7, directory_count=(16, 16, 2, 14)[index % 4]))
        files += [pe.pe("many/%d/%d" % (bits, count), bits=bits, imports={"a.dll": ["f"], "b.dll": list(range(1, count)), "c.dll": ["g"]})
                  for bits in (32, 64) for count in (4000, 4097, 8191, 8193, 9000)]     # up to pefile's bound and beyond
        for index in range(MUTANTS):
            data = bytearray(files[index % 40])
            start = struct.unpack_from("<I", data, 0x3C)[0]
            regions = [(start + 4, start + 24 + 240), (start + 24 + 224, start + 24 + 240 + 40), (start + 24 + 224, start + 600), (4096, 6000), (512, 1600)]
            for _ in range(rng.randint(1, 4)):
                low, high = rng.choice(regions)
                at = rng.randrange(low, min(high, len(data) - 4)) if low < len(data) - 4 else rng.randrange(start + 30, len(data) - 4)
                if at in range(start + 20, start + 26):
                    continue
                how = rng.randrange(4)
                if how == 0:
                    data[at] ^= 1 << rng.randrange(8)
                elif how == 1:
                    data[at] = rng.randrange(256)
                elif how == 2:
                    struct.pack_into("<I", data, at & ~3, rng.choice((0, 1, 0x1000, 0x1014, 0x2000, 0x7FFFFFFF, 0x80000001, 0xFFFFFFFF, len(data))))
                else:
                    data[at:at + 4] = data[at + 4:at + 8] + b"\0" * (4 - len(data[at + 4:at + 8]))
            files.append(bytes(data[:rng.randrange(start + 300, len(data))] if rng.random() < 0.15 else data))
        return files

    def test_as_pefile(self):
        python = oracle_python()
        if not python:
            print("skipped: no Python with pefile (python3-pefile)")
            self.skipTest("no pefile")
        files = self.corpus_of_files()
        ours = self.features(files)
        paths = "".join("%s\n" % path for path in sorted(self.input.iterdir()))
        run = subprocess.run([python, "-B", str(ORACLE)], input=paths.encode(), capture_output=True, timeout=250, check=False)
        self.assertEqual(run.returncode, 0, run.stderr.decode()[-2000:])
        theirs = [json.loads(line) for line in run.stdout.decode().splitlines()]
        self.assertEqual(len(theirs), len(files))
        compared = hashes = 0
        for index, (data, expected) in enumerate(zip(files, theirs)):
            got = ours.get(sha256(data))
            if expected is None or got is None:
                continue
            with self.subTest(file=index):
                compared += 1
                hashes += expected["imphash"] is not None
                self.compare(got, expected)
        self.assertGreater(compared, MUTANTS * 3 // 4)
        self.assertGreater(hashes, MUTANTS // 4)

    def compare(self, got, expected):
        for name, value in expected.items():
            if isinstance(value, int) and name not in ("ordinals", "bound"):
                self.assertEqual(got[name], value, name)
        for name, pair in zip(DIRECTORIES, expected["directories"]):
            self.assertEqual([got["directories"][name]["address"], got["directories"][name]["size"]], pair, name)
        for section, other in zip(got["sections"], expected["sections"]):
            for name in ("virtual_size", "address", "raw_size", "raw_at", "characteristics"):
                self.assertEqual(section[name], other[name], name)
            if section["entropy"] is not None:
                self.assertLess(abs(section["entropy"] - other["entropy"]), 0.001)
        self.assertGreaterEqual(len(got["sections"]), min(96, len(expected["sections"])))
        for ours, theirs in (("imphash", expected["imphash"]), ("rich_hash", expected["rich_hash"])):
            self.assertEqual(got[ours], theirs, ours)
        counted = expected["directory_count"] & 0x7FFFFFFF
        if counted > 1:
            self.assertEqual([[library["name"], library["functions"]] for library in got["imports"]["names"]], expected["imports"])
            self.assertEqual((got["imports"]["ordinals"], got["imports"]["bound"]), (expected["ordinals"], expected["bound"]))
            self.assertEqual(got["imports"]["functions"], sum(n for _, n in expected["imports"]))
        if counted > 13:
            self.assertEqual((got["delay_imports"]["libraries"], got["delay_imports"]["functions"]),
                             (len(expected["delayed"]), sum(n for _, n in expected["delayed"])))
        if expected["exports"]:
            self.assertEqual([got["exports"]["functions"], got["exports"]["names"]], expected["exports"])


if __name__ == "__main__":
    unittest.main()

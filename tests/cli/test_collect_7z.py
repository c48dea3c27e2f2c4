"""Encrypted 7z archives made by 7zz, through collect and its confined worker: methods, hidden names, solid and not, passwords, nesting, damage.
The programs are generated headers without code."""
import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest
import zlib

from gen import pe, sevenzip

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
# What libarchive 3.6.2 reads of an unencrypted 7z. It fails on the ends of some PPMd and ARM streams, encrypted or not: those methods are
# compared with the same archive in the clear.
METHODS = {"default": [], "bcj2": ["-m0=BCJ2", "-m1=LZMA", "-m2=LZMA", "-m3=LZMA", "-mb0:1", "-mb0s1:2", "-mb0s2:3"]}
AS_IN_THE_CLEAR = {"ppmd": ["-m0=PPMd"], "arm": ["-m0=ARM", "-m1=LZMA"], "sparc": ["-m0=SPARC", "-m1=LZMA2"]}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def mended(data):
    """The checksums of a 7z header made right again."""
    at, size = struct.unpack_from("<QQ", data, 12)
    tail = struct.pack("<QQI", at, size, zlib.crc32(data[32 + at:32 + at + size]))
    return data[:8] + struct.pack("<I", zlib.crc32(tail)) + tail + data[32:]


@unittest.skipUnless(shutil.which("7zz"), "7zz is not installed: nothing to compare with")
class SevenZipCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-7z-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.input, self.source = self.root / "in", self.root / "source"
        self.input.mkdir(), self.source.mkdir()

    def write(self, files):
        for name, data in files.items():
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return {name: sha256(data) for name, data in files.items() if data.startswith(b"MZ")}

    def pack(self, name, *args, password="infected", hide=False, files="."):
        """7zz a, into the input folder; the bytes of the archive."""
        switches = [] if password is None else ["-p" + password, "-mhe=" + ("on" if hide else "off")]
        run = subprocess.run(["7zz", "a", "-bd", "-mmt=1", *switches, *args, str(self.input / name), *([files] if isinstance(files, str) else files)],
                             cwd=self.source, stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        return (self.input / name).read_bytes()

    def collect(self, *args, expect=0, corpus="corpus"):
        """({path: {chain: (sha256, password)}}, {path: (outcome, reason)})"""
        run = subprocess.run([os.path.join(BIN, "collect"), "--dir", str(self.input), "--json", "--corpus", str(self.root / corpus), *map(str, args)],
                             stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False)
        self.assertEqual(run.returncode, expect, run.stdout.decode() + run.stderr.decode())
        samples, rest = {}, {}
        for line in map(json.loads, run.stdout.splitlines()):
            if line["type"] == "sample":
                samples.setdefault(line["path"], {})[line["chain"]] = (line["sha256"], line["password"])
            else:
                rest[line["path"]] = (line["outcome"], line["reason"])
        return samples, rest


class Methods(SevenZipCase):
    FILES = {"a.exe": pe.pe("7z-1", body_bytes=9000), "sub/b.dll": pe.pe("7z-2", "dll", 64, fill="zero", body_bytes=90000), "c": pe.pe("7z-3"),
             "empty": b"", "one": b"x", "text.txt": b"hello " * 700}

    def test_folders_links_and_empty_files(self):
        """Among members that hold nothing every program comes out. All methods are test_collect_table.py's business."""
        programs = self.write(self.FILES)
        (self.source / "folder").mkdir()
        os.symlink("a.exe", self.source / "link")
        names = []
        for method, switches in METHODS.items():
            for hide in (False, True):
                for solid in ("off", "on"):
                    names.append("%s-%s-%s.7z" % (method, "headers" if hide else "data", solid))
                    self.pack(names[-1], "-snl", "-ms=" + solid, *switches, hide=hide)
        samples, rest = self.collect()
        self.assertEqual(rest, {})
        want = {name: (digest, "infected") for name, digest in programs.items()}
        for name in names:
            self.assertEqual(samples.get(name), want, name)
        self.assertEqual(len(samples), len(METHODS) * 4)
        # Nothing is opened twice.
        self.assertEqual(self.collect(), ({}, {}))

    def test_as_in_the_clear(self):
        """What libarchive cannot read to the end is no worse for having been encrypted."""
        self.write(self.FILES)
        for method, switches in AS_IN_THE_CLEAR.items():
            self.pack(method + "-clear.7z", "-t7z", *switches, password=None)
            for hide in (False, True):
                self.pack("%s-%d.7z" % (method, hide), "-t7z", *switches, hide=hide)
        samples, _ = self.collect(expect=self.expected())
        for method in AS_IN_THE_CLEAR:
            clear = {chain: found[0] for chain, found in samples.get(method + "-clear.7z", {}).items()}
            self.assertTrue(clear, method)
            for hide in (0, 1):
                self.assertEqual({chain: found[0] for chain, found in samples.get("%s-%d.7z" % (method, hide), {}).items()}, clear, (method, hide))

    def expected(self):
        """1 where this libarchive fails on one of them in the clear, 0 where it reads all."""
        clear = self.root / "clear"
        clear.mkdir()
        for method in AS_IN_THE_CLEAR:
            shutil.copy(self.input / (method + "-clear.7z"), clear)
        run = subprocess.run([os.path.join(BIN, "collect"), "--dir", str(clear), "--corpus", str(self.root / "clear-corpus")],
                             stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False)
        self.assertIn(run.returncode, (0, 1))
        return run.returncode


class Passwords(SevenZipCase):
    def test_which(self):
        program = self.write({"x.exe": pe.pe("which")})["x.exe"]
        words = {"cyrillic": "пароль", "wide": "密码😀", "blank": "two words ", "long": "p" * 100}
        for name, word in words.items():
            for hide in (False, True):
                self.pack("%s-%d.7z" % (name, hide), password=word, hide=hide)
        for hide in (False, True):
            self.pack("unknown-%d.7z" % hide, password="nobody wrote it down", hide=hide)
        (self.root / "words").write_text("\nwrong\n" + "\n".join(words.values()) + "\n\n", encoding="utf-8")
        samples, rest = self.collect("--password-list", self.root / "words", expect=1)
        self.assertEqual(samples, {"%s-%d.7z" % (name, hide): {"x.exe": (program, word)} for name, word in words.items() for hide in (0, 1)})
        self.assertEqual({path: outcome for path, (outcome, _) in rest.items()}, {"unknown-0.7z": "need_password", "unknown-1.7z": "need_password"})
        self.assertIn("passwords tried", rest["unknown-0.7z"][1])
        # A new word heals.
        (self.root / "words").write_text("nobody wrote it down\n")
        samples, rest = self.collect("--password-list", self.root / "words")
        self.assertEqual((set(samples), rest), ({"unknown-0.7z", "unknown-1.7z"}, {}))

    def test_two_in_one_archive(self):
        """One member under each of two passwords, one in the clear, and one whose password nobody knows."""
        files = {name: pe.pe("two-" + name) for name in ("clear.exe", "one.exe", "two.exe", "lost.exe")}
        self.write(files)
        for name, word in (("clear.exe", None), ("one.exe", "infected"), ("lost.exe", "nobody wrote it down"), ("two.exe", "virus")):
            self.pack("mixed.7z", password=word, files=name)
        samples, rest = self.collect(expect=1)
        self.assertEqual(samples, {"mixed.7z": {"clear.exe": (sha256(files["clear.exe"]), None), "one.exe": (sha256(files["one.exe"]), "infected"),
                                                "two.exe": (sha256(files["two.exe"]), "virus")}})
        self.assertEqual(rest["mixed.7z"][0], "need_password")


class Hostile(SevenZipCase):
    def test_claims_and_damage(self):
        """Each costs itself alone, with its own state; the neighbour is kept."""
        good = pe.pe("good")
        visible = sevenzip.packed({"x.exe": good}, "lzma", "infected", cycles=1)
        hidden = sevenzip.packed({"x.exe": good}, "lzma", "infected", hide_names=True, cycles=1)
        mark = b"\x06\xf1\x07\x01"
        files = {"good.7z": sevenzip.packed({"x.exe": good}, "lzma2", "infected")}
        for name, data in (("visible", visible), ("hidden", hidden)):
            power = data.rindex(mark) + 5
            for claimed in (25, 62):
                files["%s-rounds-%d" % (name, claimed)] = mended(data[:power] + bytes([data[power] & 0xC0 | claimed]) + data[power + 1:])
            files[name + "-raw"] = mended(data[:power] + bytes([data[power] | 0x3F]) + data[power + 1:])
            files[name + "-cut"] = data[:-9]
            files[name + "-flip"] = data[:200] + bytes([data[200] ^ 1]) + data[201:]
        dictionary = visible.rindex(b"\x03\x01\x01\x05\x5d") + 5
        files["dictionary"] = mended(visible[:dictionary] + b"\xff\xff\xff\xff" + visible[dictionary + 4:])
        model = bytearray(mended(visible[:dictionary] + b"\xff\xff\xff\xff" + visible[dictionary + 4:]))
        model[dictionary - 4] = 4      # PPMd, with a model of 4 GiB
        files["model"] = mended(bytes(model))
        for name, data in files.items():
            (self.input / name).write_bytes(data)
        samples, rest = self.collect(expect=1)
        found = {"x.exe": (sha256(good), "infected")}
        # A dictionary larger than what comes out is not allocated, so that claim is harmless.
        self.assertEqual(samples, {"good.7z": found, "dictionary": found})
        outcomes = {path: outcome for path, (outcome, _) in rest.items()}
        want = {"model": "limit"}
        for name in ("visible", "hidden"):
            want.update({name + "-rounds-25": "limit", name + "-rounds-62": "limit", name + "-raw": "need_password", name + "-cut": "corrupt"})
        # Nothing tells damage from a wrong password, until the headers' own checksum does.
        want.update({"visible-flip": "need_password", "hidden-flip": "corrupt"})
        self.assertEqual(outcomes, want)
        self.assertEqual(self.collect(), ({}, {}))

    def test_damage_behind_a_good_member(self):
        """In a solid archive what lies before the damage is kept, and the damage is called so."""
        files = {"a.exe": pe.pe("before", body_bytes=200000), "b.exe": pe.pe("behind", body_bytes=200000)}
        self.write(files)
        data = bytearray(self.pack("solid.7z", "-ms=on", "-m0=LZMA"))
        data[350000] ^= 1
        (self.input / "solid.7z").write_bytes(data)
        samples, rest = self.collect(expect=1)
        self.assertEqual(samples, {"solid.7z": {"a.exe": (sha256(files["a.exe"]), "infected")}})
        self.assertEqual(rest["solid.7z"][0], "corrupt")

    @unittest.skipIf("MALSEQ_TEST_VALGRIND" in os.environ, "SIGXCPU: valgrind makes calls of its own then, which are forbidden")
    def test_dearth_of_time(self):
        """Many passwords at the highest allowed price: the budget ends it, not the processor's limit."""
        data = sevenzip.packed({"x.exe": pe.pe("dear")}, "lzma", "infected", cycles=1)
        power = data.rindex(b"\x06\xf1\x07\x01") + 5
        (self.input / "dear").write_bytes(mended(data[:power] + bytes([data[power] & 0xC0 | 24]) + data[power + 1:]))
        _, rest = self.collect(expect=1)
        self.assertEqual(rest["dear"][0], "limit", rest)
        self.assertIn("costs more", rest["dear"][1])


if __name__ == "__main__":
    unittest.main()

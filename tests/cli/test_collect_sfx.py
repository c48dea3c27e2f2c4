"""collect --recurse-sfx: archives behind the last section of a program, plain and encrypted, nested and signed; what is none; and that
switching the option on opens what is known once more, and once only."""
import random
import struct
import unittest

from cli.test_collect_volumes import VolumeCase, program, sha256
from gen import archive, cab, pe, rar

MODULE_TEXT = b";!@Install@!UTF-8!\r\nTitle=\"none\"\r\n;!@InstallEnd@!\r\n"


class SfxCase(VolumeCase):
    def stub(self, behind, seed="stub"):
        return pe.pe(seed) + behind

    def put(self, name, data):
        (self.input / name).write_bytes(data)
        return data

    def packed(self, name, *options):
        """What 7zz makes of inner.exe."""
        (self.work / "inner.exe").write_bytes(self.inner)
        self.make("7zz", "a", *options, name, "inner.exe")
        return (self.work / name).read_bytes()

    def setUp(self):
        super().setUp()
        self.inner = program("inner", 3000)

    def expect(self, names, chain="inner.exe"):
        """The programs themselves and what is in these of them."""
        out = {(path.name, ""): sha256(path.read_bytes()) for path in self.input.iterdir()}
        out.update({(name, chain): sha256(self.inner) for name in names})
        return out


class Sfx(SfxCase):
    def all_kinds(self):
        plain = archive.zipped({"inner.exe": self.inner})
        self.put("7z.exe", self.stub(self.packed("a.7z")))
        self.put("7z-text.exe", self.stub(MODULE_TEXT + self.packed("a.7z")))
        self.put("7z-secret.exe", self.stub(MODULE_TEXT + self.packed("h.7z", "-prightword", "-mhe=on")))
        self.put("zip.exe", self.stub(plain))
        self.put("zip-secret.exe", self.stub(self.packed("s.zip", "-tzip", "-mem=AES256", "-prightword")))
        self.put("rar5.exe", self.stub(rar.rar5({"inner.exe": self.inner})))
        self.put("rar5-secret.exe", self.stub(rar.rar5({"inner.exe": self.inner}, password="rightword", hide_names=True)))
        self.put("rar4.exe", self.stub(b"some text" + rar.rar4({"inner.exe": self.inner})))
        self.put("rar4-secret.exe", self.stub(rar.rar4({"inner.exe": self.inner}, password="rightword")))
        # A zip tool may count the offsets from the program's first byte.
        stub, moved = self.stub(b""), bytearray(plain)
        end = plain.rindex(b"PK\x05\x06")
        at, = struct.unpack("<I", plain[end + 16:end + 20])
        struct.pack_into("<I", moved, end + 16, at + len(stub))
        struct.pack_into("<I", moved, at + 42, len(stub))
        self.put("zip-adjusted.exe", stub + bytes(moved))
        self.put("cab.exe", self.stub(cab.packed({"inner.exe": self.inner}, "none")))
        return sorted(path.name for path in self.input.iterdir())

    def test_every_kind_and_only_when_asked(self):
        names = self.all_kinds()
        self.collect()
        self.assertEqual((self.found(), self.failed), (self.expect([]), {}))
        self.collect("--recurse-sfx")
        self.assertEqual((self.found(), self.failed), (self.expect(names), {}))
        self.assertEqual({line["password"] for (path, chain), line in self.samples.items() if chain}, {None, "rightword"})
        self.assertEqual(self.rows("SELECT count(*) FROM blob WHERE sfx = 1 AND outcome = 'ok' AND samples = 2"), [(len(names),)])
        # Once, whichever way it is asked from now on.
        for options in (("--recurse-sfx",), (), ("--recurse-sfx",)):
            self.collect(*options)
            self.assertEqual((self.samples, self.failed), ({}, {}))
        self.assertEqual(self.rows("SELECT count(*) FROM sighting WHERE gone_ms IS NULL"), [(2 * len(names),)])

    def test_inside_archives_and_inside_each_other(self):
        inside = self.stub(self.packed("a.7z"), "first")
        outer = self.stub(archive.zipped({"d/first.exe": inside}), "second")
        self.put("deep.zip", archive.zipped({"second.exe": outer}, password="rightword"))
        self.collect("--recurse-sfx")
        self.assertEqual(self.found(), {("deep.zip", "second.exe"): sha256(outer), ("deep.zip", "second.exe!d/first.exe"): sha256(inside),
                                        ("deep.zip", "second.exe!d/first.exe!inner.exe"): sha256(self.inner)})
        self.collect("--recurse-sfx")
        self.assertEqual(self.samples, {})

    def test_a_certificate_behind_the_archive(self):
        for name, behind in (("a.7z", self.packed("a.7z")), ("a.zip", archive.zipped({"inner.exe": self.inner}))):
            data = bytearray(self.stub(behind + bytes(-len(behind) % 8)))
            header, = struct.unpack_from("<I", data, 0x3C)
            struct.pack_into("<II", data, header + 24 + 96 + 4 * 8, len(data), 512)
            self.put(name + ".exe", bytes(data) + struct.pack("<IHH", 512, 0x200, 2) + bytes(504))
        self.collect("--recurse-sfx")
        self.assertEqual((self.found(), self.failed), (self.expect(["a.7z.exe", "a.zip.exe"]), {}))

    def test_what_is_none(self):
        real = self.packed("a.7z")
        noise = random.Random(7).randbytes(2000)
        for number, behind in enumerate((
                b"7z\xbc\xaf\x27\x1c" + noise, b"PK\x03\x04" + noise, b"PK\x05\x06" + noise, b"Rar!\x1a\x07\x00" + noise, b"Rar!\x1a\x07\x01\x00" + noise,
                b"MSCF\0\0\0\0" + noise, real[:-10], noise, b"7", b"Rar!\x1a\x07\x01\x00", b"PK\x03\x04" + bytes(18),
                b"7z\xbc\xaf\x27\x1c" * 20000, b"PK\x03\x04" * 20000)):
            self.put("%02d.exe" % number, self.stub(behind, number))
        # Too far behind: the search is bounded.
        self.put("far.exe", self.stub(bytes(1 << 20) + real))
        # Not behind the sections, but in one; and no PE file at all.
        self.put("none.exe", b"MZ" + bytes(510) + real)
        self.collect("--recurse-sfx")
        expected = self.expect([])
        del expected["none.exe", ""]
        self.assertEqual((self.found(), self.failed), (expected, {}))

    def test_a_closed_one_opens_when_the_password_comes(self):
        self.put("s.exe", self.stub(self.packed("s.zip", "-tzip", "-mem=AES256", "-pcomeslater")))
        self.put("t.exe", self.stub(self.packed("t.zip", "-tzip", "-mem=AES256", "-pstandsbeside")))
        (self.input / "t.pass").write_text("standsbeside\n")
        self.collect("--recurse-sfx", expect=1)
        programs = {(name + ".exe", ""): sha256((self.input / (name + ".exe")).read_bytes()) for name in "st"}
        self.assertEqual(self.found(), {**programs, ("t.exe", "inner.exe"): sha256(self.inner)})
        self.assertEqual({path: line["outcome"] for path, line in self.failed.items()}, {"s.exe": "need_password"})
        self.words.write_text("comeslater\n")
        self.collect("--recurse-sfx")
        del programs["t.exe", ""]
        self.assertEqual((self.found(), self.failed), ({**programs, ("s.exe", "inner.exe"): sha256(self.inner)}, {}))

    def test_damage_is_told_and_the_program_kept(self):
        data = bytearray(self.packed("a.zip", "-tzip", "-mm=Copy"))
        data[200] ^= 1
        self.put("bad.exe", self.stub(bytes(data)))
        self.collect("--recurse-sfx", expect=1)
        self.assertEqual((self.found(), self.failed["bad.exe"]["outcome"]), (self.expect([]), "corrupt"))


if __name__ == "__main__":
    unittest.main()

"""collect over RAR archives that stay closed, in the confined worker: each has a state and a reason. What opens is test_collect_table.py's
business."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from gen import pe, rar
from gen.schema import Schema

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
SCHEMA = Schema("collect.schema.json")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def program(name, **more):
    return pe.pe(name, **more)


class RarCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-rar-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.input, self.corpus = self.root / "in", self.root / "corpus"
        self.input.mkdir()

    def put(self, files):
        for name, data in files.items():
            path = self.input / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def collect(self, *args, words=None, expect=0):
        command = [os.path.join(BIN, "collect"), "--dir", str(self.input), "--json", "--corpus", str(self.corpus), *map(str, args)]
        if words is not None:
            (self.root / "words").write_text("\n".join(words) + "\n")
            command += ["--password-list", str(self.root / "words")]
        result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=250, check=False)
        self.talk = result.stderr.decode("utf-8", "replace")
        self.assertEqual(result.returncode, expect, self.talk + "\n".join(line for line in result.stdout.decode().splitlines() if '"blob"' in line))
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        for line in lines:
            SCHEMA.check(line, line["type"])
        return [line for line in lines if line["type"] == "sample"], [line for line in lines if line["type"] != "sample"]


class States(RarCase):
    def test_what_stays_closed_says_why(self):
        whole, part = rar.Member(program("whole")), rar.Member(program("part"), split_after=True)
        coded = rar.Member(program("coded"), method="literal")
        after = rar.Member(program("after"), method="literal", solid=True)
        bad = rar.Member(program("bad"), method="literal", bad_data=True)
        good5, good4 = rar.rar5({"x.exe": program("cut")}, "infected"), rar.rar4({"x.exe": program("cut")}, "infected")
        cases = {
            "solid4.rar": (rar.rar4({"a.exe": coded, "b.exe": after}, "infected", solid=True), ["coded"], "unsupported", "solid RAR 4"),
            "volume5.rar": (rar.rar5({"a.exe": whole, "b.exe": part}, "infected", volume=True), ["whole"], "incomplete", "'volume5.r00' is missing"),
            "volume5-hidden.rar": (rar.rar5({"a.exe": whole, "b.exe": part}, "infected", hide_names=True, volume=True), ["whole"], "incomplete",
                                   "'volume5-hidden.r00' is missing"),
            "volume4.rar": (rar.rar4({"a.exe": whole, "b.exe": part}, "infected", volume=True), ["whole"], "incomplete", "'volume4.r00' is missing"),
            "volume5-plain.rar": (rar.rar5({"a.exe": whole, "b.exe": part}, volume=True), ["whole"], "incomplete", "'volume5-plain.r00' is missing"),
            "volume4-plain.rar": (rar.rar4({"a.exe": whole, "b.exe": part}, volume=True), ["whole"], "incomplete", "'volume4-plain.r00' is missing"),
            "nothing-tells.rar": (rar.rar5({"a.exe": rar.Member(program("x"), method="literal", no_crc=True)}, "infected", check=False), [], "unsupported", "neither a password check"),
            "old-cipher.rar": (rar.rar4({"a.exe": rar.Member(program("old"), version=20)}, "infected"), [], "unsupported", "RAR 2"),
            "costly.rar": (rar.rar5({"a.exe": whole}, "infected", lg_said=25), [], "limit", "too long"),
            "bad-data.rar": (rar.rar5({"a.exe": bad}, "infected"), [], "corrupt", "checksum"),
            "wrong-crc.rar": (rar.rar5({"a.exe": rar.Member(program("crc"), wrong_crc=True)}, "infected"), [], "corrupt", "checksum"),
            "wrong-crc-plain5.rar": (rar.rar5({"a.exe": rar.Member(program("crc5"), wrong_crc=True)}), [], "corrupt", "checksum"),
            "wrong-crc-plain4.rar": (rar.rar4({"a.exe": rar.Member(program("crc4"), wrong_crc=True)}), [], "corrupt", "checksum"),
            "wrong-crc-hidden4.rar": (rar.rar4({"a.exe": rar.Member(program("crch"), wrong_crc=True)}, "infected", hide_names=True), [], "corrupt", "checksum"),
            "cut5.rar": (good5[:-100], [], "corrupt", "cut short"),
            "cut4.rar": (good4[:-100], [], "corrupt", "cut short"),
        }
        self.put({name: case[0] for name, case in cases.items()})
        samples, rest = self.collect(expect=1)
        self.assertEqual({(line["path"], line["sha256"]) for line in samples},
                         {(name, sha256(program(member))) for name, case in cases.items() for member in case[1]})
        self.assertEqual({line["path"]: line["outcome"] for line in rest}, {name: case[2] for name, case in cases.items()})
        for line in rest:
            self.assertIn(cases[line["path"]][3], line["reason"], line)

    def test_behind_a_damaged_member_the_others_open(self):
        # libarchive keeps pieces of what it did not hand out, in a dictionary that the next member's replaces.
        def member(name, dictionary, wrong=False, solid=False):
            return rar.Member(program(name), method="literal", dictionary=dictionary, wrong_crc=wrong, solid=solid)

        forms = {"plain": ({}, ["c", "d"]), "solid": ({"solid": True}, ["c", "d"]), "sealed": ({"password": "infected"}, ["c", "d"]),
                 "sealed-solid": ({"password": "infected", "solid": True}, ["c", "d"])}
        for name, (options, _) in forms.items():
            solid = "solid" in options
            entries = {"a.exe": member("a" + name, 0), "b.exe": member("b" + name, 0, True, solid), "c.exe": member("c" + name, 1, False, solid),
                       "d.exe": member("d" + name, 5, False, solid)}
            self.put({name + ".rar": rar.rar5(entries, **options)})
        many = {"%02d.exe" % i: member("many%d" % i, i % 6, i % 2 == 1) for i in range(200)}
        self.put({"many.rar": rar.rar5(many)})
        samples, rest = self.collect(expect=1)
        expected = {(name + ".rar", sha256(program(inner + name))) for name, (_, whole) in forms.items() for inner in ["a"] + whole}
        expected |= {("many.rar", sha256(program("many%d" % i))) for i in range(0, 129, 2)}
        self.assertEqual({(line["path"], line["sha256"]) for line in samples}, expected)
        self.assertEqual({line["path"]: line["outcome"] for line in rest}, {name + ".rar": "corrupt" for name in [*forms, "many"]})


if __name__ == "__main__":
    unittest.main()

"""collect over encrypted RAR archives, in the confined worker: every form with right, wrong, several and no passwords, plain and inside other
archives; what stays closed has a state and a reason, and a wrong password never gives a sample."""
# ctest: full also-release
import hashlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

from gen import archive, pe, rar
from gen.schema import Schema

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
SCHEMA = Schema("collect.schema.json")
SECRET = "the right one"
LG = 15                 # what WinRAR writes


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def program(name, **more):
    return pe.pe(name, **more)


def forms(password):
    """File name -> (archive, {member name: data}) for each way to encrypt."""
    out = {}

    def add(name, make, *methods, solid=False, **options):
        files = {"%s/%d.exe" % (name, i): program((name, i, password), body_bytes=2000 + 999 * i) for i in range(len(methods))}
        entries = [("empty/", b""), ("empty/file", b"")]
        entries += [(path, rar.Member(data, method=method, solid=solid and i > 0)) for i, ((path, data), method) in enumerate(zip(files.items(), methods))]
        out[name + ".rar"] = make(entries, password=password, solid=solid, **options), files

    both = ("store", "literal", "literals")
    add("rar5", rar.rar5, *both, lg=LG)
    add("rar5-comment", rar.rar5, *both, comment=b"a comment")
    add("rar5-hidden", rar.rar5, *both, hide_names=True, tweaked=False, lg=LG)
    add("rar5-hidden-tweaked", rar.rar5, *both, hide_names=True)
    add("rar5-no-check", rar.rar5, *both, check=False, tweaked=False)
    add("rar5-hidden-no-check", rar.rar5, *both, hide_names=True, check=False, tweaked=False)
    add("rar5-tweaked-no-check", rar.rar5, *both, check=False)
    add("rar5-solid", rar.rar5, "literal", "literals", "literal", "store", solid=True)
    add("rar5-hidden-solid", rar.rar5, "literal", "literals", "literal", hide_names=True, solid=True)
    add("rar4", rar.rar4, "store", "literal")
    add("rar4-comment", rar.rar4, "store", "literal", comment=b"a comment")
    add("rar4-large", rar.rar4, "store", "literal", large=True)
    add("rar4-no-salt", rar.rar4, "store", salt=b"")
    add("rar4-hidden", rar.rar4, "store", "literal", hide_names=True)
    return out


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
        result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=200, check=False)
        self.talk = result.stderr.decode("utf-8", "replace")
        self.assertEqual(result.returncode, expect, self.talk + "\n".join(line for line in result.stdout.decode().splitlines() if '"blob"' in line))
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        for line in lines:
            SCHEMA.check(line, line["type"])
        return [line for line in lines if line["type"] == "sample"], [line for line in lines if line["type"] != "sample"]

    def vaulted(self):
        with sqlite3.connect("file:%s?mode=ro" % (self.corpus / "corpus.db"), uri=True) as db:
            return {row[0].hex() if isinstance(row[0], bytes) else row[0] for row in db.execute("SELECT sha256 FROM sample WHERE vaulted")}


class Forms(RarCase):
    def test_no_and_wrong_passwords_give_nothing(self):
        made = forms(SECRET)
        self.put({name: data for name, (data, _) in made.items()})
        wrong = ["The right one", "the right one!", "the right on", "b\u00e4d"]
        samples, rest = self.collect(words=wrong, expect=1)
        self.assertEqual(samples, [])
        self.assertEqual({line["path"]: line["outcome"] for line in rest}, {name: "need_password" for name in made})
        self.assertTrue(all("tried" in line["reason"] for line in rest), rest)
        # Not again until something changes; then the right one heals them all.
        self.assertEqual(self.collect(words=wrong), ([], []))
        self.assertIn(" 0 opened", self.talk)
        samples, rest = self.collect(words=["wrong", SECRET, "other"])
        self.assertEqual(rest, [])
        self.assertEqual({(line["path"], line["chain"], line["sha256"], line["password"]) for line in samples},
                         {(name, path, sha256(data), SECRET) for name, (_, files) in made.items() for path, data in files.items()})
        self.assertEqual(len(self.vaulted()), sum(len(files) for _, files in made.values()))

    def test_inside_others(self):
        made = forms("infected")
        self.put({"all.zip": archive.zipped({name: data for name, (data, _) in made.items()}, "infected"),
                  "nested.rar": rar.rar5({"inner.rar": rar.Member(made["rar4-hidden.rar"][0], method="literal")}, password="infected", hide_names=True)})
        samples, rest = self.collect()
        self.assertEqual(rest, [])
        expected = {("all.zip", "%s!%s" % (name, path), sha256(data)) for name, (_, files) in made.items() for path, data in files.items()}
        expected |= {("nested.rar", "inner.rar!" + path, sha256(data)) for path, data in made["rar4-hidden.rar"][1].items()}
        self.assertEqual({(line["path"], line["chain"], line["sha256"]) for line in samples}, expected)
        self.assertEqual({line["password"] for line in samples}, {"infected"})

    def test_two_passwords_in_one(self):
        entries = {"a.exe": rar.Member(program("a"), password="first"), "b.exe": rar.Member(program("b"), password="infected", method="literal"),
                   "c.exe": rar.Member(program("c"), password=None)}
        self.put({"five.rar": rar.rar5(entries), "four.rar": rar.rar4(entries)})
        samples, rest = self.collect(expect=1)
        self.assertEqual({(line["path"], line["chain"], line["password"]) for line in samples},
                         {(name, chain, word) for name in ("five.rar", "four.rar") for chain, word in (("b.exe", "infected"), ("c.exe", None))})
        self.assertEqual({(line["path"], line["outcome"]) for line in rest}, {("five.rar", "need_password"), ("four.rar", "need_password")})


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


if __name__ == "__main__":
    unittest.main()

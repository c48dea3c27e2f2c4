"""collect --max-members and its like: what ends a file is remembered with the value it had, and the file is opened again when that very limit
is raised, and not before."""
# ctest: full cost=30
import hashlib
import io
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile
import unittest
import zipfile

from gen import archive, pe

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
MEMBERS = 21000


class Limits(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-limits-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.input, self.corpus = self.root / "in", self.root / "corpus"
        self.input.mkdir()

    def collect(self, *args, expect=0):
        command = [os.path.join(BIN, "collect"), "--dir", str(self.input), "--json", "--corpus", str(self.corpus), *args]
        result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=250, check=False)
        self.talk = result.stderr.decode("utf-8", "replace")
        self.assertEqual(result.returncode, expect, self.talk)
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        return [line["chain"] for line in lines if line["type"] == "sample"], [line for line in lines if line["type"] != "sample"]

    def rows(self, sql):
        with sqlite3.connect("file:%s?mode=ro" % (self.corpus / "corpus.db"), uri=True) as db:
            return db.execute(sql).fetchall()

    def opened(self):
        return json.loads(self.rows("SELECT counts FROM run ORDER BY id DESC LIMIT 1")[0][0])["opened"]

    def limits(self):
        return [(outcome, json.loads(limits) if limits else None) for outcome, limits in self.rows("SELECT outcome, limits FROM blob")]

    def test_many_members(self):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as file:
            for index in range(MEMBERS):
                file.writestr("VirusShare_%032x" % index, pe.pe(index, body_bytes=512) if index % 1000 == 999 else b"%d" % index)
        (self.input / "part.zip").write_bytes(out.getvalue())
        samples, failures = self.collect(expect=1)
        self.assertEqual(len(samples), 20)
        self.assertEqual([line["outcome"] for line in failures], ["limit"])
        self.assertEqual(self.limits(), [("limit", {"max-members": 20000})])
        for args in ((), ("--max-unpacked", "8G"), ("--max-members", "20000"), ("--max-depth", "9"), ("--max-time", "999")):
            self.collect(*args)
            self.assertEqual(self.opened(), 0, args)
        samples, _ = self.collect("--max-members", "20999", expect=1)
        self.assertEqual((len(samples), self.opened()), (20, 1))
        self.assertEqual(self.limits(), [("limit", {"max-members": 20999})])
        samples, _ = self.collect("--max-members", str(MEMBERS))
        self.assertEqual((len(samples), self.opened()), (21, 1))
        self.assertEqual(self.limits(), [("ok", None)])
        self.collect("--max-members", "1000000")
        self.assertEqual(self.opened(), 0)

    def case(self, name, data, low, high, outcome, limit, before=0, after=1):
        """Under `low` the file ends with `outcome` because of `limit`; it is opened again under `high`."""
        (self.input / name).write_bytes(data)
        samples, failures = self.collect(*low, expect=1)
        self.assertEqual((len(samples), [line["outcome"] for line in failures]), (before, [outcome]), self.talk)
        self.assertEqual(self.limits(), [(outcome, limit)])
        self.collect(*low)
        self.assertEqual(self.opened(), 0)
        samples, _ = self.collect(*high)
        self.assertEqual((len(samples), self.opened(), self.limits()), (after, 1, [("ok", None)]), self.talk)
        self.collect(*low)
        self.assertEqual(self.opened(), 0, "a lower limit takes nothing back")

    def test_bytes_of_all_members(self):
        entries = {"%d.bin" % index: os.urandom(60000) for index in range(5)}
        entries["z.exe"] = pe.pe("z")
        self.case("a.zip", archive.zipped(entries), ("--max-unpacked", "200K"), (), "limit", {"max-unpacked": 204800})

    def test_bytes_of_one_member(self):
        data = archive.zipped({"a.exe": pe.pe("a", body_bytes=90000), "b.exe": pe.pe("b")})
        self.case("a.zip", data, ("--max-member", "64K"), (), "limit", {"max-member": 65536}, before=1, after=2)
        self.assertEqual(self.rows("SELECT count(*) FROM sample"), [(2,)])

    def test_size_and_digest_are_kept(self):
        """Of a program that is too large: in --json's reason and in the fault's row, for a member and for the file itself; not read again."""
        inside, alone = pe.pe("inside", body_bytes=90000), pe.pe("alone", body_bytes=80000)
        (self.input / "a.zip").write_bytes(archive.zipped({"in/big.exe": inside, "good.exe": pe.pe("b")}, password="infected"))
        (self.input / "b.exe").write_bytes(alone)
        samples, failures = self.collect("--max-member", "64K", expect=1)
        self.assertEqual(samples, ["good.exe"])
        text = {"a.zip": self.told(inside), "b.exe": self.told(alone)}
        self.assertEqual({line["path"]: line["reason"] for line in failures},
                         {"a.zip": "in/big.exe: limit_entry: " + text["a.zip"], "b.exe": "limit_entry: " + text["b.exe"]})
        self.assertEqual(sorted(self.rows("SELECT CAST(chain AS TEXT), fault, detail FROM blob_fault")),
                         [("", "limit_entry", text["b.exe"]), ("in/big.exe", "limit_entry", text["a.zip"])])
        self.collect("--max-member", "64K")
        self.assertEqual(self.opened(), 0)
        samples, _ = self.collect()
        self.assertEqual((len(samples), self.opened()), (3, 2))

    def told(self, data):
        return "larger than a member may be: %d bytes, sha256 %s" % (len(data), hashlib.sha256(data).hexdigest())

    def test_bytes_of_the_file_itself(self):
        self.case("a.exe", pe.pe("a", body_bytes=90000), ("--max-member", "64K"), (), "limit", {"max-member": 65536})

    def test_depth(self):
        self.case("a.zip", archive.nested(pe.pe("a"), "a.exe", 12), (), ("--max-depth", "12"), "limit", {"max-depth": 8})

    def test_size_of_a_local_file(self):
        self.case("a.exe", pe.pe("a", body_bytes=90000), ("--max-file", "64K"), (), "too_big", {"max-file": 65536})

    def test_two_limits_at_once(self):
        inner = archive.nested(pe.pe("deep"), "deep.exe", 9)
        (self.input / "a.zip").write_bytes(archive.zipped({"n.zip": inner, "big.exe": pe.pe("b", body_bytes=90000), "s.exe": pe.pe("s")}))
        self.collect("--max-member", "64K", expect=1)
        self.assertEqual(self.limits(), [("limit", {"max-member": 65536, "max-depth": 8})])
        samples, _ = self.collect("--max-depth", "10", "--max-member", "64K", expect=1)
        self.assertEqual((len(samples), self.limits()), (2, [("limit", {"max-member": 65536})]))
        self.collect("--max-depth", "10")
        self.assertEqual(self.limits(), [("ok", None)])

    def test_too_high(self):
        for option, value in (("--max-members", "0"), ("--max-members", "1048577"), ("--max-depth", "33"), ("--max-member", "3G"),
                              ("--max-unpacked", "2T"), ("--max-unpacked", "1"), ("--max-time", "86401"), ("--max-file", "x")):
            self.collect(option, value, expect=2)
            self.assertIn(option + " wants", self.talk)


if __name__ == "__main__":
    unittest.main()

"""malseq fsck --repair on vaults that runs and disks have left in disorder: samples without a row are read and adopted, what is no program or
was forgotten goes, rows whose bytes are lost are collected again, left-overs are removed; and databases that cannot be read at all.
The programs are generated headers without code; nothing leaves the machine."""
import hashlib
import json
import os
import sqlite3
import struct
import subprocess
import unittest

from corpus_case import BIN, CorpusCase
from gen import archive, pe
from gen.schema import Schema

FEATURES = Schema("features.schema.json")
MASK = (1 << 64) - 1


def keystream(size):
    """What the vault's objects are XORed with: splitmix64 over the index of the word."""
    out = b""
    for index in range((size + 7) // 8):
        z = (0x4D616C5365715A31 + (index + 1) * 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        out += struct.pack("<Q", z ^ (z >> 31))
    return out[:size]


def vault_object(data):
    """A sample object of fewer than 256 bytes: one raw block in a zstd frame."""
    frame = b"\x28\xb5\x2f\xfd\x20" + bytes([len(data)]) + ((len(data) << 3) | 1).to_bytes(3, "little") + data
    return b"MSQ1" + struct.pack("<IQ", 0, len(data)) + bytes(a ^ b for a, b in zip(frame, keystream(len(frame))))


class RepairCase(CorpusCase):
    def collect(self, *args, **more):
        return self.tool("collect", "--dir", self.input, "-q", *args, **more)

    def fsck(self, *args, expect=0):
        found = [json.loads(line) for line in self.tool("malseq", "fsck", "--json", *args, expect=expect).splitlines()]
        return [(line["where"], line["what"], line["repaired"]) for line in found]

    def digest(self, corpus):
        return self.tool("malseq", "fsck", "--digest", corpus=corpus).split()[-1]

    def name(self, data):
        sha256 = hashlib.sha256(data).hexdigest()
        return f"samples/{sha256[:2]}/{sha256[2:4]}/{sha256}"

    def plant(self, data):
        path = self.corpus / self.name(data)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(vault_object(data))

    def put(self, files):
        for name, data in files.items():
            (self.input / name).write_bytes(data)


class Orphans(RepairCase):
    def test_adopted_with_all_that_can_be_read(self):
        program = pe.pe("orphan", "dll", 64, exports=["one"])
        self.put({"a.zip": archive.zipped({"orphan.dll": program}, "infected")})
        undisturbed = self.root / "undisturbed"
        self.collect(corpus=undisturbed)
        # Killed between the object and its row.
        self.collect(expect=-9, env={"MALSEQ_TEST_KILL": "collect.intake.vaulted:1"})
        self.assertEqual(self.sql("SELECT count(*) FROM sample"), [(0,)])
        self.assertEqual(self.fsck(expect=1), [(self.name(program), "no row names it", False)])
        self.assertEqual(self.fsck("--repair", "--dry-run", expect=1), [(self.name(program), "no row names it", False)])
        self.assertEqual(self.fsck("--repair"), [(self.name(program), "no row named it", True)])
        columns = "sha256, sha1, md5, size, vaulted, private, kind, machine, flags, features"
        adopted = self.sql(f"SELECT {columns} FROM sample")
        with sqlite3.connect(undisturbed / "corpus.db") as db:
            self.assertEqual(adopted, db.execute(f"SELECT {columns} FROM sample").fetchall())
        FEATURES.check(json.loads(adopted[0][-1]), "features")
        self.assertEqual(self.fsck(), [])
        # The next run finds out where it is from.
        self.collect()
        self.assertEqual(self.digest(self.corpus), self.digest(undisturbed))

    def test_database_lost(self):
        programs = {f"p{number}.exe": pe.pe(f"p{number}") for number in range(5)}
        self.put(programs)
        self.collect()
        for path in self.corpus.glob("corpus.db*"):
            path.unlink()
        self.tool("collect", "--dir", self.root / "nothing", expect=None)      # makes a new one
        self.assertEqual(len(self.fsck("--repair")), 5)
        self.assertEqual(self.sql("SELECT count(*) FROM sample WHERE vaulted = 1 AND features IS NOT NULL"), [(5,)])
        self.assertIn(b"MZ", subprocess.run([os.path.join(BIN, "collect"), "cat", hashlib.sha256(programs["p3.exe"]).hexdigest(), "--corpus",
                                             str(self.corpus)], capture_output=True, timeout=250, check=True).stdout[:2])

    def test_private_where_anything_is(self):
        secret, orphan = pe.pe("secret"), pe.pe("orphan", body_bytes=64)
        self.put({"secret.exe": secret})
        self.collect("--private")
        other = self.root / "elsewhere"
        other.mkdir()
        (other / "orphan.exe").write_bytes(orphan)
        self.tool("collect", "--dir", other, expect=-9, env={"MALSEQ_TEST_KILL": "collect.intake.vaulted:1"})
        self.fsck("--repair")
        self.assertIn("count as private too", self.talk)
        self.assertEqual(self.sql("SELECT private FROM sample WHERE sha256 = ?", hashlib.sha256(orphan).digest()), [(1,)])
        self.assertEqual(self.tool("malseq", "export"), "")

    def test_no_program_goes(self):
        self.put({"a.exe": pe.pe("a")})
        self.collect()
        self.plant(b"no program at all")
        self.assertEqual(self.fsck("--repair"), [(self.name(b"no program at all"), "no row named it, and it is no Windows program", True)])
        self.assertFalse((self.corpus / self.name(b"no program at all")).exists())
        self.assertEqual(self.fsck(), [])

    def test_forgotten_goes(self):
        program = pe.pe("a")
        self.put({"a.exe": program})
        self.collect()
        path = self.corpus / self.name(program)
        copy = path.read_bytes()
        self.tool("collect", "forget", hashlib.sha256(program).hexdigest())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(copy)       # as after a kill between the rows and the objects
        self.assertEqual(self.fsck(expect=1), [(self.name(program), "was forgotten", False)])
        self.assertEqual(self.fsck("--repair"), [(self.name(program), "was forgotten", True)])
        self.assertFalse(path.exists())
        self.assertEqual(self.sql("SELECT count(*) FROM sample"), [(0,)])

    def test_damaged_orphan_goes(self):
        program = pe.pe("a")
        self.put({"a.exe": program})
        self.collect(expect=-9, env={"MALSEQ_TEST_KILL": "collect.intake.vaulted:1"})
        path = self.corpus / self.name(program)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.chmod(0o600)
        path.write_bytes(bytes(data))
        found = self.fsck("--repair")
        self.assertEqual([(where, repaired) for where, _, repaired in found], [(self.name(program), True)])
        self.assertIn("is damaged", found[0][1])
        self.assertEqual(self.fsck(), [])
        self.collect()
        self.assertEqual(self.sql("SELECT count(*) FROM sample WHERE vaulted"), [(1,)])


class Losses(RepairCase):
    def test_lost_and_rotten_bytes_are_collected_again(self):
        programs = {"lost.exe": pe.pe("lost"), "rotten.exe": pe.pe("rotten"), "good.exe": pe.pe("good")}
        packed = pe.pe("packed")
        self.put(programs)
        self.put({"packed.zip": archive.zipped({"x/packed.exe": packed}, "infected")})
        self.collect()
        before = self.digest(self.corpus)
        self.sql("UPDATE origin SET validator = 'tag'")
        for data in (programs["lost.exe"], packed):
            (self.corpus / self.name(data)).unlink()
        rotten = self.corpus / self.name(programs["rotten.exe"])
        data = bytearray(rotten.read_bytes())
        data[40] ^= 0x80
        rotten.chmod(0o600)
        rotten.write_bytes(bytes(data))
        self.assertEqual(len(self.fsck(expect=1)), 3)
        found = self.fsck("--repair")
        self.assertEqual(sorted("is damaged" if "is damaged" in what else what[:10] for _, what, repaired in found if repaired), ["is damaged", "its object", "its object"])
        self.assertEqual(self.sql("SELECT count(*) FROM sample WHERE vaulted"), [(1,)])
        self.assertEqual(self.sql("SELECT count(*) FROM blob"), [(1,)])
        self.assertEqual(self.sql("SELECT DISTINCT validator, commit_id FROM origin"), [(None, None)])     # nobody says "not modified" now
        self.assertEqual(self.fsck(), [])
        self.collect()
        self.assertEqual(self.fsck(), [])
        self.assertEqual(self.digest(self.corpus), before)

    def test_what_cannot_be_read_is_not_taken_for_damaged(self):
        """Rights and network disks come back; weeks of sandbox time do not."""
        programs = {"closed.exe": pe.pe("closed"), "hidden.exe": pe.pe("hidden"), "good.exe": pe.pe("good")}
        self.put(programs)
        self.collect()
        before = self.digest(self.corpus)
        closed = self.name(programs["closed.exe"])
        os.chmod(self.corpus / closed, 0)
        command = self.minding_rights(os.path.join(BIN, "malseq"), "fsck", "--json", "--repair", "--corpus", self.corpus)
        result = subprocess.run(command, capture_output=True, timeout=100, check=False)
        found = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual((result.returncode, [(line["where"], line["repaired"]) for line in found]), (1, [(closed, False)]), result.stderr)
        self.assertIn("cannot open: Permission denied", found[0]["what"])
        shard = (self.corpus / self.name(programs["hidden.exe"])).parent
        os.chmod(shard, 0)
        result = subprocess.run(command, capture_output=True, timeout=100, check=False)
        self.assertEqual(result.returncode, 4, result.stdout)
        self.assertIn(b"cannot list a folder of the vault: Permission denied", result.stderr)
        os.chmod(shard, 0o700)
        os.chmod(self.corpus / closed, 0o400)
        self.assertEqual(self.fsck(), [])
        self.assertEqual(self.digest(self.corpus), before)

    def test_left_over_temporaries(self):
        self.put({"a.exe": pe.pe("a")})
        self.collect()
        (self.corpus / "tmp" / "vault-1-\x1b[2J").write_bytes(b"x")
        self.assertEqual(self.fsck(expect=1), [("tmp/vault-1-\\x1b[2J", "left over by a run that was killed", False)])
        self.assertEqual(self.fsck("--repair"), [])
        self.assertEqual(list((self.corpus / "tmp").iterdir()), [])
        self.assertEqual(self.fsck(), [])


class Databases(RepairCase):
    def test_what_is_said_of_them(self):
        self.put({"a.exe": pe.pe("a")})
        self.collect()
        database = self.corpus / "corpus.db"
        whole = database.read_bytes()
        for path in self.corpus.glob("corpus.db-*"):
            path.unlink()
        for broken in (b"no database at all, but long enough to be read as one" * 100, whole[:100] + b"\xff" * (len(whole) - 100)):
            database.write_bytes(broken)
            for command in (("fsck",), ("fsck", "--repair"), ("status",)):
                self.tool("malseq", *command, expect=4)
                self.assertIn("restore corpus.db from a backup", self.talk)
                self.assertNotIn("malseq fsck", self.talk)
        database.write_bytes(b"")
        self.tool("malseq", "fsck", expect=4)
        self.assertIn("corpus.db' is empty: if there was something in it, restore a backup", self.talk)
        self.assertNotIn("older schema", self.talk)


if __name__ == "__main__":
    unittest.main()

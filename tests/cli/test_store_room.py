"""The storage quota and the free-space floor of collect: the run ends 4 with what to do, what was had is kept, nothing counts as failed, and
the next run goes on to the corpus of an undisturbed one. The programs are generated headers without code; nothing leaves the machine."""
import json
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

from gen import archive, pe

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
BODY_BYTES = 100_000     # of random bytes: nothing to compress


class RoomCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-room-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.input, self.corpus = self.root / "in", self.root / "corpus"
        self.input.mkdir()

    def tool(self, name, *args, expect=0, corpus=None):
        result = subprocess.run([os.path.join(BIN, name), *map(str, args), "--corpus", str(corpus or self.corpus)], capture_output=True,
                                stdin=subprocess.DEVNULL, timeout=250, check=False)
        self.talk = result.stderr.decode("utf-8", "replace")
        self.assertEqual(result.returncode, expect, self.talk + result.stdout.decode("utf-8", "replace"))
        return result.stdout.decode()

    def collect(self, *args, expect=0, corpus=None):
        lines = [json.loads(line) for line in self.tool("collect", "--dir", self.input, "--json", *args, expect=expect, corpus=corpus).splitlines()]
        self.assertEqual([line for line in lines if line["type"] != "sample"], [])
        return lines

    def rows(self, sql):
        with sqlite3.connect(f"file:{self.corpus}/corpus.db?mode=ro", uri=True) as db:
            return db.execute(sql).fetchall()

    def stored_bytes(self):
        return sum(path.stat().st_size for path in (self.corpus / "samples").rglob("*") if path.is_file())

    def digest(self, corpus):
        return self.tool("malseq", "fsck", "--digest", corpus=corpus).split()[-1]

    def put(self, files):
        for name, data in files.items():
            (self.input / name).write_bytes(data)


class Quota(RoomCase):
    def programs(self, count=8):
        return {f"p{number}.exe": pe.pe(f"p{number}", body_bytes=BODY_BYTES) for number in range(count)}

    def test_ends_and_goes_on(self):
        for jobs in ("1", "4"):
            with self.subTest(jobs=jobs):
                shutil.rmtree(self.corpus, True)
                self.put(self.programs())
                found = self.collect("--max-store", "350K", "--jobs", jobs, expect=4)
                self.assertRegex(self.talk, r"collect: error: the samples and reports of corpus '[^']*' take [0-9.]+ KiB, and the next one would not "
                                            r"fit into the 350\.0 KiB of --max-store: what was taken in so far is kept; allow more, then run")
                self.assertLessEqual(self.stored_bytes(), 350 << 10)
                self.assertEqual(len(found), 3)
                self.assertEqual(self.rows("SELECT count(*) FROM sample WHERE vaulted = 1"), [(3,)])
                self.assertEqual(self.rows("SELECT outcome, count(*) FROM blob GROUP BY 1"), [("ok", 3)])
                self.assertEqual(self.rows("SELECT exit_code FROM run ORDER BY id DESC LIMIT 1"), [(4,)])
                self.tool("malseq", "fsck")
                # Still full: nothing is opened, nothing is lost.
                self.assertEqual(self.collect("--max-store", "300K", expect=4), [])
                self.assertEqual(self.rows("SELECT count(*) FROM blob"), [(3,)])
                self.assertEqual(len(self.collect("--max-store", "10M")), 5)
                self.tool("malseq", "fsck")
                other = self.root / f"other{jobs}"
                self.collect(corpus=other)
                self.assertEqual(self.digest(self.corpus), self.digest(other))

    def test_in_the_middle_of_an_archive(self):
        programs = self.programs(4)
        self.put({"all.zip": archive.zipped(programs)})
        self.assertEqual(self.collect("--max-store", "250K", expect=4), [])
        self.assertEqual(self.rows("SELECT count(*) FROM blob"), [(0,)])     # nothing said of it: the next run opens it again
        self.assertLessEqual(self.stored_bytes(), 250 << 10)
        self.assertEqual(len(self.collect()), 4)
        self.tool("malseq", "fsck")

    def test_what_is_there_already_takes_no_room(self):
        self.put(self.programs(3))
        self.collect("--max-store", "400K")
        (self.input / "again.zip").write_bytes(archive.zipped({"again.exe": (self.input / "p0.exe").read_bytes()}))
        self.collect("--max-store", "400K")
        self.assertEqual(self.rows("SELECT count(*) FROM sample"), [(3,)])

    def test_one_large_program_is_stopped_on_its_way(self):
        self.put({"large.exe": pe.pe("large", body_bytes=8 << 20)})
        self.assertEqual(self.collect("--max-store", "3M", expect=4), [])
        self.assertEqual(self.stored_bytes(), 0)
        self.assertEqual(list((self.corpus / "tmp").iterdir()), [])

    def test_dry_run_asks_for_no_room(self):
        self.put(self.programs(2))
        self.assertEqual(len(self.collect("--max-store", "1", "--dry-run")), 2)

    def test_sizes(self):
        for word in ("", "x", "-1", "1X", "5 ", "1.5G", "99999999999T"):
            self.tool("collect", "--dir", self.input, "--max-store", word, expect=2)
            self.assertIn("--max-store wants a number of bytes, or one with K, M, G or T", self.talk)
        for word in ("1048576", "1024k", "1m", "1G", "1t"):
            self.tool("collect", "--dir", self.input, "--max-store", word)


class Floor(RoomCase):
    def test_floor_larger_than_the_disk(self):
        self.put({"a.exe": pe.pe("a")})
        self.assertEqual(self.collect("--keep-free", "1000000T", expect=4), [])
        self.assertTrue(re.search(r"the disk of corpus '[^']*' has [0-9.]+ [KMGTP]iB free, and [0-9.]+ PiB are to stay free: what was taken in so far is "
                                  r"kept; free some space \(or let collect --keep-free less\), then run the command again", self.talk), self.talk)
        self.assertEqual(self.rows("SELECT count(*) FROM blob"), [(0,)])
        self.assertEqual(len(self.collect("--keep-free", "0")), 1)
        # What needs no room goes on: nothing is new.
        self.assertEqual(self.collect("--keep-free", "1000000T"), [])


if __name__ == "__main__":
    unittest.main()

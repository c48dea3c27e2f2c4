"""collect over archives that lie in several files: pieces of one file, split zip files and RAR volumes, plain and encrypted; parts that
are missing, come later, change, or belong to another set; files that are only named like parts. Through the confined worker, as always."""
import hashlib
import json
import os
import pathlib
import random
import shutil
import sqlite3
import struct
import subprocess
import tempfile
import unittest

from gen import archive, pe

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def program(seed, size=150000):
    """A PE file whose rest cannot be compressed."""
    return pe.pe(seed) + random.Random(seed).randbytes(size)


class VolumeCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-volumes-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.input = self.root / "in"
        self.work = self.root / "work"
        self.input.mkdir()
        self.work.mkdir()
        self.words = self.root / "words"
        self.words.write_text("rightword\n")

    def make(self, *command):
        result = subprocess.run(command, cwd=self.work, capture_output=True, stdin=subprocess.DEVNULL, timeout=250, check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def split(self, data, name, size, folder=None):
        """Raw pieces NAME.001 …"""
        folder = folder or self.input
        pieces = [data[i:i + size] for i in range(0, len(data), size)]
        for number, piece in enumerate(pieces):
            (folder / ("%s.%03d" % (name, number + 1))).write_bytes(piece)
        return len(pieces)

    def collect(self, *options, expect=0, corpus="corpus"):
        command = [os.path.join(BIN, "collect"), "--dir", str(self.input), "--json", "--corpus", str(self.root / corpus), "--password-list",
                   str(self.words), *options]
        result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=250, check=False)
        self.assertEqual(result.returncode, expect, (result.stdout + result.stderr).decode("utf-8", "replace"))
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        self.samples = {(line["path"], line["chain"]): line for line in lines if line["type"] == "sample"}
        self.failed = {line["path"]: line for line in lines if line["type"] != "sample"}
        return self.samples

    def found(self):
        return {key: line["sha256"] for key, line in self.samples.items()}

    def rows(self, sql, corpus="corpus"):
        db = sqlite3.connect("file:%s?mode=ro" % (self.root / corpus / "corpus.db"), uri=True)
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()

    def only_blob(self):
        rows = self.rows("SELECT outcome, reason, samples FROM blob")
        self.assertEqual(len(rows), 1, rows)
        return rows[0]


class Pieces(VolumeCase):
    def test_every_archive_that_can_be_cut_into_pieces(self):
        data, expected = program("a"), {}
        (self.work / "a.exe").write_bytes(data)
        for name, options in (("plain.7z", ()), ("secret.7z", ("-prightword", "-mhe=on")), ("plain.zip", ("-tzip",)),
                              ("secret.zip", ("-tzip", "-mem=AES256", "-prightword"))):
            self.make("7zz", "a", "-v50k", *options, str(self.input / name), "a.exe")
            self.assertTrue((self.input / (name + ".003")).exists())
            expected[name + ".001", "a.exe"] = sha256(data)
        for form in ("gz", "bz2", "xz"):
            self.split(archive.tarred({"a.exe": data}, form), "t.tar." + form, 50000)
            expected["t.tar.%s.001" % form, "a.exe"] = sha256(data)
        self.split(archive.tarred({"a.exe": data}, ""), "t.tar", 50000)
        expected["t.tar.001", "a.exe"] = sha256(data)
        self.collect()
        self.assertEqual(self.found(), expected)
        self.assertEqual(self.failed, {})
        self.assertEqual(self.samples["secret.7z.001", "a.exe"]["password"], "rightword")
        # One row a set, and all parts in the tree and in the list of parts.
        self.assertEqual(self.rows("SELECT count(*), min(outcome), max(outcome) FROM blob"), [(8, "ok", "ok")])
        self.assertEqual(self.rows("SELECT count(*) FROM volume JOIN tree_entry USING (git_id)"), self.rows("SELECT count(*) FROM tree_entry"))
        self.assertEqual(self.rows("SELECT count(*) FROM sighting WHERE gone_ms IS NULL"), [(8,)])
        # And nothing is opened a second time.
        self.assertEqual(self.collect(), {})
        self.assertEqual(self.rows("SELECT count(*), sum(run <> (SELECT min(run) FROM blob)) FROM blob"), [(8, 0)])
        self.assertEqual(self.rows("SELECT count(*) FROM sighting WHERE gone_ms IS NULL"), [(8,)])

    def test_a_part_that_changes_opens_the_set_again(self):
        first, second = program("one"), program("two")
        cut = 1000
        head = archive.tarred({"a.exe": first}, "")[:cut]
        for data in (first, second):
            (self.input / "x.tar.001").write_bytes(head)
            (self.input / "x.tar.002").write_bytes(archive.tarred({"a.exe": data}, "")[cut:])
            self.collect()
            self.assertEqual(self.found(), {("x.tar.001", "a.exe"): sha256(data)} if data == first else self.found())
        # The head has the first one's program header and size: what matters is that the set was read again, as another one.
        self.assertEqual(len(self.samples), 1)
        self.assertEqual(self.rows("SELECT count(*) FROM blob"), [(2,)])
        self.assertEqual(self.rows("SELECT count(*) FROM sighting WHERE gone_ms IS NULL"), [(1,)])
        self.assertEqual(self.rows("SELECT count(*) FROM sighting WHERE gone_ms IS NOT NULL"), [(1,)])

    def test_a_missing_part_is_told_and_the_set_opened_when_it_comes(self):
        data = program("a")
        (self.work / "a.exe").write_bytes(data)
        for name in ("s.7z", "z.zip"):
            self.make("7zz", "a", "-v40k", str(self.input / name), "a.exe")
        parts = sorted(path.name for path in self.input.iterdir())
        self.assertEqual(len(parts), 8)
        for missing in ("s.7z.002", "s.7z.004", "z.zip.003", "z.zip.004"):
            with self.subTest(missing=missing):
                (self.input / missing).rename(self.work / missing)
                corpus = "corpus-" + missing
                self.collect(expect=1, corpus=corpus)
                self.assertEqual({path: (line["outcome"], line["reason"]) for path, line in self.failed.items()},
                                 {missing[:-4] + ".001": ("incomplete", "'%s' is missing" % missing)})
                self.assertEqual(len(self.samples), 1)
                # Known, and not told again.
                self.collect(corpus=corpus)
                self.assertEqual((self.samples, self.failed), ({}, {}))
                (self.work / missing).rename(self.input / missing)
                self.collect(corpus=corpus)
                self.assertEqual(self.found(), {(missing[:-4] + ".001", "a.exe"): sha256(data)})
                self.assertEqual(self.failed, {})

    def test_pieces_without_the_first_are_no_archive(self):
        (self.work / "a.exe").write_bytes(program("a"))
        self.make("7zz", "a", "-v40k", str(self.input / "x.7z"), "a.exe")
        (self.input / "x.7z.001").unlink()
        self.collect()
        self.assertEqual((self.samples, self.failed), ({}, {}))

    def test_a_first_piece_alone(self):
        (self.work / "a.exe").write_bytes(program("a"))
        self.make("7zz", "a", "-v40k", str(self.work / "x.7z"), "a.exe")
        shutil.copy(self.work / "x.7z.001", self.input)
        self.collect(expect=1)
        self.assertEqual(self.failed["x.7z.001"]["outcome"], "incomplete")
        self.assertEqual(self.failed["x.7z.001"]["reason"], "'x.7z.002' is missing")

    def test_names_alone_make_no_set(self):
        programs = {"virus.%03d" % n: program(n, 500) for n in range(1, 6)}
        for name, data in programs.items():
            (self.input / name).write_bytes(data)
        for n in (1, 2):
            (self.input / ("whole.%03d" % n)).write_bytes(archive.zipped({"m.exe": program("m%d" % n, 500)}))
        (self.input / "pair.zip").write_bytes(archive.zipped({"p.exe": program("p", 500)}))
        (self.input / "pair.z01").write_bytes(program("q", 500))
        expected = {(name, ""): sha256(data) for name, data in programs.items()}
        expected.update({("whole.%03d" % n, "m.exe"): sha256(program("m%d" % n, 500)) for n in (1, 2)})
        expected.update({("pair.zip", "p.exe"): sha256(program("p", 500)), ("pair.z01", ""): sha256(program("q", 500))})
        self.collect()
        self.assertEqual((self.found(), self.failed), (expected, {}))
        self.collect()
        self.assertEqual((self.samples, self.failed), ({}, {}))
        self.assertEqual(self.rows("SELECT count(*) FROM sighting WHERE gone_ms IS NULL"), [(len(expected),)])
        self.collect("--dry-run", corpus="none")
        self.assertEqual((self.found(), self.failed), (expected, {}))

    def test_sets_of_one_name_in_two_folders_and_a_thousand_parts(self):
        for number, folder in enumerate(("a", "b")):
            (self.input / folder).mkdir()
            self.split(archive.tarred({"x.exe": program(folder, 5000)}, "gz"), "s.tgz", 1500, self.input / folder)
        # Part 2 of a set that lies elsewhere joins nobody's.
        (self.input / "s.tgz.002").write_bytes(b"not of these")
        self.assertGreater(self.split(archive.tarred({"y.exe": program("y", 400000)}, ""), "many.tar", 390), 999)
        expected = {(folder + "/s.tgz.001", "x.exe"): sha256(program(folder, 5000)) for folder in ("a", "b")}
        expected["many.tar.001", "y.exe"] = sha256(program("y", 400000))
        self.collect()
        self.assertEqual((self.found(), self.failed), (expected, {}))


def split_zip(data, cuts, disks=None):
    """The zip file cut at these offsets, as a split one: disk numbers in its directory; disks overrides them by entry."""
    data = b"PK\x07\x08" + data
    end = data.rindex(b"PK\x05\x06")
    count, size, at = struct.unpack("<HII", data[end + 10:end + 20])
    starts = [0] + [cut + 4 for cut in cuts]

    def place(offset):
        disk = max(i for i, start in enumerate(starts) if start <= offset)
        return disk, offset - starts[disk]

    out, cursor, at = bytearray(data), at + 4, at + 4
    for index in range(count):
        offset, = struct.unpack("<I", out[cursor + 42:cursor + 46])
        disk, within = place(offset + 4)
        disk = disks.get(index, disk) if disks else disk
        out[cursor + 34:cursor + 36] = struct.pack("<H", disk)
        out[cursor + 42:cursor + 46] = struct.pack("<I", within)
        cursor += 46 + sum(struct.unpack("<HHH", out[cursor + 28:cursor + 34]))
    disk, within = place(at)
    out[end + 4:end + 20] = struct.pack("<HHHHII", len(cuts), disk, count, count, size, within)
    return [bytes(out[a:b]) for a, b in zip(starts, starts[1:] + [len(out)])]


class SplitZip(VolumeCase):
    def put(self, name, parts):
        for number, part in enumerate(parts[:-1]):
            (self.input / ("%s.z%02d" % (name, number + 1))).write_bytes(part)
        (self.input / (name + ".zip")).write_bytes(parts[-1])

    @unittest.skipUnless(shutil.which("zip"), "zip is not installed")
    def test_as_info_zip_splits(self):
        for name in ("a.exe", "b.exe"):
            (self.work / name).write_bytes(program(name))
        self.make("zip", "-q", "-s", "64k", str(self.input / "plain.zip"), "a.exe", "b.exe")
        self.make("zip", "-q", "-s", "64k", "-P", "rightword", str(self.input / "secret.zip"), "a.exe", "b.exe")
        self.assertTrue((self.input / "plain.z04").exists())
        expected = {(archive_name + ".zip", name): sha256(program(name)) for archive_name in ("plain", "secret") for name in ("a.exe", "b.exe")}
        self.collect()
        self.assertEqual((self.found(), self.failed), (expected, {}))
        self.assertEqual(self.rows("SELECT count(*) FROM blob"), [(2,)])
        self.assertEqual(self.collect(), {})
        self.assertEqual(self.rows("SELECT count(*) FROM sighting WHERE gone_ms IS NULL"), [(4,)])

    def test_any_cut(self):
        whole = archive.zipped({"a.exe": program("a", 3000), "b.exe": program("b", 2000)}, method="store")
        expected = {}
        for number, cuts in enumerate(((10,), (31, 40, 3000), (4000, len(whole) - 30), (len(whole) - 10,), (4000, len(whole) - 130, len(whole) - 80))):
            self.put("cut%d" % number, split_zip(whole, cuts))
            for name, size in (("a", 3000), ("b", 2000)):
                expected["cut%d.zip" % number, name + ".exe"] = sha256(program(name, size))
        self.collect()
        self.assertEqual((self.found(), self.failed), (expected, {}))

    def test_missing_parts(self):
        parts = split_zip(archive.zipped({"a.exe": program("a", 5000)}, method="store"), (1000, 2000, 3000))
        for missing in (1, 2, 3):
            with self.subTest(missing=missing):
                shutil.rmtree(self.input)
                self.input.mkdir()
                self.put("x", parts)
                (self.input / ("x.z%02d" % missing)).unlink()
                self.collect(expect=1, corpus="corpus%d" % missing)
                self.assertEqual(self.samples, {})
                told = self.failed["x.zip"]
                self.assertEqual((told["outcome"], told["reason"]), ("incomplete", "'x.z%02d' is missing" % missing))
        shutil.rmtree(self.input)
        self.input.mkdir()
        (self.input / "x.zip").write_bytes(parts[-1])
        self.collect(expect=1, corpus="last")
        self.assertEqual((self.failed["x.zip"]["outcome"], self.failed["x.zip"]["reason"]), ("incomplete", "'x.z01' is missing"))
        (self.input / "x.zip").unlink()
        (self.input / "x.z01").write_bytes(parts[0])
        self.collect(expect=1, corpus="first")
        self.assertEqual((self.failed["x.z01"]["outcome"], self.failed["x.z01"]["reason"]), ("incomplete", "'x.zip' is missing"))

    def test_hostile_disk_numbers(self):
        whole = archive.zipped({"a.exe": program("a", 3000), "b.exe": program("b", 2000)}, method="store")
        for disk in (2, 77, 65535):
            self.put("d%d" % disk, split_zip(whole, (1000,), {1: disk}))
        parts = split_zip(whole, (1000,))
        end = parts[1].rindex(b"PK\x05\x06")
        for number, (field, form, value) in enumerate(((4, "<H", 9), (6, "<H", 5), (8, "<H", 0xFFFF), (12, "<I", 0xFFFFFFF0), (16, "<I", 0xFFFFFFFF),
                                                       (10, "<H", 0xFFFE))):
            last = bytearray(parts[1])
            struct.pack_into(form, last, end + field, value)
            self.put("e%d" % number, [parts[0], bytes(last)])
        self.put("good", parts)
        self.collect(expect=1)
        # The number of entries on this disk alone is nobody's business.
        self.assertEqual({path for path, _ in self.samples}, {"good.zip", "e2.zip"})
        self.assertEqual({line["outcome"] for line in self.failed.values()}, {"corrupt", "incomplete"})
        self.assertEqual(self.failed["e0.zip"]["outcome"], "incomplete")


if __name__ == "__main__":
    unittest.main()

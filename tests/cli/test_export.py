"""malseq export: JSON lines against their schema, CSV columns against the header fields that the generated programs were given, the order, the
labels of a policy, what must stay inside (private, forgotten), files that appear whole, and memory that does not grow with the corpus.
The programs are generated headers without code; nothing leaves the machine."""
# in release: Files.test_memory_does_not_grow
import csv
import hashlib
import io
import json
import os
import pathlib
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import unittest

from gen import archive, pe
from gen.schema import Schema

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
SCHEMA = Schema("export.schema.json")
FORMULA = "=cmd|'x'!A1.exe"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def little_room():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


class ExportCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-export-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.corpus = self.root / "corpus"

    def tool(self, name, *args, expect=0, corpus=None, **more):
        command = [os.path.join(BIN, name), *map(str, args), "--corpus", str(corpus or self.corpus)]
        result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=250, check=False, **more)
        self.talk = result.stderr.decode("utf-8", "replace")
        self.assertEqual(result.returncode, expect, self.talk)
        return result.stdout

    def collect(self, folder, files, *args, corpus=None):
        for name, data in files.items():
            path = self.root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self.tool("collect", "--dir", self.root / folder, "-q", *args, corpus=corpus)

    def export(self, *args, expect=0, corpus=None):
        lines = [json.loads(line) for line in self.tool("malseq", "export", *args, expect=expect, corpus=corpus).splitlines()]
        for line in lines:
            SCHEMA.check(line, "sample")
        return lines

    def table(self, *args):
        text = self.tool("malseq", "export", "--csv", *args).decode()
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def label(self, data, policy, verdict, name=None, family=None):
        with sqlite3.connect(self.corpus / "corpus.db") as db:
            db.execute("INSERT INTO label (sample, policy, verdict, class, family, as_of_ms, made_ms) SELECT id, ?, ?, ?, ?, 1, 1 FROM sample"
                       " WHERE sha256 = ?", (policy, verdict, name, family, hashlib.sha256(data).digest()))


class Rows(ExportCase):
    def test_samples_labels_and_places(self):
        one, two, three = pe.pe("one"), pe.pe("two", "dll", 64), pe.pe("three")
        self.collect("zoo", {"a/one.exe": one, "b.zip": archive.zipped({FORMULA: two}, "infected")}, "--claim", "malware")
        self.collect("more", {"again.exe": one, "three.exe": three})
        self.label(one, "ember2024", "malicious", "Worm", "=family")
        self.label(two, "ember2024", "benign")
        self.label(two, "other", "grayware")
        rows = self.export("--sightings")
        self.assertEqual([row["sha256"] for row in rows], sorted(map(sha256, (one, two, three))))
        rows = {row["sha256"]: row for row in rows}
        self.assertEqual(rows[sha256(one)]["label"], {"policy": "ember2024", "verdict": "malicious", "class": "Worm", "family": "=family"})
        self.assertEqual((rows[sha256(two)]["label"]["verdict"], rows[sha256(three)]["label"]), ("benign", None))
        row = rows[sha256(two)]
        self.assertEqual((row["sha1"], row["md5"], row["size"]), (hashlib.sha1(two).hexdigest(), hashlib.md5(two).hexdigest(), len(two)))
        self.assertEqual((row["kind"], row["machine"], row["stored"]), ("dll", 0x8664, True))
        self.assertEqual([(place["origin"], place["path"], place["chain"], place["password"], place["claim"], place["where"]) for place in row["sightings"]],
                         [(str(self.root / "zoo"), "b.zip", FORMULA, "infected", "malware", f"{self.root}/zoo:b.zip!{FORMULA}")])
        self.assertEqual([(place["path"], place["claim"]) for place in rows[sha256(one)]["sightings"]], [("again.exe", "unknown"), ("a/one.exe", "malware")])
        other = {row["sha256"]: row["label"] for row in self.export("--policy", "other")}
        self.assertEqual({name: label and label["verdict"] for name, label in other.items()},
                         {sha256(one): None, sha256(two): "grayware", sha256(three): None})
        self.assertEqual(self.tool("malseq", "export", "--policy", "othr", expect=3), b"")
        self.assertIn("no label of the corpus is of policy 'othr'", self.talk)
        self.assertIn("not go together", (self.tool("malseq", "export", "--csv", "--json", expect=2), self.talk)[1])

    def test_columns(self):
        imports = {"kernel32.dll": ["CreateFileA", "ReadFile"], "user32.dll": ["MessageBoxA"]}
        data = pe.pe("columns", "exe", 64, imports=imports, exports=["one", "two", "three"], resources=77, sections=4)
        self.collect("zoo", {FORMULA: data, "sub/b.zip": archive.zipped({"y;z.exe": data})})
        self.label(data, "ember2024", "malicious", "Worm", "=family")
        features = self.export()[0]["features"]
        row = self.table()[0]
        self.assertEqual((row["sha256"], row["size"], row["kind"], row["policy"], row["verdict"], row["class"]),
                         (sha256(data), str(len(data)), "exe", "ember2024", "malicious", "Worm"))
        self.assertEqual(row["family"], "'=family")
        # What the generator wrote into the headers, and what the JSON says; the two ways must agree.
        self.assertEqual((row["stack_reserve"], row["image_base"], row["dll_characteristics"], row["section_count"], row["os_major"], row["os_minor"]),
                         (str(0x100000), str(0x140000000), str(0x8140), "4", "6", "0"))
        self.assertEqual((row["import_libraries"], row["import_functions"], row["export_functions"], row["resource_size"]), ("2", "3", "3", "77"))
        self.assertEqual(row["section_names"].split(";"), [section["name"] for section in features["sections"]])
        self.assertEqual(len(row["imphash"]), 32)
        for name in ("entry_point", "linker_major", "linker_minor", "imphash", "timestamp", "image_size", "subsystem", "checksum", "heap_reserve"):
            self.assertEqual(row[name], str(features[name]), name)
        for name, directory in features["directories"].items():
            self.assertEqual((row[name + "_address"], row[name + "_size"]), (str(directory["address"]), str(directory["size"])), name)
        self.assertNotEqual(row["iat_address"], "0")
        self.assertNotEqual(row["export_address"], "0")
        places = self.table("--sightings")
        self.assertEqual([(place["sha256"], place["path"], place["chain"], place["claim"]) for place in places],
                         [(sha256(data), "'" + FORMULA, "", "unknown"), (sha256(data), "sub/b.zip", "y;z.exe", "unknown")])
        self.assertEqual(places[1]["where"], f"{self.root}/zoo:sub/b.zip!y;z.exe")
        self.assertEqual({name: places[0][name] for name in row}, row)

    def test_the_longest_place(self):
        """32 containers in each other with names of 4 KiB that must all be escaped, at the end of a path of 16 KiB."""
        self.collect("zoo", {"x.exe": pe.pe("x")})
        path, chain = b"\x01" * 16384, b"!".join([b"\x02" * 4096] * 34)
        with sqlite3.connect(self.corpus / "corpus.db") as db:
            db.execute("UPDATE sighting SET path = ?, chain = ?", (path, chain))
        place, = self.export("--sightings")[0]["sightings"]
        self.assertEqual((place["path"].encode(), place["chain"].encode()), (path, chain))
        csv.field_size_limit(1 << 20)
        row, = self.table("--sightings")
        self.assertEqual((len(row["path"]), len(row["chain"])), (4 * 16384, 4 * 34 * 4096 + 33))

    def test_numbers_beyond_63_bits_and_unread_features(self):
        big, unread, broken, none = pe.pe("big"), pe.pe("unread"), pe.pe("broken"), pe.pe("none")
        self.collect("zoo", {"a": big, "b": unread, "c": broken, "d": none})
        with sqlite3.connect(self.corpus / "corpus.db") as db:
            put = lambda data, text: db.execute("UPDATE sample SET features = ? WHERE sha256 = ?", (text, hashlib.sha256(data).digest()))  # noqa: E731
            before = db.execute("SELECT features FROM sample WHERE sha256 = ?", (hashlib.sha256(big).digest(),)).fetchone()[0]
            put(big, before.replace('"image_base":4194304', '"image_base":18446744073709551615'))
            put(unread, '{"version":1,"error":"timeout"}')
            put(broken, '{"version":1\n}{')
            put(none, None)
        rows = {row["sha256"]: row["features"] for row in self.export(expect=1)}
        self.assertIn(f"the features of sample {sha256(broken)} are damaged", self.talk)
        self.assertEqual(rows[sha256(big)]["image_base"], 2 ** 64 - 1)
        self.assertEqual((rows[sha256(unread)]["error"], rows[sha256(broken)], rows[sha256(none)]), ("timeout", None, None))
        text = self.tool("malseq", "export", "--csv", expect=1).decode()
        table = {row["sha256"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}
        self.assertEqual((table[sha256(big)]["image_base"], table[sha256(unread)]["features_error"]), (str(2 ** 64 - 1), "timeout"))
        self.assertEqual((table[sha256(broken)]["magic"], table[sha256(none)]["magic"]), ("", ""))
        self.assertTrue(all(len(row) == len(table[sha256(big)]) and None not in row for row in table.values()))

    def test_equal_corpora_are_exported_alike(self):
        programs = {f"p{number}.exe": pe.pe(f"p{number}") for number in range(12)}
        self.collect("zoo", programs)
        other = self.root / "other"
        for name in sorted(programs, reverse=True):      # other row ids, other times
            self.tool("collect", "--dir", self.root / "zoo" / name, "-q", corpus=other)
        self.assertEqual(self.tool("malseq", "export"), self.tool("malseq", "export", corpus=other))
        self.assertEqual(self.tool("malseq", "export", "--csv"), self.tool("malseq", "export", "--csv", corpus=other))
        first = [row["first_ms"] for row in self.export("--times")]
        self.assertTrue(all(first))
        self.assertNotIn("first_ms", self.export()[0])

    def test_hashes_alone_come_last(self):
        self.collect("zoo", {"a": pe.pe("a")})
        with sqlite3.connect(self.corpus / "corpus.db") as db:
            db.execute("INSERT INTO sample (md5) VALUES (?)", (b"\1" * 16,))
            db.execute("INSERT INTO sample (sha1) VALUES (?)", (b"\2" * 20,))
            db.execute("INSERT INTO sample (size) VALUES (5)")      # a row of a data set: nothing to be known by
        self.assertEqual([(row["sha256"] is None, row["sha1"], row["md5"]) for row in self.export()[1:]],
                         [(True, None, "01" * 16), (True, "02" * 20, None)])


class Inside(ExportCase):
    def test_private_is_never_exported(self):
        opened, kept, both, late = pe.pe("open"), pe.pe("kept"), pe.pe("both"), pe.pe("late")
        self.collect("zoo", {"open.exe": opened, "both.exe": both, "late.exe": late})
        self.collect("secret", {"kept.exe": kept, "both.exe": both}, "--private")
        self.assertEqual([row["sha256"] for row in self.export()], sorted((sha256(opened), sha256(late))))
        # A place that is private is reason enough, whatever the sample's own row says.
        with sqlite3.connect(self.corpus / "corpus.db") as db:
            db.execute("UPDATE sample SET private = 0")
        for args in ((), ("--sightings",), ("--csv",), ("--csv", "--sightings", "--times")):
            text = self.tool("malseq", "export", *args).decode()
            self.assertIn(sha256(opened), text)
            for word in (sha256(kept), sha256(both), "secret", "kept.exe"):
                self.assertNotIn(word, text, args)

    def test_forgotten_is_gone(self):
        one, two = pe.pe("one"), pe.pe("two")
        self.collect("zoo", {"one.exe": one, "two.exe": two})
        self.tool("collect", "forget", sha256(one))
        self.collect("zoo", {})
        self.assertEqual([row["sha256"] for row in self.export()], [sha256(two)])


class Files(ExportCase):
    def test_file_appears_whole(self):
        self.collect("zoo", {"a": pe.pe("a")})
        out = self.root / "export.jsonl"
        out.write_text("old")
        self.assertEqual(self.tool("malseq", "export", "--out", out), b"")
        self.assertEqual(out.read_bytes(), self.tool("malseq", "export"))
        self.assertEqual(self.tool("malseq", "export", "--out", "-"), out.read_bytes())
        # Without room nothing changes and nothing is left beside it.
        before = out.read_bytes()
        self.tool("malseq", "export", "--out", out, expect=4, preexec_fn=little_room)
        self.assertEqual(out.read_bytes(), before)
        self.assertEqual(sorted(path.name for path in self.root.iterdir()), ["corpus", "export.jsonl", "zoo"])
        self.tool("malseq", "export", "--out", "/dev/null", expect=2)
        self.tool("malseq", "export", "--out", self.root / "no" / "x", expect=4)
        with open("/dev/full", "w") as full:
            result = subprocess.run([os.path.join(BIN, "malseq"), "export", "--corpus", str(self.corpus)], stdout=full, stderr=subprocess.PIPE,
                                    timeout=250, check=False)
        self.assertEqual(result.returncode, 4)

    @unittest.skipIf(os.environ.get("MALSEQ_SANITIZED") == "1", "memory is measured without sanitizers")
    def test_memory_does_not_grow(self):
        self.collect("zoo", {"a": pe.pe("a")})
        peaks = []
        for count in (1000, 60000):
            with sqlite3.connect(self.corpus / "corpus.db") as db:
                features = db.execute("SELECT features FROM sample WHERE features IS NOT NULL LIMIT 1").fetchone()[0]
                db.executemany("INSERT OR IGNORE INTO sample (sha256, size, kind, features) VALUES (?, 1, 'exe', ?)",
                               ((b"%032d" % number, features) for number in range(count)))
            command = ["/usr/bin/env", "python3", "-c", "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True,"
                       " stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)",
                       os.path.join(BIN, "malseq"), "export", "-q", "--corpus", str(self.corpus)]
            peaks.append(int(subprocess.run(command, capture_output=True, timeout=250, check=True).stdout))
        # SQLite's page cache, 32 MiB by our own setting, fills up and stays.
        self.assertLess(peaks[1], peaks[0] + 48 * 1024, peaks)


if __name__ == "__main__":
    unittest.main()

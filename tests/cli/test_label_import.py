"""label import: what is refused and where, every form in every container and layout, and what the corpus says afterwards."""
# ctest: full cost=50
import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import pathlib
import re
import resource
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from gen import antivirus_forms as forms  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MALSEQ_BIN", ROOT / "build/release/bin"))
DATA = os.environ.get("MALSEQ_DATA")
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
FIELDS = {"file", "line", "byte", "status", "reason", "hash", "format", "policy", "verdict", "class", "family"}


def dump(document):
    return json.dumps(document).encode()


def v3(number, **more):
    return forms.report("vt3", forms.spec(number, **more))


class ImportCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="malseq-import-")
        self.addCleanup(folder.cleanup)
        self.base = pathlib.Path(folder.name)
        self.corpus = self.base / "corpus"

    def run_tool(self, tool, *words, stdin=None, expect=0, corpus=None):
        done = subprocess.run([str(BIN / tool), *map(str, words), "--corpus", str(corpus or self.corpus)], input=stdin, capture_output=True, timeout=250)
        self.assertEqual(done.returncode, expect, done.stderr.decode(errors="replace"))
        return done

    def take(self, *paths, expect=0, stdin=None, corpus=None, more=()):
        """The lines of label import --json."""
        done = self.run_tool("label", "import", *paths, "--json", *more, stdin=stdin, expect=expect, corpus=corpus)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        for row in rows:
            self.assertEqual(set(row), FIELDS)
        self.talk = done.stderr.decode()
        return rows

    def file(self, name, data):
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def sql(self, statement, *values, corpus=None):
        with sqlite3.connect(f"file:{(corpus or self.corpus) / 'corpus.db'}?mode=ro", uri=True) as connection:
            return connection.execute(statement, values).fetchall()

    def digest(self, corpus=None):
        return self.run_tool("malseq", "fsck", "--digest", corpus=corpus).stdout.strip()

    def bodies(self, corpus=None):
        return sorted(row[0].hex() for row in self.sql("SELECT body_sha256 FROM scan", corpus=corpus))


def digests(texts):
    return sorted({hashlib.sha256(text).hexdigest() for text in texts})


class Refused(ImportCase):
    def test_nothing_to_read(self):
        self.run_tool("label", "import", expect=2)
        self.take(self.base / "absent.json", expect=3)
        self.take(self.file("empty.json", b""), expect=3)
        self.take(self.file("blank.json", b" \n\n"), expect=3)
        (self.base / "folder").mkdir()
        self.file("folder/readme.txt", b"no report")
        self.take(self.base / "folder", expect=3)
        self.assertIn("passed over", self.talk)
        self.take(self.file("garbage.json", bytes(range(256)) * 40), expect=3)
        self.take("-", stdin=b"", expect=3)

    def test_a_wrong_policy_is_usage(self):
        self.run_tool("label", "import", "--policy", "no-such", self.file("a.json", dump(v3(1))), expect=2)

    def test_bad_records_cost_themselves(self):
        good = [dump(v3(number)) for number in range(6)]
        bad = [b"hello world", b'{"data": {"attributes": {"md5": "x"', b'{"data":{"attributes":{"last_analysis_results":{}}}}',
               b'{"response_code": 1, "md5": "zz", "scans": {}}', b'{"a": 1}', b'{"data": {"id": "x", "type": "url", "attributes": {"url": "http://a/"}}}']
        text, at, expected = b"", 0, []
        for line in [part for pair in zip(good, bad) for part in pair]:
            expected.append((at + 1, len(text), "imported" if line in good else "rejected"))
            text += line + b"\n"
            at += 1
        rows = self.take(self.file("a.jsonl", text), expect=1)
        self.assertEqual([(row["line"], row["byte"], row["status"]) for row in rows], expected)
        self.assertTrue(all(row["reason"] for row in rows if row["status"] == "rejected"))
        self.assertIn("line 2 (byte %d)" % (len(good[0]) + 1), self.talk)
        self.assertEqual(self.bodies(), digests(good))

    def test_broken_indented_records(self):
        whole = [json.dumps(v3(number), indent=2).encode() for number in range(4)]
        cut = whole[1][:len(whole[1]) // 2].rsplit(b"\n", 1)[0]
        rows = self.take(self.file("a.json", b"\n".join([whole[0], cut, whole[2], whole[3][:-1]])), expect=1)
        self.assertEqual([row["status"] for row in rows], ["imported", "rejected", "imported", "rejected"])
        self.assertEqual(rows[1]["line"], whole[0].count(b"\n") + 2)

    def test_too_large_a_record(self):
        large = b'{"data":{"attributes":{"names":[' + b'"aaaaaaaaaaaaaaaa",\n' * 900000 + b'""]}}}'
        self.assertGreater(len(large), 16 << 20)
        rows = self.take(self.file("a.json", dump(v3(1)) + b"\n" + large + b"\n" + dump(v3(2)) + b"\n"), expect=1)
        self.assertEqual([(row["line"], row["status"]) for row in rows], [(1, "imported"), (2, "rejected"), (900003, "imported")])

    def test_damaged_containers(self):
        text = b"".join(dump(v3(number)) + b"\n" for number in range(40))
        packed = gzip.compress(text)
        rows = self.take(self.file("cut.gz", packed[:len(packed) // 2]), expect=1)
        self.assertEqual(rows[-1]["status"], "rejected")
        self.assertIn("gzip", rows[-1]["reason"])
        self.assertGreater(sum(row["status"] == "imported" for row in rows), 5)
        rows = self.take(self.file("cut.zst", forms.zstd(text)[:-3000]), expect=1)
        self.assertIn("zstd", rows[-1]["reason"])
        rows = self.take(self.file("tail.gz", gzip.compress(dump(v3(77))) + b"tail"), expect=1)
        self.assertEqual([row["status"] for row in rows], ["imported", "rejected"])

    def test_what_is_not_unpacked_is_named(self):
        text = b"".join(dump(v3(number)) + b"\n" for number in range(40))
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("a.json", text)
        for name, packed, why in (("a.bz2", bz2.compress(text), "bzip2-compressed; decompress it first"),
                                  ("a.xz", lzma.compress(text), "xz-compressed; decompress it first"),
                                  ("a.zip", archive.getvalue(), "a zip archive; unpack it first")):
            for size in (len(packed), 9 << 20):             # small files are read together, large ones in slices
                rows = self.take(self.file(name, packed + b"\n{}" * ((size - len(packed)) // 3)), expect=3)
                self.assertEqual([(row["status"], row["reason"]) for row in rows], [("rejected", why)])
        rows = self.take(self.base / "a.bz2", self.file("good.json", dump(v3(1)) + b"\nBZh9\n"), expect=1)
        self.assertEqual([row["status"] for row in rows], ["rejected", "imported", "rejected"])

    def test_one_bad_file_among_many(self):
        for number in range(30):
            self.file("many/%02d.json" % number, b'{"x"' if number == 7 else b"" if number == 8 else dump(v3(number)))
        rows = self.take(self.base / "many", expect=1)
        self.assertEqual(len(rows), 29)
        self.assertEqual([pathlib.Path(row["file"]).name for row in rows if row["status"] == "rejected"], ["07.json"])
        self.take(self.base / "many", self.base / "absent.json", expect=3)

    def test_the_empty_file(self):
        document = v3(1)
        document["data"]["attributes"]["sha256"] = EMPTY
        rows = self.take(self.file("a.json", dump(document)), expect=3)
        self.assertIn("empty file", rows[0]["reason"])

    def test_hashes_that_contradict(self):
        self.take(self.file("a.json", dump(v3(1))))
        document = v3(1, analysed=1710000000)
        document["data"]["attributes"]["md5"] = "0" * 32
        rows = self.take(self.file("b.json", dump(document) + b"\n" + dump(v3(2))), expect=1)
        self.assertEqual([row["status"] for row in rows], ["rejected", "imported"])
        self.assertIn("contradict", rows[0]["reason"])
        self.assertEqual(self.sql("SELECT count(*) FROM sample")[0][0], 2)

    def test_what_was_forgotten_stays_out(self):
        self.take(self.file("a.json", dump(v3(1)) + b"\n" + dump(v3(2))))
        self.run_tool("collect", "forget", forms.spec(1).sha256)
        rows = self.take(self.base / "a.json")
        self.assertEqual([row["status"] for row in rows], ["forgotten", "known"])
        self.assertEqual(self.sql("SELECT count(*) FROM scan")[0][0], 1)

    def test_a_dry_run_writes_nothing(self):
        rows = self.take(self.file("a.json", dump(v3(1))), more=("--dry-run",))
        self.assertEqual([(row["status"], row["verdict"]) for row in rows], [("imported", "malicious")])
        self.assertFalse(self.corpus.exists())
        self.take(self.base / "a.json")
        before = self.digest()
        self.assertEqual(self.take(self.base / "a.json", more=("--dry-run",))[0]["status"], "known")
        self.assertEqual(self.digest(), before)


class Forms(ImportCase):
    def test_every_form_container_and_layout(self):
        number = 0
        for form in forms.FORMS:
            for layout in forms.LAYOUTS:
                with self.subTest(form=form, layout=layout):
                    documents = [forms.report(form, forms.spec(number + index)) for index in range(5)]
                    number += 5
                    text, texts = forms.write(layout, documents)
                    packed = list(forms.CONTAINERS)[1 + number // 5 % (len(forms.CONTAINERS) - 1)]
                    for container in ("plain", packed):  # 35 files: every container meets every form and every layout
                        pack = forms.CONTAINERS[container]
                        corpus = self.base / ("%s-%s-%s" % (form, layout, container))
                        rows = self.take(self.file(corpus.name + ".json", pack(text)), corpus=corpus)
                        self.assertEqual([row["status"] for row in rows], ["imported"] * 5, container)
                        self.assertEqual({row["format"] for row in rows}, {forms.FORMAT[form]})
                        self.assertEqual([row["byte"] for row in rows], [text.index(part) for part in texts])
                        self.assertEqual([row["line"] for row in rows], [text[:row["byte"]].count(b"\n") + 1 for row in rows])
                        self.assertEqual(self.bodies(corpus), digests(texts))

    def test_large_files_pipes_and_small_ones_are_the_same(self):
        documents = [forms.report(forms.FORMS[number % 5], forms.spec(number, cls=("Worm", "Trojan", "Adware")[number % 3], groups=number % 14)) for number in range(150)]
        text, texts = forms.write("mixed", documents)
        self.assertGreater(len(text), 1 << 20)
        folder = self.base / "small"
        for number, part in enumerate(texts):
            self.file("small/%03d.json" % number, part if number % 3 else gzip.compress(part))
        results = []
        for name, words, stdin in (("plain", [self.file("a.json", text)], None), ("gz", [self.file("a.json.gz", gzip.compress(text))], None), ("pipe", ["-"], text),
                                   ("jobs", [self.base / "a.json", "--jobs", "7"], None), ("small", [folder], None)):
            corpus = self.base / ("corpus-" + name)
            rows = self.take(*words, stdin=stdin, corpus=corpus)
            self.assertEqual([row["status"] for row in rows], ["imported"] * 150)
            self.assertEqual(self.bodies(corpus), digests(texts))
            results.append(([(row["hash"], row["verdict"], row["class"], row["family"]) for row in rows], self.digest(corpus)))
        for result in results[1:]:
            self.assertEqual(result, results[0])

    def test_a_list_of_v3_objects(self):
        documents = [forms.report("feed", forms.spec(number)) for number in range(4)]
        for indent in (None, 2):
            text = json.dumps({"data": documents, "meta": {"cursor": "x"}}, indent=indent).encode()
            rows = self.take(self.file("a.json", text), corpus=self.base / str(indent))
            self.assertEqual([(row["status"], row["hash"]) for row in rows], [("imported", forms.spec(number).sha256) for number in range(4)])

    def test_folders(self):
        outside = self.file("outside/secret.json", dump(v3(90)))
        for name in ("b.json", "a/x.json", "a/y.jsonl", "c.txt"):
            self.file("folder/" + name, dump(v3(len(name) + ord(name[0]))))
        os.symlink(outside, self.base / "folder/link.json")
        os.symlink(outside.parent, self.base / "folder/linked")
        os.mkfifo(self.base / "folder/pipe.json")
        rows = self.take(self.base / "folder")
        self.assertEqual([str(pathlib.Path(row["file"]).relative_to(self.base / "folder")) for row in rows], ["a/x.json", "a/y.jsonl", "b.json"])

    def test_records_that_name_an_md5_alone(self):
        document = forms.report("simple", forms.spec(5))
        del document["sha256"], document["sha1"]
        self.assertEqual(self.take(self.file("a.json", dump(document)))[0]["hash"], forms.spec(5).md5)
        self.take(self.file("b.json", dump(v3(5))))
        self.assertEqual(self.sql("SELECT hex(sha256), hex(md5) FROM sample"), [(forms.spec(5).sha256.upper(), forms.spec(5).md5.upper())])
        self.assertEqual(self.sql("SELECT format, source FROM scan ORDER BY format"), [("simple", "import"), ("vt3", "import")])


class Corpus(ImportCase):
    def test_again_changes_nothing(self):
        path = self.file("a.jsonl", b"\n".join(dump(forms.report(forms.FORMS[number % 5], forms.spec(number))) for number in range(20)))
        self.take(path)
        before = self.digest()
        labels = self.sql("SELECT id, made_ms FROM label ORDER BY id")
        rows = self.take(path)
        self.assertEqual([row["status"] for row in rows], ["known"] * 20)
        self.assertEqual(self.digest(), before)
        self.assertEqual(self.sql("SELECT id, made_ms FROM label ORDER BY id"), labels)
        runs = self.sql("SELECT json_extract(counts, '$.imported'), json_extract(counts, '$.known'), exit_code, hex(input_digest) FROM run ORDER BY id")
        self.assertEqual([run[:3] for run in runs], [(20, 0, 0), (0, 20, 0)])
        self.assertEqual(runs[0][3], runs[1][3])
        self.assertEqual(len(runs[0][3]), 64)

    def test_a_known_record_that_unites_two_samples_relabels(self):
        """The scans of the other row are the sample's from then on, and its label rests on them too."""
        first, second = v3(1, groups=20, analysed=1700000000), v3(1, groups=0, analysed=1690000000)
        path = self.file("a.jsonl", dump(first) + b"\n" + dump(second))
        self.take(path)
        whole, labels = self.digest(), self.sql("SELECT verdict, scan FROM label WHERE current = 1")
        with sqlite3.connect(self.corpus / "corpus.db") as connection:
            connection.execute("INSERT INTO sample (id, md5) SELECT 77, md5 FROM sample")
            connection.execute("UPDATE scan SET sample = 77 WHERE last_analysis_ms < 1695000000000")
        self.run_tool("label", "relabel")
        self.assertNotEqual(self.sql("SELECT verdict, scan FROM label WHERE current = 1 AND sample <> 77"), labels)
        rows = self.take(self.file("b.json", dump(first)))
        self.assertEqual([row["status"] for row in rows], ["known"])
        self.assertEqual(self.sql("SELECT count(*) FROM sample"), [(1,)])
        self.assertEqual(self.sql("SELECT verdict, scan FROM label WHERE current = 1"), labels)
        self.assertEqual(len(whole), len(self.digest()))

    def test_what_is_told_is_kept(self):
        """The store fails in the middle (a limit on file sizes stands for a full disk): no line says of a lost record that it is imported."""
        path = self.file("a.jsonl", b"\n".join(b'{"x"' if number == 300 else dump(v3(number)) for number in range(900)))
        for megabytes in (1, 3):
            corpus, limit = self.base / str(megabytes), megabytes << 20
            done = subprocess.run([str(BIN / "label"), "import", str(path), "--json", "--corpus", str(corpus)], capture_output=True, timeout=250,
                                  restore_signals=False, preexec_fn=lambda n=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (n, n)))
            self.assertEqual(done.returncode, 4, done.stderr)
            told = [json.loads(line)["status"] for line in done.stdout.splitlines()]
            self.assertIn("not kept", done.stderr.decode())
            self.assertEqual(told.count("imported"), self.sql("SELECT count(*) FROM scan", corpus=corpus)[0][0])
            self.assertEqual(told.count("rejected"), done.stderr.count(b"line 301 "))
        self.assertGreater(told.count("imported"), 0)

    def test_an_older_scan_counts_as_older(self):
        """Whatever the order of import: the older one decided, and one newer scan does not overturn it, but a second does."""
        new = self.file("new.json", dump(v3(1, groups=20, analysed=1700000000)))
        old = self.file("old.json", dump(v3(1, groups=0, analysed=1690000000)))
        self.assertEqual(self.take(new)[0]["status"], "imported")
        self.assertEqual(self.take(old)[0]["status"], "older")
        current = "SELECT verdict, contested FROM label WHERE current = 1"
        self.assertEqual(self.sql(current), [("benign", "malicious")])
        self.assertEqual(self.sql("SELECT count(*) FROM scan"), [(2,)])
        self.take(self.file("newest.json", dump(v3(1, groups=20, analysed=1710000000))))
        self.assertEqual(self.sql(current), [("malicious", None)])

    def test_a_date_in_the_future_wins_no_more_than_once(self):
        self.take(self.file("future.json", dump(v3(1, groups=0, analysed=4000000000))))
        self.assertLess(self.sql("SELECT as_of_ms / 1000 FROM label")[0][0], 4000000000)
        self.take(self.file("old.json", dump(v3(1, groups=20, analysed=1700000000))))
        self.assertEqual(self.sql("SELECT verdict, contested FROM label WHERE current = 1"), [("malicious", "benign")])

    def test_imported_reports_cost_no_quota(self):
        rows = self.take(self.file("a.json", dump(v3(1, analysed=1700000000)) + dump({"response_code": 0, "resource": forms.spec(2).md5, "verbose_msg": "not there"}) +
                                   dump({"response_code": -2, "resource": forms.spec(3).sha256})))
        self.assertEqual([row["status"] for row in rows], ["imported", "absent", "absent"])
        states = dict(self.sql("SELECT hex(coalesce(sha256, md5)), state FROM lookup JOIN sample ON sample.id = lookup.sample"))
        self.assertEqual(states, {forms.spec(1).sha256.upper(): "labelled", forms.spec(2).md5.upper(): "not_found", forms.spec(3).sha256.upper(): "pending"})
        self.assertEqual(self.sql("SELECT count(*) FROM request"), [(0,)])
        self.assertEqual(self.sql("SELECT verdict FROM label JOIN sample ON sample.id = label.sample WHERE md5 = ?", bytes.fromhex(forms.spec(2).md5)), [("not_found",)])
        done = self.run_tool("label", "--dry-run", "--json")
        asked = [json.loads(line)["hash"] for line in done.stdout.splitlines()]
        self.assertEqual(asked, [forms.spec(3).sha256])

    def test_not_found_is_nothing_against_a_report(self):
        self.take(self.file("a.json", dump(v3(1))))
        before = self.digest()
        self.take(self.file("b.json", dump({"response_code": 0, "resource": forms.spec(1).sha256}) + dump({"response_code": -2, "resource": forms.spec(1).md5})))
        self.assertEqual(self.digest(), before)

    def test_private_samples_may_have_reports_and_are_not_asked(self):
        self.take(self.file("a.json", dump({"response_code": -2, "resource": forms.spec(1).sha256})))
        with sqlite3.connect(self.corpus / "corpus.db") as connection:
            connection.execute("UPDATE sample SET private = 1")
        self.assertEqual(self.take(self.file("b.json", dump(v3(1))))[0]["status"], "imported")
        self.assertEqual(self.run_tool("label", "--dry-run", "--json").stdout, b"")

    def test_other_verbs_read_what_was_imported(self):
        for form in forms.FORMS:
            corpus = self.base / form
            self.take(self.file(form + ".json", dump(forms.report(form, forms.spec(3, groups=25)))), corpus=corpus)
            said = json.loads(self.run_tool("label", "explain", forms.spec(3).md5, "--json", corpus=corpus).stdout)
            self.assertEqual(said["verdict"], "malicious", form)
            self.run_tool("label", "relabel", "--policy", "sophos-1-5", corpus=corpus)
            self.assertEqual(self.sql("SELECT verdict FROM label WHERE policy = 'sophos-1-5'", corpus=corpus), [("malicious",)])
            self.assertEqual(self.run_tool("malseq", "fsck", corpus=corpus).returncode, 0)

    def test_a_report_makes_two_names_of_one_file_one_sample(self):
        hashes = forms.spec(1)
        by_md5, by_sha256 = (dict(forms.report("simple", hashes), **{"av_labels": [["A", "Worm.X%d" % index]]}) for index in (1, 2))
        for kind in ("sha256", "sha1"):
            del by_md5[kind]
        for kind in ("sha1", "md5"):
            del by_sha256[kind]
        self.take(self.file("a.json", dump(by_md5) + dump(by_sha256)))
        self.assertEqual(self.sql("SELECT count(*) FROM sample"), [(2,)])
        self.take(self.file("b.json", dump(v3(1))))
        self.assertEqual(self.sql("SELECT count(*) FROM sample"), [(1,)])
        self.assertEqual(self.sql("SELECT count(DISTINCT sample), count(*) FROM scan"), [(1, 3)])
        self.run_tool("malseq", "fsck")

    def test_the_disk_fills_up(self):
        path = self.file("a.jsonl", b"\n".join(dump(v3(number)) for number in range(1500)))
        command = 'ulimit -f 4096; exec "$0" import "$1" --corpus "$2"'
        done = subprocess.run(["bash", "-c", command, str(BIN / "label"), str(path), str(self.corpus)], capture_output=True, timeout=250)
        if done.returncode == 0:
            self.skipTest("the corpus is smaller than the limit")
        self.assertEqual(done.returncode, 4, done.stderr)
        kept = self.sql("SELECT count(*) FROM scan")[0][0]
        self.assertGreater(kept, 0)
        self.assertLess(kept, 1500)
        told = int(re.search(rb"(\d+) imported,", done.stderr)[1])
        lost = re.search(rb"the last (\d+) of these records are not kept", done.stderr)
        self.assertEqual(told - (int(lost[1]) if lost else 0), kept, "what is told is what is kept")
        rows = self.take(path)
        self.assertEqual(sum(row["status"] == "known" for row in rows), kept)
        self.assertEqual(self.sql("SELECT count(*) FROM scan"), [(1500,)])


@unittest.skipUnless(DATA, "MALSEQ_DATA is not set: no genuine reports to import")
class Genuine(ImportCase):
    def test_counts_are_those_of_pythons_json(self):
        decoder = json.JSONDecoder()
        for path in sorted(pathlib.Path(DATA, "labels").rglob("*.json*")):
            text, at, parts = path.read_text(), 0, []
            while text[at:].strip():
                at += len(text[at:]) - len(text[at:].lstrip())
                value, end = decoder.raw_decode(text, at)
                parts.append((value, text[at:end].encode()))
                at = end
            with self.subTest(path=path.name):
                corpus = self.base / path.name
                rows = self.take(path, corpus=corpus)
                self.assertEqual(len(rows), len(parts))
                self.assertEqual([row["byte"] for row in rows], [path.read_bytes().index(part) for _, part in parts])
                self.assertEqual(self.bodies(corpus), digests(part for _, part in parts))
                for row, (value, _) in zip(rows, parts):
                    flat = json.dumps(value)
                    self.assertIn(row["hash"], flat.lower())


if __name__ == "__main__":
    unittest.main()

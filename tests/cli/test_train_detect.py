"""train and detect on generated datasets and reports: what is learnt, what is shown, what is refused."""
import gzip
import hashlib
import json
import os
import pathlib
import random
import re
import sqlite3
import struct
import subprocess
import tempfile
import unittest
import zipfile

from gen import archive, report, sevenzip

BIN = os.environ["MALSEQ_BIN"]
COMMON = ["NtClose", "NtCreateFile", "NtReadFile", "NtWriteFile", "LdrLoadDll", "LdrGetProcedureAddress", "RegOpenKeyExW", "RegQueryValueExW",
          "NtAllocateVirtualMemory", "GetSystemMetrics", "NtQueryValueKey", "NtOpenKey"]
BAD = ["WriteProcessMemory", "CreateRemoteThread"]
GOOD = ["MessageBoxTimeoutW", "DrawTextExW"]
SMALL = ["--kind", "lstm", "--baselines", "no", "--epochs", "8", "--hidden", "16", "--lr", "0.01"]
PLAIN = ["--kind", "lstm", "--baselines", "no"]
HELD = ["--test-share", ".2"]    # one training a run


def run(tool, *args, stdin=None, timeout=250):
    return subprocess.run([os.path.join(BIN, tool), *map(str, args)], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)


def calls_of(rng, malicious):
    """A trace: common calls in random order, and what gives it away somewhere among them."""
    calls = rng.sample(COMMON, 8)
    for name in BAD if malicious else GOOD:
        calls.insert(rng.randrange(len(calls)), name)
    return calls


def write_malbehavd(path, rows, seed=1):
    """MalBehavD-V1's format; every fifth row is a copy of the one before under another hash."""
    rng, lines, calls = random.Random(seed), ["sha256,labels," + ",".join(map(str, range(12)))], []
    for i in range(rows):
        malicious = i // 5 % 2 == 0
        if i % 5 != 4:
            calls = calls_of(rng, malicious)
        lines.append(",".join([hashlib.sha256(b"%d" % i).hexdigest(), str(int(malicious)), *calls]))
    path.write_text("\n".join(lines) + "\n")


def write_mal_api(folder, rows, seed=1):
    """Mal-API-2019's format; Virus and Worms differ in nothing but the order of their calls."""
    rng, lines, classes = random.Random(seed), [], []
    folder.mkdir()
    for i in range(rows):
        virus = rng.random() < .5
        calls = [name.lower() for name in rng.sample(COMMON, 6)]
        calls[1:1] = ["connect", "send"] if virus else ["send", "connect"]
        if i % 3 == 0:
            calls.append("__exception__")
        lines.append(" ".join(name for name in calls for _ in range(rng.randrange(1, 4))))
        classes.append("Virus" if virus else "Worms")
    with zipfile.ZipFile(folder / "mal-api-2019.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("all_analysis_data.txt", "\n".join(lines) + "\n")
    (folder / "labels.csv").write_text("\n".join(classes) + "\n")


SCHEMAS = pathlib.Path(__file__).resolve().parents[2] / "schemas"
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}


def check_schema(value, schema, where="$"):
    """The few words of JSON Schema that ours use; any other word is an error, so that none is passed over."""
    known = {"$schema", "title", "description", "type", "enum", "const", "required", "properties", "additionalProperties", "items", "minItems",
             "maxItems", "minimum", "pattern"}
    if set(schema) - known:
        raise AssertionError("%s: unknown words %s" % (where, set(schema) - known))
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(isinstance(value, TYPES[t]) and not (isinstance(value, bool) and t != "boolean") for t in types):
        raise AssertionError("%s: %r is not %s" % (where, value, types))
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        raise AssertionError("%s: %r is not allowed" % (where, value))
    if isinstance(value, dict):
        missing, more = set(schema.get("required", [])) - set(value), set(value) - set(schema.get("properties", {}))
        if missing or more:
            raise AssertionError("%s: missing %s, too much %s" % (where, missing, more))
        for key, item in value.items():
            check_schema(item, schema["properties"][key], where + "." + key)
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            raise AssertionError("%s: %d items" % (where, len(value)))
        for item in value:
            check_schema(item, schema["items"], where + "[]")
    elif isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        raise AssertionError("%s: %r does not match" % (where, value))
    elif isinstance(value, (int, float)) and value < schema.get("minimum", value):
        raise AssertionError("%s: %r is too small" % (where, value))


class Corpora(unittest.TestCase):
    """Two corpora made once for all classes; a model trained on the first."""

    root = None

    @classmethod
    def setUpClass(cls):
        if not Corpora.root:
            Corpora.make()

    @classmethod
    def make(cls):
        folder = tempfile.TemporaryDirectory()
        unittest.addModuleCleanup(folder.cleanup)
        cls.root = pathlib.Path(folder.name)
        write_malbehavd(cls.root / "set.csv", 200)
        write_mal_api(cls.root / "set", 160)
        cls.verdicts, cls.classes = cls.root / "verdicts", cls.root / "classes"
        cls.good(run("extract", "dataset", "malbehavd-v1", cls.root / "set.csv", "--corpus", cls.verdicts))
        cls.good(run("extract", "dataset", "mal-api-2019", cls.root / "set", "--corpus", cls.classes))
        cls.result = cls.train(cls.verdicts, "--name", "first")
        cls.model = cls.verdicts / "models" / "first"

    @staticmethod
    def good(done):
        if done.returncode != 0:
            raise AssertionError("exit %d: %s" % (done.returncode, done.stderr.decode()))
        return done

    @classmethod
    def train(cls, corpus, *args):
        return json.loads(cls.good(run("train", "--corpus", corpus, "--json", "-q", *SMALL, *([] if "--folds" in args or "--preset" in args else HELD), *args)).stdout)


class Train(Corpora):
    def test_learns_the_planted_rule(self):
        r = self.result
        self.assertGreaterEqual(r["accuracy"], .95)
        self.assertLess(r["majority_accuracy"], .7)
        self.assertEqual(r["confusion"]["classes"], ["malware", "benign"])
        self.assertEqual((r["confusion"]["rows"], r["confusion"]["columns"]), ("predicted", "true"))
        counts = r["confusion"]["counts"]
        self.assertEqual(sum(map(sum, counts)), r["judged"])
        self.assertAlmostEqual((counts[0][0] + counts[1][1]) / r["judged"], r["accuracy"])
        self.assertEqual(len(r["curve"]), 8)
        self.assertLess(r["curve"][-1]["loss"], r["curve"][0]["loss"])

    def test_copies_do_not_straddle(self):
        r = self.result
        self.assertEqual(r["samples"], 200)
        self.assertEqual(r["copies"]["raw"]["distinct"], 160)
        self.assertEqual(r["split"]["copies_in_training"], 0)
        naive = self.train(self.verdicts, "--split", "naive", "--name", "naive", "--epochs", "1")
        self.assertGreater(naive["split"]["copies_in_training"], 0)
        db = sqlite3.connect(self.verdicts / "corpus.db")
        rows = db.execute("select count(distinct part) from split where name not like 'naive%' group by grp").fetchall()
        self.assertGreater(len(rows), 100)
        self.assertEqual({n for n, in rows}, {1})

    def test_order_is_learnt(self):
        r = self.train(self.classes, "--target", "class", "--epochs", "12")
        self.assertGreaterEqual(r["accuracy"], .9)
        self.assertEqual(r["confusion"]["classes"], ["Virus", "Worm"])
        self.assertIsNone(r["threshold"])

    def test_shuffled_labels_end_at_chance(self):
        r = self.train(self.verdicts, "--shuffle-labels", "--folds", "4")
        self.assertTrue(r["shuffled_labels"])
        self.assertEqual(r["judged"], 200)
        self.assertLess(r["accuracy"], .65)
        self.assertEqual(len(r["split"]["fold_accuracy"]), 4)

    def test_same_seed_same_model_whatever_the_jobs(self):
        one = self.train(self.verdicts, "--name", "jobs1", "--jobs", "1")
        two = self.train(self.verdicts, "--name", "jobs2", "--jobs", "2")
        other = self.train(self.verdicts, "--name", "seed2", "--seed", "2")
        self.assertEqual(one["model_digest"], two["model_digest"])
        self.assertEqual(one["model_digest"], self.result["model_digest"])
        self.assertNotEqual(one["model_digest"], other["model_digest"])
        for name in ("accuracy", "confusion", "curve", "by_class", "dataset", "split"):
            self.assertEqual(one[name], two[name])
        file = (self.verdicts / "models" / "jobs1" / "model.safetensors").read_bytes()
        self.assertEqual(hashlib.sha256(file).hexdigest(), one["model_digest"])

    def test_article_preset(self):
        r = self.train(self.classes, "--preset", "article", "--target", "class=Virus", "--epochs", "2")
        self.assertEqual(r["normalisation"], "normalise-1 fold=case pseudo=keep repeated=expand collapse=0 once=no cut=tail:100")
        self.assertEqual(r["confusion"]["classes"], ["Virus", "not Virus"])
        header = self.header(self.classes / "models" / "article-class-Virus" / "model.safetensors")
        words = json.loads(header["__metadata__"]["vocabulary"])
        self.assertIn("exception", words)  # Keras's filter takes the underscores
        self.assertEqual(header["embedding"]["shape"], [800, 300])

    @staticmethod
    def header(path):
        data = path.read_bytes()
        return json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])

    def test_json_is_as_described(self):
        schema = json.loads((SCHEMAS / "train.schema.json").read_text())
        folds = self.train(self.classes, "--target", "class", "--folds", "2", "--epochs", "1", "--name", "described")
        dry = json.loads(self.good(run("train", "--corpus", self.verdicts, "--dry-run", "--json")).stdout)
        metrics = json.loads((self.model / "metrics.json").read_text())
        for value in (self.result, folds, dry, metrics):
            check_schema(value, schema)
        judged = set(schema["properties"]) - set(schema["required"])
        self.assertLessEqual(judged - set(metrics), {"folder"})
        with self.assertRaises(AssertionError):
            check_schema(dict(metrics, accuracy="high"), schema)

    def test_provenance_is_recorded(self):
        db = sqlite3.connect(self.verdicts / "corpus.db")
        digest, metrics, target = db.execute(
            "select lower(hex(m.digest)), m.metrics, d.target from model m join dataset d on d.id = m.dataset where m.name = 'first'").fetchone()
        self.assertEqual(digest, self.result["model_digest"])
        self.assertEqual(target, "malware")
        self.assertEqual(json.loads(metrics)["accuracy"], self.result["accuracy"])
        self.assertEqual(json.loads((self.model / "metrics.json").read_text())["accuracy"], self.result["accuracy"])
        tool, code, argv = db.execute("select tool, exit_code, argv from run where tool = 'train' order by id limit 1").fetchone()
        self.assertEqual(code, 0)
        self.assertIn("--name", json.loads(argv))

    def test_killed_anywhere_the_next_run_goes_on(self):
        digest = None
        for step in ("train.publish.model", "train.publish.files", "train.publish.rows", None):
            env = dict(os.environ, MALSEQ_TEST_KILL=step + ":1") if step else None
            args = [os.path.join(BIN, "train"), "--corpus", self.verdicts, "--json", "-q", "--name", "killed", *SMALL, *HELD]
            done = subprocess.run(args, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=250)
            self.assertEqual(done.returncode, -9 if step else 0, done.stderr)
            digest = json.loads(done.stdout)["model_digest"] if not step else None
        self.assertEqual(digest, self.result["model_digest"])
        db = sqlite3.connect(self.verdicts / "corpus.db")
        self.assertEqual(db.execute("select count(*), lower(hex(digest)) from model where name = 'killed'").fetchone(), (1, digest))

    def test_text_has_the_majority_row_and_the_matrix(self):
        text = self.good(run("train", "--corpus", self.verdicts, *PLAIN, *HELD, "--epochs", "1", "--hidden", "4", "--name", "text")).stdout.decode()
        accuracy, majority = text.index("accuracy            0."), text.index("majority class      0.")
        self.assertLess(majority - accuracy, 120)
        self.assertIn("rows: predicted, columns: true", text)
        self.assertRegex(text, r"malware +100 +50\.0 %  #+")

    def test_dry_run_changes_nothing(self):
        before = sorted(p.name for p in (self.verdicts / "models").iterdir())
        r = json.loads(self.good(run("train", "--corpus", self.verdicts, "--dry-run", "--json", "--name", "dry")).stdout)
        self.assertEqual((r["samples"], r["dropped"]["short"]), (200, 0))
        self.assertNotIn("accuracy", r)
        self.assertEqual(before, sorted(p.name for p in (self.verdicts / "models").iterdir()))

    def test_a_source_that_tells_the_class_is_told(self):
        self.assertFalse(self.result["source_suspect"])
        self.assertEqual(self.result["policy"], "dataset:malbehavd-v1")
        corpus = self.root / "confounded"
        self.good(run("extract", "dataset", "malbehavd-v1", self.root / "set.csv", "--corpus", corpus))
        self.good(run("extract", "dataset", "mal-api-2019", self.root / "set", "--corpus", corpus))
        db = sqlite3.connect(corpus / "corpus.db")
        db.execute("update label set verdict = 'uncertain' where policy = 'dataset:malbehavd-v1' and verdict = 'malicious'")
        db.commit()
        db.close()
        r = self.train(corpus, "--epochs", "1")
        self.assertEqual((r["samples"], r["dropped"]["labelled_otherwise"], r["source_accuracy"]), (260, 100, 1.0))
        self.assertTrue(r["source_suspect"])
        self.assertEqual(r["policy"], "dataset:mal-api-2019, dataset:malbehavd-v1")
        self.assertIn("may have learnt the source", (corpus / "models" / "default-lstm-malware" / "report.html").read_text())
        self.assertIn("learn the sandbox", self.good(run("train", "--corpus", corpus, "--dry-run")).stdout.decode())

    def test_hardly_any_traces(self):
        write_malbehavd(self.root / "few.csv", 10)
        corpus = self.root / "few"
        self.good(run("extract", "dataset", "malbehavd-v1", self.root / "few.csv", "--corpus", corpus))
        r = self.train(corpus, "--folds", "2", "--epochs", "1")
        self.assertEqual((r["samples"], r["judged"]), (10, 10))
        db = sqlite3.connect(corpus / "corpus.db")
        db.execute("delete from label where sample not in (select sample from label where verdict = 'benign' limit 1) and sample not in"
                   " (select sample from label where verdict = 'malicious' limit 1)")
        db.commit()
        db.close()
        for judged, words in ((HELD, "too few for this split"), ([], "2 distinct sequences cannot be divided into 5 parts")):
            done = run("train", "--corpus", corpus, *PLAIN, *judged, "--epochs", "1")
            self.assertEqual(done.returncode, 3)
            self.assertIn(words, done.stderr.decode())

    def test_min_calls_leaves_out(self):
        r = json.loads(self.good(run("train", "--corpus", self.classes, "--dry-run", "--json", "--target", "class", "--min-calls", "15")).stdout)
        self.assertGreater(r["dropped"]["short"], 0)
        self.assertEqual(r["samples"] + r["dropped"]["short"], 160)
        self.assertGreaterEqual(r["lengths"][0], 15)

    def test_refuses(self):
        for args, code, words in [
            (["--target", "size"], 2, "malware, class or class=NAME"),
            (["--name", "../x"], 2, "--name"),
            (["--lr", "-1"], 2, "--lr"),
            (["--lr", "0"], 2, "--lr 0: must be over 0"),
            (["--lr", "nan"], 2, "--lr"),
            (["--test-share", "0"], 2, "--test-share 0: must be over 0"),
            (["--test-share", "1"], 2, "--test-share"),
            (["--folds", "1"], 2, "folds"),
            (["--kind", "magic"], 2, "kind"),
            (["--target", "class=Nothing"], 3, "no trace of class 'Nothing'"),
            (["--target", "class"], 3, "no labelled traces"),  # MalBehavD has verdicts alone
            (["--policy", "none"], 3, "no labelled traces"),
            (["--lr", "10", "--preset", "article", "--batch", "16"], None, "accuracy"),  # hard on the net, yet no crash
        ]:
            with self.subTest(args=args):
                done = run("train", "--corpus", self.verdicts, *PLAIN, "--epochs", "2", *args)
                if code is None:
                    self.assertIn(done.returncode, (0, 3))
                else:
                    self.assertEqual(done.returncode, code, done.stderr)
                    self.assertIn(words, done.stderr.decode())
        self.assertEqual(run("train", "--corpus", self.root / "nowhere").returncode, 3)


class Page(Corpora):
    HOSTILE = "<script>alert(1)</script>\"'&\u202e"

    def test_hostile_names_are_escaped(self):
        corpus = self.root / "hostile"
        self.good(run("extract", "dataset", "mal-api-2019", self.root / "set", "--corpus", corpus))
        db = sqlite3.connect(corpus / "corpus.db")
        db.execute("update label set class = ? where class = 'Virus'", (self.HOSTILE,))
        db.commit()
        db.close()
        done = self.good(run("train", "--corpus", corpus, *PLAIN, *HELD, "--name", "default-class", "--target", "class", "--epochs", "1", "--hidden", "4"))
        page = (corpus / "models" / "default-class" / "report.html").read_text()
        self.assertIn("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;", page)
        self.assertIn("\\u{202e}", page)
        self.assertNotIn("\u202e", page)
        self.assertNotIn("\u202e", done.stdout.decode())
        self.check(page)
        self.good(run("train", "--corpus", corpus, *PLAIN, *HELD, "--target", "class=" + self.HOSTILE, "--epochs", "1", "--hidden", "4", "--name", "one"))
        self.check((corpus / "models" / "one" / "report.html").read_text())

    def test_page_is_self_contained(self):
        self.check((self.model / "report.html").read_text())

    def check(self, page):
        self.assertIn("Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"", page)
        self.assertNotIn("<script", page.lower())
        self.assertNotRegex(page, r"(?i)(https?:)?//[a-z]|\bsrc=|\bhref=|url\(|@import|<(iframe|object|embed|link|form|img)\b")
        self.assertNotRegex(page, r"(?i)<[^>]* on[a-z]+=")
        for words in ("Confusion matrix", "Majority class", "Training curves", "Provenance", "<svg"):
            self.assertIn(words, page)
        opened = re.findall(r"<(/?)(section|table|tbody|thead|tr|td|th|div|svg|main|body|html|p|b|code|small|span|text)\b", page)
        depth = []
        for slash, name in opened:
            if not slash:
                depth.append(name)
            else:
                self.assertEqual(depth.pop(), name)
        self.assertEqual(depth, [])


class Detect(Corpora):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.reports, rng = cls.root / "reports", random.Random(7)
        (cls.reports / "deep").mkdir(parents=True)
        cls.truth = {}
        for i in range(20):
            malicious = i % 2 == 0
            calls = [name for name in calls_of(rng, malicious) for _ in range(3)]
            make = report.cape if i % 3 == 0 else report.cuckoo
            data = make([report.Process("a.exe", ["__anomaly__"] + calls)])
            path = cls.reports / ("deep" if i % 5 == 0 else "") / ("r%02d.json%s" % (i, ".gz" if i % 4 == 0 else ""))
            path.write_bytes(gzip.compress(data) if i % 4 == 0 else data)
            cls.truth[str(path)] = "malicious" if malicious else "benign"

    def lines(self, *args, **kwargs):
        done = run("detect", "--model", kwargs.pop("model", self.model), "--json", *args, **kwargs)
        return done, [json.loads(line) for line in done.stdout.decode().splitlines()]

    def test_verdicts(self):
        done, lines = self.lines(self.reports)
        self.assertEqual(done.returncode, 1)
        self.assertEqual({line["file"]: line["verdict"] for line in lines}, self.truth)
        schema = json.loads((SCHEMAS / "detect.schema.json").read_text())
        for line in lines:
            check_schema(line, schema)
            self.assertEqual((line["state"], line["calls"], line["tokens"]), ("ok", 30, 10))
            self.assertEqual(line["score"] >= .5, line["verdict"] == "malicious")

    def test_jobs_keep_the_order(self):
        outputs = {run("detect", "--model", self.model, "--jobs", jobs, *([self.reports] * 3)).stdout for jobs in (1, 2, 7)}
        self.assertEqual(len(outputs), 1)
        files = [line.split(b"\t")[0].decode() for line in outputs.pop().splitlines()]
        self.assertEqual(files, sorted(self.truth) * 3)

    def test_text_lines_and_exit_codes(self):
        benign = [path for path, verdict in self.truth.items() if verdict == "benign"]
        done = run("detect", "--model", self.model / "model.safetensors", *benign)
        self.assertEqual(done.returncode, 0, done.stderr)
        for line, path in zip(done.stdout.decode().splitlines(), benign):
            self.assertRegex(line, "^" + re.escape(path) + r"\tbenign\t0\.\d{4}$")
        done = run("detect", "--model", self.model, "--threshold", "0", *benign)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout.count(b"\tmalicious\t"), len(benign))

    def test_standard_input(self):
        data = report.cuckoo([report.Process("a.exe", BAD + COMMON)])
        for args in (["-"], []):
            done, lines = self.lines(*args, stdin=data)
            self.assertEqual((done.returncode, lines[0]["file"], lines[0]["verdict"]), (1, "-", "malicious"))

    def test_every_format(self):
        """By contents, whatever the name: each layout, each container, as a file, in a folder, from a pipe."""
        processes = [report.Process("a.exe", BAD + COMMON)]
        made = {"cuckoo2": report.cuckoo(processes), "cape": report.cape(processes), "modified": report.modified(processes),
                "cuckoo1": report.cuckoo1(processes), "drakvuf": report.drakvuf(processes), "syscall": report.drakvuf(processes, "syscall")}
        made.update(("speakeasy%d" % version, report.speakeasy(processes, version=version)) for version in (0, 1, 2))
        zstd = subprocess.run(["zstd", "-q", "-c"], input=made["cape"], capture_output=True, check=True, timeout=250).stdout
        beside = [("task.json", b'{"id": 5}'), ("shot.png", b"\x89PNG\r\n"), ("x.exe", b"MZ" + bytes(600)), ("empty", b"")]
        made.update({"gz": gzip.compress(made["drakvuf"]), "zst": zstd, "zip": archive.zipped(beside + [("reports/report.json", made["cuckoo2"])]),
                     "locked": archive.zipped([("report.json.gz", gzip.compress(made["cape"]))], b"infected"), "7z": sevenzip.packed([("x", made["cuckoo1"])])})
        folder = self.root / "formats"
        folder.mkdir()
        for name, data in made.items():
            (folder / (name + ".dat")).write_bytes(data)
        for name, data in beside:
            (folder / name).write_bytes(data)
        (folder / "others.zip").write_bytes(archive.zipped(beside))
        (folder / "x.log").write_bytes(b"starting\ndone\n")
        done, lines = self.lines(folder)
        self.assertIn(b"6 other files were passed over", done.stderr)
        self.assertEqual([os.path.basename(line["file"]) for line in lines], sorted(name + ".dat" for name in made))
        for name, data in made.items():
            lines += self.lines("-", stdin=data)[1] + self.lines(folder / (name + ".dat"))[1]
        self.assertEqual(len(lines), 3 * len(made))
        for line in lines:
            # An emulator names the library with each call (kernel32.Sleep): those names the model has not learnt.
            verdict = "unknown" if "speakeasy" in line["file"] else line["verdict"] if line["file"] == "-" else "malicious"
            self.assertEqual((line["verdict"], line["state"], line["calls"]), (verdict, "ok", len(BAD + COMMON)), line)
        self.assertEqual(sum(line["verdict"] == "malicious" for line in lines), 3 * (len(made) - 3))

    def test_archives_without_one_report(self):
        whole = report.cuckoo([report.Process("a.exe", BAD + COMMON)])
        for data, why in ((archive.zipped([("a", b"x")]), "without a report"), (archive.zipped([("a.json", whole)], b"another"), "need_password"), (archive.zipped([("a.json", whole[:-40])]), "line ")):
            _, lines = self.lines("-", stdin=data)
            self.assertEqual([(line["verdict"], line["state"]) for line in lines], [("unknown", "report_invalid")])
            self.assertIn(why, lines[0]["reason"])

    def test_an_archive_of_reports_gives_a_line_each(self):
        bad, good = report.cuckoo([report.Process("a.exe", BAD + COMMON)]), report.cape([report.Process("b.exe", GOOD + COMMON)])
        inner = archive.zipped([("deep.json.gz", gzip.compress(bad)), ("other.txt", b"words")])
        data = archive.zipped([("a.json", bad), ("b\x1b.json", good), ("cut.json", bad[:-40]), ("in.zip", inner), ("x.exe", b"MZ" + bytes(600))])
        path = self.root / "several.zip"
        path.write_bytes(data)
        expected = [("a.json", "malicious", "ok"), ("b\x1b.json", "benign", "ok"), ("cut.json", "unknown", "report_invalid"), ("in.zip!deep.json.gz!deep.json", "malicious", "ok")]
        benign = next(path for path, verdict in self.truth.items() if verdict == "benign")
        for jobs in (1, 3):
            done, lines = self.lines("--jobs", jobs, path, benign, path)
            found = [(line["file"], line["verdict"], line["state"]) for line in lines]
            several = [(str(path) + "!" + name, verdict, state) for name, verdict, state in expected]
            self.assertEqual((done.returncode, found), (1, several + [(benign, "benign", "ok")] + several))
        text = run("detect", "--model", self.model, path).stdout
        self.assertIn(b"several.zip!b\\x1b.json\tbenign\t", text)
        self.assertNotIn(b"\x1b", text)
        path.write_bytes(archive.zipped([("a.json", bad), ("b.json", good)], b"infected") + b"")
        self.assertEqual([line["verdict"] for line in self.lines(path)[1]], ["malicious", "benign"])
        path.write_bytes(archive.zipped([("a.json", bad), ("locked.zip", archive.zipped([("b.json", good)], b"another"))]))
        lines = self.lines(path)[1]
        self.assertEqual([(line["file"], line["verdict"]) for line in lines], [(str(path) + "!a.json", "malicious"), (str(path), "unknown")])
        self.assertIn("1 of an archive's members could not be opened: need_password", lines[1]["reason"])

    def test_bad_reports_cost_themselves(self):
        folder = self.root / "bad"
        folder.mkdir()
        whole = report.cuckoo([report.Process("a.exe", BAD + COMMON)])
        cases = {"0-empty.json": (b"", "report_invalid"), "1-cut.json": (whole[:len(whole) // 2], "report_invalid"),
                 "2-text.json": (b"<html>502</html>", "report_invalid"), "3-gzip.json.gz": (gzip.compress(whole)[:-20], "report_invalid"),
                 "4-none.json": (report.cuckoo([], behavior=False), "no_behavior"), "5-no.json": (report.cuckoo([]), "no_calls"),
                 "6-pseudo.json": (report.cuckoo([report.Process("a.exe", ["__exception__"] * 9)]), "no_calls"),
                 "7-few.json": (report.cuckoo([report.Process("a.exe", BAD)]), "ok"),
                 "8-strange.json": (report.cuckoo([report.Process("a.exe", ["Zw%d" % i for i in range(30)])]), "ok"),
                 "9-whole.json": (whole, "ok")}
        for name, (data, _) in cases.items():
            (folder / name).write_bytes(data)
        (folder / "notes.txt").write_text("not a report")
        done, lines = self.lines(folder)
        self.assertEqual(done.returncode, 1)
        self.assertEqual([os.path.basename(line["file"]) for line in lines], sorted(cases))
        for line in lines[:-1]:
            name = os.path.basename(line["file"])
            self.assertEqual((line["verdict"], line["state"], line["score"]), ("unknown", cases[name][1], None), line)
            self.assertTrue(line["reason"])
        self.assertEqual(lines[-1]["verdict"], "malicious")
        done, lines = self.lines("--min-calls", "2", folder / "7-few.json")
        self.assertNotEqual(lines[0]["verdict"], "unknown")

    def test_endless_repeats_cost_no_verdict(self):
        data = json.loads(report.cape([report.Process("a.exe", BAD + COMMON)]))
        data["behavior"]["processes"][0]["calls"][-1]["repeated"] = 1 << 32
        done, lines = self.lines("-", stdin=json.dumps(data).encode())
        self.assertEqual((done.returncode, lines[0]["verdict"], lines[0]["state"]), (1, "malicious", "ok"), lines)
        self.assertGreater(lines[0]["calls"], 1 << 32)

    def test_overflowing_weights_are_no_verdict(self):
        good = (self.classes / "models" / "kinds" / "model.safetensors").read_bytes()
        body = 8 + struct.unpack("<Q", good[:8])[0]
        path = self.root / "overflow.safetensors"
        path.write_bytes(good[:body] + struct.pack("<f", 3e38) * ((len(good) - body) // 4))
        done, lines = self.lines(next(iter(self.truth)), model=path)
        self.assertEqual((done.returncode, lines[0]["verdict"], lines[0]["score"]), (0, "unknown", None), lines)
        self.assertIn("finite", lines[0]["reason"])

    def test_missing_path(self):
        path = next(path for path, verdict in self.truth.items() if verdict == "benign")
        done, lines = self.lines(self.root / "gone.json", path)
        self.assertEqual((done.returncode, len(lines)), (3, 1))
        self.assertIn("gone.json", done.stderr.decode())

    def test_hostile_file_name(self):
        folder = self.root / "names"
        folder.mkdir()
        (folder / "a\n\x1b[31mb\t.json").write_bytes(b"x")
        done = run("detect", "--model", self.model, folder)
        self.assertEqual(done.stdout.count(b"\n"), 1)
        self.assertNotIn(b"\x1b", done.stdout)

    def test_class_model_detects_nothing(self):
        self.train(self.classes, "--target", "class", "--name", "kinds")
        path = self.root / "virus.json"
        path.write_bytes(report.cuckoo([report.Process("a.exe", ["NtClose", "connect", "send", "NtReadFile", "NtOpenKey"])]))
        done, lines = self.lines(path, model=self.classes / "models" / "kinds")
        self.assertEqual((done.returncode, lines[0]["verdict"]), (0, "classified"))
        self.assertIn(lines[0]["class"], ("Virus", "Worm"))
        self.assertIn("no detections", done.stderr.decode())
        text = run("detect", "--model", self.classes / "models" / "kinds", path).stdout.decode()
        self.assertRegex(text, r"\tclassified\t0\.\d{4}\t(Virus|Worm) 0\.\d{4}\n$")

    def test_bad_models_are_refused(self):
        good = (self.model / "model.safetensors").read_bytes()
        length = struct.unpack("<Q", good[:8])[0]
        path = next(iter(self.truth))
        swapped = good[:8] + good[8:8 + length].replace(b'"F32"', b'"F64"', 1) + good[8 + length:]
        for name, data in {"empty": b"", "cut": good[:-4], "long": good + b"\0" * 4, "type": swapped, "zip": b"PK\x03\x04" + good,
                           "header": struct.pack("<Q", 1 << 60) + good[8:], "report": (self.model / "report.html").read_bytes()}.items():
            with self.subTest(name):
                bad = self.root / ("bad-" + name)
                bad.write_bytes(data)
                done = run("detect", "--model", bad, path)
                self.assertEqual((done.returncode, done.stdout), (3, b""))
                self.assertIn("model", done.stderr.decode())
        self.assertEqual(run("detect", "--model", self.root / "nothing", path).returncode, 3)
        self.assertEqual(run("detect", path).returncode, 2)

    def test_the_library_says_what_detect_says(self):
        """libmalseq-detect, by the example program that its users are given."""
        rng, reports, lines, wanted = random.Random(5), self.root / "library", [], []
        reports.mkdir()
        for i in range(6):
            calls = calls_of(rng, i % 2 == 0) if i else ["NoSuchCall", "__anomaly__"]
            first, second = calls[:len(calls) // 2], calls[len(calls) // 2:]
            (reports / ("%d.json" % i)).write_bytes(report.cuckoo([report.Process("a.exe", first, pid=100), report.Process("b.exe", second, pid=200)]))
            turns = [(pid, names[at]) for at in range(len(second)) for pid, names in ((100, first), (200, second)) if at < len(names)]
            lines += ["%d %s" % turn for turn in turns] + [""]
        for line in run("detect", "--model", self.model, "--json", reports).stdout.splitlines():
            verdict = json.loads(line)
            wanted.append((verdict["verdict"], verdict["score"], verdict["class"] or "-", verdict["calls"], verdict["reason"] or ""))
        done = run("detect-example", self.model, stdin="\n".join(lines).encode())
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        got = [re.fullmatch(r"(\S+) (\S+) (\S+) (\d+) calls(?:: (.*))?", line).groups() for line in done.stdout.decode().splitlines()]
        self.assertEqual([(kind, None if score == "nan" else float(score), label, int(calls), reason or "") for kind, score, label, calls, reason in got], wanted)
        self.assertEqual({kind for kind, *_ in got}, {"unknown", "malicious", "benign"})

    def test_the_example_and_what_is_wrong_with_its_input(self):
        """Class names are whatever a model file says; of a line too long for it no part is a call, an empty line or a verdict."""
        good = (self.model / "model.safetensors").read_bytes()
        end = 8 + struct.unpack("<Q", good[:8])[0]
        head = json.loads(good[8:end])
        head["__metadata__"]["classes"] = json.dumps(["m\x1bal", "b\x1b[31mnig\u0085"], ensure_ascii=False)
        text = json.dumps(head).encode()
        text += b" " * (-len(text) % 8)
        bad = self.root / "escapes.safetensors"
        bad.write_bytes(struct.pack("<Q", len(text)) + text + good[end:])
        done = run("detect-example", bad, stdin=b"".join(b"1 %s\n" % name.encode() for name in GOOD + COMMON))
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertRegex(done.stdout, rb"^(malicious|benign) [0-9.e-]+ (m\?al|b\?\[31mnig\?\?) 14 calls\n$")
        for line in (b"1 " + b"A" * 1021, b"1 " + b"A" * 3000, b"1 A\0B" + b"A" * 2000):
            done = run("detect-example", self.model, stdin=line + b"\n1 NtClose\n")
            self.assertEqual((done.returncode, done.stdout), (1, b""), line)
            self.assertIn(b"a line", done.stderr)
        self.assertEqual(run("detect-example", self.model, stdin=b"1 " + b"A" * 1020 + b"\n").returncode, 0)
        with open("/dev/full", "wb") as full:
            done = subprocess.run([os.path.join(BIN, "detect-example"), self.model], input=b"1 NtClose\n", stdout=full, stderr=subprocess.PIPE, timeout=250)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(subprocess.run([os.path.join(BIN, "detect-example"), self.model], stdin=os.open("/", os.O_RDONLY | os.O_CLOEXEC), timeout=250,
                                        capture_output=True).returncode, 1)

    def test_the_library_refuses_what_is_no_model(self):
        for path in (self.root / "absent", self.root / "set.csv"):
            done = run("detect-example", path)
            self.assertEqual((done.returncode, done.stdout), (1, b""))
            self.assertRegex(done.stderr, b"^detect-example: model.*")


if __name__ == "__main__":
    unittest.main()

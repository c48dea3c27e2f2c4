"""extract import: counts against an independent reading of the same reports, mutated and damaged ones included."""
# in release: BadReports.test_every_cut
import gzip
import json
import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from gen import report  # noqa: E402
from gen.schema import Schema  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MALSEQ_BIN", ROOT / "build/release/bin"))
SANITIZED = os.environ.get("MALSEQ_SANITIZED") == "1"
DATA = os.environ.get("MALSEQ_DATA")

SCHEMA = Schema("extract.schema.json")

# SOURCES.md of the data: entries of `calls`, and the same with `repeated` expanded.
CAPE = {"0000a657": (26219, 29682), "0a0882b8": (17909, 21501), "2ebadd04": (0, 0), "41ce492f": (2602, 3335), "55dcd387": (116, 125),
        "8b9aaf4f": (4445, 6393), "d4690038": (105, 108), "f5c93ac7": (67253, 74450)}


def independent_count(document):
    """processes, entries, expanded entries of a parsed report, by Python's own JSON reader."""
    processes = (document.get("behavior") or {}).get("processes") or []
    calls = [call for process in processes for call in process.get("calls") or []]
    return len(processes), len(calls), sum(1 + int(call.get("repeated", 0)) for call in calls)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="malseq-import-")
        self.addCleanup(self.folder.cleanup)
        self.base = pathlib.Path(self.folder.name)
        self.corpus = self.base / "corpus"

    def write(self, name, content):
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    def run_import(self, *paths, options=(), stdin=None, expect=0, json_lines=True):
        command = [str(BIN / "extract"), "import", "--corpus", str(self.corpus)] + (["--json"] if json_lines else []) + list(options)
        done = subprocess.run(command + [str(path) for path in paths], input=stdin, capture_output=True, timeout=250)
        self.assertEqual(done.returncode, expect, done.stderr.decode("utf-8", "replace"))
        self.stderr = done.stderr.decode("utf-8")
        if not json_lines:
            return done.stdout.decode()
        rows = [json.loads(line) for line in done.stdout.decode().splitlines()]
        for row in rows:
            SCHEMA.check(row, "report")
        return rows

    def query(self, sql, *arguments):
        with sqlite3.connect(f"file:{self.corpus / 'corpus.db'}?mode=ro", uri=True) as connection:
            return connection.execute(sql, arguments).fetchall()

    def stored_reports(self):
        return sorted(path.name for path in (self.corpus / "reports").rglob("*.zst"))


@unittest.skipUnless(DATA, "MALSEQ_DATA is not set")
class RealReports(Case):
    def test_counts(self):
        cape, cuckoo = pathlib.Path(DATA) / "reports/cape", pathlib.Path(DATA) / "reports/cuckoo2"
        rows = self.run_import(cape, cuckoo)
        self.assertEqual(len(rows), 9)
        for row in rows[:8]:
            self.assertEqual((row["calls"], row["calls_expanded"]), CAPE[pathlib.Path(row["file"]).name[:8]], row)
            self.assertEqual(row["sandbox"], "cape")
            self.assertEqual(row["status"], "no_calls" if row["calls"] == 0 else "ok")
            self.assertEqual(len(row["sample"]), 64)
        self.assertEqual((rows[8]["sandbox"], rows[8]["processes"], rows[8]["calls"], rows[8]["status"]), ("cuckoo2", 10, 26425, "ok"))
        self.assertEqual(self.query("SELECT sum(calls), sum(calls_expanded) FROM process"), [(145074, 162019)])
        again = self.run_import(cape, cuckoo)
        self.assertEqual([dict(row, known=False) for row in again], rows)
        self.assertTrue(all(row["known"] for row in again))
        self.assertEqual(self.query("SELECT count(*) FROM analysis"), [(9,)])

    def test_mutated(self):
        """Calls removed, added and repeated in real reports; every count must follow."""
        rng = random.Random(11)
        sources = ["reports/cape/55dcd38773f4104b95589acc87d93bf8b4a264b4a6d823b73fb6a7ab8144c08b.json.gz",
                   "reports/cape/41ce492f04accef7931b84b8548a6ca717ffabb9bedc4f624de2d37a5345036c.json.gz"]
        expected = {}
        for source in sources:
            document = json.loads(gzip.open(pathlib.Path(DATA) / source).read())
            behavior = {"behavior": document["behavior"], "info": document["info"], "target": document["target"]}
            for number in range(8):
                copy = json.loads(json.dumps(behavior))
                for process in copy["behavior"]["processes"]:
                    calls = process["calls"]
                    for _ in range(rng.randrange(20)):
                        how = rng.randrange(3)
                        if how == 0 and calls:
                            del calls[rng.randrange(len(calls))]
                        elif how == 1 and calls:
                            calls.insert(rng.randrange(len(calls) + 1), dict(rng.choice(calls)))
                        elif calls:
                            rng.choice(calls)["repeated"] = rng.randrange(1000)
                copy["info"]["id"] = number
                path = self.write(f"{number}-{pathlib.Path(source).name[:8]}.json", json.dumps(copy, indent=rng.choice((None, 2, 4)), sort_keys=bool(number % 2)).encode())
                expected[str(path)] = independent_count(copy)
        rows = self.run_import(*expected)
        for row in rows:
            self.assertEqual((row["processes"], row["calls"], row["calls_expanded"]), expected[row["file"]], row["file"])
        # What was stored is what was said.
        for row in rows:
            self.assertEqual(self.query("SELECT count(*), coalesce(sum(calls), 0), coalesce(sum(calls_expanded), 0) FROM process WHERE analysis = ?", row["analysis"]), [expected[row["file"]]])


class GeneratedReports(Case):
    def test_both_layouts(self):
        processes = [report.Process("a.exe", ["NtCreateFile", "NtClose", "NtClose", "__exception__", "RegOpenKeyExW"] * 40),
                     report.Process("b.exe", ["connect"] * 25, track=False)]
        paths = [self.write("cuckoo.json", report.cuckoo(processes, sha256="a" * 64)), self.write("cape.json", report.cape(processes, sha256="b" * 64))]
        for path in paths:
            row = self.run_import(path)[0]
            document = json.loads(path.read_bytes())
            self.assertEqual((row["processes"], row["calls"], row["calls_expanded"]), independent_count(document))
            self.assertEqual((row["status"], row["sample"]), ("ok", document["target"]["file"]["sha256"]))
        self.assertEqual(self.query("SELECT name, tracked FROM process WHERE analysis = 1 ORDER BY ord"), [(b"lsass.exe", 0), (b"a.exe", 1), (b"b.exe", 0)])
        self.assertEqual(self.query("SELECT category FROM api WHERE name = '__exception__'"), [("__notification__",)])

    def test_compressed_and_stdin(self):
        content = report.cuckoo([report.Process("a.exe", ["NtClose"] * 9)])
        paths = [self.write("r.json.gz", gzip.compress(content)), self.write("two.json.gz", gzip.compress(content[:100]) + gzip.compress(content[100:]))]
        rows = self.run_import(*paths) + self.run_import("-", stdin=content) + self.run_import("-", stdin=gzip.compress(content))
        self.assertEqual([row["calls"] for row in rows], [9] * 4)
        self.assertEqual([row["known"] for row in rows], [False, True, True, True])
        self.assertEqual(len(self.stored_reports()), 1)

    def test_folder(self):
        good = report.cape([report.Process("a.exe", ["NtClose"])])
        self.write("in/note.txt", b"no report")
        self.write("in/other.json", b"[1]")
        for name in ("in/b.json", "in/a/x.json", "in/z.txt", "in/.hidden/h.json"):
            self.write(name, good)
        os.symlink(self.base / "in/b.json", self.base / "in/link.json")
        rows = self.run_import(self.base / "in")
        self.assertEqual([row["file"].split("/in/")[1] for row in rows], [".hidden/h.json", "a/x.json", "b.json", "z.txt"])

    def test_states(self):
        lsass = [report.Process("lsass.exe", [], track=False)]
        cases = {
            "ok.json": (report.cuckoo([report.Process("a.exe", ["NtClose"] * 5)]), "ok"),
            "none.json": (report.cuckoo([], behavior=False), "no_behavior"),
            "lsass.json": (report.cuckoo(lsass, lsass=False), "no_calls"),
            "pseudo.json": (report.cuckoo([report.Process("a.exe", ["__exception__"])]), "no_calls"),
            "few.json": (report.cape([report.Process("a.exe", ["NtClose", "NtOpenKey"])]), "too_few_calls"),
            "untracked.json": (report.cuckoo([report.Process("a.exe", ["NtClose"] * 9, track=False)]), "no_calls"),
        }
        paths = [self.write(name, content) for name, (content, _) in cases.items()]
        rows = self.run_import(*paths, options=["--min-calls", "3"])
        self.assertEqual({pathlib.Path(row["file"]).name: row["status"] for row in rows}, {name: state for name, (_, state) in cases.items()})
        self.assertEqual(sorted(state for state, in self.query("SELECT state FROM analysis")), sorted(state for _, state in cases.values()))
        self.assertIn("wanted are 3", self.stderr)

    def test_dry_run(self):
        path = self.write("r.json", report.cuckoo([report.Process("a.exe", ["NtClose"])]))
        row = self.run_import(path, options=["--dry-run"])[0]
        self.assertEqual((row["status"], row["calls"], row["analysis"]), ("ok", 1, None))
        self.assertFalse(self.corpus.exists())

    def test_samples(self):
        """Reports of one target share a sample; a report without a hash has one of its own; file names are aliases."""
        first = report.cuckoo([report.Process("a.exe", ["NtClose"])], sha256="1" * 64, task=1)
        second = report.cape([report.Process("a.exe", ["NtOpenKey"])], sha256="1" * 64, task=2)
        nameless = {"behavior": {"processes": [{"pid": 1, "calls": [{"api": "x"}]}]}, "target": {"file": {"name": "n.exe", "sha256": "zz"}}}
        self.run_import(self.write("1.json", first), self.write("2.json", second), self.write("3.json", nameless))
        self.assertEqual(self.query("SELECT sample FROM analysis ORDER BY id"), [(1,), (1,), (2,)])
        self.assertEqual(self.query("SELECT hex(sha256), size FROM sample WHERE id = 1"), [("11" * 32, None)])
        self.assertEqual(self.query("SELECT source, external_id FROM alias WHERE sample = 2 AND source = 'file-name'"), [("file-name", b"n.exe")])

    def test_many_names(self):
        """A hostile report cannot fill the table of API names."""
        calls = [{"api": "x%d" % number, "arguments": {}} for number in range(6000)] + [{"api": "y" * 5000}, {"api": "a\u0000\u202eb\x1b[0m"}]
        row = self.run_import(self.write("many.json", {"behavior": {"processes": [{"pid": 1, "calls": calls}]}}))[0]
        self.assertEqual((row["status"], row["calls"]), ("ok", 6002))
        self.assertIn("1906 calls are stored as __overflow__", row["reason"])
        self.assertEqual(self.query("SELECT count(*), max(length(name)) FROM api")[0][0], 4097)

    def test_hostile_names(self):
        name = "evil\x1b[2J\u202e\n.json"
        path = self.write(name, b"{\"a\": \"\xff\"}")
        rows = self.run_import(path, expect=1)
        self.assertEqual(rows[0]["file"], str(path))
        self.assertNotIn("\x1b", self.stderr)
        self.assertNotIn("\u202e", self.stderr)
        text = self.run_import(path, expect=1, json_lines=False)
        self.assertNotIn("\x1b", text)
        odd = os.fsencode(self.base) + b"/\xff\xfe.json"
        with open(odd, "wb") as file:
            file.write(b"[]")
        done = subprocess.run([os.fsencode(BIN / "extract"), b"import", b"--json", b"--corpus", os.fsencode(self.corpus), odd], capture_output=True, timeout=250)
        self.assertEqual(done.returncode, 1)
        self.assertIn("\\xff\\xfe", json.loads(done.stdout)["file"])


class Jobs(Case):
    def test_same_for_any_number(self):
        """Several readers, one order: the same lines and the same rows."""
        paths = []
        for number in range(24):
            processes = [report.Process("p%d.exe" % number, ["NtClose", "Api%d" % number, "NtOpenKey"] * (1 + number * 37 % 200))]
            content = (report.cape if number % 3 else report.cuckoo)(processes, sha256="%064x" % (number % 20), task=number)
            paths.append(self.write("%02d.json" % number, content if number % 5 else content[:-20]))
        paths.append(self.base / "missing.json")
        paths.append(self.write("again.json", paths[3].read_bytes()))
        results = []
        for jobs in ("1", "2", "7", "64"):
            self.corpus = self.base / ("corpus" + jobs)
            rows = self.run_import(*paths, options=["--jobs", jobs], expect=3)
            tables = [self.query(sql) for sql in ("SELECT id, sample, sandbox, state, reason, hex(report_sha256), calls FROM analysis ORDER BY id",
                                                  "SELECT id, name FROM api ORDER BY id", "SELECT analysis, ord, hex(trace) FROM process ORDER BY id")]
            results.append((rows, tables, self.stored_reports()))
        for result in results[1:]:
            self.assertEqual(result, results[0])

    def test_killed_reader(self):
        """The death of a confined reader costs its report alone."""
        good = self.write("good.json", report.cuckoo([report.Process("a.exe", ["NtClose"])]))
        with subprocess.Popen([str(BIN / "extract"), "import", "--json", "--corpus", str(self.corpus), "--jobs", "1", "-", str(good)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tool:
            tool.stdin.write(b'{"behavior": {"processes": [')
            tool.stdin.flush()
            reader = self.wait_for_reader(tool.pid)
            os.kill(reader, signal.SIGKILL)
            out, err = tool.communicate(timeout=250)
        rows = [json.loads(line) for line in out.decode().splitlines()]
        self.assertEqual(tool.returncode, 1, err)
        self.assertEqual([row["status"] for row in rows], ["report_invalid", "ok"])
        self.assertIn("signal 9", rows[0]["reason"])
        self.assertEqual(self.query("SELECT state, report_sha256 IS NULL FROM analysis ORDER BY id"), [("report_invalid", 1), ("ok", 0)])
        self.assertEqual(len(self.stored_reports()), 1)

    def test_killed_twice(self):
        """A file that kills its reader every night has one row."""
        path = self.base / "large.json"
        path.touch()
        os.truncate(path, 256 << 20)
        for _ in range(2):
            with subprocess.Popen([str(BIN / "extract"), "import", "--json", "--corpus", str(self.corpus), str(path)], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE) as tool:
                os.kill(self.wait_for_reader(tool.pid), signal.SIGKILL)
                out, err = tool.communicate(timeout=250)
            self.assertEqual(tool.returncode, 1, err)
            self.assertIn("signal 9", json.loads(out)["reason"])
        self.assertTrue(json.loads(out)["known"])
        self.assertEqual(self.query("SELECT id, state, report_sha256 FROM analysis"), [(1, "report_invalid", None)])
        self.assertEqual(self.stored_reports(), [])

    def wait_for_reader(self, tool):
        """The grandchild: tool, its nursery, the reader of one report. The first grandchild is another, the probe of the confinement: it is gone
        when the run is on record."""
        for _ in range(6000):
            try:
                running = self.query("SELECT count(*) FROM run WHERE ended_ms IS NULL")[0][0]
            except sqlite3.Error:
                running = 0
            if not running:
                time.sleep(0.005)
                continue
            parents = {}
            for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
                try:
                    parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
                except OSError:
                    continue
            for pid, parent in parents.items():
                if parents.get(parent) == tool:
                    return pid
            time.sleep(0.005)
        self.fail("no reader was started")


class BadReports(Case):
    def test_damaged(self):
        content = report.cuckoo([report.Process("a.exe", ["NtClose", "NtOpenKey"] * 300)])
        packed = gzip.compress(content)
        cases = {
            "empty.json": b"", "space.json": b" \n", "html.json": b"<html>500</html>", "text.json": b"not json", "nan.json": b'{"info": NaN}',
            "cut.json": content[: len(content) // 2], "tail.json": content + b"x", "twice.json": content + content, "cut.json.gz": packed[: len(packed) // 2],
            "crc.json.gz": packed[:-8] + b"\0" * 8, "garbage.json.gz": packed + b"garbage", "deep.json": b'{"info": ' + b"[" * 100000 + b"]" * 100000 + b"}",
            "deep.behavior.json": b'{"behavior": {"processes": [' + b'{"calls": [' * 600, "array.json": b"[]", "other.json": b'{"a": 1}',
            "utf8.json": b'{"info": {"version": "\xc3\x28"}}', "control.json": b'{"info": "a\nb"}', "bom16.json": '{"info": {}}'.encode("utf-16"),
            "types1.json": {"behavior": "yes"}, "types2.json": {"behavior": {"processes": {"pid": 1}}}, "types3.json": {"behavior": {"processes": ["x"]}},
            "types4.json": {"behavior": {"processes": [{"calls": {"0": {}}}]}}, "types5.json": {"behavior": {"processes": [{"calls": ["5f1"]}]}},
            "processes.json": b'{"behavior": {"processes": [' + b"{}," * 65537 + b"{}]}}",
            "frame.json.zst": b"\x28\xb5\x2f\xfd\x00\x00", "lone.json": b'"\xed\xa0\x80"',
        }
        paths = [self.write(name, text) for name, text in cases.items()]
        good = self.write("zgood.json", content)
        rows = self.run_import(*paths, good, expect=1)
        self.assertEqual(len(rows), len(cases) + 1)
        for row in rows[:-1]:
            self.assertEqual(row["status"], "report_invalid", row)
            self.assertTrue(row["reason"], row)
            self.assertIsInstance(row["analysis"], int)
            self.assertEqual((row["processes"], row["calls"]), (0, 0), row)
        self.assertEqual((rows[-1]["status"], rows[-1]["calls"]), ("ok", 600))
        self.assertIn("line 1, byte ", rows[3]["reason"])
        # Two gzip files are damaged around whole bytes: those are the good file's, whose row they were until it came.
        bad = len(cases) - 2
        self.assertEqual(self.query("SELECT count(*) FROM analysis WHERE state = 'report_invalid'"), [(bad,)])
        self.assertEqual(self.query("SELECT state, calls FROM analysis WHERE state != 'report_invalid'"), [("ok", 600)])
        self.assertEqual(self.query("SELECT count(*) FROM process"), [(2,)])
        # Recorded once, and still called bad.
        again = self.run_import(good, *paths, expect=1)
        self.assertEqual([row["status"] for row in again], ["ok"] + ["report_invalid"] * len(cases))
        self.assertEqual(self.query("SELECT count(*) FROM analysis"), [(bad + 1,)])
        self.assertEqual(self.query("SELECT state FROM analysis WHERE calls = 600"), [("ok",)])

    def test_every_cut(self):
        content = json.dumps({"info": {"version": "2.0.7"}, "behavior": {"processes": [{"pid": 1, "calls": [{"api": "NtClose", "time": 1.5}]}]}}).encode()
        step = 7 if SANITIZED else 2
        paths = [self.write("%03d.json" % cut, content[:cut]) for cut in range(1, len(content), step)]
        for row in self.run_import(*paths, expect=1):
            self.assertEqual(row["status"], "report_invalid", row)
            self.assertIn("line 1, byte ", row["reason"])

    def test_places(self):
        path = self.write("r.json", b'{\n "info": {},\n "behavior": {"processes": [\n  {"calls": 5}]}}')
        self.assertIn("line 4, byte ", self.run_import(path, expect=1)[0]["reason"])

    def test_strict(self):
        """What nobody reads has its structure checked, and its grammar where that is asked for; place and calls as counted here."""
        calls = [{"api": "NtClose", "arguments": {"n": n}, "tid": 7, "time": 1700000000.5} for n in range(2000)]
        text = json.dumps({"info": {"version": "2.0.7"}, "behavior": {"processes": [{"pid": 1, "calls": calls}]}}, indent=1)
        at = text.index('"n": 1234') + 3
        sloppy = self.write("sloppy.json", (text[:at] + text[at + 1:]).encode())  # the colon is gone
        broken = self.write("broken.json", (text[:at] + "]" + text[at + 1:]).encode())
        place = "line %d, byte %d: " % (text[:at].count("\n") + 1, at)
        row, = self.run_import(sloppy, options=["--dry-run"])
        self.assertEqual((row["status"], row["calls"]), ("ok", 2000))
        row, = self.run_import(sloppy, options=["--dry-run", "--strict"], expect=1)
        self.assertEqual(row["status"], "report_invalid")
        # The space that is left stands where the colon was; the fault is the digit behind it.
        self.assertTrue(row["reason"].startswith(place.replace(str(at), str(at + 1)) + "no colon"), row["reason"])
        row, = self.run_import(broken, options=["--dry-run"], expect=1)
        self.assertTrue(row["reason"].startswith(place + "a ] that closes a {"), row["reason"])

    def test_paths(self):
        good = self.write("r.json", report.cuckoo([report.Process("a.exe", ["NtClose"])]))
        rows = self.run_import(self.base / "missing.json", good, expect=3)
        self.assertEqual([row["status"] for row in rows], ["ok"])
        self.assertIn("missing.json", self.stderr)
        os.mkfifo(self.base / "pipe.json")
        if os.geteuid() != 0:
            locked = self.write("locked.json", b"{}")
            locked.chmod(0)
            self.run_import(locked, good, expect=4)
        self.run_import(expect=2)

    def test_bomb(self):
        """A small file that unpacks to much: read as a stream, in bounded memory, and refused as soon as it is no JSON."""
        path = self.write("bomb.json.gz", gzip.compress(b'{"info": "' + b"a" * (64 << 20), 1))
        row = self.run_import(path, expect=1)[0]
        self.assertIn("ends within a string", row["reason"])


class Show(Case):
    def test_files_that_may_not_grow(self):
        """A limit on file sizes is an error like a full disk, not a death by SIGXFSZ; what came before it is kept."""
        for i in range(60):
            self.write("many/r%02d.json" % i, report.cuckoo([report.Process("a.exe", ["Call%d_%d" % (i, k) for k in range(60)])]))
        command = [str(BIN / "extract"), "import", "--corpus", str(self.corpus), str(self.base / "many")]
        limited = subprocess.run(["sh", "-c", 'ulimit -f 350; exec "$@"', "sh"] + command, capture_output=True, timeout=250)
        self.assertEqual(limited.returncode, 4, limited.stderr)
        self.assertIn(b"corpus.db", limited.stderr)
        again = subprocess.run(command, capture_output=True, timeout=250)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn(b"60 reports: 60 with calls", again.stderr)

    def test_retry(self):
        """What was imported was never sent; with --discard-reports its row has a digest of settings all the same."""
        self.run_import(self.write("a.json", report.cuckoo([report.Process("a.exe", [])])), "--discard-reports")
        done = subprocess.run([str(BIN / "extract"), "retry", "--state", "no_calls", "--corpus", str(self.corpus), "--json"],
                              capture_output=True, timeout=250)
        SCHEMA.check(json.loads(done.stdout), "retry")
        self.assertEqual(json.loads(done.stdout)["queued"], 0)
        self.assertEqual(self.query("SELECT state, settings_digest IS NULL FROM analysis"), [("no_calls", 0)])

    def test_show(self):
        content = report.cuckoo([report.Process("a\x07.exe", ["NtClose"] * 3)], sha256="c" * 64)
        row = self.run_import(self.write("r.json", content))[0]

        def show(what, expect=0, *options):
            done = subprocess.run([str(BIN / "extract"), "show", what, "--corpus", str(self.corpus), *options], capture_output=True, text=True, timeout=250)
            self.assertEqual(done.returncode, expect, done.stderr)
            return done.stdout

        for what in ("c" * 64, str(row["analysis"]), self.stored_reports()[0][:64]):
            shown = json.loads(show(what, 0, "--json"))
            SCHEMA.check(shown, "analysis")
            self.assertEqual((shown["status"], shown["calls"], [process["calls"] for process in shown["processes"]]), ("ok", 3, [0, 3]))
            self.assertIn("a\\x07.exe", show(what))
        for what in ("d" * 64, "999", "nonsense"):
            show(what, 3)


if __name__ == "__main__":
    if not DATA:
        print("test_extract_import: MALSEQ_DATA is not set; the real reports are skipped")
    unittest.main()

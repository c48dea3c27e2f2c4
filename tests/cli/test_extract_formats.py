"""extract import: every format and container, told by its contents; counts against an independent reading of the same bytes."""
import gzip
import hashlib
import json
import math
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from gen import archive, report, sevenzip  # noqa: E402
from gen.schema import Schema  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MALSEQ_BIN", ROOT / "build/release/bin"))
DATA = os.environ.get("MALSEQ_DATA")
SCHEMA = Schema("extract.schema.json")

PROCESSES = [report.Process("a.exe", ["NtCreateFile", "NtClose", "NtClose", "__exception__", "connect"] * 12),
             report.Process("b.exe", ["send", ("recv", True, 1), "closesocket"] * 9), report.Process("c.exe", [])]
MAKERS = {
    "cuckoo2": report.cuckoo, "cape": report.cape, "cuckoo1": report.cuckoo1, "cuckoo1-1.2": lambda p: report.cuckoo1(p, version="1.2"),
    "modified": report.modified, "speakeasy-list": lambda p: report.speakeasy(p, version=0), "speakeasy-1": report.speakeasy,
    "speakeasy-2": lambda p: report.speakeasy(p, version=2), "drakvuf": report.drakvuf, "drakvuf-quiet": lambda p: report.drakvuf(p, noise=False, end="\r\n"),
    "drakvuf-syscall": lambda p: report.drakvuf(p, "syscall"),
}
# cuckoo-modified's fields are CAPE's; only its version tells them apart.
SANDBOX = {"cuckoo1-1.2": "cuckoo1", "modified": "cuckoo1", "speakeasy-list": "speakeasy", "speakeasy-1": "speakeasy", "speakeasy-2": "speakeasy",
           "drakvuf-quiet": "drakvuf", "drakvuf-syscall": "drakvuf"}


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True, timeout=250).stdout


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="malseq-formats-")
        self.addCleanup(self.folder.cleanup)
        self.base = pathlib.Path(self.folder.name).resolve()
        self.corpus = self.base / "corpus"

    def write(self, name, content):
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    def run_tool(self, *words, stdin=None, expect=0):
        done = subprocess.run([str(BIN / "extract"), *map(str, words)], input=stdin, capture_output=True, timeout=250)
        self.assertEqual(done.returncode, expect, done.stderr.decode("utf-8", "replace"))
        self.stderr = done.stderr.decode("utf-8")
        return done.stdout.decode()

    def run_import(self, *words, stdin=None, expect=0):
        rows = [json.loads(line) for line in self.run_tool("import", "--json", "--corpus", self.corpus, *words, stdin=stdin, expect=expect).splitlines()]
        for row in rows:
            SCHEMA.check(row, "report")
        return rows

    def query(self, sql, *arguments):
        with sqlite3.connect(f"file:{self.corpus / 'corpus.db'}?mode=ro", uri=True) as connection:
            return connection.execute(sql, arguments).fetchall()

    def stored(self):
        return sorted(path.name[:64] for path in (self.corpus / "reports").rglob("*.zst"))

    def digest(self):
        done = subprocess.run([str(BIN / "malseq"), "fsck", "--digest", "--corpus", str(self.corpus)], capture_output=True, text=True, timeout=250)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def check(self, row, content):
        counts = report.count_json(content)
        self.assertEqual({key: row[key] for key in counts}, counts, row)


class Formats(Case):
    def test_generated(self):
        """Each layout, whole and with calls or lines removed, doubled, damaged."""
        contents = {}
        for name, make in MAKERS.items():
            made = make(PROCESSES)
            for seed in range(6):
                contents["%s/%d.dat" % (name, seed)] = report.mutate(made, seed) if seed else made
        for path, content in contents.items():
            self.write("in/" + path, content)
        rows = {row["file"].split("/in/")[1]: row for row in self.run_import(self.base / "in")}
        self.assertEqual(set(rows), set(contents))
        for path, row in rows.items():
            self.check(row, contents[path])
            kind = path.split("/")[0]
            self.assertEqual(row["sandbox"], SANDBOX.get(kind, kind), path)
            if row["analysis"]:
                self.assertEqual(self.query("SELECT count(*), coalesce(sum(calls), 0), coalesce(sum(calls_expanded), 0) FROM process WHERE analysis = ?",
                                            row["analysis"]), [(row["processes"], row["calls"], row["calls_expanded"])])

    def test_what_is_kept_of_a_call(self):
        log = self.write("a.log", report.drakvuf(PROCESSES, "syscall", noise=False))
        self.run_import(log)
        self.assertEqual(self.query("SELECT DISTINCT space, category FROM api"), [(1, "nt")])
        first = json.loads(log.read_bytes().split(b"\n")[0])
        row = self.query("SELECT pid, parent_pid, name, first_seen_us FROM process ORDER BY ord")[0]
        self.assertEqual(row, (first["PID"], first["PPID"], first["ProcessName"].encode(), round(float(first["TimeStamp"]) * 1e6)))
        expected = [json.loads(line) for line in log.read_bytes().splitlines()]
        for pid in {event["PID"] for event in expected}:
            process = self.query("SELECT id FROM process WHERE pid = ?", pid)[0][0]
            done = subprocess.run([str(BIN / "malseq"), "query", "--json", "--corpus", str(self.corpus),
                                   "SELECT api, tid, time FROM calls WHERE process = %d ORDER BY seq" % process], capture_output=True, text=True, timeout=250)
            self.assertEqual(done.returncode, 0, done.stderr)
            calls = [json.loads(line) for line in done.stdout.splitlines()]
            wanted = [(event["Method"], event["TID"]) for event in expected if event["PID"] == pid]
            self.assertEqual([(call["api"], call["tid"]) for call in calls], wanted)

    @unittest.skipUnless(DATA, "MALSEQ_DATA is not set")
    def test_real(self):
        """The counts of SOURCES.md."""
        rows = self.run_import(pathlib.Path(DATA) / "reports/drakvuf", pathlib.Path(DATA) / "reports/speakeasy")
        self.assertEqual([(row["sandbox"], row["calls"], row["status"]) for row in rows],
                         [("drakvuf", 284, "ok"), ("speakeasy", 0, "no_calls"), ("speakeasy", 422, "ok"), ("speakeasy", 285, "ok"), ("speakeasy", 59, "ok")])
        for row in rows:
            content = pathlib.Path(row["file"]).read_bytes()
            self.check(row, gzip.decompress(content) if row["file"].endswith(".gz") else content)

    def test_a_bad_line_costs_itself(self):
        lines = report.drakvuf(PROCESSES, noise=False).split(b"\n")
        whole = report.count_json(b"\n".join(lines))["calls"]
        lines[3] = lines[3][:40]
        lines[5] = b'{"Plugin": "apimon", "Event": "api_called", "Method": "' + b"x" * (2 << 20) + b'"}'
        row = self.run_import(self.write("x.log", b"\n".join(lines)))[0]
        self.assertEqual((row["status"], row["calls"]), ("ok", whole - 2))
        self.assertNotIn("cut off", row["reason"])
        self.assertIn("2 of %d lines were passed over; the first is line 4, byte %d: " % (len(lines) - 1, sum(len(line) + 1 for line in lines[:3])), row["reason"])

    def test_a_log_of_more_calls_than_are_held(self):
        """They are put aside in a file without a name and come back by process; system calls that turn out not to count do not."""
        lines, calls, time = [], {}, 10 ** 15
        for i in range(125000):
            pid, tid, time = 4 + i * i % 7, (i << 44) + 2 ** 63, time + (i % 5 - 2) * 10 ** 15
            calls.setdefault(pid, []).append((tid, time))
            lines.append('{"Plugin":"apimon","TimeStamp":"%d.%06d","PID":%d,"TID":%d,"ProcessName":"p","Method":"M%d","Event":"api_called"}' %
                         (time // 10 ** 6, time % 10 ** 6, pid, tid, i % 3))
        system = [line.replace("apimon", "syscall") for line in lines]
        row = self.run_import(self.write("r.zip", archive.zipped([("a.log", "\n".join(system + lines).encode())])))[0]
        self.assertEqual((row["status"], row["processes"], row["calls"]), ("ok", len(calls), len(lines)))
        self.assertIn("%d system calls beside" % len(lines), row["reason"])
        done = subprocess.run([str(BIN / "malseq"), "query", "--csv", "--corpus", str(self.corpus),
                               "SELECT count(*), sum(seq * (time % 9973)), sum(seq * (tid & 1048575)) FROM process p JOIN calls c ON c.process = p.id "
                               "GROUP BY p.id ORDER BY ord"], capture_output=True, text=True, timeout=250)
        self.assertEqual([tuple(map(int, line.split(","))) for line in done.stdout.splitlines()[1:]],
                         [(len(own), sum(seq * math.fmod(time, 9973) for seq, (_, time) in enumerate(own)), sum(seq * (tid & 1048575) for seq, (tid, _) in enumerate(own)))
                          for own in calls.values()])
        self.assertEqual(list((self.corpus / "tmp").iterdir()), [])

    def test_a_log_that_is_cut(self):
        whole = report.drakvuf(PROCESSES, noise=False)
        calls = report.count_json(whole)["calls"]
        for name, data, lost in (("mid", whole[:-20], 1), ("end", whole.rstrip(), 0), ("gone", whole[:whole.rstrip().rindex(b"\n") + 1], 1)):
            row = self.run_import(self.write(name + ".log", data))[0]
            self.assertEqual((row["status"], row["calls"]), ("ok", calls - lost))
            self.assertEqual("the log is cut off in its last line" in (row["reason"] or ""), name == "mid")


class Containers(Case):
    def test_by_contents(self):
        """Names say nothing: plain, gzip, zstd, zip, 7z under names of other things."""
        content = MAKERS["speakeasy-1"](PROCESSES)
        forms = {"plain.zip": content, "gzip.json": gzip.compress(content), "zstd.gz": zstd(content), "zip.json": archive.zipped([("x", content)]),
                 "7z.json": sevenzip.packed([("x", content)]), "zip.gz": archive.zipped([("x.gz", gzip.compress(content))])}
        for name, data in forms.items():
            self.write("in/" + name, data)
        for rows in (self.run_import(self.base / "in"), [self.run_import("-", stdin=data)[0] for data in forms.values()]):
            self.assertEqual(len(rows), len(forms))
            for row in rows:
                self.check(row, content)
        self.assertEqual(self.stored(), [hashlib.sha256(content).hexdigest()])

    def test_archives(self):
        contents = {"a/report.json": report.cuckoo(PROCESSES), "b/report.json": report.cape(PROCESSES), "c/apimon.log": report.drakvuf(PROCESSES)}
        others = [("shot.png", b"\x89PNG\r\n"), ("x.exe", b"MZ" + bytes(600)), ("note.txt", b"see x"), ("task.json", b'{"id": 5}'), ("empty", b"")]
        for password in (None, b"infected"):
            path = self.write("r%s.zip" % bool(password), archive.zipped(list(contents.items()) + others, password))
            rows = self.run_import(path)
            self.assertEqual([row["file"] for row in rows], ["%s!%s" % (path, name) for name in contents])
            for row, content in zip(rows, contents.values()):
                self.check(row, content)
        self.assertEqual(len(self.stored()), 3)
        self.assertIn("other files were passed over", self.stderr)

    def test_damaged_archives(self):
        good = report.cuckoo(PROCESSES)
        cases = {"secret.zip": archive.zipped([("a.json", good)], b"another"), "cut.zip": archive.zipped([("a.json", good)])[:-200],
                 "bad.zip": archive.zipped([("a.json", good[:-30]), ("b.json", b"<html>"), ("c.json", good)])}
        rows = self.run_import(*[self.write(name, data) for name, data in cases.items()], expect=1)
        self.assertEqual([row["status"] for row in rows if "bad.zip" in row["file"]], ["report_invalid", "report_invalid", "ok"])
        self.assertIn("need_password", [row["reason"] for row in rows if "secret" in row["file"]][0])
        self.assertEqual({row["status"] for row in rows if "cut" in row["file"]}, {"report_invalid"})
        self.assertEqual(len(self.stored()), 3)
        # Again, and nothing is stored twice.
        before = self.query("SELECT count(*) FROM analysis")
        self.run_import(*[self.base / name for name in cases], expect=1)
        self.assertEqual(self.query("SELECT count(*) FROM analysis"), before)

    def test_large_members_are_believed_at_their_end(self):
        """They are read as they come: a report whose checksum turns out wrong leaves nothing behind, and the next one is read."""
        content = [b'{"pad": "%s", ' % (b"%d" % i * 600000) + report.cuckoo(PROCESSES, task=i)[1:] for i in range(3)]
        data = archive.zipped([("%d.json" % i, one) for i, one in enumerate(content)], method="store")
        for name, bad in (("good.zip", []), ("bad.zip", [1])):
            path = self.write(name, data.replace(b"1" * 600000, b"1" * 599999 + b"2") if bad else data)
            rows = self.run_import(path, expect=bool(bad))
            self.assertEqual([row["status"] for row in rows], ["report_invalid" if i in bad else "ok" for i in range(3)])
            for i, row in enumerate(rows):
                if i in bad:
                    self.assertIn("corrupt", row["reason"])
                else:
                    self.check(row, content[i])
        self.assertEqual(len(self.stored()), 3)
        self.assertEqual(self.query("SELECT count(*) FROM analysis"), [(3,)])

    def test_folder_of_an_analysis(self):
        """DRAKVUF's log with the metadata beside it; an empty log; none at all; Cuckoo's storage."""
        sha = ["%064x" % number for number in range(9)]
        log = report.drakvuf(PROCESSES)
        self.write("in/1/apimon.log", log)
        self.write("in/1/syscall.log", report.drakvuf(PROCESSES, "syscall"))
        self.write("in/1/metadata.json", {"sample_sha256": sha[1], "time_started": 5})
        self.write("in/1/apicall/7.json", b'{"pid": 7}\n{"pid": 7}\n')
        self.write("in/2/apimon.log", b"")
        self.write("in/2/metadata.json", {"id": "x", "file": {"name": "s.exe", "type": "PE32", "sha256": sha[2]}, "options": {}})
        self.write("in/3/inject.log", b"{}")
        self.write("in/3/metadata.json", {"sample_sha256": sha[3]})
        self.write("in/4/drakmon.log.gz", gzip.compress(report.drakvuf(PROCESSES, seed=4)))
        self.write("in/4/metadata.json", {"sample_sha256": sha[4]})
        self.write("in/5/task.json", {"id": 5, "sample": {"sha256": sha[5]}})
        self.write("in/5/analysis.log", b"log")
        self.write("in/6/task.json", {"id": 6, "sample": {"sha256": sha[6]}})
        self.write("in/6/analysis.log", b"log")
        self.write("in/6/files.json", b'{"path": "x"}\n{"path": "y"}\n')
        self.write("in/6/reports/report.json", report.cuckoo(PROCESSES, sha256=sha[6]))
        self.write("in/7/metadata.json", {"a": 1})
        for again in (False, True):
            rows = self.run_import(self.base / "in")
            self.assertEqual([(row["status"], row["sample"], row["known"]) for row in rows],
                             [("ok", sha[1], again), ("no_calls", sha[2], again), ("report_missing", sha[3], again), ("ok", sha[4], again),
                              ("report_missing", sha[5], again), ("ok", sha[6], again)])
            self.check(rows[0], log)
        self.assertEqual(self.query("SELECT count(*) FROM analysis"), [(6,)])
        self.assertEqual(self.query("SELECT state, sandbox FROM analysis WHERE sample = (SELECT id FROM sample WHERE sha256 = ?)", bytes.fromhex(sha[5])),
                         [("report_missing", "cuckoo2")])


class Keeping(Case):
    def fill(self, *words):
        for number, (name, make) in enumerate(sorted(MAKERS.items())):
            self.write("in/%02d.dat" % number, make(PROCESSES))
        return self.run_import(self.base / "in", *words)

    def test_source_and_licence(self):
        self.fill("--source", "https://example.org/reports", "--licence", "MIT")
        self.run_import(self.write("other.json", report.cape(PROCESSES, sha256="f" * 64)))
        self.assertEqual(self.query("SELECT kind, name, url, licence FROM origin ORDER BY id"),
                         [("reports", "https://example.org/reports", "https://example.org/reports", "MIT"), ("reports", str(self.base), None, None)])
        self.assertEqual(self.query("SELECT count(*) FROM analysis WHERE origin IS NULL"), [(0,)])
        self.assertEqual(self.query("SELECT origin FROM analysis ORDER BY id DESC LIMIT 1"), [(2,)])

    def test_discard_reports(self):
        rows = self.fill("--discard-reports")
        self.assertEqual(self.stored(), [])
        again = self.fill("--discard-reports")
        self.assertEqual(again, [dict(row, known=True) for row in rows])
        self.assertEqual(self.query("SELECT count(*), count(report_sha256) FROM analysis"), [(len(rows), 0)])
        self.digest()
        # Kept after all: the same rows, now with their reports; and then discarding changes nothing.
        kept = self.fill()
        self.assertEqual([row["analysis"] for row in kept], [row["analysis"] for row in rows])
        self.assertEqual(len(self.stored()), len(rows))
        self.assertTrue(all(row["known"] for row in self.fill("--discard-reports")))
        self.assertEqual(self.query("SELECT count(*), count(report_sha256) FROM analysis"), [(len(rows), len(rows))])
        self.digest()

    def test_from_the_vault(self):
        rows = self.fill()
        self.run_import(self.write("bad.json", b'{"behavior": '), expect=1)
        before = self.digest()
        origins = self.query("SELECT id, origin FROM analysis ORDER BY id")
        with sqlite3.connect(self.corpus / "corpus.db") as connection:
            connection.execute("DELETE FROM process")
            connection.execute("UPDATE analysis SET calls = 0, calls_expanded = 0, processes = 0 WHERE id % 2")
        shutil.rmtree(self.base / "in")
        self.assertEqual(self.run_import("--from-vault"), [])
        self.assertIn("%d reports were read by this reader before" % (len(rows) + 1), self.stderr)
        again = self.run_import("--from-vault", "--all", expect=1)
        self.assertEqual(len(again), len(rows) + 1)
        self.assertTrue(all(row["known"] for row in again))
        self.assertEqual(self.digest(), before)
        self.assertEqual(self.query("SELECT id, origin FROM analysis ORDER BY id"), origins)
        one = self.run_import("--from-vault", self.stored()[0])
        self.assertEqual(len(one), 1)
        self.assertEqual(len(self.run_import("--from-vault", "0" * 64)), sum(row["sample"] == "0" * 64 for row in rows))
        self.assertEqual(self.digest(), before)
        self.run_import("--from-vault", "e" * 64, expect=3)
        for words in (["--from-vault", "--source", "x"], ["--all", self.base], ["--from-vault", "--all", "0" * 64]):
            self.run_import(*words, expect=2)

    def age(self, where="1"):
        with sqlite3.connect(self.corpus / "corpus.db") as connection:
            connection.execute("UPDATE analysis SET reader = NULL, calls = 1 WHERE " + where)

    def test_older_reader(self):
        """What an older malseq made is made anew, from the vault and from the same bytes; nothing else is touched."""
        rows = self.fill()
        before = self.digest()
        self.assertEqual(self.query("SELECT count(*) FROM analysis WHERE reader IS NULL OR strict"), [(0,)])
        self.age("id % 3 = 0")
        again = self.run_import("--from-vault")
        self.assertEqual([row["analysis"] for row in sorted(again, key=lambda row: row["analysis"])], [n for n in range(1, len(rows) + 1) if n % 3 == 0])
        self.assertEqual(self.digest(), before)
        self.age("id = 2")
        for words in ([], ["--discard-reports"]):
            again = self.fill(*words)
            self.assertEqual([row["analysis"] for row in again if not row["known"]], [2] if not words else [4])
            self.assertEqual(self.digest(), before)
            self.age("id = 4")
        self.assertEqual(len(self.run_import("--from-vault")), 1)
        self.assertEqual(self.digest(), before)

    def test_strict_after_loose(self):
        """A report that only --strict finds fault with: taken loosely, then judged anew; a damaged file says nothing of what it holds."""
        sloppy = report.cuckoo(PROCESSES)
        at = sloppy.rindex(b"}")
        sloppy = sloppy[:at] + b', "rest": [01, tru]}'
        good = report.cape([report.Process("a.exe", ["NtCreateFile", "NtClose"] * 500)])
        self.assertEqual([row["status"] for row in self.run_import(self.write("a.json", sloppy), self.write("b.json", good))], ["ok", "ok"])
        self.assertEqual([row["status"] for row in self.run_import("--strict", self.write("b.json.gz", gzip.compress(good) + b"junk"), expect=1)],
                         ["report_invalid"])
        self.assertEqual(self.query("SELECT state, strict FROM analysis WHERE report_sha256 IS NOT NULL ORDER BY id"), [("ok", 0), ("ok", 0)])
        rows = self.run_import("--strict", self.base / "a.json", self.base / "b.json", expect=1)
        self.assertEqual([(row["status"], row["known"], row["analysis"]) for row in rows], [("report_invalid", False, 1), ("ok", False, 2)])
        self.assertIn("line", rows[0]["reason"])
        self.assertEqual(self.query("SELECT state, strict, calls > 0, (SELECT count(*) FROM process WHERE analysis = a.id) FROM analysis a"
                                    " WHERE report_sha256 IS NOT NULL ORDER BY id"), [("report_invalid", 1, 0, 0), ("ok", 1, 1, 1)])
        self.digest()
        self.assertEqual([row["known"] for row in self.run_import("--strict", self.base / "a.json", self.base / "b.json", expect=1)], [True, True])
        # From the vault: as asked.
        self.assertEqual(self.run_import("--from-vault", "--strict"), [])
        self.assertEqual([row["status"] for row in self.run_import("--from-vault", hashlib.sha256(sloppy).hexdigest())], ["ok"])
        self.assertEqual([row["status"] for row in self.run_import("--from-vault", "--strict", expect=1)], ["report_invalid"])

    def test_damaged_vault(self):
        rows = self.fill()
        path = next((self.corpus / "reports").rglob("*.zst"))
        data = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(data[:len(data) // 2])
        before = self.query("SELECT id, calls, state FROM analysis ORDER BY id")
        self.assertEqual(len(self.run_import("--from-vault", "--all", expect=4)), len(rows) - 1)
        self.assertIn("damaged", self.stderr)
        self.assertEqual(self.query("SELECT id, calls, state FROM analysis ORDER BY id"), before)


if __name__ == "__main__":
    unittest.main()

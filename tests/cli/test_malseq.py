"""The umbrella: dispatch, status, query, fsck, messages and exit codes. The demo has a test of its own."""
import csv
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import tempfile
import sys
import time
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from gen import report  # noqa: E402 (the path must be set first)
from gen.schema import Schema  # noqa: E402

BIN = os.environ.get("MALSEQ_BIN", os.path.join(ROOT, "build", "dev", "bin"))
MALSEQ = os.path.join(BIN, "malseq")


def run(*command, stdin=b"", env=None, cwd=None, **options):
    result = subprocess.run(command, input=stdin, capture_output=True, timeout=250, env=dict(os.environ, **(env or {})), cwd=cwd, **options)
    result.out, result.err = result.stdout.decode(), result.stderr.decode()
    return result


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="malseq-test-")
        self.addCleanup(shutil.rmtree, self.folder, True)


class Dispatch(Folder):
    def install(self, *tools):
        """malseq in bin/, and scripts that say how they were called at `tools`."""
        os.makedirs(os.path.join(self.folder, "bin"))
        program = os.path.join(self.folder, "bin", "malseq")
        shutil.copy(MALSEQ, program)
        for tool in tools:
            path = os.path.join(self.folder, tool)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write("#!/bin/sh\necho '%s'; for word; do echo \"<$word>\"; done; exit 7\n" % tool)
            os.chmod(path, 0o755)
        return program

    def test_words_and_code_pass_through(self):
        program = self.install("bin/collect")
        result = run(program, "collect", "--dir", "a b", "--help", "--", "-V", "")
        self.assertEqual(result.out, "bin/collect\n<--dir>\n<a b>\n<--help>\n<-->\n<-V>\n<>\n")
        self.assertEqual((result.returncode, result.err), (7, ""))

    def test_libexec_comes_first(self):
        program = self.install("bin/extract", "libexec/malseq/extract")
        self.assertTrue(run(program, "extract").out.startswith("libexec/malseq/extract\n"))

    def test_run_through_a_link(self):
        program = self.install("bin/train")
        link = os.path.join(self.folder, "link")
        os.symlink(program, link)
        self.assertTrue(run(link, "train").out.startswith("bin/train\n"))

    def test_missing_tool(self):
        program = self.install()
        result = run(program, "label", "--vt-key", "x")
        self.assertEqual(result.returncode, 4)
        self.assertIn("malseq: error: cannot find the program 'label'", result.err)

    def test_not_executable(self):
        program = self.install("bin/label")
        os.chmod(os.path.join(self.folder, "bin", "label"), stat.S_IRUSR)
        self.assertEqual(run(program, "label").returncode, 4)


class Words(Folder):
    def test_no_verb(self):
        result = run(MALSEQ)
        self.assertEqual((result.returncode, result.out), (2, ""))
        self.assertIn("malseq: error: no verb given\n", result.err)

    def test_wrong_verb(self):
        result = run(MALSEQ, "staus")
        self.assertEqual(result.returncode, 2)
        self.assertIn("did you mean 'status'?", result.err)

    def test_wrong_option(self):
        result = run(MALSEQ, "query", "--limt", "3", "select 1")
        self.assertEqual(result.returncode, 2)
        self.assertIn("unknown option '--limt'; did you mean '--limit'?", result.err)

    def test_verb_behind_two_dashes(self):
        self.assertEqual(run(MALSEQ, "--", "query", "select 1", cwd=self.folder).returncode, 3)

    def test_no_abbreviations(self):
        self.assertEqual(run(MALSEQ, "status", "--corp", "x").returncode, 2)

    def test_no_corpus(self):
        for verb in (["status"], ["query", "select 1"], ["fsck"]):
            result = run(MALSEQ, *verb, cwd=self.folder)
            self.assertEqual((result.returncode, result.out), (3, ""), verb)
            self.assertIn("there is no corpus in './corpus'", result.err)
        self.assertEqual(os.listdir(self.folder), [])

    def test_version_on_full_disk_and_closed_output(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run([MALSEQ, "-V"], stdout=full, stderr=subprocess.PIPE, timeout=250)
        self.assertEqual(result.returncode, 4)
        self.assertIn(b"cannot write to standard output: No space left", result.stderr)
        result = subprocess.run(["sh", "-c", '"$0" -V >&-', MALSEQ], stderr=subprocess.PIPE, timeout=250)
        self.assertEqual(result.returncode, 4)
        self.assertIn(b"cannot write to standard output", result.stderr)
        self.assertEqual(subprocess.run(["sh", "-c", '"$0" -V <&- 2>&-', MALSEQ], stdout=subprocess.PIPE, timeout=250).returncode, 0)

    def test_reader_that_leaves(self):
        result = subprocess.run(["bash", "-c", '"$0" --help | true; echo "${PIPESTATUS[0]}"', MALSEQ], capture_output=True, timeout=250)
        self.assertIn(result.stdout, (b"4\n", b"0\n"))
        self.assertNotIn(b"Broken", result.stdout)


def make_corpus(folder, calls=True):
    """A corpus with a few rows, by the schema's own files."""
    os.makedirs(folder, mode=0o700)
    files = sorted(name for name in os.listdir(os.path.join(ROOT, "schemas")) if name.endswith(".sql"))
    db = sqlite3.connect(os.path.join(folder, "corpus.db"))
    db.execute("PRAGMA journal_mode = WAL")
    for name in files:
        with open(os.path.join(ROOT, "schemas", name), encoding="utf-8") as file:
            db.executescript(file.read())
    db.execute("PRAGMA application_id = %d" % 0x4d536571)
    db.execute("PRAGMA user_version = %d" % len(files))
    db.execute("INSERT INTO run (id, tool, version, argv, started_ms) VALUES (1, 'extract', '0', '[]', 1)")
    for number in range(1, 6):
        db.execute("INSERT INTO sample (id, sha256, vaulted, private) VALUES (?, ?, 0, ?)", (number, hashlib.sha256(b"%d" % number).digest(), number == 5))
        db.execute("INSERT INTO label (sample, policy, verdict, class, as_of_ms, made_ms) VALUES (?, 'ember2024', ?, ?, 1, 1)",
                   (number, "malicious" if number < 4 else "benign", "Worm" if number < 4 else None))
    db.execute("INSERT INTO analysis (sample, sandbox, state, updated_ms, calls, calls_expanded, processes) VALUES (1, 'cape', 'ok', 1, 10, 12, 2)")
    db.execute("INSERT INTO analysis (sample, sandbox, state, updated_ms) VALUES (2, 'cape', 'no_calls', 1)")
    db.execute("INSERT INTO origin (id, kind, name, state) VALUES (1, 'folder', ?, 'ok')", ("=cmd|'/c x'!A1",))
    db.execute("INSERT INTO origin (id, kind, name, state) VALUES (2, 'folder', ?, 'ok')", ("bidi\u202e \x1b[2J \"q\"\n",))
    now = int(time.time() * 1000)
    db.execute("INSERT INTO request (key_print, endpoint, sent_ms) VALUES ('0123abcd', 'files', ?)", (now,))
    db.execute("INSERT INTO request (key_print, endpoint, sent_ms) VALUES ('0123abcd', 'files', ?)", (now - 90000000,))
    db.execute("INSERT INTO quota VALUES ('0123abcd', 'day', 500, 1, ?)", (now,))
    db.commit()
    db.close()


class Corpus(Folder):
    def setUp(self):
        super().setUp()
        self.corpus = os.path.join(self.folder, "corpus")
        make_corpus(self.corpus)

    def digest_of_db(self):
        db = sqlite3.connect(os.path.join(self.corpus, "corpus.db"))
        text = "\n".join(db.iterdump())
        db.close()
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    def query(self, *words, **options):
        return run(MALSEQ, "query", "--corpus", self.corpus, *words, **options)


class Status(Corpus):
    def test_json(self):
        result = run(MALSEQ, "status", "--json", "--corpus", self.corpus)
        self.assertEqual((result.returncode, result.err), (0, ""))
        counts = json.loads(result.out)
        self.assertEqual(counts["samples"], {"all": 5, "vaulted": 0, "private": 1})
        self.assertEqual(counts["labels"], {"ember2024 benign": 2, "ember2024 malicious": 3})
        self.assertEqual(counts["classes"], {"ember2024 Worm": 3})
        self.assertEqual(counts["analyses"], {"no_calls": 1, "ok": 1})
        self.assertEqual((counts["traces"]["calls"], counts["traces"]["calls expanded"]), (10, 12))
        Schema("status.schema.json").check(counts, "status")
        self.assertEqual(counts["coverage"], {"stored": 0, "labelled ember2024": 5, "detonated": 2, "traced": 1, "never submitted": 0})
        day, month = counts["quota"]
        self.assertEqual((day["key"], day["window"], day["allowed"], day["used"], day["left"]), ("0123abcd", "day", 500, 2, 498))  # one the service said, one sent since
        self.assertEqual((month["window"], month["allowed"], month["left"]), ("month", None, None))
        self.assertEqual([row["what"] for row in counts["waiting"]], ["runs without an end"])
        self.assertEqual(counts["unfinished runs"], {"extract": 1})
        self.assertGreater(counts["disk bytes"]["database"], 4096)

    def test_never_submitted(self):
        """Whatever is done to samples and analyses, in whatever order: the count is that of the rows, and fsck puts a wrong one right."""
        db, chance, seen = sqlite3.connect(os.path.join(self.corpus, "corpus.db")), random.Random(1), set()
        db.execute("PRAGMA foreign_keys = ON")
        for number in range(600):
            sample, flag, some = chance.randint(100, 105), chance.randint(0, 1), chance.choice((None, 7))
            verb, values = chance.choice((
                ("INSERT OR IGNORE INTO sample (id, sha256, vaulted, private) VALUES (?1, randomblob(32), ?2, ?3 IS NULL)", (sample, flag, some)),
                ("UPDATE sample SET vaulted = ?2, private = ?3 IS NULL WHERE id = ?1", (sample, flag, some)),
                ("DELETE FROM sample WHERE id = ?1 AND ?2", (sample, flag)),
                ("INSERT INTO analysis (sample, sandbox, state, submitted_ms, attempts, updated_ms) SELECT id, 'cape', 'ok', ?3, ?2, 1 FROM sample WHERE id = ?1", (sample, flag, some)),
                ("UPDATE analysis SET submitted_ms = ?3, attempts = ?2 WHERE sample = ?1 AND id % 2 = ?2", (sample, flag, some)),
                ("UPDATE analysis SET sample = (SELECT max(id) FROM sample WHERE id < ?1) WHERE sample = ?1 AND id % 2 = ?2", (sample, flag)),
                ("DELETE FROM analysis WHERE sample = ?1 AND id % 2 = ?2", (sample, flag))))
            db.execute(verb, values)
            count, = db.execute("SELECT unsubmitted FROM total").fetchone()
            rows, = db.execute("SELECT count(*) FROM sample WHERE vaulted AND NOT private AND id NOT IN (SELECT sample FROM analysis"
                               " WHERE sample IS NOT NULL AND (submitted_ms IS NOT NULL OR attempts > 0))").fetchone()
            self.assertEqual(count, rows, (number, verb, values))
            seen.add(count)
        self.assertGreater(len(seen), 3)
        db.execute("DELETE FROM sample WHERE id >= 100")
        db.execute("UPDATE total SET unsubmitted = 9")
        db.commit()
        db.close()
        shown = lambda: json.loads(run(MALSEQ, "status", "--json", "--corpus", self.corpus).out)["coverage"]["never submitted"]
        self.assertEqual(shown(), 9)
        self.assertRegex(run(MALSEQ, "fsck", "--repair", "--corpus", self.corpus).out, "(?i)counts")
        self.assertEqual(shown(), 0)

    def test_table(self):
        result = run(MALSEQ, "status", "--corpus", self.corpus)
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.out, r"(?m)^samples +all 5  vaulted 0  private 1$")
        for line in result.out.split("\n"):
            self.assertLessEqual(len(line), 80)

    def test_foreign_database(self):
        db = sqlite3.connect(os.path.join(self.corpus, "corpus.db"))
        db.execute("PRAGMA application_id = 77")
        db.commit()
        db.close()
        self.assertEqual(run(MALSEQ, "status", "--corpus", self.corpus).returncode, 4)

    def test_not_a_database(self):
        with open(os.path.join(self.corpus, "corpus.db"), "wb") as file:
            file.write(b"x" * 5000)
        result = run(MALSEQ, "status", "--corpus", self.corpus)
        self.assertEqual((result.returncode, result.out), (4, ""))


class Query(Corpus):
    def test_table(self):
        result = self.query("select verdict, count(*) n from label group by verdict order by n")
        self.assertEqual((result.returncode, result.err), (0, ""))
        self.assertEqual(result.out, "verdict    n\nbenign     2\nmalicious  3\n")

    def test_json(self):
        result = self.query("--json", "select id, hex(sha256) h, sha256, null as none, 0.5 as half, id from sample where id = 1")
        want = hashlib.sha256(b"1").hexdigest()
        self.assertEqual(json.loads(result.out), {"id": 1, "h": want.upper(), "sha256": want, "none": None, "half": 0.5, "id:6": 1})

    def test_patterns_match_bytes(self):
        db = sqlite3.connect(os.path.join(self.corpus, "corpus.db"))
        db.execute("INSERT INTO process (analysis, ord, name, calls, calls_expanded, trace) VALUES (1, 0, ?, 0, 0, x'')", (b"C:\\Evil_1.EXE",))
        db.commit()
        db.close()
        for pattern, want in (("like '%evil%.exe'", 1), ("like '%x_1%' escape 'x'", 1), ("like 'evil'", 0), ("glob '*Evil*'", 1), ("glob '*evil*'", 0),
                              ("like null", 0)):
            self.assertEqual(self.query("--csv", "select count(*) from process where name " + pattern).out.split()[1], str(want), pattern)

    def test_csv_guards_formulas(self):
        result = self.query("--csv", "select name, id from origin order by id")
        rows = list(csv.reader(io.StringIO(result.stdout.decode(), newline="")))
        self.assertEqual(rows[0], ["name", "id"])
        self.assertEqual(rows[1], ["'=cmd|'/c x'!A1", "1"])
        self.assertEqual(rows[2][0], 'bidi\\u{202e} \\x1b[2J "q"\\n')

    def test_output_is_escaped(self):
        for words in ([], ["--json"], ["--csv"]):
            out = self.query(*words, "select name from origin").stdout
            self.assertNotIn(b"\x1b", out)
            self.assertNotIn("\u202e".encode(), out)

    def test_statement_from_stdin(self):
        self.assertEqual(self.query("-", stdin=b"select 40 + 2 as n").out, "n\n42\n".replace("n\n42", " n\n42"))

    def test_limit(self):
        result = self.query("--limit", "3", "select id from sample order by id")
        self.assertEqual((result.returncode, result.out.split()), (0, ["id", "1", "2", "3"]))
        self.assertIn("stopped after 3 rows", result.err)
        self.assertEqual(self.query("--limit", "5", "select id from sample").err, "")

    def test_many_rows_stream(self):
        result = self.query("with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000) select i, i * i from n")
        lines = result.out.split("\n")
        self.assertEqual((len(lines), lines[5000].split()), (5002, ["5000", "25000000"]))

    def test_timeout(self):
        begun = time.monotonic()
        result = self.query("--timeout", "1", "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n")
        self.assertNotEqual(result.returncode, 0)
        self.assertLess(time.monotonic() - begun, 20)
        self.assertEqual(result.out, "")

    def test_wrong_sql(self):
        for sql in ("selec 1", "select nothing from sample", "select 1; select 2", "", "select * from no_table"):
            result = self.query(sql)
            self.assertEqual((result.returncode, result.out), (2, ""), sql)
            self.assertIn("malseq: error: ", result.err)

    def test_nothing_but_reading(self):
        other = os.path.join(self.folder, "other.db")
        before = self.digest_of_db()
        for sql in ("delete from sample", "insert into sample (id) values (99)", "update sample set size = 1", "drop table sample", "create table t (a)",
                    "create temp table t (a)", "create temp view v as select 1", "attach '%s' as o" % other, "vacuum into '%s'" % other, "vacuum",
                    "pragma user_version = 9", "pragma journal_mode = delete", "pragma writable_schema = 1", "pragma trusted_schema = 1",
                    "begin", "savepoint x", "reindex", "analyze", "detach main", "select load_extension('x')", "select writefile('%s', 'x')" % other,
                    "select readfile('/etc/passwd')", "select fts3_tokenizer('x')", "with x as (select 1) delete from sample",
                    "select 1 where 1 in (select edit('x'))", "insert into label select * from label returning *"):
            result = self.query(sql)
            with self.subTest(sql=sql):
                self.assertEqual((result.returncode, result.out), (2, ""))
        self.assertEqual(self.digest_of_db(), before)
        self.assertFalse(os.path.exists(other))

    def test_options_that_exclude_each_other(self):
        self.assertEqual(self.query("--json", "--csv", "select 1").returncode, 2)


class Hygiene(Corpus):
    def wait_for(self, process, path, wanted):
        """The content of a /proc file of the process once it satisfies `wanted`, or what it was at last."""
        text = ""
        for _ in range(200):
            with open("/proc/%d/%s" % (process.pid, path), "rb") as file:
                text = file.read().decode(errors="replace")
            if wanted(text) or process.poll() is not None:
                return text
            time.sleep(0.05)
        return text

    def start(self, *command, **options):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_no_core_and_no_sigpipe(self):
        process = self.start(MALSEQ, "query", "--corpus", self.corpus, "--timeout", "30",
                             "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n")
        ignored = lambda text: int(re.search(r"(?m)^SigIgn:\s*(\w+)", text).group(1), 16) >> (signal.SIGPIPE - 1) & 1
        self.assertTrue(ignored(self.wait_for(process, "status", ignored)))
        with open("/proc/%d/limits" % process.pid) as file:
            self.assertRegex(file.read(), r"Max core file size +0 +0 ")

    def test_secret_leaves_the_command_line(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        secret = "0123456789abcdef" * 4
        process = self.start(MALSEQ, "label", "--corpus", self.corpus, "--vt-key", secret, "--vt-url", "http://127.0.0.1:%d/api/v3" % listener.getsockname()[1])
        listener.settimeout(30)
        listener.accept()[0].close()  # it is past its command line when it calls
        with open("/proc/%d/cmdline" % process.pid, "rb") as file:
            words = file.read()
        self.assertNotIn(secret[:8].encode(), words)
        self.assertIn(b"--vt-url", words)
        with open(os.path.join(self.corpus, "corpus.db"), "rb") as file:
            self.assertNotIn(secret.encode(), file.read())
        with sqlite3.connect(os.path.join(self.corpus, "corpus.db")) as db:
            recorded = db.execute("SELECT argv FROM run WHERE tool = 'label'").fetchone()[0]
        self.assertIn("***", recorded)


class Calls(Folder):
    def test_every_call_is_a_row(self):
        calls = ["NtCreateFile", "NtWriteFile", "NtWriteFile", "NtWriteFile", "__anomaly__", "NtClose"] * 50
        path, corpus = os.path.join(self.folder, "r.json"), os.path.join(self.folder, "corpus")
        with open(path, "wb") as file:
            file.write(report.cape([report.Process("a.exe", calls), report.Process("b.exe", calls[:7])], sha256="ab" * 32))
        result = run(os.path.join(BIN, "extract"), "import", "--corpus", corpus, path)
        self.assertEqual(result.returncode, 0, result.err)

        def ask(sql):
            answer = run(MALSEQ, "query", "--json", "--corpus", corpus, sql)
            self.assertEqual((answer.returncode, answer.err), (0, ""))
            return [json.loads(line) for line in answer.out.splitlines()]

        with open(path, "rb") as file:
            want = report.count_json(file.read())
        self.assertEqual(ask("select count(*) n, sum(1 + repeated) e, count(distinct process) p from calls"),
                         [{"n": want["calls"], "e": want["calls_expanded"], "p": 2}])
        # In order: the first process's calls, runs folded by the sandbox, are the list above.
        rows = ask("select api, repeated from calls where process = (select min(process) from calls) order by seq")
        self.assertEqual([row["api"] for row in rows for _ in range(1 + row["repeated"])], calls)


class Fsck(Corpus):
    def setUp(self):
        super().setUp()
        # Counts without the processes they count would be a finding of their own.
        db = sqlite3.connect(os.path.join(self.corpus, "corpus.db"))
        db.execute("UPDATE analysis SET processes = 0, calls = 0, calls_expanded = 0")
        db.commit()
        db.close()

    def fsck(self, *words):
        return run(MALSEQ, "fsck", "--corpus", self.corpus, *words)

    def test_clean(self):
        result = self.fsck()
        self.assertEqual(result.returncode, 0, result.out + result.err)
        self.assertIn("0 findings", result.out)

    def test_digest(self):
        first = self.fsck("--digest").out
        self.assertRegex(first, r"\A[0-9a-f]{64}\n\Z")
        self.assertEqual(json.loads(self.fsck("--digest", "--json").out), {"digest": first.strip()})
        db = sqlite3.connect(os.path.join(self.corpus, "corpus.db"))
        db.execute("UPDATE run SET started_ms = 5, argv = '[1]'")
        db.execute("UPDATE request SET sent_ms = 5")
        db.commit()
        self.assertEqual(self.fsck("--digest").out, first)
        db.execute("UPDATE label SET verdict = 'grayware' WHERE sample = 1")
        db.commit()
        db.close()
        self.assertNotEqual(self.fsck("--digest").out, first)

    def test_broken_reference(self):
        db = sqlite3.connect(os.path.join(self.corpus, "corpus.db"))
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("UPDATE analysis SET sample = 777 WHERE sample = 2")
        db.commit()
        db.close()
        result = self.fsck()
        self.assertEqual(result.returncode, 1, result.out)
        self.assertIn("analysis", result.out)

    def test_missing_object(self):
        db = sqlite3.connect(os.path.join(self.corpus, "corpus.db"))
        db.execute("UPDATE sample SET vaulted = 1 WHERE id = 1")
        db.commit()
        db.close()
        result = self.fsck("--json")
        self.assertEqual(result.returncode, 1)
        findings = [json.loads(line) for line in result.out.splitlines()]
        self.assertEqual([(finding["where"], finding["repaired"]) for finding in findings], [("sample 1", False)])
        self.assertEqual(self.fsck("--repair", "--dry-run").returncode, 1)
        repaired = self.fsck("--repair")
        self.assertEqual(repaired.returncode, 0, repaired.out)
        self.assertIn("(repaired)", repaired.out)
        self.assertEqual(self.fsck().returncode, 0)

    def test_stray_object(self):
        place = os.path.join(self.corpus, "reports", "ab", "cd")
        os.makedirs(place, mode=0o700)
        with open(os.path.join(place, "abcd" + "0" * 60 + ".zst"), "wb") as file:
            file.write(b"not zstd")
        result = self.fsck()
        self.assertEqual(result.returncode, 1)
        self.assertIn("abcd000", result.out)

    def test_exclusive_options(self):
        self.assertEqual(self.fsck("--digest", "--repair").returncode, 2)


if __name__ == "__main__":
    unittest.main()

"""collect --dir: archives of every kind, what cannot be opened, exit codes, dry runs, cat and forget, and kill -9 at each named step.
The programs are generated headers without code; nothing leaves the machine."""
# in release: Kinds.test_bomb
import hashlib
import json
import os
import pathlib
import pty
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import unittest

from gen import archive, pe
from gen.schema import Schema

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
SCHEMA = Schema("collect.schema.json")
STEPS = ["collect.crawl.fetched", "collect.intake.open", "collect.intake.vaulted", "collect.intake.rows", "collect.intake.committed",
         "collect.crawl.tree", "collect.crawl.finished"]
LIMIT_BYTES = (512 << 20) + 1      # one more than a member may have
ENTRIES = 20001                    # and than members a blob


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class CollectCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-collect-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.input, self.corpus = self.root / "in", self.root / "corpus"
        self.input.mkdir()

    def put(self, files):
        for name, data in files.items():
            path = self.input / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def tool(self, *args, expect=0, corpus=None, name="collect", env=(), **more):
        command = [os.path.join(BIN, name), *map(str, args), "--corpus", str(corpus or self.corpus)]
        environment = dict(os.environ, **dict(env))
        environment.pop("GITHUB_TOKEN", None)
        result = subprocess.run(command, env=environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=250, check=False, **more)
        self.talk = result.stderr.decode("utf-8", "replace")
        if expect is not None:
            self.assertEqual(result.returncode, expect, self.talk)
        return result

    def collect(self, *args, expect=0, corpus=None, env=()):
        """JSON objects of a run over self.input, samples and the rest apart."""
        out = self.tool("--dir", self.input, "--json", *args, expect=expect, corpus=corpus, env=env).stdout
        lines = [json.loads(line) for line in out.splitlines()]
        for line in lines:
            SCHEMA.check(line, line["type"])
        return [line for line in lines if line["type"] == "sample"], [line for line in lines if line["type"] != "sample"]

    def rows(self, sql, corpus=None):
        with sqlite3.connect("file:%s?mode=ro" % (pathlib.Path(corpus or self.corpus) / "corpus.db"), uri=True) as db:
            return db.execute(sql).fetchall()

    def digest(self, corpus):
        return self.tool("fsck", "--digest", name="malseq", corpus=corpus).stdout.split()[-1]


class Kinds(CollectCase):
    def test_every_container(self):
        programs = {name: pe.pe(name, kind, bits) for name, kind, bits in
                    (("bare", "exe", 32), ("zip", "dll", 64), ("aes", "exe", 64), ("tgz", "driver", 32), ("tbz", "dotnet", 32),
                     ("txz", "efi", 64), ("gz", "exe", 32), ("deep", "exe", 32), ("named", "exe", 32))}
        self.put({"bare name (1)": programs["bare"], "a.zip": archive.zipped({"dir/x.dll": programs["zip"]}),
                  "b.bin": archive.zipped({"y.exe": programs["aes"]}, "infected"), "c.tar.gz": archive.tarred({"d/z.sys": programs["tgz"]}),
                  "d": archive.tarred({"net.exe": programs["tbz"]}, "bz2"), "e.txz": archive.tarred({"boot.efi": programs["txz"]}, "xz"),
                  "f.exe.gz": archive.compressed(programs["gz"], "gz"), "sub/deep.zip": archive.nested(programs["deep"], depth=4, password="infected"),
                  "names.zip": archive.zipped([(b"../../etc/pass\x1b[2Jwd", programs["named"]), ("twin", programs["named"]), ("twin", b"text")]),
                  "notes.txt": b"nothing\n", "old.exe": pe.mz_not_pe(), "empty": b"",
                  "lfs.exe": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12\n"})
        os.symlink("/etc/passwd", self.input / "link")
        os.mkfifo(self.input / "pipe")
        samples, rest = self.collect("--claim", "malware")
        self.assertEqual(rest, [])
        found = {(line["path"], line["chain"]): line for line in samples}
        expected = {("bare name (1)", ""): "bare", ("a.zip", "dir/x.dll"): "zip", ("b.bin", "y.exe"): "aes", ("c.tar.gz", "d/z.sys"): "tgz",
                    ("d", "net.exe"): "tbz", ("e.txz", "boot.efi"): "txz", ("f.exe.gz", "data"): "gz",
                    ("sub/deep.zip", "level2.zip!level3.zip!level4.zip!inner.exe"): "deep", ("names.zip", "twin"): "named",
                    ("names.zip", "../../etc/pass\x1b[2Jwd"): "named"}
        self.assertEqual(set(found), set(expected))
        for place, name in expected.items():
            data, line = programs[name], found[place]
            self.assertEqual((line["sha256"], line["sha1"], line["md5"], line["size"]),
                             (sha256(data), hashlib.sha1(data).hexdigest(), hashlib.md5(data).hexdigest(), len(data)))
            self.assertEqual(line["password"], "infected" if name in ("aes", "deep") else None)
        kinds = {line["sha256"]: line["kind"] for line in samples}
        self.assertEqual([kinds[sha256(programs[name])] for name in ("bare", "zip", "tgz", "tbz", "txz")], ["exe", "dll", "driver", "dotnet", "efi"])
        self.assertEqual(dict(self.rows("SELECT outcome, count(*) FROM blob GROUP BY 1")), {"ok": 9, "no_pe": 3, "lfs_pointer": 1})
        self.assertEqual(self.rows("SELECT DISTINCT claim FROM sighting"), [("malware",)])
        self.assertEqual(self.rows("SELECT count(*) FROM sample WHERE vaulted"), [(9,)])
        # Nothing in the corpus can be run, and no program lies there in the clear.
        for path in self.corpus.rglob("*"):
            if path.is_file():
                self.assertEqual(path.stat().st_mode & 0o111, 0, path)
                self.assertFalse(path.read_bytes().startswith(b"MZ\x90"), path)
        samples, rest = self.collect()
        self.assertEqual((samples, rest), ([], []))
        self.assertIn("0 opened", self.talk)

    def test_what_cannot_be_opened(self):
        good = pe.pe("good")
        self.put({"good.zip": archive.zipped({"good.exe": good}), "locked.zip": archive.zipped({"x.exe": pe.pe("x")}, "nobody wrote it down"),
                  "cut.zip": archive.zipped({"x.exe": pe.pe("cut", body_bytes=9000)})[:5000],
                  "cut.tar.gz": archive.tarred({"x.exe": pe.pe("cut2", body_bytes=9000)})[:5000],
                  "nested.zip": archive.nested(pe.pe("n"), depth=100), "many.zip": archive.zipped([("%d" % i, b"") for i in range(ENTRIES)], method="store"),
                  "mixed.zip": archive.zipped({"good.exe": pe.pe("mixed"), "bad.zip": b"PK\x03\x04" + bytes(60)}),
                  "sevenzip.7z": b"7z\xbc\xaf\x27\x1c" + bytes(range(1, 41))})
        samples, rest = self.collect(expect=1)
        self.assertEqual({line["path"] for line in samples}, {"good.zip", "mixed.zip"})
        outcomes = {line["path"]: line["outcome"] for line in rest}
        self.assertEqual(outcomes, {"locked.zip": "need_password", "cut.zip": "corrupt", "cut.tar.gz": "corrupt", "nested.zip": "limit",
                                    "many.zip": "limit", "mixed.zip": "corrupt", "sevenzip.7z": "corrupt"})
        self.assertEqual(dict(self.rows("SELECT outcome, count(*) FROM blob GROUP BY 1")), {"ok": 1, "need_password": 1, "corrupt": 4, "limit": 2})
        # Nothing is opened again until something changes; a new password heals.
        samples, rest = self.collect()
        self.assertEqual((samples, rest), ([], []))
        self.assertIn(" 0 opened", self.talk)
        (self.root / "words").write_bytes(b"nobody wrote it down\r\n")
        samples, rest = self.collect("--password-list", self.root / "words")
        self.assertEqual([line["path"] for line in samples], ["locked.zip"])
        self.assertIn(" 1 opened", self.talk)

    @unittest.skipIf(os.environ.get("MALSEQ_SANITIZED") == "1", "half a gigabyte of zeros is slow under the sanitizers")
    def test_bomb(self):
        self.put({"bomb.zip": archive.zip_bomb(LIMIT_BYTES), "good.exe": pe.pe("good")})
        samples, rest = self.collect(expect=1)
        self.assertEqual([line["path"] for line in samples], ["good.exe"])
        self.assertEqual([(line["path"], line["outcome"]) for line in rest], [("bomb.zip", "limit")])

    def test_where_passwords_are_written(self):
        self.put({"README.md": b"# Zoo\nAll archives use the **Password**: `s3cret word`\n", "a/x.zip": archive.zipped({"x.exe": pe.pe(1)}, "s3cret word"),
                  "b/y.zip": archive.zipped({"y.exe": pe.pe(2)}, "from a file"), "b/y.pass": b" from a file \r\n",
                  "c/z.zip": archive.zipped({"z.exe": pe.pe(3)}, "k3y"), "c/Passwords.txt": b"k3y\n", "c/readme.txt": b"hello",
                  # Only what opened b/y.zip opens this one, which comes before it.
                  "a/0.zip": archive.zipped({"0.exe": pe.pe(4)}, "from a file"),
                  "d/wrong.zip": archive.zipped({"w.exe": pe.pe(5)}, "infected")})
        samples, rest = self.collect()
        self.assertEqual(rest, [])
        self.assertEqual({line["path"]: line["password"] for line in samples},
                         {"a/0.zip": "from a file", "a/x.zip": "s3cret word", "b/y.zip": "from a file", "c/z.zip": "k3y", "d/wrong.zip": "infected"})
        self.assertEqual(self.collect(), ([], []))

    def test_names_as_passwords(self):
        words = {"e/Mirai.v2.zip": "Mirai", "f/x.Q.zip": "infected666Q", "g/y.zip": "in"}
        self.put({path: archive.zipped({"n.exe": pe.pe(path)}, word) for path, word in words.items()})
        samples, rest = self.collect()
        self.assertEqual(rest, [])
        self.assertEqual({line["path"]: line["password"] for line in samples}, words)


class Verbs(CollectCase):
    def test_usage(self):
        for args in ((), ("--dir",), (str(self.input),), ("--dir", str(self.input), "--claim", "evil"), ("cat",), ("--nonsense",)):
            self.tool(*args, expect=2)
        self.tool("--dir", self.root / "absent", expect=3)
        self.tool("--dir", self.input, "--password-list", self.root / "absent", expect=3)
        self.assertIn("absent': No such file", self.talk)
        self.tool("--github-list", self.root / "absent", expect=3)

    def test_dry_run_writes_nothing(self):
        self.put({"a.exe": pe.pe(1), "b.zip": archive.zipped({"b.exe": pe.pe(2)}, "infected")})
        samples, _ = self.collect("--dry-run")
        self.assertEqual([line["new"] for line in samples], [True, True])
        self.assertFalse(self.corpus.exists())
        self.collect()
        with sqlite3.connect(self.corpus / "corpus.db") as database:
            database.execute("INSERT INTO sample (md5) VALUES (?)", (hashlib.md5(pe.pe(4)).digest(),))
        database.close()
        before = self.digest(self.corpus)
        self.put({"c.zip": archive.zipped({"c.exe": pe.pe(3), "again.exe": pe.pe(1), "hash.exe": pe.pe(4)})})
        samples, _ = self.collect("--dry-run")
        self.assertEqual({line["chain"]: line["new"] for line in samples}, {"c.exe": True, "again.exe": False, "hash.exe": False})
        self.assertIn("3 samples, 1 of them new", self.talk)
        self.assertEqual(self.digest(self.corpus), before)

    def test_private_and_moved(self):
        self.put({"a.exe": pe.pe(1)})
        self.collect()
        self.assertEqual(self.rows("SELECT private FROM sample"), [(0,)])
        os.rename(self.input / "a.exe", self.input / "b.exe")
        self.collect("--private")
        self.assertIn(" 0 opened", self.talk)
        self.assertEqual(self.rows("SELECT private FROM sample"), [(1,)])
        self.assertEqual(self.rows("SELECT path, gone_ms IS NULL FROM sighting ORDER BY path"), [(b"a.exe", 0), (b"b.exe", 1)])

    def test_cat_and_forget(self):
        data, other = pe.pe("cat"), pe.pe("other")
        self.put({"a.zip": archive.zipped({"a.exe": data, "o.exe": other})})
        self.collect()
        for name in ("sha256", "sha1", "md5"):
            self.assertEqual(self.tool("cat", hashlib.new(name, data).hexdigest()).stdout, data)
        self.assertEqual(self.tool("cat", "0" * 64, expect=3).stdout, b"")
        primary, secondary = pty.openpty()
        command = [os.path.join(BIN, "collect"), "cat", sha256(data), "--corpus", str(self.corpus)]
        self.assertEqual(subprocess.run(command, stdout=secondary, stderr=subprocess.PIPE, timeout=250, check=False).returncode, 2)
        os.close(primary), os.close(secondary)
        self.tool("forget", sha256(data))
        self.assertEqual(self.tool("cat", sha256(data), expect=3).stdout, b"")
        self.assertEqual(list(self.corpus.glob("samples/*/*/%s*" % sha256(data))), [])
        self.assertEqual(self.tool("cat", sha256(other)).stdout, other)
        # It stays out, also when it comes back another way; what lies beside it does not.
        self.put({"again.zip": archive.zipped({"a.exe": data, "new.exe": pe.pe("new")})})
        samples, _ = self.collect()
        self.assertEqual([(line["path"], line["chain"]) for line in samples if not line["forgotten"] and line["new"]], [("again.zip", "new.exe")])
        self.assertTrue(any(line["forgotten"] and line["sha256"] == sha256(data) for line in samples))
        self.assertEqual(list(self.corpus.glob("samples/*/*/%s*" % sha256(data))), [])
        self.tool("forget", str(self.input))
        self.assertEqual(self.rows("SELECT count(*) FROM sample"), [(0,)])
        _, rest = self.collect(expect=1)
        self.assertEqual([(line["type"], line["state"]) for line in rest], [("origin", "forgotten")])
        self.tool("forget", "f" * 64, expect=1)

    def test_two_runs_do_not_collide(self):
        self.put({"a.exe": pe.pe(1)})
        self.collect()
        with sqlite3.connect(self.corpus / "corpus.db") as db:
            self.assertEqual(db.execute("SELECT count(*) FROM run WHERE exit_code = 0").fetchone(), (1,))
        import fcntl
        with open(self.corpus / "lock", "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.tool("--dir", self.input, expect=75)


class Killed(CollectCase):
    def test_kill_at_each_step_then_again(self):
        self.put({"README.md": b"password: zoo-word\n", "0.zip": archive.zipped({"0.exe": pe.pe(0)}, "beside"), "a.exe": pe.pe(1),
                  "b.zip": archive.zipped({"b.exe": pe.pe(2), "t": b"text"}, "zoo-word"), "c/c.pass": b"beside", "c/c.zip": archive.zipped({"c.exe": pe.pe(3)}, "beside"),
                  "d.zip": archive.zipped({"x.exe": pe.pe(4)}, "unknown"), "e.tar.gz": archive.tarred({"e.dll": pe.pe(5, "dll")}), "f.exe": pe.pe(1)})
        whole, log = self.root / "whole", self.root / "steps"
        self.collect(expect=1, corpus=whole, env={"MALSEQ_TEST_STEPS": str(log)})
        want, reached = self.digest(whole), log.read_text().split()
        self.assertLessEqual(set(STEPS), set(reached))
        kills = 0
        for step in sorted(set(reached)):
            times = reached.count(step)
            # The store's own steps have tests of their own: one kill each here.
            for nth in sorted({1, (times + 1) // 2, times} if step in STEPS else {(times + 1) // 2}):
                corpus = self.root / ("%s.%d" % (step, nth))
                log.unlink()
                killed = self.tool("--dir", self.input, expect=None, corpus=corpus,
                                   env={"MALSEQ_TEST_KILL": "%s:%d" % (step, nth), "MALSEQ_TEST_STEPS": str(log)})
                if killed.returncode != -signal.SIGKILL:        # a run that takes longer commits more often
                    self.assertLess(log.read_text().split().count(step), nth, (step, self.talk))
                    continue
                self.tool("--dir", self.input, expect=None, corpus=corpus)
                self.assertEqual(self.digest(corpus), want, (step, nth))
                kills += 1
        self.assertGreaterEqual(kills, 3 * 5 + 2)


if __name__ == "__main__":
    unittest.main()

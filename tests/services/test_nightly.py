"""A whole night over loopback services: what it does the first time, the second time, when another runs, when a stage fails or has no time
left, and when it is killed."""
# ctest: full also-release
import contextlib
import fcntl
import html.parser
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import time
import unittest

from services.night_case import BIN, SCHEMA, NightCase, digest, night, small_files, start


class Reader(html.parser.HTMLParser):
    """What a page has: its elements, its text, and what it would load."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.loads = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset") or name.startswith("on")]

    def handle_data(self, data):
        self.words.append(data)


class Nightly(NightCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.whole = cls.folder / "whole"
        cls.code, out, cls.said = night(cls.world.conf(cls.whole), "--json")
        cls.first, cls.digest = json.loads(out), digest(cls.whole)

    def setUp(self):
        super().setUp()
        self.world.clear()

    def test_first_and_second_night(self):
        first = self.first
        SCHEMA.check(first, "night")
        self.assertEqual((self.code, first["exit"]), (0, 0), self.said)
        self.assertEqual(self.states(first), {"collect": "rejects", "label": "done", "extract": "done", "train": "done", "audit": "done"}, self.said)
        self.assertEqual(first["new"]["samples"], {"all": 24, "vaulted": 24})
        self.assertEqual(first["new"]["analyses"], {"ok": 24})
        self.assertEqual([(f["what"], f["state"], f["count"]) for f in first["failures"]], [("file", "corrupt", 1)])
        model, = first["models"]
        self.assertTrue(model["trained"] and model["model"] == "nightly" and model["samples"] == 24, model)
        self.assertEqual((first["quota"][0]["used_today"], first["audit"]["traces"]), (24, 24))
        shutil.copytree(self.whole, self.corpus)
        asked = self.world.vt.charged
        second = self.night()
        self.assertEqual(self.states(second), {"collect": "done", "label": "done", "extract": "done", "train": "unchanged", "audit": "unchanged"}, self.talk)
        self.assertEqual((second["audit"], second["models"][0]["accuracy"]), (first["audit"], model["accuracy"]))
        self.assertEqual({key: value for key, value in second["new"].items() if key not in ("runs", "requests today")}, {})
        self.assertEqual((digest(self.corpus), self.world.vt.charged, second["night"]), (self.digest, asked, 2))
        # The same is kept, and the page has no script, loads nothing, and shows both nights.
        with open(self.corpus / "nights/000002/night.json", encoding="utf-8") as file:
            self.assertEqual(json.load(file)["steps"], second["steps"])
        page = Reader((self.corpus / "nights/000002/index.html").read_text(encoding="utf-8"))
        self.assertEqual((page.loads, page.tags.count("script"), page.tags.count("svg")), ([], 0, 3))
        self.assertGreaterEqual(page.tags.count("circle"), 8)
        self.assertIn("nightly over the nights", page.words)
        # What somebody else ran in between may have changed anything: train looks at its dataset again, and audit reads all.
        subprocess.run([os.path.join(BIN, "label"), "relabel", "--corpus", self.corpus], check=True, capture_output=True)
        third = self.night("--stage", "audit", "--stage", "train")
        self.assertEqual((self.states(third), third["off"]), ({"train": "unchanged", "audit": "done"}, ["collect", "label", "extract"]))
        self.assertIn("the same dataset", third["steps"][0]["why"])

    def test_two_at_once(self):
        self.world.hub.fault("slow", path="/repos/.*", piece=512, delay=.2)
        conf = self.world.conf(self.corpus)
        with start(conf, "-q") as first:
            until = time.monotonic() + 120
            while not (self.corpus / "nights").exists() and time.monotonic() < until:
                time.sleep(.01)
            code, out, talk = night(conf)
            self.assertEqual((code, out), (75, ""), talk)
            self.assertRegex(talk, r"another nightly run holds the corpus '.*': process %d since 20\d\d-\d\d-\d\dT" % first.pid)
            self.world.hub.clear_faults()
            # A signal ends the night in order: the stage under way is stopped, the rest not begun, the summary written.
            first.send_signal(signal.SIGTERM)
            out, talk = first.communicate(timeout=250)
        self.assertEqual(first.returncode, -signal.SIGTERM, talk)
        self.assertIn(b"SIGTERM asked nightly to end", out, talk)
        self.assertTrue((self.corpus / "nights/000001/night.json").exists())

    def test_stages_that_fail(self):
        # The first night without a service: what needs a corpus is not run, and says why.
        conf = self.world.conf(self.corpus, replace=(("[collect]\n", "[collect]\nenabled = no\n"),))
        record = self.night(conf=conf)
        self.assertEqual(set(self.states(record).values()), {"skipped"})
        self.assertIn("there is no corpus yet", record["steps"][0]["why"])
        # VirusTotal is down and the sandbox too; what was collected is there, the night ends with the service's code.
        self.world.vt.fault("status", status=401, path=".*")
        self.world.cuckoo.fault("status", status=403, path=".*")
        record = self.night(expect=5)
        self.assertEqual(self.states(record), {"collect": "rejects", "label": "failed", "extract": "failed", "train": "skipped", "audit": record["steps"][4]["state"]})
        self.assertTrue(record["why"].startswith("label failed: "), record["why"])
        # The quota is spent: 75, with the time to go on at; later stages run all the same.
        self.world.vt.clear_faults()
        self.world.cuckoo.clear_faults()
        self.world.vt.day = 10
        record = self.night(expect=75)
        self.assertEqual(self.states(record)["label"], "later")
        self.assertEqual(self.states(record)["extract"], "done")
        self.assertRegex(record["resume_at"], r"^20\d\d-\d\d-\d\dT")
        self.assertIn("try again at " + record["resume_at"], self.talk)

    @unittest.skipIf("MALSEQ_TEST_VALGRIND" in os.environ, "in two seconds a stage is loaded there, no more")
    def test_time_is_over(self):
        self.night("--stage", "collect", expect=0)
        self.world.cuckoo.fault("hang", path="/tasks/create.*", seconds=30)
        conf = self.world.conf(self.corpus, replace=(("budget = 20m", "budget = 2s"), ("grace = 10s", "grace = 1s")))
        record = self.night("--stage", "extract", expect=75, conf=conf)
        step, = record["steps"]
        self.assertEqual((step["state"], step["exit"]), ("stopped", 128 + signal.SIGKILL), step)
        self.assertIn("its time was over (2 s), and it had to be killed", step["why"])
        self.assertTrue(record["why"].startswith("extract was stopped: "), record["why"])

    def test_held_corpus(self):
        shutil.copytree(self.whole, self.corpus)
        conf = self.world.conf(self.corpus, replace=(("wait = 20s", "wait = 1s"),))
        holder = subprocess.Popen(["python3", "-c", "import fcntl,os,sys,time\nf=open(sys.argv[1],'r+')\nfcntl.flock(f,fcntl.LOCK_EX)\n"
                                   "os.write(f.fileno(),b'%d\\n'%os.getpid())\nprint('held',flush=True)\nsys.stdin.read()", str(self.corpus / "lock")],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        holder.stdout.readline()
        record = self.night(expect=75, conf=conf)
        holder.communicate()
        self.assertIn("the corpus is in use by another run (process %d)" % holder.pid, record["why"])
        self.assertEqual({record["steps"][i]["state"] for i in range(4)}, {"later"})

    @unittest.skipIf(os.environ.get("MALSEQ_SANITIZED") == "1", "whole nights again: the release half runs them")
    def test_corpora_of_other_versions_and_damaged_ones(self):
        files = sorted((pathlib.Path(__file__).resolve().parents[2] / "schemas").glob("[0-9]*.sql"))
        # An older schema is brought up to date by the night, which makes the corpus that it makes today.
        self.corpus.mkdir(mode=0o700)
        with contextlib.closing(sqlite3.connect(self.corpus / "corpus.db")) as db:
            for file in files[:-3]:
                db.executescript(file.read_text(encoding="utf-8"))
            db.executescript("PRAGMA application_id = %d; PRAGMA user_version = %d" % (0x4d536571, len(files) - 3))
        self.night()
        self.assertEqual(digest(self.corpus), self.digest)
        # A newer one is left alone.
        with contextlib.closing(sqlite3.connect(self.corpus / "corpus.db")) as db:
            db.executescript("PRAGMA user_version = %d; PRAGMA wal_checkpoint(TRUNCATE)" % (len(files) + 1))
        before = (self.corpus / "corpus.db").read_bytes()
        record = self.night(expect=4)
        self.assertEqual({step["state"] for step in record["steps"]}, {"failed"})
        self.assertIn("use a newer malseq", record["why"])
        self.assertEqual((self.corpus / "corpus.db").read_bytes(), before)
        with contextlib.closing(sqlite3.connect(self.corpus / "corpus.db")) as db:
            db.executescript("PRAGMA user_version = %d" % len(files))
        # That night could count nothing: the next tells what changed since the one before it.
        self.assertEqual({name for name in self.night("--stage", "audit")["new"]} - {"runs", "requests today"}, set())
        # Where one table cannot be read the summary is written all the same.
        with contextlib.closing(sqlite3.connect(self.corpus / "corpus.db")) as db:
            root, = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'blob'").fetchone()
            size, = db.execute("PRAGMA page_size").fetchone()
        with open(self.corpus / "corpus.db", "r+b") as file:
            file.seek((root - 1) * size)
            page = file.read(size)
            file.seek((root - 1) * size)
            file.write(b"\xff" * size)
        self.assertEqual(self.night("--stage", "audit")["failures"], [])
        self.assertRegex(self.talk, "warning: what failed cannot be read: .*malformed")
        with open(self.corpus / "corpus.db", "r+b") as file:
            file.seek((root - 1) * size)
            file.write(page)
        # A damaged object of the vault and a damaged database are found by fsck; the night over the latter says so, and changes no object.
        victim = next((self.corpus / "samples").glob("*/*/*"))
        whole = victim.read_bytes()
        victim.chmod(0o600)
        victim.write_bytes(whole[:40] + bytes([whole[40] ^ 0x80]) + whole[41:])
        self.assertRegex(self.fsck(1), victim.name + ".*is damaged")
        victim.write_bytes(whole)
        self.fsck(0)
        with open(self.corpus / "corpus.db", "r+b") as file:
            for page in range(3, os.path.getsize(self.corpus / "corpus.db") // 4096):
                file.seek(page * 4096)
                file.write(b"\xff" * 64)
        self.assertIn("malformed", self.fsck(4))
        objects = sorted(path.name for path in (self.corpus / "samples").rglob("*"))
        record = self.night(expect=4)
        self.assertIn("malformed", record["why"])
        self.assertEqual(sorted(path.name for path in (self.corpus / "samples").rglob("*")), objects)

    def test_replaced_while_it_runs(self):
        # An upgrade puts another program in malseq's place: audit, which is malseq's own, is the new one's.
        programs = self.folder / "bin"
        programs.mkdir()
        for name in ("malseq", "new"):
            shutil.copy(os.path.join(BIN, "malseq"), programs / name)
        (programs / "label").symlink_to(os.path.join(BIN, "label"))
        shutil.copytree(self.whole, self.corpus)
        shutil.rmtree(self.corpus / "nights")
        with open(self.corpus / "lock", "r+", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with start(self.world.conf(self.corpus), "--json", "--stage", "label", "--stage", "audit", program=programs / "malseq") as process:
                until = time.monotonic() + 60
                while not (self.corpus / "nights").exists() and time.monotonic() < until:
                    time.sleep(.01)
                self.assertTrue((self.corpus / "nights").exists())
                self.assertIsNone(process.poll())
                os.replace(programs / "new", programs / "malseq")
                fcntl.flock(lock, fcntl.LOCK_UN)
                out, talk = process.communicate(timeout=250)
        self.assertEqual((process.returncode, self.states(json.loads(out))), (0, {"label": "done", "audit": "done"}), talk)

    def test_no_room(self):
        # Nothing can be written: every stage is tried, and the summary is there for who waits for it.
        with start(self.world.conf(self.corpus), **small_files(0)) as process:
            out, talk = process.communicate(timeout=250)
        self.assertEqual((process.returncode, out.split()[:1]), (4, [b"Night"]), talk)
        self.assertRegex(out, rb"(?s)\ncollect +failed .*\nlabel .*\nextract .*\ntrain .*\naudit ")
        self.assertNotIn(b"The page:", out)

    def test_killed_stage(self):
        # As the kernel does where memory runs out: the machine's doing, and no bug of malseq's.
        record = self.night("--stage", "collect", env={"MALSEQ_TEST_KILL": "collect.intake.committed:1"}, expect=4)
        self.assertEqual(record["why"], "collect failed: it was ended by signal 9 (out of memory?)")
        self.assertNotIn("this is a bug", self.talk)

    def fsck(self, expect):
        done = subprocess.run([os.path.join(BIN, "malseq"), "fsck", "--corpus", self.corpus], capture_output=True, timeout=250, check=False)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return (done.stdout + done.stderr).decode("utf-8", "replace")

    def test_killed_and_again(self):
        self.night("-q", conf=self.world.conf(self.corpus), env={"MALSEQ_TEST_KILL": "nightly.step.end:3"}, expect=-signal.SIGKILL)
        record = self.night()
        self.assertEqual((digest(self.corpus), record["night"]), (self.digest, 2))
        # What came in with the killed night is told by the one that ended; the former leaves nothing behind.
        self.assertEqual(record["new"]["samples"]["all"], 24)
        self.assertEqual(sorted(os.listdir(self.corpus / "nights")), ["000002"])


if __name__ == "__main__":
    unittest.main()

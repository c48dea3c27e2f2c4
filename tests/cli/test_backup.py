"""malseq backup: copies that are whole corpora, made while others write, brought up to date, and left sound by a death at any step.
The programs are generated headers without code; nothing leaves the machine."""
import fcntl
import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

from corpus_case import BIN, CorpusCase
from gen import pe
from gen.schema import Schema

RECORD = Schema("backup.schema.json")


class Backup(CorpusCase):
    def setUp(self):
        super().setUp()
        self.copy = self.root / "copy"
        for number in range(3):
            (self.input / f"{number}.exe").write_bytes(pe.pe("backup %d" % number))
        self.tool("collect", "--dir", self.input, "-q")

    def backup(self, *args, expect=0, **more):
        out = self.tool("malseq", "backup", "--json", self.copy, *args, expect=expect, **more)
        if expect not in (0, 1):
            return None
        record = json.loads(out)
        RECORD.check(record, "backup")
        return record

    def objects(self, corpus):
        """The paths of the samples' files, in byte order."""
        return sorted(str(path.relative_to(corpus)) for path in (corpus / "samples").rglob("*") if path.is_file())

    def replace(self, path, content):
        os.chmod(path, 0o600)
        path.write_bytes(content)

    def digest(self, corpus):
        return self.tool("malseq", "fsck", "--digest", corpus=corpus)

    def same(self):
        """The copy is sound, says the same, and its sums are right."""
        self.tool("malseq", "fsck", corpus=self.copy)
        self.assertEqual(self.digest(self.copy), self.digest(self.corpus))
        for line in (self.copy / "SHA256SUMS").read_text().splitlines():
            want, name = line.split("  ")
            self.assertEqual(hashlib.sha256((self.copy / name).read_bytes()).hexdigest(), want)

    def test_follows_the_corpus(self):
        model = self.corpus / "models" / "one"
        model.mkdir(parents=True)
        (model / "metrics.json").write_text("{}")
        record = self.backup("--objects")
        self.assertEqual((record["objects"], record["new_objects"], record["missing"], record["object_files"]), (3, 3, 0, "copied"))
        self.same()
        self.assertEqual((self.copy / "models/one/metrics.json").read_text(), "{}")
        lines = [json.loads(line) for line in (self.copy / "objects.jsonl").read_text().splitlines()]
        for line in lines:
            RECORD.check(line, "object")
            self.assertEqual((self.copy / line["path"]).stat().st_size, line["bytes"])
            self.assertEqual((self.copy / line["path"]).stat().st_mode & 0o777, 0o400)
        gone = lines[0]["sha256"]
        self.tool("collect", "forget", gone)
        (self.input / "new.exe").write_bytes(pe.pe("backup new"))
        self.tool("collect", "--dir", self.input, "-q")
        shutil.rmtree(model)
        record = self.backup("--objects", "--link")
        self.assertEqual((record["objects"], record["new_objects"], record["removed_objects"], record["object_files"]), (3, 1, 1, "linked"))
        new, = set(self.objects(self.copy)) - {line["path"] for line in lines}
        self.assertTrue(os.path.samefile(self.copy / new, self.corpus / new))
        self.assertFalse((self.copy / lines[0]["path"]).exists())
        self.assertFalse((self.copy / "models/one/metrics.json").exists())
        self.same()

    def test_missing_objects_are_told(self):
        lost = next(path for path in (self.corpus / "samples").rglob("*") if path.is_file())
        lost.unlink()
        record = self.backup("--objects", expect=1)
        self.assertEqual((record["objects"], record["missing"]), (2, 1))
        self.assertIn(f"samples/{lost.name[:2]}/{lost.name[2:4]}/{lost.name} is named by a row and not there", self.talk)

    def test_what_the_corpus_lost_stays(self):
        self.backup("--objects")
        lost = self.objects(self.corpus)[0]
        (self.corpus / lost).unlink()
        self.tool("malseq", "fsck", "--repair")
        record = self.backup("--objects")
        self.assertEqual((record["objects"], record["missing"], record["removed_objects"]), (2, 0, 0))
        self.assertTrue((self.copy / lost).exists())
        shutil.copy2(self.copy / lost, self.corpus / lost)      # and from there the corpus has it again
        self.tool("malseq", "fsck", "--repair")
        self.assertEqual(self.backup("--objects")["objects"], 3)
        self.same()
        self.sql("UPDATE sample SET vaulted = 0, bytes_gone_ms = 1 WHERE sha256 = ?", bytes.fromhex(lost[-64:]))
        (self.corpus / lost).unlink()
        self.assertEqual(self.backup("--objects")["removed_objects"], 1)
        self.same()

    def test_what_the_corpus_has_damaged_replaces_nothing(self):
        self.backup("--objects")
        cut, turned, sound = self.objects(self.corpus)
        whole = {path: (self.copy / path).read_bytes() for path in (cut, turned, sound)}
        self.replace(self.corpus / cut, b"")
        self.replace(self.corpus / turned, whole[turned][:-1] + b"\0\0")
        self.replace(self.copy / sound, b"short")
        record = self.backup("--objects", expect=1)
        self.assertEqual((record["objects"], record["missing"], record["new_objects"]), (1, 2, 1))
        self.assertIn(f"{cut} is damaged", self.talk)
        self.assertEqual({path: (self.copy / path).read_bytes() for path in whole}, whole)
        self.tool("malseq", "fsck", corpus=self.copy)

    def test_what_cannot_be_read_costs_itself_alone(self):
        self.backup()
        closed = self.objects(self.corpus)[1]
        os.chmod(self.corpus / closed, 0)
        command = [os.path.join(BIN, "malseq"), "backup", "--json", "--objects", self.copy, "--corpus", self.corpus]
        result = subprocess.run(self.minding_rights(*command), capture_output=True, timeout=100, check=False)
        self.assertEqual(result.returncode, 1, result.stderr)
        record = json.loads(result.stdout)
        self.assertEqual((record["objects"], record["missing"], record["new_objects"]), (2, 1, 2))
        self.assertIn(f"{closed} is damaged or cannot be read", result.stderr.decode())
        os.chmod(self.corpus / closed, 0o400)
        self.backup("--objects")
        self.same()

    def test_after_a_power_loss_no_size_is_trusted(self):
        model = self.corpus / "models" / "one"
        model.write_text("{}")
        self.backup("--objects")
        first = self.objects(self.copy)[0]
        times = os.stat(self.copy / "models/one")
        for path in (first, "models/one"):                     # what a file system may leave of files that were not synced
            self.replace(self.copy / path, b"\0" * os.path.getsize(self.copy / path))
        os.utime(self.copy / "models/one", ns=(times.st_atime_ns, times.st_mtime_ns))
        (self.copy / "backup.unsynced").write_bytes(b"")
        self.backup()
        self.assertEqual((self.copy / "models/one").read_text(), "{}")
        self.assertTrue((self.copy / "backup.unsynced").exists())
        self.backup("--objects")
        self.assertFalse((self.copy / "backup.unsynced").exists())
        self.same()
        self.backup(expect=-9, env={"MALSEQ_TEST_KILL": "malseq.backup.rename:1"})
        self.assertTrue((self.copy / "backup.unsynced").exists())

    def test_links_give_way_to_copies(self):
        self.backup("--objects", "--link")
        record = self.backup("--objects")
        self.assertEqual((record["new_objects"], record["linked_objects"], record["object_files"]), (3, 0, "copied"))
        for path in self.objects(self.copy):
            self.assertEqual((self.copy / path).stat().st_nlink, 1)
        self.same()

    def test_a_second_name_left_behind_is_not_written_through(self):
        """By a run with --link that died before it gave the object its name."""
        self.backup()
        path = self.objects(self.corpus)[0]
        left, before = self.copy / (path + ".tmp"), (self.corpus / path).read_bytes()
        left.parent.mkdir(parents=True)
        os.link(self.corpus / path, left)
        self.backup("--objects")
        self.assertEqual(((self.corpus / path).read_bytes(), (self.corpus / path).stat().st_nlink), (before, 1))
        self.same()

    def test_no_link_reaches_another_disk(self):
        for place in ("/dev/shm", "/tmp", "/var/tmp", os.getcwd()):
            if os.access(place, os.W_OK) and os.stat(place).st_dev != os.stat(self.root).st_dev:
                break
        else:
            self.skipTest("there is no second file system")
        other = tempfile.mkdtemp(dir=place)
        self.addCleanup(shutil.rmtree, other)
        self.copy = pathlib.Path(other) / "copy"
        record = self.backup("--objects", "--link")
        self.assertEqual((record["new_objects"], record["linked_objects"], record["object_files"]), (3, 0, "copied"))
        self.assertIn("3 objects were copied", self.talk)

    def test_folders_that_are_none_of_its_own(self):
        self.copy.mkdir()
        (self.copy / "mine").write_text("x")
        self.backup(expect=2)
        self.copy = self.corpus
        self.backup(expect=2)
        self.assertIn("is the corpus itself", self.talk)
        (self.root / "way").symlink_to(self.corpus)
        for inside in (self.corpus / "tmp", self.corpus / "models" / "a" / "b", self.root / "way" / "new", self.root / "none" / ".." / "corpus" / "new"):
            self.copy = inside
            self.backup(expect=2)
            self.assertIn("lies in the corpus", self.talk)
            self.assertFalse((inside / "corpus.db").exists())
        self.copy = self.root / "corpus2"                       # beside it, though its name begins alike
        self.backup()
        self.tool("collect", "--dir", self.input, "-q", corpus=self.copy)
        self.assertFalse((self.copy / "corpus.db-wal").exists())
        self.backup(expect=2)
        self.assertIn("was used as a corpus", self.talk)
        self.copy = self.root / "used"
        self.backup()
        (self.copy / "corpus.db-wal").write_bytes(b"x" * 40)    # as a writer that was killed and whose lock was removed
        self.backup(expect=2)
        self.assertIn("was used as a corpus", self.talk)

    def test_a_full_disk_costs_nothing(self):
        self.backup("--objects")
        before = (self.copy / "corpus.db").read_bytes()
        (self.input / "new.exe").write_bytes(pe.pe("backup new"))
        self.tool("collect", "--dir", self.input, "-q")
        (self.corpus / "models" / "large").write_bytes(os.urandom(len(before) * 4))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        for room in (len(before) // 2, len(before) * 2):        # the database does not fit, a model does not
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
                self.backup("--objects", expect=4)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            self.assertEqual((self.copy / "corpus.db").read_bytes(), before)
            self.assertFalse((self.copy / "corpus.db.new").exists())
            self.tool("malseq", "fsck", corpus=self.copy)
        (self.corpus / "models" / "large").unlink()
        (self.input / "large.exe").write_bytes(pe.pe("backup large", overlay=os.urandom(len(before) * 4)))
        self.tool("collect", "--dir", self.input, "-q")
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) * 2, hard))
            self.backup("--objects", expect=4)                  # no fault of the object
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        self.backup("--objects")
        self.same()

    def test_damaged_database_does_not_replace_a_good_copy(self):
        self.backup("--objects")
        before = (self.copy / "corpus.db").read_bytes()
        with open(self.corpus / "corpus.db", "r+b") as file:
            for page in range(3, os.path.getsize(self.corpus / "corpus.db") // 4096):
                file.seek(page * 4096)
                file.write(b"\xff" * 64)
        self.backup("--objects", expect=4)
        self.assertEqual((self.copy / "corpus.db").read_bytes(), before)
        self.tool("malseq", "fsck", corpus=self.copy)

    def models(self, corpus):
        return {str(path.relative_to(corpus)): path.read_text() for path in (corpus / "models").rglob("*") if path.is_file()}

    def test_a_death_at_any_step(self):
        models = self.corpus / "models"
        models.mkdir(exist_ok=True)
        (models / "0.json").write_text("goes")
        (models / "trained anew").write_text("0")
        self.backup("--objects")
        for number, step in enumerate(("malseq.backup.object:2", "store.backup.pages:1", "malseq.backup.rename:1", "malseq.backup.renamed:1", "malseq.backup.settled:1")):
            with self.subTest(step=step):
                (self.input / f"{step}.exe").write_bytes(pe.pe(step))
                self.tool("collect", "--dir", self.input, "-q")
                before = self.models(self.copy)
                (models / f"{number}.json").unlink()            # what the earlier database names is there as it was, until the new one is
                (models / f"{number + 1}.json").write_text("comes")
                (models / "trained anew").write_text(f"{number + 1}")
                self.backup("--objects", expect=-9, env={"MALSEQ_TEST_KILL": step})
                found = self.tool("malseq", "fsck", "--json", corpus=self.copy, expect=None).splitlines()
                self.assertEqual([line for line in found if "no row names it" not in line], [])
                left = self.models(self.copy)
                self.assertLessEqual(before.items() if number < 4 else self.models(self.corpus).items(), left.items())
                self.backup("--objects")
                self.same()
                self.assertEqual(self.models(self.copy), self.models(self.corpus))

    def hold(self, path):
        """Whoever opens the file now waits until it is released, and is told of by SIGIO."""
        descriptor = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        self.addCleanup(signal.pthread_sigmask, signal.SIG_SETMASK, signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO]))
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            self.skipTest(f"no leases on files here: {error}")
        return descriptor

    def test_what_others_do_while_objects_are_copied(self):
        self.backup()                                           # the object that goes was never copied
        first, _, gone = self.objects(self.corpus)
        held = self.hold(self.corpus / first)
        command = [os.path.join(BIN, "malseq"), "backup", "--json", "--objects", self.copy, "--corpus", self.corpus]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            try:
                self.assertIsNotNone(signal.sigtimedwait([signal.SIGIO], 100))
                (self.corpus / "models" / "late").write_text("named by no row of the copy")
                self.tool("collect", "forget", gone[-64:])
                log = self.corpus / "corpus.db-wal"
                self.assertNotIn(bytes.fromhex(gone[-64:]), log.read_bytes() if log.exists() else b"")
                self.assertIsNone(process.poll())
                fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_UNLCK)
                record = json.loads(process.communicate(timeout=100)[0])
                self.assertEqual(process.returncode, 0)
            finally:
                process.kill()
        self.assertEqual((record["objects"], record["missing"], record["gone_meanwhile"]), (2, 0, 1))
        self.assertFalse((self.copy / "models" / "late").exists())
        self.assertEqual(self.backup("--objects")["gone_meanwhile"], 0)
        self.same()

    def test_what_goes_while_models_are_copied(self):
        for name in ("a", "b", "c/1", "d/1"):
            (self.corpus / "models" / name).parent.mkdir(parents=True, exist_ok=True)
            (self.corpus / "models" / name).write_text(name)
        held = self.hold(self.corpus / "models" / "a")
        with subprocess.Popen([os.path.join(BIN, "malseq"), "backup", self.copy, "--corpus", self.corpus], stdout=subprocess.DEVNULL) as process:
            try:
                self.assertIsNotNone(signal.sigtimedwait([signal.SIGIO], 100))
                (self.corpus / "models" / "b").unlink()
                shutil.rmtree(self.corpus / "models" / "c")
                fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_UNLCK)
                self.assertEqual(process.wait(timeout=100), 0)
            finally:
                process.kill()
        self.assertEqual(self.models(self.copy), {"models/a": "a", "models/d/1": "d/1"})

    def test_the_view_is_held_for_the_pages_alone(self):
        """Not while the copy is checked: the corpus's log can be emptied again."""
        path = self.root / "steps"
        os.mkfifo(path)
        steps = os.open(path, os.O_RDWR)                        # has room for one step: the program waits at the next
        self.addCleanup(os.close, steps)
        room = fcntl.fcntl(steps, getattr(fcntl, "F_SETPIPE_SZ", 1031), 1)
        os.write(steps, b"-" * (room - len(b"store.backup.pages\n")))
        db = sqlite3.connect(self.corpus / "corpus.db", timeout=5)
        self.addCleanup(db.close)
        command = [os.path.join(BIN, "malseq"), "backup", self.copy, "--corpus", self.corpus]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=dict(os.environ, MALSEQ_TEST_STEPS=str(path))) as process:
            try:
                filled, end = bytearray(4), time.monotonic() + 100
                while int.from_bytes(filled, sys.byteorder) < room and process.poll() is None and time.monotonic() < end:
                    time.sleep(0.01)
                    fcntl.ioctl(steps, termios.FIONREAD, filled)
                self.assertIsNone(process.poll())
                db.execute("UPDATE run SET seed = seed + 1")
                db.commit()
                self.assertEqual(db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone(), (0, 0, 0))
                self.assertEqual(os.read(steps, room)[-len(b"store.backup.pages\n"):], b"store.backup.pages\n")
                self.assertEqual(process.wait(timeout=100), 0)
                self.assertTrue(os.read(steps, room).startswith(b"store.backup.copied\n"))
            finally:
                process.kill()

    def test_one_view_while_others_write(self):
        stop, seen = threading.Event(), []

        def write():
            db = sqlite3.connect(self.corpus / "corpus.db", timeout=250)
            number = 0
            while not stop.wait(.001):
                number += 1
                with db:
                    db.execute("INSERT INTO origin (kind, name) VALUES ('list', ?)", (f"w{number}",))
                    db.execute("INSERT INTO sample (sha256) VALUES (randomblob(32))")
            db.close()

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(3):
                self.backup()
                db = sqlite3.connect(f"file:{self.copy}/corpus.db?mode=ro", uri=True)
                origins, samples = db.execute("SELECT (SELECT count(*) FROM origin WHERE kind = 'list'), (SELECT count(*) FROM sample)").fetchone()
                db.close()
                self.assertEqual(samples - 3, origins)
                seen.append(origins)
        finally:
            stop.set()
            thread.join()
        self.assertGreater(seen[-1], seen[0])


if __name__ == "__main__":
    unittest.main()

"""malseq backup: copies that are whole corpora, made while others write, brought up to date, and left sound by a death at any step.
The programs are generated headers without code; nothing leaves the machine."""
import hashlib
import json
import os
import shutil
import sqlite3
import threading
import unittest

from corpus_case import CorpusCase
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
        self.assertFalse((self.copy / lines[0]["path"]).exists())
        self.assertFalse((self.copy / "models/one/metrics.json").exists())
        self.same()

    def test_missing_objects_are_told(self):
        lost = next(path for path in (self.corpus / "samples").rglob("*") if path.is_file())
        lost.unlink()
        record = self.backup("--objects", expect=1)
        self.assertEqual((record["objects"], record["missing"]), (2, 1))
        self.assertIn(f"samples/{lost.name[:2]}/{lost.name[2:4]}/{lost.name} is named by a row and not there", self.talk)

    def test_folders_that_are_none_of_its_own(self):
        self.copy.mkdir()
        (self.copy / "mine").write_text("x")
        self.backup(expect=2)
        self.copy = self.corpus
        self.backup(expect=2)
        self.assertIn("is the corpus itself", self.talk)
        self.copy = self.root / "used"
        self.backup()
        (self.copy / "corpus.db-wal").write_bytes(b"x" * 40)
        self.backup(expect=2)
        self.assertIn("was used as a corpus", self.talk)

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

    def test_one_view_while_others_write(self):
        stop = threading.Event()

        def write():
            db = sqlite3.connect(self.corpus / "corpus.db", timeout=250)
            number = 0
            while not stop.is_set():
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
        finally:
            stop.set()
            thread.join()


if __name__ == "__main__":
    unittest.main()

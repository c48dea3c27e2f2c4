"""Corpora of older schemas: rows of every table, made by the tools as far as they make them, are put into a database of each older schema, as the
malseq of that time would have kept them; the next command that writes brings it up to date, and nothing that it said is lost.
The programs are generated headers without code; nothing leaves the machine."""
import hashlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

from gen import antivirus, archive, pe, report

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
SCHEMAS = pathlib.Path(__file__).resolve().parents[2] / "schemas"
APPLICATION = 0x4d536571
OLDEST = 5          # whose rows those of today still are; before it, other columns had to be filled

# What no tool run here writes. Each refers to rows that the tools have made.
BY_HAND = (
    "INSERT INTO alias SELECT 'cuckoo', CAST('task-1.exe' AS BLOB), min(id) FROM sample",
    "INSERT INTO request (key_print, endpoint, subject, sent_ms, status) VALUES ('0123abcd', 'files', 'x', 1700000000000, 200)",
    "INSERT INTO quota VALUES ('0123abcd', 'day', 500, 3, 1700000000000)",
    "INSERT INTO dataset SELECT 1, zeroblob(32), 'malware', 'ember2024', 'v1', 1, 10, 1700000000000, min(id) FROM run",
    "INSERT INTO split (dataset, name, analysis, part, grp) SELECT 1, 'holdout', min(id), 0, 7 FROM analysis",
    "INSERT INTO model SELECT 1, 'm', 1, 'holdout', zeroblob(32), 'models/m', '{}', 1700000000000, min(id) FROM run",
    "INSERT INTO label_flip SELECT sample, 'ember2024', 1, 'uncertain', 'malicious', 'Worm', 1700000000000, id FROM scan LIMIT 1",
    "UPDATE origin SET validator = '\"etag\"', history = 1, commit_id = zeroblob(20), remote_id = 42, url = 'https://github.com/a/b'",
    "INSERT INTO lookup (sample, state, tries, unchanged) SELECT max(id), 'pending', 2, 3 FROM sample WHERE true ON CONFLICT DO NOTHING",
)


def files():
    return sorted(SCHEMAS.glob("[0-9]*.sql"))


def old_database(path, version):
    db = sqlite3.connect(path)
    for name in files()[:version]:
        db.executescript(name.read_text(encoding="utf-8"))
    db.execute("PRAGMA application_id = %d" % APPLICATION)
    db.execute("PRAGMA user_version = %d" % version)
    return db


def columns(db):
    """{table: its columns}, in an order that lets each row be written after those that it refers to."""
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid")]
    return {name: [row[1] for row in db.execute("PRAGMA table_info(%s)" % name)] for name in names}


def rows(db, table, names):
    return sorted(db.execute("SELECT %s FROM %s" % (", ".join(names), table)), key=repr)


# What triggers fill when the rows of the others come.
COUNTED = ("tally", "total")


class Migrate(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-migrate-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.corpus = self.root / "corpus"

    def tool(self, name, *args, expect=0, corpus=None):
        result = subprocess.run([os.path.join(BIN, name), *map(str, args), "--corpus", str(corpus or self.corpus)], capture_output=True,
                                stdin=subprocess.DEVNULL, timeout=250, check=False)
        self.talk = result.stderr.decode("utf-8", "replace")
        self.assertEqual(result.returncode, expect, self.talk + result.stdout.decode("utf-8", "replace"))
        return result.stdout.decode()

    def digest(self, corpus=None):
        return self.tool("malseq", "fsck", "--digest", corpus=corpus).split()[-1]

    def make(self):
        """A corpus of today, without what older ones could not hold."""
        folder, program = self.root / "in", pe.pe("one")
        folder.mkdir()
        made = {"a.exe": program, "b.zip": archive.zipped({"b.exe": pe.pe("two")}, "infected"), "locked.zip": archive.zipped({"c.exe": pe.pe("three")}, "?"),
                "cut.zip": archive.zipped({"d.exe": pe.pe("four")})[:200], "gone.exe": pe.pe("gone"), "text": b"no program"}
        for name, data in made.items():
            (folder / name).write_bytes(data)
        self.tool("collect", "--dir", folder, expect=1)
        self.tool("collect", "forget", hashlib.sha256(made["gone.exe"]).hexdigest())
        sha256 = hashlib.sha256(program).hexdigest()
        spec = antivirus.Spec(sha256=sha256, sha1=hashlib.sha1(program).hexdigest(), md5=hashlib.md5(program).hexdigest(), size=len(program),
                              cls="Worm", family="zelphira", groups=20)
        (self.root / "vt.json").write_text(json.dumps({"data": antivirus.file_object(spec)}))
        self.tool("label", "import", self.root / "vt.json")
        (self.root / "report.json").write_bytes(report.cuckoo([report.Process("a.exe", ["NtCreateFile", "NtClose"] * 20)], sha256=sha256))
        self.tool("extract", "import", self.root / "report.json")
        db = sqlite3.connect(self.corpus / "corpus.db")
        with db:
            for statement in BY_HAND:
                db.execute(statement)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        self.tool("malseq", "fsck")

    def test_every_row_survives(self):
        self.make()
        want, newest = self.digest(), len(files())
        today = sqlite3.connect(self.corpus / "corpus.db")
        for version in range(OLDEST, newest):
            with self.subTest(version=version):
                corpus = self.root / ("v%d" % version)
                shutil.copytree(self.corpus, corpus, ignore=shutil.ignore_patterns("corpus.db*"))
                db = old_database(corpus / "corpus.db", version)
                kept = columns(db)
                for table, names in kept.items():
                    if table in COUNTED:
                        continue
                    found = rows(today, table, names)
                    if version == OLDEST:
                        self.assertTrue(found, "no row in " + table)
                    db.executemany("INSERT INTO %s (%s) VALUES (%s)" % (table, ", ".join(names), ", ".join("?" * len(names))), found)
                db.commit()
                before = {table: rows(db, table, names) for table, names in kept.items()}
                indexes = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type IN ('index', 'view') AND sql IS NOT NULL")}
                db.close()
                # A reader does not migrate, and says so.
                self.tool("malseq", "fsck", expect=4, corpus=corpus)
                self.assertIn("older schema", self.talk)
                self.tool("malseq", "fsck", "--repair", corpus=corpus)
                db = sqlite3.connect(corpus / "corpus.db")
                self.assertEqual(db.execute("PRAGMA user_version").fetchone()[0], newest)
                for table, names in kept.items():
                    self.assertEqual(rows(db, table, names), before[table], table)
                self.assertLessEqual(indexes, {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type IN ('index', 'view')")})
                self.assertEqual(db.execute("PRAGMA foreign_key_check").fetchall(), [])
                db.close()
                self.tool("malseq", "fsck", corpus=corpus)
                self.assertEqual(self.digest(corpus), want)
                # And it is taken up where it was left: nothing is opened again but what failed under another unpacker.
                self.tool("collect", "--dir", self.root / "in", "-q", corpus=corpus)
                with sqlite3.connect(corpus / "corpus.db") as again:
                    counts = json.loads(again.execute("SELECT counts FROM run ORDER BY id DESC LIMIT 1").fetchone()[0])
                self.assertEqual(counts["opened"], 0)
        today.close()


if __name__ == "__main__":
    unittest.main()

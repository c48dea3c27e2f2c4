"""label --hashes: lists of every kind, two names of one file, and re-checks that bring nothing new."""
import hashlib
import json
import os
import sqlite3
import subprocess
import unittest

from gen.antivirus import file_object
from services.label_case import BIN, EPOCH, LabelCase, digest, spec


class Lists(LabelCase):
    def write_bytes(self, content):
        path = os.path.join(self.folder, "list")
        with open(path, "wb") as file:
            file.write(content)
        return path

    def test_forms(self):
        vt = self.service()
        lines = ["sha256,file name,remark", '"%s","a, b.exe",x' % digest(1), "%s;b.exe" % digest(2, "md5").upper(), "  %s\tc" % digest(3, "sha1"),
                 "# %s" % digest(90), "", digest(4) + " # seen twice", digest(1), "x" * 100000, digest(5)[:63], digest(5) + "0",
                 hashlib.md5(b"").hexdigest(), hashlib.sha1(b"").hexdigest(), "sha256", digest(6)]
        path = self.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
        rows = self.label(vt, "--hashes", path, expect=1)
        asked = {entry["target"].rsplit("/", 1)[1] for entry in vt.log if "/files/" in entry["target"]}
        good = [digest(1), digest(2, "md5"), digest(3, "sha1"), digest(4), digest(1), digest(6)]
        self.assertEqual(asked, set(good))
        self.assertEqual(sorted(row["hash"] for row in rows if row["state"] == "not_found"), sorted(good))
        self.assertEqual([row["reason"] for row in rows if row["state"] == "invalid"],
                         ["not an MD5, SHA-1 or SHA-256"] * 3 + ["the empty file is never asked"] * 2 + ["not an MD5, SHA-1 or SHA-256"])
        self.assertEqual(len(rows), len(good) + 6)      # a row a line
        self.assertIn("line 9: ", self.talk)

    def test_bad_files(self):
        vt = self.service()
        self.label(vt, "--hashes", self.write_bytes(("\ufeff" + digest(1)).encode("utf-16-le")), expect=3)
        self.assertIn("UTF-16", self.talk)
        self.label(vt, "--hashes", self.folder, expect=3)
        for verb in ((), ("rescan",)):
            self.label(vt, *verb, "--hashes", os.path.join(self.folder, "none"), expect=3)
            self.assertEqual(len(self.talk.splitlines()), 1, self.talk)     # why, and nothing else
            rows = self.label(vt, *verb, "--hashes", self.write_bytes(b"no hash\n%s0\n" % digest(1).encode()), expect=3)
            self.assertEqual(len(rows), 2)
            self.assertIn("at the beginning of any line", self.talk)
            self.assertNotIn("asked", self.talk)
        self.assertEqual(self.label(vt, "--hashes", self.write_bytes(b"")), [])
        self.assertIn("the list has no hash", self.talk)
        rows = self.label(vt, "--hashes", self.write_bytes(bytes(range(256)) * 4 + b"\0" * 64), expect=3)
        self.assertEqual({row["state"] for row in rows}, {"invalid"})
        self.assertEqual(vt.count("/files/"), 0)

    def test_several_hashes_in_a_line(self):
        vt = self.service()
        lines = ["%s  %s" % (digest(1), digest(1).upper()), "%s,%s,a.exe" % (digest(2), digest(2, "md5")), "%s  VirusShare_%s" % (digest(3), digest(4, "md5")),
                 "%s %s" % (digest(5), digest(6)), "%s # %s" % (digest(7), digest(8))]
        self.label(vt, "--hashes", self.write_list(*lines))
        self.assertEqual(vt.count("/files/"), 5)
        self.assertIn("2 lines (line 2 is the first) have another hash behind the first one", self.talk)
        self.label(vt, "--hashes", self.write_list(lines[0], *lines[2:3]))
        self.assertNotIn("another hash", self.talk)

    def test_standard_input(self):
        vt = self.service()
        vt.add(spec(1))
        command = [os.path.join(BIN, "label"), "--vt-key", "--vt-url", vt.api, "--corpus", self.corpus, "--hashes", "-", "--json"]
        environment = dict(os.environ, VT_API_KEY=vt.key, VT_USER=vt.user, XDG_STATE_HOME=self.folder, MALSEQ_TEST_EPOCH_MS=str(EPOCH))
        result = subprocess.run(command, env=environment, input=digest(1).encode(), capture_output=True, timeout=250, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(b'"malicious"', result.stdout)

    def test_many_lines(self):
        count = 200000 if os.environ.get("MALSEQ_LONG") else 20000
        names = [hashlib.sha256(b"%d" % n).hexdigest() for n in range(count)]
        vt = self.service()
        path = self.write_bytes("\n".join(names + names[:10]).encode())
        self.label(None, "--dry-run", expect=3)                             # no corpus yet,
        rows = self.label(None, "--dry-run", "--hashes", path, "--budget", "7")     # which a list does not need
        self.assertEqual([(row["hash"], row["state"], row["reason"]) for row in rows], [(name, "pending", "listed") for name in names[:7]])
        self.assertFalse(os.path.exists(self.corpus))
        self.label(vt, "--hashes", path, "--budget", "3", json_lines=False)
        self.assertEqual(self.rows("SELECT count(*) FROM lookup WHERE asked_ms IS NULL"), [(count - 3,)])
        self.assertEqual(vt.charged, 3)
        self.assertEqual(len(self.out.splitlines()), count + 10)
        rows = self.label(None, "--dry-run", "--hashes", path, "--budget", "7")
        self.assertEqual([row["hash"] for row in rows], names[3:10])        # in the order of the list
        self.assertEqual({row["reason"] for row in rows}, {"listed"})
        # Without the list the plan has its own order; nothing else is printed.
        vt.clock.start += 8 * 86400
        rows = self.label(None, "--dry-run", "--budget", "10", epoch=int(vt.clock() * 1000))
        self.assertEqual([row["reason"] for row in rows].count("not found so far"), 1)
        self.assertEqual([row["reason"] for row in rows].count("never asked"), 9)


class TwoNames(LabelCase):
    def test_asked_once(self):
        """The same file by md5, by sha1 and by sha256: whichever comes first settles all."""
        for turn, order in enumerate((("md5", "sha256", "sha1"), ("sha256", "sha1", "md5"), ("sha1", "md5", "sha256"))):
            with self.subTest(order):
                vt = self.service()
                vt.add(spec(1))
                self.corpus = os.path.join(self.folder, "c%d" % turn)
                names = [digest(1, kind) for kind in order]
                rows = self.label(vt, "--hashes", self.write_list(*names))
                self.assertEqual(vt.count("/files/"), 1)
                self.assertEqual(sorted((row["hash"], row["verdict"]) for row in rows), sorted((name, "malicious") for name in names))
                self.assertEqual(self.rows("SELECT count(*), count(sha256), count(sha1), count(md5) FROM sample"), [(1, 1, 1, 1)])
                self.assertEqual(self.rows("SELECT count(*), max(state) FROM lookup"), [(1, "labelled")])
                self.assertIn("one sample now", self.talk)
                self.label(vt)
                self.assertEqual(vt.count("/files/"), 1)
                self.assertEqual(self.rows("PRAGMA foreign_key_check"), [])

    def test_an_import_tells_too(self):
        """A report on disk that names both hashes makes them one sample, and neither is asked."""
        vt = self.service()
        self.label(vt, "--hashes", self.write_list(digest(7)))
        with sqlite3.connect(os.path.join(self.corpus, "corpus.db")) as db:
            for column, name in (("md5", digest(1, "md5")), ("sha256", digest(1)), ("sha1", digest(1, "sha1"))):
                db.execute("INSERT INTO sample (%s) VALUES (?)" % column, (bytes.fromhex(name),))
        path = os.path.join(self.folder, "report.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"data": file_object(spec(1))}, file)
        result = subprocess.run([os.path.join(BIN, "label"), "import", path, "--corpus", self.corpus], capture_output=True, timeout=250, check=False,
                                env=dict(os.environ, MALSEQ_TEST_EPOCH_MS=str(EPOCH)))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.rows("SELECT count(*), count(sha1), count(md5) FROM sample"), [(2, 1, 1)])
        vt.clear_log()
        self.label(vt)
        self.assertEqual(vt.count("/files/"), 0)

    def test_private_wins(self):
        vt = self.service()
        vt.add(spec(1))
        self.label(vt, "--hashes", self.write_list(digest(7)))
        with sqlite3.connect(os.path.join(self.corpus, "corpus.db")) as db:
            db.execute("INSERT INTO sample (sha256, private) VALUES (?, 1)", (bytes.fromhex(digest(1)),))
        vt.clear_log()
        self.label(vt, "--hashes", self.write_list(digest(1, "md5")))
        self.assertEqual(self.rows("SELECT private, count(*) FROM sample GROUP BY private ORDER BY 1"), [(0, 1), (1, 1)])
        vt.clock.start += 400 * 86400
        vt.clear_log()
        self.label(vt)
        self.assertEqual(vt.count(digest(1)) + vt.count(digest(1, "md5")), 0)

    def test_forgotten_under_another_name(self):
        vt = self.service()
        vt.add(spec(1))
        self.label(vt, "--hashes", self.write_list(digest(2)))
        with sqlite3.connect(os.path.join(self.corpus, "corpus.db")) as db:
            db.execute("INSERT INTO tombstone (kind, key, made_ms) VALUES ('sample', ?, 1)", (bytes.fromhex(digest(1)),))
        rows = self.label(vt, "--hashes", self.write_list(digest(1, "md5"), digest(1)), expect=1)
        self.assertEqual({row["state"] for row in rows}, {"invalid"})
        self.assertEqual(self.rows("SELECT count(*) FROM scan"), [(0,)])
        self.assertEqual(self.rows("SELECT count(*) FROM sample WHERE sha256 = x'%s'" % digest(1)), [(0,)])
        vt.clear_log()
        vt.clock.start += 400 * 86400
        self.label(vt)
        self.assertEqual(vt.count(digest(1, "md5")), 0)

    def test_two_files_of_one_md5(self):
        vt = self.service()
        vt.add(spec(1))
        self.label(vt, "--hashes", self.write_list(digest(9)))
        with sqlite3.connect(os.path.join(self.corpus, "corpus.db")) as db:
            db.execute("INSERT INTO sample (sha256, md5) VALUES (?, ?)", (bytes.fromhex(digest(2)), bytes.fromhex(digest(1, "md5"))))
            db.execute("INSERT INTO sample (md5) VALUES (?)", (bytes.fromhex(digest(1, "md5")),))
            db.execute("INSERT INTO sample (sha256) VALUES (?)", (bytes.fromhex(digest(1)),))
        self.label(vt)
        self.assertEqual(self.rows("SELECT count(*) FROM sample"), [(4,)])
        self.assertEqual(self.rows("SELECT count(*) FROM label WHERE verdict = 'malicious'"), [(2,)])


class Unchanged(LabelCase):
    def test_intervals(self):
        vt = self.service()
        vt.add(spec(1, "Worm", 3))
        path = self.write_list(digest(1))
        waits = []
        for _ in range(5):
            self.label(vt, "--hashes", path)
            due, asked = self.rows("SELECT due_ms, asked_ms FROM lookup")[0]
            waits.append(round((due - asked) / 86400000))
            vt.clock.start += waits[-1] * 86400 + 3600
        self.assertEqual(waits, [30, 60, 120, 365, 365])
        self.assertEqual(self.rows("SELECT unchanged FROM lookup"), [(4,)])
        self.assertEqual(self.rows("SELECT count(*) FROM scan"), [(1,)])
        vt.add(spec(1, "Worm", 3, analysed=1790000000))
        self.label(vt, "--hashes", path)
        self.assertEqual(self.rows("SELECT unchanged FROM lookup"), [(0,)])
        self.assertEqual(self.rows("SELECT count(*) FROM scan"), [(2,)])


    def test_an_import_younger_than_the_service(self):
        """What the service says again and again is kept once, also when somebody else's report is younger."""
        vt = self.service()
        vt.add(spec(1, "Worm", 12))
        path = os.path.join(self.folder, "report.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"data": file_object(spec(1, "Worm", 12, analysed=1772000000))}, file)
        self.label(vt, "--hashes", self.write_list(digest(1)))
        subprocess.run([os.path.join(BIN, "label"), "import", path, "--corpus", self.corpus], capture_output=True, timeout=250, check=True,
                       env=dict(os.environ, MALSEQ_TEST_EPOCH_MS=str(EPOCH)))
        for _ in range(2):
            vt.clock.start += 400 * 86400
            self.label(vt)
        self.assertEqual(vt.count("/files/"), 3)
        self.assertEqual(self.rows("SELECT source FROM scan ORDER BY last_analysis_ms"), [("virustotal",), ("import",)])


if __name__ == "__main__":
    unittest.main()

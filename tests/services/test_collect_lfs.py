"""Files in Git LFS through collect --github-list: what is fetched and what is not, servers that lie, and places they may not name."""
import hashlib
import os
import subprocess
import unittest

from gen import archive, pe
from services.github import GitHub
from services.github_case import BIN, GitHubCase


class Lfs(GitHubCase):
    def failure(self, rest):
        self.assertEqual(len(rest), 1, rest)
        return rest[0]["path"], rest[0]["outcome"]

    def test_files_behind_pointers(self):
        program, locked = pe.pe("large", body_bytes=100000), archive.zipped({"l.exe": pe.pe("l")}, "quiet")
        self.hub.add("lab/large", {"README.md": b"Password: **quiet**", "bin/l.exe": self.hub.put_lfs(program), "bin/copy.exe": self.hub.put_lfs(program),
                                   "l.zip": self.hub.put_lfs(locked), "n.txt": self.hub.put_lfs(b"")})
        self.write_list("lab/large claim=malware private")
        samples, rest = self.collect()
        self.assertEqual(({line["path"] for line in samples}, rest), ({"bin/copy.exe", "l.zip"}, []))
        self.assertEqual(self.rows("SELECT path, claim, private FROM sighting ORDER BY 1"),
                         [(b"bin/copy.exe", "malware", 1), (b"bin/l.exe", "malware", 1), (b"l.zip", "malware", 1)])
        self.assertEqual((self.hub.count("/objects/batch"), self.hub.count("/lfs-store/")), (1, 3))
        before = self.digest(self.corpus)
        for days in (1, 9):
            self.hub.clear_log()
            self.assertEqual(self.collect(days=days), ([], []))
            self.assertEqual([r["status"] for r in self.hub.requests()], [304])
        self.assertEqual(self.digest(self.corpus), before)

    def test_what_the_corpus_has_is_not_fetched(self):
        program, other = pe.pe("plain"), pe.pe("forgotten")
        self.hub.add("lab/plain", {"x.zip": archive.zipped({"p.exe": program}), "o.exe": other})
        self.hub.add("lab/large", {"p.exe": self.hub.put_lfs(program), "o.exe": self.hub.put_lfs(other)})
        self.write_list("lab/plain")
        self.collect()
        forgotten = hashlib.sha256(other).hexdigest()
        subprocess.run([os.path.join(BIN, "collect"), "forget", forgotten, "--corpus", str(self.corpus)], check=True, capture_output=True, timeout=250)
        self.write_list("lab/large private")
        self.assertEqual(self.collect(), ([], []))
        self.assertEqual((self.hub.count("/objects/batch"), self.hub.count("/lfs-store/")), (0, 0))
        self.assertEqual(self.rows("SELECT path, chain FROM sighting ORDER BY 1"), [(b"p.exe", b""), (b"x.zip", b"p.exe")])
        self.assertEqual(self.rows("SELECT private, count(*) FROM sample GROUP BY 1"), [(1, 1)])

    def test_batches_of_a_hundred(self):
        self.hub.add("lab/many", {"%03d" % index: self.hub.put_lfs(b"text %d" % index) for index in range(101)})
        self.write_list("lab/many")
        self.assertEqual(self.collect(), ([], []))
        self.assertEqual((self.hub.count("/objects/batch", status=200), self.hub.count("/lfs-store/")), (2, 101))

    def test_texts_that_are_no_pointers(self):
        good = self.hub.put_lfs(b"content")
        self.hub.add("lab/a", {"1": good[:-1], "2": good + b"x" * 1000, "3": good.replace(b"size 7", b"size -7"), "4": good + good[43:],
                               "5": good.replace(b"sha256", b"sha512"), "6": good.replace(b"size 7", b"size 99999999999999999999"), "7": good[:43]})
        self.write_list("lab/a")
        self.assertEqual(self.collect(), ([], []))
        self.assertEqual(self.hub.count("lfs"), 0)
        self.assertEqual(self.rows("SELECT DISTINCT outcome FROM blob"), [("no_pe",)])

    def test_what_is_not_there_is_asked_weekly(self):
        program = pe.pe("late")
        self.hub.add("lab/late", {"late.exe": self.hub.put_lfs(program), "x.exe": pe.pe("x")})
        self.write_list("lab/late")
        oid = hashlib.sha256(program).hexdigest()
        self.hub.lfs[oid] = {"code": 404, "message": "Object does not exist\x1b[31m"}
        samples, rest = self.collect(expect=1)
        self.assertEqual(([line["path"] for line in samples], self.failure(rest)), (["x.exe"], ("late.exe", "lfs_pointer")))
        self.assertNotIn("\x1b", rest[0]["reason"])
        self.hub.lfs[oid] = program
        self.hub.clear_log()
        self.assertEqual(self.collect(days=6), ([], []))
        self.assertEqual(self.hub.count(), 1)
        samples, rest = self.collect(days=8)
        self.assertEqual(([line["path"] for line in samples], rest), (["late.exe"], []))

    def test_places_a_server_may_not_name(self):
        other = GitHub()
        other.start()
        self.addCleanup(other.stop)
        program = pe.pe("aim")
        oid = hashlib.sha256(program).hexdigest()
        other.put_lfs(program)
        self.hub.add("lab/aim", {"aim.exe": self.hub.put_lfs(program)})
        self.write_list("lab/aim")
        true = self.hub.lfs_action(oid)
        for index, action in enumerate((
                {"href": other.lfs_action(oid)["href"]}, {"href": other.url.replace("127.0.0.1", "localhost") + "/lfs-store/" + oid},
                {"href": other.url.replace("http:", "https:") + "/x"}, {"href": "https://10.0.0.1/x"}, {"href": "https://169.254.169.254/latest"},
                {"href": "http://192.0.2.1/x"}, {"href": "file:///etc/passwd"}, {"href": "/lfs-store/" + oid}, {"href": ""}, {"href": 7}, {},
                {"header": {"Host": "elsewhere"}}, {"header": {"X-A": "b\r\nX-C: d"}}, {"header": {"X A": "b"}}, {"header": {"X-A": 1}},
                {"header": {"X-%d" % number: "b" for number in range(17)}}, {"header": {"Transfer-Encoding": "chunked"}})):
            with self.subTest(action=action):
                self.hub.lfs_action = lambda _oid, action=action: dict(true if action else {}, **action)
                samples, rest = self.collect(expect=1, corpus=self.root / str(index))
                self.assertEqual(samples, [])
                self.assertIn(self.failure(rest), (("aim.exe", "lfs_pointer"), ("aim.exe", "error")))
                if str(action.get("href")).startswith("https://127.") or "10.0.0.1" in str(action.get("href")):
                    self.assertRegex(rest[0]["reason"], "loopback|private")       # the address itself, not what listens there
                if str(action.get("href")).startswith("http://") and "localhost" not in action["href"]:
                    self.assertIn("not https", rest[0]["reason"])       # refused for that, before any address is looked at
        self.assertEqual((other.count(), self.hub.count("/lfs-store/")), (0, 0))

    def test_wrong_bytes_are_no_sample(self):
        program = pe.pe("true", body_bytes=5000)
        self.hub.add("lab/x", {"x.exe": self.hub.put_lfs(program)})
        self.write_list("lab/x")
        oid = hashlib.sha256(program).hexdigest()
        for data in (pe.pe("fals", body_bytes=5000)[:len(program)].ljust(len(program)), program[:-1], program + b"x", program * 20, b""):
            with self.subTest(size=len(data)):
                self.hub.lfs[oid] = data
                samples, rest = self.collect(expect=1)
                self.assertEqual((samples, self.failure(rest)), ([], ("x.exe", "mismatch")))
        self.hub.lfs[oid] = program
        for kind in ("cut", "reset", "truncated", "html"):
            with self.subTest(kind=kind):
                self.hub.fault(kind, path="/lfs-store/")
                samples, rest = self.collect(expect=1)
                self.assertEqual(samples, [])
                self.assertIn(self.failure(rest)[1], ("error", "mismatch"))
                self.hub.clear_faults()
        samples, _ = self.collect()
        self.assertEqual(len(samples), 1)
        self.assertEqual(self.rows("SELECT count(*) FROM sample"), [(1,)])

    def test_answers_of_the_batch_api(self):
        program = pe.pe("x")
        self.hub.add("lab/x", {"x.exe": self.hub.put_lfs(program), "y.exe": pe.pe("y")})
        self.write_list("lab/x")
        weekly, nightly = "lfs_pointer", "error"
        cases = [(weekly, "status", {"status": status}) for status in (401, 413, 501, 507, 509)]
        cases += [(nightly, "body", {"body": b'{"objects": [{"oid": 7}, 3, null]}'}), (nightly, "body", {"body": b'[]'})]
        for index, (outcome, kind, more) in enumerate(cases):
            with self.subTest(kind=kind, **more):
                self.hub.fault(kind, path="/objects/batch", **more)
                samples, rest = self.collect(expect=1, corpus=self.root / str(index))
                self.assertEqual(([line["path"] for line in samples], self.failure(rest)), (["y.exe"], ("x.exe", outcome)))
                self.hub.clear_faults()


if __name__ == "__main__":
    unittest.main()

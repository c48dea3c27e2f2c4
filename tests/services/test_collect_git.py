"""collect over git's smart HTTP protocol against `git http-backend` on loopback: repositories made by git, what each run costs as the server
counts it, history, states, and answers that are wrong in every way."""
# ctest: full cost=60
import hashlib
import signal
import unittest

from gen import archive, pe
from services.git_case import GitCase
from services.githttp import GitServer, pkt

TOKEN = "ghp_onlyfortests0123456789"

ODD = ["with space.exe", "trailing ", "tab\there.exe", "quote\"'.exe", "new\nline.exe", "日本語/ファイル.exe", "-rf", "~1", "a;b/$(id).exe"]


def zoo():
    files = {name: pe.pe("odd " + name) for name in ODD}
    files.update({"README.md": b"The password is `mistral-blau-7`.\n", "malware/A/A.zip": archive.zipped({"a.exe": pe.pe("a")}, "mistral-blau-7"),
                  "malware/B/b.exe": pe.pe("b"), "malware/link": ("120000", b"../README.md"), "vendor": ("160000", "1" * 40), "run.exe": ("100755", pe.pe("run"))})
    return files


class Crawls(GitCase):
    def test_what_a_run_costs(self):
        repo = self.host.repository("lab/zoo.git")
        repo.commit(zoo())
        self.write_list("@HOST@/lab/zoo.git claim=malware")
        samples, rest = self.collect(token=TOKEN)
        self.assertEqual(rest, [])
        self.assertEqual({line["path"]: line["sha256"] for line in samples if line["path"] in ODD},
                         {name: hashlib.sha256(pe.pe("odd " + name)).hexdigest() for name in ODD})
        self.assertEqual({line["path"] for line in samples}, set(ODD) | {"malware/A/A.zip", "malware/B/b.exe", "run.exe"})
        self.assertEqual([(r["method"], r["command"]) for r in self.host.log],
                         [("POST", "ls-refs"), ("GET", ""), ("POST", "fetch"), ("POST", "fetch")])
        for request in self.host.log:
            self.assertNotIn("authorization", request["headers"])
        self.assertEqual(self.rows("SELECT kind, name, state, claim, history FROM origin"), [("list", self.host.url + "/lab/zoo.git", "ok", "malware", 0)])
        self.assertEqual(self.rows("SELECT count(*) FROM tree_entry"), [(len(ODD) + 4,)])
        self.assertEqual(self.rows("SELECT password FROM sighting WHERE path = CAST('malware/A/A.zip' AS BLOB)"), [(b"mistral-blau-7",)])
        # Unchanged: one request, nothing downloaded.
        before = self.digest(self.corpus)
        self.host.log.clear()
        self.assertEqual(self.collect(), ([], []))
        self.assertEqual([(r["method"], r["command"]) for r in self.host.log], [("POST", "ls-refs")])
        self.assertEqual(self.digest(self.corpus), before)
        # Everything moved, one file new, one gone: only the new blob travels.
        moved = {"moved/" + name: data for name, data in zoo().items() if name != "malware/B/b.exe"}
        repo.commit(dict(moved, **{"new.exe": pe.pe("new")}))
        self.host.log.clear()
        samples, _ = self.collect()
        self.assertEqual([line["path"] for line in samples], ["new.exe"])
        self.assertEqual(len(self.host.wants()), 2)     # the commit and the blob
        gone = {row[0] for row in self.rows("SELECT path FROM sighting WHERE gone_ms IS NOT NULL")}
        self.assertIn(b"malware/B/b.exe", gone)
        self.assertEqual(self.rows("SELECT count(*) FROM sighting WHERE gone_ms IS NULL"), [(len(ODD) + 3,)])

    def test_history(self):
        repo = self.host.repository("h.git")
        first = {"keep.exe": pe.pe("keep"), "deleted.exe": pe.pe("deleted"), "changed.exe": pe.pe("old"), "sub/locked.zip": archive.zipped({"l.exe": pe.pe("l")}, "odd word")}
        repo.commit(first)
        repo.commit({"renamed.exe": pe.pe("keep"), "changed.exe": pe.pe("new"), "README.md": b"password: **odd word**\n"})
        self.write_list("@HOST@/h.git")
        samples, _ = self.collect()
        self.assertEqual({line["path"] for line in samples}, {"renamed.exe", "changed.exe"})
        # The commit is the same, its past was not asked for yet.
        samples, rest = self.collect("--history")
        self.assertEqual(rest, [])
        self.assertEqual({line["path"] for line in samples}, {"deleted.exe", "changed.exe", "sub/locked.zip"})
        self.assertEqual(self.rows("SELECT history FROM origin"), [(1,)])
        self.assertEqual(sorted(self.rows("SELECT path, gone_ms IS NULL FROM sighting WHERE path != CAST('changed.exe' AS BLOB)")),
                         [(b"deleted.exe", 0), (b"renamed.exe", 1), (b"sub/locked.zip", 0)])
        self.assertEqual(self.rows("SELECT count(*) FROM tree_entry"), [(3,)])
        self.host.log.clear()
        self.assertEqual(self.collect("--history"), ([], []))
        self.assertEqual(self.host.count(), 1)
        # At once, into another corpus: the same samples.
        other = self.root / "other"
        samples, _ = self.collect("--history", corpus=other)
        self.assertEqual(len(samples), 5)
        self.assertEqual(self.rows("SELECT count(*) FROM sample", other), self.rows("SELECT count(*) FROM sample"))

    def test_deltas_and_a_server_without_filters(self):
        repo = self.host.repository("d.git")
        body = pe.pe("base", body_bytes=200_000)
        for step in range(12):      # versions that git stores as deltas on each other
            repo.commit({"p.exe": body + b"overlay %d" % step, "q.exe": body + b"other %d" % step})
        repo.repack()
        self.write_list("@HOST@/d.git")
        samples, rest = self.collect("--history")
        self.assertEqual((len(samples), rest), (24, []))
        self.host.config = {}
        samples, rest = self.collect("--history", corpus=self.root / "whole")
        self.assertEqual((len(samples), rest), (24, []))

    def test_refs(self):
        repo = self.host.repository("r.git")
        first = repo.commit({"one.exe": pe.pe(1)})
        repo.git("-c", "user.name=K", "tag", "-a", "-m", "x", "v1", first)
        repo.commit({"two.exe": pe.pe(2)})
        repo.commit({"side.exe": pe.pe(3)}, branch="feature/x")
        self.write_list(*("@HOST@/r.git" + ref for ref in ("", "@v1", "@feature/x", "@" + first, "@nowhere")))
        samples, rest = self.collect(expect=5)
        self.assertEqual(sorted(line["path"] for line in samples), ["one.exe", "side.exe", "two.exe"])
        self.assertEqual([line["state"] for line in rest], ["error"])
        self.assertIn("no such branch", rest[0]["reason"])
        self.assertEqual(dict(self.rows("SELECT ref, state FROM origin"))[first], "ok")

    def test_github_without_a_token(self):
        self.host.repository("lab/zoo.git").commit({"x.exe": pe.pe("x")})
        self.write_list("Lab/Zoo")
        samples, _ = self.collect("--github-url", self.host.url + "/api/v3", host=False)
        self.assertEqual(len(samples), 1)
        self.assertIn("no GitHub token", self.talk)
        self.assertEqual(self.rows("SELECT kind, name, state FROM origin"), [("github", "lab/zoo", "ok")])
        self.assertFalse([r for r in self.host.log if "/api/" in r["path"]])


class Refused(GitCase):
    def test_states(self):
        self.host.repository("empty.git")
        self.host.repository("fine.git").commit({"x.exe": pe.pe("x")})
        answers = {"/login.git": 401, "/forbidden.git": 403, "/dmca.git": 451, "/broken.git": 500}

        def fault(request, status, headers, body):
            for prefix, code in answers.items():
                if request["path"].startswith(prefix):
                    return code, {"WWW-Authenticate": "Basic"}, b"no"
            return status, headers, body
        self.host.faults.append(fault)
        names = ["gone", "empty", "fine"] + [name[1:-4] for name in answers]
        self.write_list(*("@HOST@/%s.git" % name for name in names))
        samples, rest = self.collect(expect=5)
        self.assertEqual(len(samples), 1)
        states = {name.rsplit("/", 1)[1]: state for name, state in self.rows("SELECT name, state FROM origin")}
        self.assertEqual(states, {"gone.git": "gone", "empty.git": "empty", "fine.git": "ok", "login.git": "gone", "forbidden.git": "blocked",
                                  "dmca.git": "legal", "broken.git": "error"})
        self.assertEqual({line["state"] for line in rest}, {"gone", "blocked", "legal", "error"})

    def test_rate_limit(self):
        self.host.repository("a.git").commit({"x.exe": pe.pe("x")})
        self.host.repository("b.git").commit({"y.exe": pe.pe("y")})

        def fault(request, status, headers, body):
            return (429, {"Retry-After": "3600"}, b"") if request["path"].startswith("/b.git") and request["command"] == "fetch" else (status, headers, body)
        self.host.faults.append(fault)
        self.write_list("@HOST@/a.git", "@HOST@/b.git")
        samples, _ = self.collect(expect=75)
        self.assertEqual(len(samples), 1)
        self.assertIn("try again at 20", self.talk)
        self.assertEqual(sorted(row[0] for row in self.rows("SELECT state FROM origin")), ["limited", "ok"])
        self.host.faults.clear()
        samples, _ = self.collect()
        self.assertEqual(len(samples), 1)

    def test_version_0_and_sha256(self):
        self.host.repository("new.git", "--object-format=sha256").commit({"x.exe": pe.pe("x")})
        self.write_list("@HOST@/new.git")
        _, rest = self.collect(expect=5)
        self.assertIn("SHA-256", rest[0]["reason"])
        self.host.version = 0
        self.host.repository("old.git").commit({"x.exe": pe.pe("x")})
        self.write_list("@HOST@/old.git")
        _, rest = self.collect(expect=5)
        self.assertIn("version 0", rest[0]["reason"])

    def test_answers_that_are_wrong(self):
        self.host.repository("x.git").commit({"x.exe": pe.pe("x", body_bytes=4096)})
        self.write_list("@HOST@/x.git")
        result = "application/x-git-upload-pack-result"

        def flipped(body):
            at = body.rindex(b"PACK") + 20
            return body[:at] + bytes([body[at] ^ 0x55]) + body[at + 1:]
        whole = pkt(b"packfile\n")
        cases = {
            "ERR": (lambda body: pkt(b"ERR not \x1b[31mtoday\n"), "not \\x1b[31mtoday"),
            "sideband": (lambda body: whole + pkt(b"\x02remote: hello\n") + pkt(b"\x03disk on fire\n") + b"0000", "disk on fire"),
            "checksum": (flipped, "checksum"),
            "cut": (lambda body: body[:-30], "cut short"),
            "no flush": (lambda body: body[:-4], "cut short"),
            "no pack": (lambda body: b"0000", "no pack"),
            "not pkt": (lambda body: b"<html>sorry</html>", "pkt-lines"),
            "lie": (lambda body: whole + b"fff0PACK", "cut short"),
            "empty": (lambda body: b"", "empty"),
            "claim": (lambda body: whole + pkt(b"\x01PACK\0\0\0\2\xff\xff\xff\xff" + b"\0" * 20) + b"0000", "checksum"),
        }
        for name, (change, words) in cases.items():
            with self.subTest(name=name):
                self.host.faults[:] = [lambda request, status, headers, body, change=change:
                                       (200, {"Content-Type": result}, change(body)) if request["command"] == "fetch" else (status, headers, body)]
                samples, rest = self.collect(expect=5, corpus=self.root / name.replace(" ", ""))
                self.assertEqual((samples, [line["state"] for line in rest]), ([], ["error"]))
                self.assertIn(words, rest[0]["reason"])
                self.assertNotIn("\x1b", self.talk)
        self.host.faults.clear()
        self.assertEqual(len(self.collect()[0]), 1)

    def test_a_bad_blob_costs_itself(self):
        files = {"%d.exe" % n: pe.pe("n%d" % n, body_bytes=3000) for n in range(9)}
        repo = self.host.repository("x.git")
        repo.commit(files)
        bad = repo.git("rev-parse", "main:4.exe").strip()

        def fault(request, status, headers, body):
            if request["command"] == "fetch" and b"want " + bad in request["body"]:
                return 200, headers, body.replace(b"PACK", b"PUCK", 1)
            return status, headers, body
        self.host.faults.append(fault)
        self.write_list("@HOST@/x.git")
        samples, rest = self.collect(expect=1)
        self.assertEqual({line["path"] for line in samples}, set(files) - {"4.exe"})
        self.assertEqual([(line["path"], line["outcome"]) for line in rest], [("4.exe", "error")])
        for line in samples:
            self.assertEqual(line["sha256"], hashlib.sha256(files[line["path"]]).hexdigest())
        self.assertEqual(self.rows("SELECT state FROM origin"), [("partial",)])
        self.host.faults.clear()
        samples, rest = self.collect()
        self.assertEqual(([line["path"] for line in samples], rest), (["4.exe"], []))
        self.assertEqual(self.rows("SELECT state FROM origin"), [("ok",)])

    def test_redirects(self):
        self.host.repository("new/place.git").commit({"x.exe": pe.pe("x")})
        other = GitServer(self.root / "served")
        other.start()
        self.addCleanup(other.stop)
        target = [self.host.url + "/new/place.git"]

        def fault(request, status, headers, body):
            if not request["path"].startswith("/old.git"):
                return status, headers, body
            tail = request["path"][len("/old.git"):] + ("?" + request["query"] if request["query"] else "")
            return 301, {"Location": target[0] + tail}, b""
        self.host.faults.append(fault)
        self.write_list("@HOST@/old.git")
        samples, _ = self.collect()
        self.assertEqual(len(samples), 1)
        self.assertIn("moved", self.talk)
        target[0] = other.url + "/new/place.git"     # loopback, and not what the user named
        samples, rest = self.collect(expect=5, corpus=self.root / "elsewhere")
        self.assertEqual((samples, [line["state"] for line in rest]), ([], ["error"]))
        self.assertEqual(other.count(), 0)

    def test_private_addresses_need_a_word(self):
        self.host.repository("x.git").commit({"x.exe": pe.pe("x")})
        self.write_list("@HOST@/x.git", "http://example.invalid/x.git", "https://user:word@example.invalid/x.git")
        _, rest = self.collect(expect=5, host=False)
        self.assertEqual([line["state"] for line in rest], ["error"])
        self.assertEqual(self.host.count(), 0)
        self.assertIn("repos.txt:2: ", self.talk)
        self.assertIn("repos.txt:3: ", self.talk)

    def test_too_big(self):
        repo = self.host.repository("b.git")
        repo.commit({"a.exe": pe.pe("a"), "big.bin": b"MZ" + b"\0" * (100 << 20), "c.exe": pe.pe("c")})
        self.write_list("@HOST@/b.git")
        samples, rest = self.collect(expect=1)
        self.assertEqual({line["path"] for line in samples}, {"a.exe", "c.exe"})
        self.assertEqual([(line["path"], line["outcome"]) for line in rest], [("big.bin", "too_big")])
        self.assertEqual(self.rows("SELECT size FROM blob WHERE outcome = 'too_big'"), [((100 << 20) + 2,)])
        self.assertEqual(self.rows("SELECT state FROM origin"), [("ok",)])
        self.host.log.clear()
        self.collect()
        self.assertEqual(self.host.count(), 1)


class Killed(GitCase):
    def test_kill_then_again(self):
        repo = self.host.repository("k.git")
        repo.commit({"gone.exe": pe.pe("gone"), "a.exe": pe.pe("a")})
        repo.commit(dict({"%02d.exe" % n: pe.pe("n%d" % n) for n in range(40)}, **{"a.exe": pe.pe("a")}))
        self.write_list("@HOST@/k.git")
        log, whole = self.root / "steps", self.root / "whole"
        self.collect("--history", corpus=whole, env={"MALSEQ_TEST_STEPS": str(log)})
        want, reached = self.digest(whole), log.read_text().split()
        self.assertEqual(reached.count("collect.git.batch"), 2)
        for step in ("collect.git.listed", "collect.git.batch", "collect.crawl.tree", "collect.crawl.finished"):
            times = reached.count(step)
            for nth in sorted({1, times}):
                corpus = self.root / ("%s.%d" % (step, nth))
                self.collect("--history", expect=-signal.SIGKILL, corpus=corpus, env={"MALSEQ_TEST_KILL": "%s:%d" % (step, nth)})
                self.host.log.clear()
                self.collect("--history", corpus=corpus)
                self.assertEqual(self.digest(corpus), want, (step, nth))
                if (step, nth) == ("collect.git.batch", 2):      # the first batch was kept
                    self.assertLess(len(self.host.wants()), 20)


if __name__ == "__main__":
    unittest.main()

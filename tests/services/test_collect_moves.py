"""Repositories read by git's protocol that move, go, or are taken down by whatever name; servers that ask to wait; and files in Git LFS there:
against `git http-backend` on loopback."""
# ctest: full cost=30
import hashlib
import json
import time
import unittest

from gen import pe
from services.git_case import GitCase
from services.githttp import GitServer

API = "/api/v3"


class Moves(GitCase):
    """Old paths answer with 301 to new ones, as GitHub's do."""

    def setUp(self):
        super().setUp()
        self.moves, self.status = {}, {}

        def fault(request, status, headers, body):
            for old, new in self.moves.items():
                if request["path"].startswith(old + "/"):
                    tail = request["path"][len(old):] + ("?" + request["query"] if request["query"] else "")
                    return 301, {"Location": self.host.url + new + tail}, b""
            for path, code in self.status.items():
                if request["path"].startswith(path + "/"):
                    return code, {"WWW-Authenticate": "Basic"}, b"no"
            return status, headers, body
        self.host.faults.append(fault)

    def github(self, *args, **kwargs):
        self.host.log.clear()
        samples, rest = self.collect("--github-url", self.host.url + API, *args, host=False, **kwargs)
        return [line["path"] for line in samples], [line["state"] for line in rest]

    def asked(self):
        return sorted({r["path"].partition(".git/")[0] for r in self.host.log})

    def test_states_of_github_without_a_token(self):
        self.host.repository("lab/empty.git")
        self.host.repository("lab/fine.git").commit({"x.exe": pe.pe("x")})
        self.status = {"/lab/login.git": 401, "/lab/forbidden.git": 403, "/lab/dmca.git": 451}
        self.write_list("lab/gone", "lab/empty", "lab/fine", "lab/login", "lab/forbidden", "lab/dmca")
        self.assertEqual(self.github(expect=1)[0], ["x.exe"])
        self.assertEqual({tuple(row) for row in self.rows("SELECT name, state FROM origin WHERE kind = 'github'")},
                         {("lab/gone", "gone"), ("lab/empty", "empty"), ("lab/fine", "ok"), ("lab/login", "gone"), ("lab/forbidden", "blocked"),
                          ("lab/dmca", "legal")})
        day = {"MALSEQ_TEST_EPOCH_MS": str(int(time.time() + 86400) * 1000)}
        self.assertEqual(self.github(env=day), ([], []))       # the others once a week
        self.assertEqual(self.asked(), ["/lab/empty", "/lab/fine"])

    def test_a_rename_is_remembered(self):
        repo = self.host.repository("new/zoo.git")
        repo.commit({"x.exe": pe.pe("x")})
        self.moves["/old/zoo.git"] = "/new/zoo.git"
        self.write_list("old/zoo")
        self.assertEqual(self.github(), (["x.exe"], []))
        self.assertIn("has moved to https://github.com/new/zoo", self.talk)
        self.assertEqual(self.rows("SELECT name, url FROM origin"), [("old/zoo", "https://github.com/new/zoo")])
        repo.commit({"y.exe": pe.pe("y")})
        self.assertEqual(self.github(), (["y.exe"], []))
        self.assertEqual(self.asked(), ["/new/zoo"])
        self.assertNotIn("moved", self.talk)
        # Moved on: followed again. Moved back: found at the listed place.
        self.host.repository("third/zoo.git").commit({"z.exe": pe.pe("z")})
        self.moves["/new/zoo.git"] = "/third/zoo.git"
        self.assertEqual(self.github(), (["z.exe"], []))
        self.moves = {}
        self.status = {"/third/zoo.git": 404, "/new/zoo.git": 404}
        self.host.repository("old/zoo.git").commit({"back.exe": pe.pe("back")})
        self.assertEqual(self.github(), (["back.exe"], []))
        self.assertEqual(self.rows("SELECT url FROM origin"), [("https://github.com/old/zoo",)])
        self.assertEqual(self.github(), ([], []))
        self.assertEqual((self.asked(), self.host.count()), (["/old/zoo"], 1))

    def test_a_move_on_another_host(self):
        self.host.repository("new.git").commit({"x.exe": pe.pe("x")})
        self.moves["/old.git"] = "/new.git"
        self.write_list("@HOST@/old.git")
        self.collect()
        self.host.log.clear()
        self.assertEqual(self.collect(), ([], []))
        self.assertEqual((self.asked(), self.host.count()), (["/new"], 1))

    def test_forget_by_the_new_name(self):
        self.host.repository("new/zoo.git").commit({"x.exe": pe.pe("x")})
        self.moves["/old/zoo.git"] = "/new/zoo.git"
        self.write_list("old/zoo")
        self.github()
        self.tool("collect", "forget", "New/Zoo")
        self.assertEqual(self.rows("SELECT count(*) FROM origin"), [(0,)])
        self.assertEqual(self.rows("SELECT count(*) FROM sample"), [(0,)])
        self.assertEqual(self.github(expect=1), ([], ["forgotten"]))
        self.assertEqual(self.host.count(), 0)
        # Under its new name, and under a third one that leads there.
        self.write_list("new/zoo")
        self.assertEqual(self.github(expect=1), ([], ["forgotten"]))
        self.assertEqual(self.host.count(), 0)
        self.moves["/oldest/zoo.git"] = "/new/zoo.git"
        self.write_list("oldest/zoo")
        for requests in (4, 0):
            self.assertEqual(self.github(expect=1), ([], ["forgotten"]))
            self.assertLessEqual(self.host.count(), requests)
            self.assertEqual(self.host.count("fetch"), 0)
        self.assertEqual(self.rows("SELECT count(*) FROM origin"), [(0,)])

    def test_forget_by_urls(self):
        self.host.repository("lab/zoo.git").commit({"x.exe": pe.pe("x")})
        forms = ["%s/lab/zoo.git", "%s/lab/zoo", "%s/lab/zoo.git/"]
        for number, form in enumerate(forms):
            self.corpus = self.root / ("c%d" % number)
            self.write_list("@HOST@/lab/zoo.git")
            self.assertEqual(len(self.collect()[0]), 1)
            self.tool("collect", "forget", form % self.host.url)
            self.assertEqual(self.rows("SELECT count(*) FROM sample"), [(0,)])
            self.assertEqual([line["state"] for line in self.collect(expect=1)[1]], ["forgotten"])
        self.write_list("lab/zoo")
        self.github()
        self.tool("collect", "forget", "https://github.com/Lab/Zoo.git")
        self.assertEqual(self.rows("SELECT count(*) FROM origin"), [(0,)])
        self.tool("collect", "forget", "https://github.com/lab/never", expect=1)

    def test_forget_a_listed_url(self):
        self.write_list()
        (self.host.root / "f").mkdir(parents=True)
        urls = self.root / "urls.txt"
        urls.write_text(self.host.url + "/x.exe\n")
        program = pe.pe("x")
        self.host.faults.append(lambda request, status, headers, body: (200, {}, program) if request["path"] == "/x.exe" else (status, headers, body))
        args = ["--url-list", str(urls), "--github-url", self.host.url]
        self.assertEqual(len(self.collect(*args)[0]), 1)
        self.tool("collect", "forget", self.host.url.upper().replace("HTTP", "http") + "/x.exe")
        self.host.log.clear()
        self.assertEqual([line["state"] for line in self.collect(*args, expect=1)[1]], ["forgotten"])
        self.assertEqual(self.host.count(), 0)


class Limited(GitCase):
    def test_the_rest_of_the_list_goes_on(self):
        other = GitServer(self.root / "other")
        other.start()
        self.addCleanup(other.stop)
        for name in ("a", "b", "c"):
            self.host.repository(name + ".git").commit({name + ".exe": pe.pe(name)})
        other.repository("d.git").commit({"d.exe": pe.pe("d")})
        other.repository("e.git").commit({"e.exe": pe.pe("e")})
        wait = {self.host: "7200", other: None}

        def limit(server):
            def fault(request, status, headers, body):
                limited = request["path"].startswith(("/b.git", "/e.git")) and wait[server]
                return (429, {"Retry-After": wait[server]}, b"") if limited else (status, headers, body)
            server.faults.append(fault)
        limit(self.host)
        limit(other)
        lines = ["@HOST@/a.git", "@HOST@/b.git", "@HOST@/c.git", other.url + "/d.git", other.url + "/e.git"]
        self.write_list(*lines)
        samples, _ = self.collect("--git-host", other.url, expect=75)
        self.assertEqual(sorted(line["path"] for line in samples), ["a.exe", "d.exe", "e.exe"])
        self.assertFalse([r for r in self.host.log if r["path"].startswith("/c.git")])
        self.assertIn("try again at 20", self.talk)
        self.assertEqual(sorted(self.rows("SELECT substr(name, -5), state FROM origin")),
                         [("a.git", "ok"), ("b.git", "limited"), ("d.git", "ok"), ("e.git", "ok")])
        # Both limited: the earlier time is the one that is told.
        other.repository("e.git").commit({"e2.exe": pe.pe("e2")})
        wait[other] = "60"
        self.collect("--git-host", other.url, expect=75)
        again = self.talk.rsplit("try again at ", 1)[1].strip()
        when = time.strptime(again.partition(".")[0].rstrip("Z").replace("T", " ")[:19], "%Y-%m-%d %H:%M:%S")
        self.assertLess(abs(time.mktime(when) - time.timezone - time.time()), 3600)
        wait.update({self.host: None, other: None})
        samples, _ = self.collect("--git-host", other.url)
        self.assertEqual(sorted(line["path"] for line in samples), ["b.exe", "c.exe", "e2.exe"])

    def test_github_limited_and_git_servers(self):
        self.host.repository("lab/one.git").commit({"one.exe": pe.pe("one")})
        self.host.repository("mine.git").commit({"mine.exe": pe.pe("mine")})
        other = GitServer(self.root / "other")      # the API, which has had enough
        other.start()
        self.addCleanup(other.stop)
        other.faults.append(lambda request, status, headers, body: (403, {"X-RateLimit-Remaining": "0", "Retry-After": "900"}, b"{}"))
        self.write_list("lab/one", "lab/two", "@HOST@/mine.git")
        samples, _ = self.collect("--github-url", other.url, "--github-token", "env:OURS", env={"OURS": "ghp_onlyfortests0123456789"}, expect=75)
        self.assertEqual([line["path"] for line in samples], ["mine.exe"])
        self.assertEqual(other.count(), 1)


class Lfs(GitCase):
    """The batch API beside git's protocol on one server."""

    def setUp(self):
        super().setUp()
        self.objects, self.batches, self.lfs_status = {}, [], 200
        self.place = self.host.url

        def fault(request, status, headers, body):
            if request["path"].endswith("/info/lfs/objects/batch"):
                self.batches.append(request)
                if self.lfs_status != 200:
                    return self.lfs_status, {"Retry-After": "600"}, b"{}"
                asked = json.loads(request["body"])["objects"]
                answer = [{"oid": item["oid"], "size": item["size"], "actions": {"download": {"href": self.place + "/store/" + item["oid"]}}}
                          if item["oid"] in self.objects else
                          {"oid": item["oid"], "size": item["size"], "error": {"code": 404, "message": "not there"}} for item in asked]
                return 200, {"Content-Type": "application/vnd.git-lfs+json"}, json.dumps({"objects": answer}).encode()
            if request["path"].startswith("/store/"):
                return 200, {}, self.objects[request["path"][7:]]
            return status, headers, body
        self.host.faults.append(fault)

    def pointer(self, data):
        oid = hashlib.sha256(data).hexdigest()
        self.objects[oid] = data
        return b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (oid.encode(), len(data))

    def stores(self):
        return [r["path"] for r in self.host.log if r["path"].startswith("/store/")]

    def test_present_and_past(self):
        here, past, twice = pe.pe("here", body_bytes=50000), pe.pe("past"), pe.pe("twice")
        repo = self.host.repository("l.git")
        repo.commit({"past.exe": self.pointer(past), "plain.exe": twice})
        repo.commit({"here.exe": self.pointer(here), "copy.exe": self.pointer(twice)})
        self.write_list("@HOST@/l.git claim=malware")
        self.assertEqual([line["path"] for line in self.collect()[0]], ["copy.exe", "here.exe"])
        self.assertEqual(self.batches[0]["path"], "/l.git/info/lfs/objects/batch")
        self.assertEqual(len(self.stores()), 2)
        self.host.log.clear()
        samples, rest = self.collect("--history")
        self.assertEqual((sorted(line["path"] for line in samples), rest), (["past.exe", "plain.exe"], []))
        self.assertEqual(len(self.stores()), 1)
        self.host.log.clear()
        self.assertEqual(self.collect("--history"), ([], []))
        self.assertEqual(self.host.count(), 1)
        # What the corpus has is not fetched, wherever it is from; a base without .git has its LFS server beside it.
        self.host.repository("fork.git").commit({"h.exe": self.pointer(here)})
        (self.host.root / "fork.git").rename(self.host.root / "fork")
        self.write_list("@HOST@/fork")
        self.host.log.clear()
        self.assertEqual(self.collect(), ([], []))
        self.assertEqual(self.stores(), [])
        self.host.repository("new.git").commit({"n.exe": self.pointer(pe.pe("n"))})
        (self.host.root / "new.git").rename(self.host.root / "new")
        self.write_list("@HOST@/new")
        self.assertEqual(len(self.collect()[0]), 1)
        self.assertEqual(self.batches[-1]["path"], "/new.git/info/lfs/objects/batch")
        for request in self.batches:
            self.assertNotIn("authorization", request["headers"])

    def test_places_and_absences(self):
        other = GitServer(self.root / "other")
        other.start()
        self.addCleanup(other.stop)
        data = pe.pe("far")
        other.faults.append(lambda request, status, headers, body: (200, {}, data))
        self.host.repository("l.git").commit({"far.exe": self.pointer(data)})
        self.place = other.url                       # loopback, and nobody named it
        self.write_list("@HOST@/l.git")
        samples, rest = self.collect(expect=1)
        self.assertEqual((samples, [(line["path"], line["outcome"]) for line in rest]), ([], [("far.exe", "lfs_pointer")]))
        self.assertEqual(other.count(), 0)
        self.host.repository("m.git").commit({"none.exe": b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 5\n" % (b"ab" * 32)})
        self.write_list("@HOST@/m.git")
        _, rest = self.collect(expect=1)
        self.assertEqual([line["outcome"] for line in rest], ["lfs_pointer"], rest)
        self.assertIn("not there", rest[0]["reason"])

    def test_limited(self):
        self.host.repository("l.git").commit({"l.exe": self.pointer(pe.pe("l"))})
        self.write_list("@HOST@/l.git")
        self.lfs_status = 429
        self.assertEqual(self.collect(expect=75)[0], [])
        self.assertEqual(self.rows("SELECT state FROM origin"), [("limited",)])
        self.lfs_status = 200
        self.assertEqual([line["path"] for line in self.collect()[0]], ["l.exe"])
        self.assertEqual(self.rows("SELECT state FROM origin"), [("ok",)])


if __name__ == "__main__":
    unittest.main()

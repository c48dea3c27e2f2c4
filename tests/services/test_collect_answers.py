"""One table: what each kind of request costs when each kind of answer comes. Rows are answers, columns are requests; a cell is

    STATE COUNT NEXT

the state of the repository afterwards, how often the request was sent (redirects not counted), and what the next night does with it: "."
nothing more, the request is not sent again; "+" asks again, and has everything then; "w" not before a week has passed, and has everything then.
Each cell is a repository of its own, with a file that no request of the cell stands in the way of; the repositories of all cells that end
alike are collected in one run, between two that answer as they should. Limits end the run and have one each. (A connection that is kept and
reset costs one request more than the attempts: libcurl sends it again on a new one.)"""
import re
import unittest

from gen import pe
from services.github import GitHub
from services.github_case import TOKEN, GitHubCase

# A state's exit code; every run's is that of its worst.
EXITS = {"ok": 0, "empty": 0, "partial": 1, "gone": 1, "legal": 1, "blocked": 1, "error": 5, "limited": 75, "wrong": 1}   # wrong: state error, and the list's fault

# Columns: commits/HEAD, the repository, its tree, one blob; the tarball, and that of the host it leads to; the LFS batch and an LFS object;
# the list of releases, and one asset.
TABLE = """
            head        meta        tree        blob        tarball  codeload   batch       object      list        asset
200         ok 1 .      ok 1 .      ok 1 .      ok 1 .      ok 1 .   ok 1 .     ok 1 .      ok 1 .      ok 1 .      ok 1 .
301 here    ok 1 .      ok 1 .      ok 1 .      ok 1 .      ok 1 .   -          partial 1 + ok 1 .      ok 1 .      ok 1 .
302 here    ok 1 .      ok 1 .      ok 1 .      ok 1 .      ok 1 .   -          partial 1 + ok 1 .      ok 1 .      ok 1 .
307 here    ok 1 .      ok 1 .      ok 1 .      ok 1 .      ok 1 .   -          ok 1 .      ok 1 .      ok 1 .      ok 1 .
302 other   ok 1 .      ok 1 .      ok 1 .      ok 1 .      ok 1 .   ok 1 .     partial 1 + ok 1 .      ok 1 .      ok 1 .
307 other   ok 1 .      ok 1 .      ok 1 .      ok 1 .      ok 1 .   ok 1 .     partial 1 + ok 1 .      ok 1 .      ok 1 .
302 private error 1 +   error 1 +   error 1 +   partial 1 + ok 1 .   ok 1 .     partial 1 + partial 1 + error 1 +   partial 1 +
302 local   error 1 +   error 1 +   error 1 +   partial 1 + ok 1 .   ok 1 .     partial 1 + partial 1 + error 1 +   partial 1 +
304         error 1 +   error 1 +   error 1 +   partial 1 + ok 1 .   ok 1 .     partial 1 + partial 1 + error 1 +   partial 1 +
403         blocked 1 w blocked 1 w blocked 1 w partial 1 + ok 1 .   ok 1 .     partial 1 w partial 1 + blocked 1 + partial 1 +
403 block   blocked 1 w blocked 1 w blocked 1 w partial 1 + ok 1 .   ok 1 .     partial 1 w partial 1 + blocked 1 + partial 1 +
404         gone 1 w    gone 1 w    gone 1 w    partial 1 + ok 1 .   ok 1 .     partial 1 w partial 1 w gone 1 +    partial 1 +
409         empty 1 +   empty 1 +   empty 1 +   partial 1 + ok 1 .   ok 1 .     partial 1 w partial 1 + error 1 +   partial 1 +
422         wrong 1 +   wrong 1 +   wrong 1 +   partial 1 + ok 1 .   ok 1 .     partial 1 w partial 1 + error 1 +   partial 1 +
451         legal 1 w   legal 1 w   legal 1 w   partial 1 + ok 1 .   ok 1 .     partial 1 w partial 1 + legal 1 +   partial 1 +
500         error 4 +   error 4 +   error 4 +   partial 4 + ok 2 .   ok 2 .     partial 4 + partial 4 + error 4 +   partial 4 +
503         error 4 +   error 4 +   error 4 +   partial 4 + ok 2 .   ok 2 .     partial 4 + partial 4 + error 4 +   partial 4 +
cut         error 4 +   error 4 +   error 4 +   partial 4 + ok 1 .   ok 2 .     partial 4 + partial 4 + error 4 +   partial 4 +
short       error 1 +   error 1 +   error 1 +   partial 2 + ok 1 .   ok 1 .     partial 1 + partial 1 + error 1 +   partial 1 +
garbage     error 1 +   error 1 +   error 1 +   partial 2 + ok 1 .   ok 1 .     partial 1 + partial 1 + error 1 +   partial 1 +
html        error 1 +   error 1 +   error 1 +   partial 2 + ok 1 .   ok 1 .     partial 1 + partial 1 + error 1 +   partial 1 +
nothing     error 1 +   error 1 +   error 1 +   partial 2 + ok 1 .   ok 1 .     partial 1 + partial 1 + error 1 +   partial 1 +
reset       error 5 +   error 5 +   error 5 +   partial 5 + ok 3 .   ok 3 .     partial 5 + partial 5 + error 5 +   partial 5 +
"""

# Answers that end the run. (The tarballs' host and the store of LFS have no such: see the next table.)
LIMITS = (("head", {"status": 403, "headers": {"X-RateLimit-Remaining": "0"}}), ("head", {"status": 429, "retry_after": 120}), ("head", {"status": 429}),
          ("meta", {"status": 403, "retry_after": 120}), ("tree", {"status": 429, "retry_after": 120}), ("blob", {"status": 403, "retry_after": 120}),
          ("blob", {"status": 429}), ("tarball", {"status": 429, "retry_after": 120}), ("batch", {"status": 429, "retry_after": 120}),
          ("list", {"status": 403, "retry_after": 120}), ("asset", {"status": 429, "retry_after": 120}))
BLOCK = b'{"message": "Repository access blocked", "block": {"reason": "tos"}}'


def cells():
    """(answer, kind, state, count, next) of the table."""
    header, *rows = TABLE.strip("\n").split("\n")
    starts = [match.start() for match in re.finditer(r"\S+", header)]
    for row in rows:
        for start, end in zip(starts, starts[1:] + [None]):
            cell = row[start:end].split()
            if len(cell) == 3:
                yield row[:starts[0]].strip(), header[start:end].strip(), cell[0], int(cell[1]), cell[2]


class Answers(GitHubCase):
    maxDiff = None

    def setUp(self):
        super().setUp()
        self.other = GitHub(token=None, anonymous_limit=1 << 20)
        self.other.lfs_secret = ""           # takes what comes without a secret alone
        self.other.start()
        self.addCleanup(self.other.stop)
        self.elsewhere = GitHub()            # loopback, and nobody said that it may be asked
        self.elsewhere.start()
        self.addCleanup(self.elsewhere.stop)

    def add(self, name, kind):
        """A repository whose x.exe comes by this kind of request, and a.exe without it; its path as a pattern, and where else it could be had."""
        files = {"a.exe": pe.pe(name + "a"), "x.exe": pe.pe(name + "x", body_bytes=3000)}
        if kind in ("tarball", "codeload"):
            files.update({"t/%d.txt" % index: b"%s %d" % (name.encode(), index) for index in range(10)})
        program = files["x.exe"]
        for hub in (self.hub, self.other):
            if kind in ("batch", "object"):
                files["x.exe"] = hub.put_lfs(program)
            if kind in ("list", "asset"):
                files.pop("x.exe", None)
            repository = hub.add("lab/" + name, files)
            asset = hub.release("lab/" + name, "v1", {"x.exe": program})["assets"][0]["id"] if kind in ("list", "asset") else 0
        tree = repository.store.trees[repository.store.commits[repository.head]["tree"]]
        blob = next((child for _mode, path, child in tree if path == b"x.exe"), "")
        oid = files["x.exe"].split(b"sha256:")[1][:64].decode() if kind == "object" else ""
        base = "/repos/lab/" + name
        moved = "/repositories/%d" % repository.id
        return {"head": (base + "/commits/", base + "/commits/HEAD", moved + "/commits/HEAD"), "meta": (base + "$", base, moved),
                "tree": (base + "/git/trees/",) + ("/git/trees/%s?recursive=1" % repository.head,) * 2,
                "blob": (base + "/git/blobs/" + blob,) + ("/git/blobs/" + blob,) * 2,
                "tarball": (base + "/tarball/",) + ("/tarball/" + repository.head,) * 2,
                "codeload": ("/lab/%s/legacy" % name, "/lab/%s/legacy.tar.gz/%s" % (name, repository.head), ""),
                "batch": ("/lab/%s[.]git/info/lfs/objects/batch$" % name,) + tuple("/lab/%s.git/info/lfs/objects/batch%s" % (name, end) for end in ("", "?here")),
                "object": ("/lfs-store/%s$" % oid, "/lfs-store/" + oid, "/lfs-store/%s?here" % oid),
                "list": (base + "/releases[?]",) + ("/releases?per_page=100&page=1",) * 2,
                "asset": (base + "/releases/assets/",) + ("/releases/assets/%d" % asset,) * 2}[kind], base, moved

    def arm(self, name, kind, answer):
        """Lets this answer come; the pattern of the request that it answers, and the service that is asked."""
        (pattern, same, here), base, moved = self.add(name, kind)
        hub = self.hub.codeload if kind == "codeload" else self.hub
        if kind == "asset" and answer in ("cut", "short"):       # the API's own answer is a redirect and has no bytes
            pattern = "/asset-store/%s$" % same.rsplit("/", 1)[1]
        if kind in ("tree", "blob", "tarball", "list", "asset"):
            same, here = base + same, moved + here
        words = answer.split()
        status = int(words[0]) if words[0].isdigit() else None
        if status in (301, 302, 307):
            other = self.other.codeload if kind == "codeload" else self.other
            location = {"here": hub.url + here, "other": other.url + same, "private": "http://10.0.0.1/x", "local": self.elsewhere.url + same}[words[1]]
            hub.fault("redirect", path=pattern, location=location, status=status)
        elif answer == "403 block":
            hub.fault("status", path=pattern, status=403, body=BLOCK, content_type="application/json")
        elif status != 200:
            word = {"short": "truncated", "nothing": "empty"}.get(words[0], words[0])
            hub.fault(*(("status",) if status else (word,)), path=pattern, **({"status": status} if status else {}))
        return hub, pattern

    def run_list(self, names, **more):
        self.write_list("lab/before", *("lab/" + name for name in names), "lab/after")
        return self.collect("--releases", "--git-host", self.other.url, "--git-host", self.hub.codeload.url, "--git-host", self.other.codeload.url, **more)

    def state(self, name, kind):
        """The worse of the states of the repository and its releases."""
        found = {state for (state,) in self.rows("SELECT state FROM origin WHERE name = 'lab/%s'" % name)}
        return max(found, key=EXITS.get)

    def has_all(self, name):
        return self.rows("SELECT count(*) FROM sighting s JOIN origin o ON o.id = s.origin WHERE o.name = 'lab/%s'" % name) == [(2,)]

    def test_table(self):
        for name in ("before", "after"):
            self.add(name, "head")
        rows = []
        for index, (answer, kind, state, count, after) in enumerate(cells()):
            name = "r%03d-%s-%s" % (index, kind, answer.replace(" ", "-"))
            hub, pattern = self.arm(name, kind, answer)
            rows.append((answer, kind, state, count, after, name, hub, pattern))
        self.assertGreater(len(rows), 220)
        wrong = []
        for expect in (0, 1, 5):
            names = [row[5] for row in rows if EXITS[row[2]] == expect]
            samples, rest = self.run_list(names, expect=None)
            if self.code != expect:
                wrong.append("exit %d instead of %d" % (self.code, expect))
            told = {line["origin"] for line in rest}
            for answer, kind, state, count, after, name, hub, pattern in rows:
                if name in names:
                    got = (self.state(name, kind), hub.count(pattern))
                    if got != ("error" if state == "wrong" else state, count):
                        wrong.append("%s %s: %s %d instead of %s %d" % (answer, kind, *got, state, count))
                    if (expect != 0) != ("lab/" + name in told):
                        wrong.append("%s %s: told %s" % (answer, kind, "lab/" + name in told))
                    if state == "ok" and not self.has_all(name):
                        wrong.append("%s %s: ok, and not all is there" % (answer, kind))
            self.assertTrue(self.has_all("before") and self.has_all("after"))
        # No secret went to another host, and nobody asked the one that may not be asked.
        self.assertGreater(self.other.count() + self.other.codeload.count(), 15)
        for hub in (self.other, self.other.codeload, self.hub.codeload):
            for request in hub.requests():
                self.assertIsNone(request["headers"].get("authorization"), request["target"])
                self.assertNotIn(TOKEN, str(request))
        self.assertEqual(self.elsewhere.count(), 0)
        # The next night, and a week later.
        for hub in (self.hub, self.hub.codeload):
            hub.clear_faults()
        for days in (1, 9):
            for hub in (self.hub, self.hub.codeload):
                hub.clear_log()
            self.run_list([row[5] for row in rows], expect=None, days=days)
            for answer, kind, state, count, after, name, hub, pattern in rows:
                asked, whole = hub.count(pattern), self.has_all(name)
                healed = after != "w" or days > 7
                if whole != healed:
                    wrong.append("%s %s: after %d days all is there: %s" % (answer, kind, days, whole))
                if after == "w" and days == 1 and asked:
                    wrong.append("%s %s: asked again the next night" % (answer, kind))
                if after == "." and kind not in ("head", "list") and asked:
                    wrong.append("%s %s: %d requests though all was there" % (answer, kind, asked))
        self.assertEqual(wrong, [])

    def test_limits(self):
        for index, (kind, more) in enumerate(LIMITS):
            with self.subTest(kind=kind, **more):
                for hub in (self.hub, self.other):
                    hub.repositories.clear()
                    hub.clear_log()
                for name in ("before", "after"):
                    self.add(name, "head")
                name = "limit%d" % index
                self.corpus = self.root / name
                _, pattern = self.arm(name, kind, "200")
                self.hub.fault("status", path=pattern, **more)
                self.run_list([name], expect=75)
                self.assertIn("try again at 20", self.talk)
                self.assertEqual((self.hub.count(pattern), self.hub.count("/lab/after")), (1, 0))
                self.assertTrue(self.has_all("before"))
                self.assertEqual(self.state(name, kind), "limited")
                self.hub.clear_faults()
                self.run_list([name], days=1)
                self.assertTrue(self.has_all(name) and self.has_all("after"))


if __name__ == "__main__":
    unittest.main()

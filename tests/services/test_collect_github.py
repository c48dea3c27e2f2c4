"""collect --github-list against the loopback GitHub: states, renames, limits, faults of the wire, secrets, and what a second run costs as
the server counts it."""
import unittest

from gen import archive, pe
from services.github_case import LARGE, TOKEN, GitHubCase, zoo
from services.gitobjects import object_id


class Crawls(GitHubCase):
    def test_second_run_costs_one_request_a_repository(self):
        names = ["lab/one", "lab/two", "lab/three"]
        for index, name in enumerate(names):
            self.hub.add(name, dict(zoo(), **{"own.exe": pe.pe("own %d" % index)}))
        self.write_list("# a comment", "", "Lab/One claim=malware", "https://github.com/lab/two.git private  # and why", "lab/three@main")
        samples, rest = self.collect()
        self.assertEqual((len(samples), rest), (3 + 2 * 1, []))   # the same blobs are opened once, wherever they lie
        self.assertEqual(self.states(), dict.fromkeys(names, "ok"))
        self.assertEqual(self.rows("SELECT count(*) FROM sample"), [(5,)])
        self.assertEqual(self.rows("SELECT o.name, count(*) FROM sighting s JOIN origin o ON o.id = s.origin GROUP BY 1 ORDER BY 1"),
                         [("lab/one", 3), ("lab/three", 3), ("lab/two", 3)])
        self.assertEqual(self.rows("SELECT DISTINCT s.claim FROM sighting s JOIN origin o ON o.id = s.origin WHERE o.name = 'lab/one'"), [("malware",)])
        private = {row[0] for row in self.rows("SELECT path FROM sighting WHERE private")}
        self.assertEqual(private, {b"own.exe", b"malware/A/A.zip", b"malware/B/b.exe"})
        self.assertEqual(self.rows("SELECT count(*) FROM sample WHERE private"), [(3,)])
        self.assertEqual(self.rows("SELECT outcome, size FROM blob WHERE git_id = x'%s'" % object_id("blob", zoo()["large.txt"])), [("no_pe", len(LARGE))])
        self.assertEqual((self.hub.count("/lfs-store/"), self.hub.count("/objects/batch")), (1, 1))
        # Each blob once, though three repositories hold them.
        self.assertEqual(self.downloads(), len({r["target"].rsplit("/", 1)[1] for r in self.hub.requests("/git/blobs/")}))
        for request in self.hub.requests("^/repo"):
            self.assertEqual(request["headers"].get("authorization"), "Bearer " + TOKEN)
        self.assertEqual([r["headers"].get("authorization") for r in self.hub.requests("lfs")], [None, self.hub.lfs_secret])
        before = self.digest(self.corpus)
        self.hub.clear_log()
        self.assertEqual(self.collect(), ([], []))
        self.assertEqual(self.hub.count(), len(names))
        self.assertEqual(self.hub.count(status=304), len(names))
        self.assertEqual(self.digest(self.corpus), before)

    def test_changes_cost_what_is_new(self):
        files = zoo()
        self.hub.add("lab/zoo", files)
        self.write_list("lab/zoo")
        self.collect()
        self.hub.clear_log()
        moved = {"moved/" + name if isinstance(data, bytes) else name: data for name, data in files.items() if name != "malware/B/b.exe"}
        moved["new.exe"] = pe.pe("new")
        self.hub.commit("lab/zoo", moved)
        samples, _ = self.collect()
        self.assertEqual([line["path"] for line in samples], ["new.exe"])
        self.assertEqual(self.downloads(), 1)
        self.assertEqual(sorted(self.rows("SELECT path, gone_ms IS NULL FROM sighting")),
                         [(b"malware/A/A.zip", 0), (b"malware/B/b.exe", 0), (b"moved/malware/A/A.zip", 1), (b"new.exe", 1)])

    def test_a_force_push_keeps_samples(self):
        repository = self.hub.add("lab/zoo", zoo())
        self.write_list("lab/zoo")
        self.collect()
        before = repository.head
        repository.head = None                       # the new commit has no parent, and the old one is nowhere any more
        self.hub.commit("lab/zoo", {"malware/A/A.zip": zoo()["malware/A/A.zip"], "n.exe": pe.pe("n")})
        del repository.store.commits[before]
        self.hub.clear_log()
        samples, rest = self.collect()
        self.assertEqual(([line["path"] for line in samples], rest, self.downloads()), (["n.exe"], [], 1))
        self.assertEqual(sorted(self.rows("SELECT path, gone_ms IS NULL FROM sighting")),
                         [(b"malware/A/A.zip", 1), (b"malware/B/b.exe", 0), (b"n.exe", 1)])
        self.assertEqual(self.rows("SELECT count(*) FROM sample"), [(3,)])

    def test_links_and_submodules_are_passed_over(self):
        self.hub.add("lab/zoo", zoo())
        self.write_list("lab/zoo")
        self.collect()
        held = {path for (path,) in self.rows("SELECT path FROM tree_entry")}
        self.assertEqual(held, {path.encode() for path, data in zoo().items() if isinstance(data, bytes)})
        self.assertEqual(self.hub.count("/git/blobs/" + object_id("blob", zoo()["malware/link"][1])), 0)

    def test_truncated_tree_is_walked(self):
        files = {"%s/%d/%d.exe" % (top, index, index): pe.pe("%s%d" % (top, index)) for top in "ab" for index in range(4)}
        self.hub.add("lab/large", files).truncate = 3
        self.write_list("lab/large")
        samples, _ = self.collect()
        self.assertEqual({line["path"] for line in samples}, set(files))

    def test_password_learned_and_healed(self):
        locked = {"a.zip": archive.zipped({"a.exe": pe.pe("a")}, "odd word"), "b.zip": archive.zipped({"b.exe": pe.pe("b")}, "nobody knows")}
        self.hub.add("lab/locked", locked)
        self.write_list("lab/locked")
        samples, rest = self.collect(expect=1)
        self.assertEqual((samples, {line["outcome"] for line in rest}), ([], {"need_password"}))
        self.hub.clear_log()
        self.collect()
        self.assertEqual((self.hub.count(), self.downloads()), (1, 0))
        (self.root / "words").write_text("odd word\n")
        samples, _ = self.collect("--password-list", str(self.root / "words"), expect=1)
        self.assertEqual([line["path"] for line in samples], ["a.zip"])
        self.hub.commit("lab/locked", dict(locked, **{"README.md": b"pass: see below. Password: **nobody knows**\n"}))
        samples, _ = self.collect()
        self.assertEqual([line["path"] for line in samples], ["b.zip"])


class States(GitHubCase):
    def test_each_state_is_its_own(self):
        for name in ("gone", "empty", "dmca", "tos", "fine"):
            self.hub.add("lab/" + name, {"x.exe": pe.pe(name)}).state = "ok" if name == "fine" else name
        self.write_list("lab/gone", "lab/never", "lab/empty", "lab/dmca", "lab/tos", "lab/fine@nobranch", "lab/fine")
        samples, rest = self.collect(expect=1)
        self.assertEqual(len(samples), 1)
        self.assertEqual({line["origin"] + "/" + line["state"] for line in rest},
                         {"lab/gone/gone", "lab/never/gone", "lab/dmca/legal", "lab/tos/blocked", "lab/fine/error"})
        found = {(name, ref): state for name, ref, state in self.rows("SELECT name, ref, state FROM origin")}
        self.assertEqual(found, {("lab/gone", ""): "gone", ("lab/never", ""): "gone", ("lab/empty", ""): "empty", ("lab/dmca", ""): "legal",
                                 ("lab/tos", ""): "blocked", ("lab/fine", "nobranch"): "error", ("lab/fine", ""): "ok"})
        # What is taken down later keeps its samples.
        self.hub.get("lab/fine").state = "dmca"
        self.write_list("lab/fine")
        self.collect(expect=1)
        self.assertEqual(self.rows("SELECT state FROM origin WHERE name = 'lab/fine' AND ref = ''"), [("legal",)])
        self.assertEqual(self.rows("SELECT count(*) FROM sighting"), [(1,)])

    def test_what_is_not_to_be_had_is_asked_weekly(self):
        for name in ("gone", "empty", "dmca", "tos", "server"):
            self.hub.add("lab/" + name, {"x.exe": pe.pe(name)}).state = name
        self.write_list("lab/gone", "lab/empty", "lab/dmca", "lab/tos", "lab/server")
        self.collect(expect=5)
        before = self.digest(self.corpus)
        asked = {}
        for days in (1, 6.9):
            self.hub.clear_log()
            self.assertEqual(self.collect(expect=5, days=days)[0], [])
            asked[days] = {request["target"].split("/")[3] for request in self.hub.requests()}
        self.assertEqual(asked, dict.fromkeys((1, 6.9), {"empty", "server"}))
        self.assertEqual(self.digest(self.corpus), before)
        self.hub.clear_log()
        self.collect("--recheck", expect=5, days=1)
        self.assertEqual({request["target"].split("/")[3] for request in self.hub.requests()}, {"gone", "empty", "dmca", "tos", "server"})
        for name in ("gone", "dmca", "tos", "server"):
            self.hub.get("lab/" + name).state = "ok"
        samples, rest = self.collect(days=8.1)
        self.assertEqual((len(samples), rest), (4, []))
        self.assertEqual(self.states(), dict(dict.fromkeys(("lab/gone", "lab/dmca", "lab/tos", "lab/server"), "ok"), **{"lab/empty": "empty"}))

    def test_renamed_is_followed_and_remembered(self):
        self.hub.add("lab/old", {"x.exe": pe.pe("x")})
        self.write_list("lab/old claim=malware")
        self.collect()
        self.hub.rename("lab/old", "lab/New.Name")
        for days in (1, 2):                  # a bare rename, then with a commit on top: each found by the remembered name
            self.hub.clear_log()
            samples, _ = self.collect(days=days)
            self.assertEqual(samples, [])
            self.assertEqual("moved" in self.talk, days == 1)
        self.assertEqual([(r["target"], r["status"]) for r in self.hub.requests()], [("/repos/lab/new.name/commits/HEAD", 304)])
        self.hub.commit("lab/new.name", {"x.exe": pe.pe("x"), "y.exe": pe.pe("y")})
        self.hub.clear_log()
        samples, _ = self.collect(days=3)
        self.assertEqual([line["path"] for line in samples], ["y.exe"])
        self.assertEqual(self.hub.count("/repos/lab/old"), 0)
        # The list's name stays the origin's.
        self.assertEqual(self.rows("SELECT name, state, claim FROM origin"), [("lab/old", "ok", "malware")])
        # Somebody registers the old name: nothing of it comes in, the true repository is followed on.
        self.hub.renamed.clear()
        self.hub.add("lab/old", {"evil.exe": pe.pe("evil")}, identity=4242)
        self.assertEqual(self.collect(days=4), ([], []))
        # Renamed back.
        del self.hub.repositories["lab/old"]
        self.hub.rename("lab/new.name", "lab/old")
        self.collect(days=5)
        self.hub.clear_log()
        self.collect(days=6)
        self.assertEqual([(r["target"], r["status"]) for r in self.hub.requests()], [("/repos/lab/old/commits/HEAD", 304)])

    def test_a_name_registered_anew_is_refused(self):
        self.hub.add("lab/old", {"x.exe": pe.pe("x")})
        self.write_list("lab/old")
        self.collect()
        identity = self.hub.get("lab/old").id
        self.hub.replace("lab/old", {"evil.exe": pe.pe("evil")})
        self.hub.clear_log()
        samples, rest = self.collect(expect=1)
        self.assertEqual((samples, [line["state"] for line in rest]), ([], ["replaced"]))
        self.assertIn("another repository", rest[0]["reason"])
        self.assertEqual((self.hub.count("/git/"), self.hub.count()), (0, 2))    # neither its tree nor its blobs
        self.assertEqual(self.rows("SELECT state, remote_id FROM origin"), [("replaced", identity)])
        self.assertEqual(self.rows("SELECT count(*) FROM sighting WHERE gone_ms IS NULL"), [(1,)])
        self.hub.clear_log()
        self.assertEqual(self.collect(days=3), ([], []))
        self.assertEqual(self.hub.count(), 0)
        samples, rest = self.collect(days=8, expect=1)
        self.assertEqual((samples, [line["state"] for line in rest]), ([], ["replaced"]))

    def test_a_redirect_of_the_repository_to_another_id_is_refused(self):
        self.hub.add("lab/old", {"x.exe": pe.pe("x")})
        self.write_list("lab/old")
        self.collect()
        self.hub.rename("lab/old", "lab/new")
        evil = self.hub.add("lab/evil", {"x.exe": pe.pe("x")})      # the same commit: the condition holds there too
        self.hub.renamed["lab/old"] = evil.id
        samples, rest = self.collect(expect=1)
        self.assertEqual((samples, [line["state"] for line in rest]), ([], ["replaced"]))

    def test_bad_lines(self):
        self.hub.add("lab/fine", {"x.exe": pe.pe("x")})
        self.write_list("lab/fine claim=malware private", "justaname", "lab/fine/tree", "http://gitlab.example/a/b", "lab/x claim=evil", "../../etc", "lab/..",
                        "lab/fine@a..b")
        samples, _ = self.collect(expect=1)
        self.assertEqual(len(samples), 1)
        for number in range(2, 9):
            self.assertIn("repos.txt:%d: " % number, self.talk)
        self.assertEqual(self.states(), {"lab/fine": "ok"})


class Limits(GitHubCase):
    def test_limits_keep_what_was_had(self):
        for kind, status in (("primary", 403), ("secondary", 403), ("secondary", 429)):
            with self.subTest(kind=kind, status=status):
                corpus = self.root / ("%s%d" % (kind, status))
                for name in "abc":
                    self.hub.add("lab/" + name, {"x.exe": pe.pe(name)})
                limited = self.hub.get("lab/b")
                limited.state, limited.limit_status = kind, status
                self.write_list("lab/a", "lab/b", "lab/c")
                self.hub.clear_log()
                samples, _ = self.collect(expect=75, corpus=corpus)
                self.assertEqual(len(samples), 1)
                self.assertIn("try again at 20", self.talk)
                self.assertEqual(self.hub.count("/lab/b"), 1, "no hammering")
                self.assertEqual(self.hub.count("/lab/c"), 0)
                self.assertEqual(dict(self.rows("SELECT name, state FROM origin", corpus)), {"lab/a": "ok", "lab/b": "limited"})
                limited.state = "ok"
                samples, _ = self.collect(corpus=corpus)
                self.assertEqual(len(samples), 2)

    def test_quota_spent_in_the_middle(self):
        self.hub.limit = 6
        self.hub.add("lab/a", {"%d.exe" % index: pe.pe(index) for index in range(8)})
        self.hub.add("lab/b", {"x.exe": pe.pe("b")})
        self.write_list("lab/a", "lab/b")
        samples, _ = self.collect(expect=75)
        self.assertEqual(len(samples), 3)      # commit, repository, tree, then three blobs
        self.assertEqual(self.hub.count(), 6, "no request after the answer that said none is left")
        self.assertIn("try again at 20", self.talk)
        self.write_list("lab/a")
        self.hub.limit = 5000
        again, _ = self.collect()
        self.assertEqual(len(again), 5)
        self.assertEqual(self.states(), {"lab/a": "ok"})
        self.assertEqual(self.rows("SELECT count(*) FROM sighting"), [(8,)])

    def test_without_a_token_and_with_a_wrong_one(self):
        self.hub.add("lab/a", {"x.exe": pe.pe("x")})
        self.write_list("lab/a")
        # Without one git's own protocol is spoken (services/test_collect_git.py), which this server does not.
        self.collect(token=None, expect=None)
        self.assertIn(self.code, (1, 5))
        self.assertEqual([request["target"] for request in self.hub.requests()][0], "/lab/a.git/git-upload-pack")
        self.assertTrue(all(request["headers"].get("authorization") is None for request in self.hub.requests()))
        self.hub.add("lab/b", {"x.exe": pe.pe("x")})
        self.write_list("lab/b")
        self.collect(token="ghp_wrong", expect=5)
        self.assertIn("token", self.talk)

    def test_the_token_of_the_environment_is_for_github_alone(self):
        self.hub.add("lab/a", {"x.exe": pe.pe("x")})
        self.write_list("lab/a")
        self.collect("--releases", token=None, env={"GITHUB_TOKEN": TOKEN})     # the API, for releases, even so
        self.assertTrue(self.hub.count())
        self.assertEqual([r["headers"].get("authorization") for r in self.hub.requests()], [None] * self.hub.count())
        self.assertIn("$GITHUB_TOKEN is for api.github.com", self.talk)
        self.assertIn(self.hub.url, self.talk)


class Wire(GitHubCase):
    def test_faults_of_one_blob_cost_that_blob(self):
        for kind in ("status", "cut", "truncated", "reset", "html", "garbage", "empty"):
            with self.subTest(kind=kind):
                corpus = self.root / kind
                files = {name: pe.pe(kind + name, body_bytes=4096) for name in ("a.exe", "b.exe", "c.exe")}
                self.hub.add("lab/x", files)
                self.write_list("lab/x")
                more = {"status": 502} if kind == "status" else {}
                self.hub.fault(kind, path="/git/blobs/" + object_id("blob", files["b.exe"]), **more)
                samples, rest = self.collect(expect=1, corpus=corpus)
                self.assertEqual({line["path"] for line in samples}, {"a.exe", "c.exe"})
                self.assertEqual([(line["path"], line["outcome"] in ("error", "mismatch")) for line in rest], [("b.exe", True)])
                self.assertEqual(self.rows("SELECT state FROM origin", corpus), [("partial",)])
                self.hub.clear_faults()
                self.hub.clear_log()
                samples, _ = self.collect(corpus=corpus)
                self.assertEqual([line["path"] for line in samples], ["b.exe"])
                self.assertEqual(self.downloads(), 1)
                self.assertEqual(self.rows("SELECT state FROM origin", corpus), [("ok",)])

    def test_a_fault_that_passes_is_not_noticed(self):
        self.hub.add("lab/x", {"a.exe": pe.pe("a", body_bytes=4096)})
        self.write_list("lab/x")
        for kind in ("status", "cut", "reset"):
            self.hub.fault(kind, path="/git/blobs/", times=1, **({"status": 503} if kind == "status" else {}))
            samples, rest = self.collect(corpus=self.root / kind)
            self.assertEqual((len(samples), rest), (1, []))


if __name__ == "__main__":
    unittest.main()

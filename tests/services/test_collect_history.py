"""collect --history against `git http-backend` on loopback: all branches and tags, each night only what is new, and what becomes of branches
that move, go, or were pushed away."""
# ctest: full cost=50
import hashlib
import unittest

from gen import archive, pe
from services.git_case import GitCase
from services.githttp import packets, pkt


class HistoryCase(GitCase):
    def serve(self, name="h.git", *options):
        self.write_list("@HOST@/" + name)
        return self.host.repository(name, *options)

    def history(self, *args, **kwargs):
        """The paths of the samples found, and what else was told."""
        self.host.log.clear()
        samples, rest = self.collect("--history", *args, **kwargs)
        return sorted(line["path"] for line in samples), rest

    def haves(self):
        return [line[5:45].decode() for r in self.host.log if r["command"] == "fetch" for line in packets(r["body"]) if line and line.startswith(b"have ")]

    def tips(self):
        return {row[0].hex() for row in self.rows("SELECT commit_id FROM origin_tip")}

    def commits_of(self, path):
        return {row[0].hex() for row in self.rows("SELECT commit_id FROM sighting WHERE path = CAST('%s' AS BLOB)" % path)}


class AllRefs(HistoryCase):
    def test_branches_and_tags(self):
        repo = self.serve()
        repo.commit({"main.exe": pe.pe("main")})
        side = repo.commit({"side.exe": pe.pe("side")}, branch="feature/x")
        repo.commit({}, branch="feature/x")
        lost = repo.commit({"tagged/only.exe": pe.pe("tagged")}, branch="gone")
        repo.git("-c", "user.name=K", "tag", "-a", "-m", "x", "v1", lost)
        repo.git("-c", "user.name=K", "tag", "-a", "-m", "x", "v1-again", "v1")      # a tag of a tag
        repo.git("update-ref", "-d", "refs/heads/gone")
        pulled = repo.commit({"pull.exe": pe.pe("pull")}, branch="p")
        repo.git("update-ref", "refs/pull/1/head", pulled)
        repo.git("update-ref", "-d", "refs/heads/p")
        self.assertEqual(self.history(), (["main.exe", "side.exe", "tagged/only.exe"], []))
        self.assertEqual(self.commits_of("side.exe"), {side})
        self.assertEqual(self.commits_of("tagged/only.exe"), {lost})
        self.assertEqual(self.rows("SELECT count(*) FROM tree_entry"), [(1,)])
        self.assertEqual(self.rows("SELECT count(*) FROM sighting WHERE gone_ms IS NULL"), [(1,)])
        self.assertEqual(len(self.tips()), 3)
        self.assertEqual(self.history(), ([], []))
        self.assertEqual(self.host.count(), 1)

    def test_tags_of_trees_and_blobs(self):
        repo = self.serve()
        repo.commit({"main.exe": pe.pe("main")})
        repo.commit({"d/only.exe": pe.pe("only")}, branch="b")
        tree = repo.git("rev-parse", "b^{tree}").strip().decode()
        blob = repo.git("rev-parse", "main:main.exe").strip().decode()
        repo.git("update-ref", "-d", "refs/heads/b")
        repo.git("-c", "user.name=K", "tag", "-a", "-m", "x", "a-tree", tree)
        repo.git("-c", "user.name=K", "tag", "-a", "-m", "x", "a-blob", blob)
        self.assertEqual(self.history(), (["d/only.exe", "main.exe"], []))
        self.assertEqual(self.history(), ([], []))

    def test_two_thousand_tags(self):
        repo = self.serve()
        stream = []
        for n in range(2000):
            stream.append(b"commit refs/heads/main\nmark :%d\ncommitter K <k@example.invalid> %d +0000\ndata 0\n" % (n + 1, 1700000000 + n)
                          + b"M 100644 inline f\ndata <<E\nnot a program %d\nE\n\n" % (n % 7))
            stream.append(b"reset refs/tags/v%d\nfrom :%d\n\n" % (n, n + 1))
        repo.git("fast-import", "--quiet", data=b"".join(stream))
        repo.repack()
        self.assertEqual(self.history(), ([], []))
        self.assertEqual(len(self.tips()), 2000)
        self.assertEqual(self.rows("SELECT count(*) FROM blob"), [(7,)])
        self.assertEqual(self.history(), ([], []))
        self.assertEqual(self.host.count(), 1)
        repo.commit({"new.exe": pe.pe("new")})
        self.assertEqual(self.history(), (["new.exe"], []))
        self.assertLessEqual(len(self.haves()), 1024)
        self.assertLess(sum(r["sent"] for r in self.host.log if r["command"] == "fetch"), 12_000)

    def test_a_head_that_leads_nowhere(self):
        repo = self.serve()
        repo.commit({"a.exe": pe.pe("a")}, branch="topic")
        repo.commit({"m.exe": pe.pe("m")}, branch="master")
        samples, rest = self.collect()
        self.assertEqual(([line["path"] for line in samples], rest), (["m.exe"], []))
        self.assertEqual(self.rows("SELECT state FROM origin"), [("ok",)])
        self.assertEqual(self.history(), (["a.exe"], []))
        repo.git("update-ref", "-d", "refs/heads/master")
        self.assertEqual(self.collect(), ([], []))
        self.assertEqual(self.rows("SELECT path FROM tree_entry"), [(b"a.exe",)])

    def test_a_detached_head(self):
        repo = self.serve()
        first = repo.commit({"old.exe": pe.pe("old")})
        repo.commit({"new.exe": pe.pe("new")})
        (repo.path / "HEAD").write_text(first + "\n")
        self.assertEqual([line["path"] for line in self.collect()[0]], ["old.exe"])
        self.assertEqual(self.history(), (["new.exe"], []))


class EachNight(HistoryCase):
    def big(self):
        """A repository whose commits and trees are worth saving: 120 folders, 40 commits."""
        repo = self.serve()
        files = {"d%03d/f.txt" % n: b"text %d\n" % n for n in range(120)}
        for n in range(40):
            files["d%03d/f.txt" % (n * 3)] = b"changed %d\n" % n
            repo.commit(dict(files))
        repo.repack()
        self.assertEqual(self.history(), ([], []))
        return repo, files

    def test_one_new_commit(self):
        repo, files = self.big()
        whole = [r["sent"] for r in self.host.log if r["command"] == "fetch"][1]
        old = self.tips()
        repo.commit(dict(files, **{"d001/x.exe": pe.pe("x")}))
        self.assertEqual(self.history(), (["d001/x.exe"], []))
        fetches = [r for r in self.host.log if r["command"] == "fetch"]
        self.assertEqual(len(fetches), 3)       # today's tree, the new commits, the blob
        self.assertEqual(set(self.haves()), old)
        self.assertLess(fetches[1]["sent"] * 3, whole)
        self.assertLess(fetches[1]["sent"], 6_000)      # a commit, its top tree (120 entries) and one folder
        self.assertEqual(self.history(), ([], []))
        self.assertEqual(self.host.count(), 1)

    def test_a_new_branch_and_one_that_goes(self):
        repo, files = self.big()
        side = repo.commit({"s/side.exe": pe.pe("side")}, branch="side")
        self.assertEqual(self.history(), (["s/side.exe"], []))
        self.assertEqual(self.host.count("fetch"), 2)   # the tree is known
        self.assertEqual(self.commits_of("s/side.exe"), {side})
        self.assertEqual(self.rows("SELECT count(*) FROM tree_entry"), [(120,)])
        repo.git("update-ref", "-d", "refs/heads/side")
        repo.git("gc", "-q", "--prune=now")
        self.assertEqual(self.history(), ([], []))
        self.assertEqual(self.host.count(), 1)
        self.assertEqual(self.rows("SELECT count(*) FROM sample"), [(1,)])
        # A tag on a commit that is known by what follows it: asked for, and nothing comes.
        repo.git("tag", "old", "main~20")
        self.assertEqual(self.history(), ([], []))
        self.assertLess(self.host.log[-1]["sent"], 200)
        self.assertEqual(self.history(), ([], []))
        self.assertEqual(self.host.count(), 1)

    def test_a_force_push(self):
        repo = self.serve()
        first = repo.commit({"keep.exe": pe.pe("keep")})
        away = repo.commit({"keep.exe": pe.pe("keep"), "away.exe": pe.pe("away")})
        self.assertEqual(self.history(), (["away.exe", "keep.exe"], []))
        repo.git("update-ref", "refs/heads/main", first)
        new = repo.commit({"keep.exe": pe.pe("keep"), "new.exe": pe.pe("new")})
        repo.git("reflog", "expire", "--expire=now", "--all")
        repo.git("gc", "-q", "--prune=now")
        self.assertEqual(self.history(), (["new.exe"], []))
        self.assertEqual(self.haves(), [away])      # which the server does not have any more
        self.assertEqual(self.tips(), {new})
        self.assertEqual(sorted(self.rows("SELECT path, gone_ms IS NULL FROM sighting")), [(b"away.exe", 0), (b"keep.exe", 1), (b"new.exe", 1)])

    def test_with_and_without(self):
        repo = self.serve()
        repo.commit({"one.exe": pe.pe(1)})
        self.assertEqual(self.history(), (["one.exe"], []))
        repo.commit({"two.exe": pe.pe(2)})
        repo.commit({"three.exe": pe.pe(3)})
        self.assertEqual([line["path"] for line in self.collect()[0]], ["three.exe"])
        self.assertEqual(self.history(), (["two.exe"], []))
        self.assertEqual(len(self.haves()), 1)
        self.assertEqual(self.rows("SELECT history FROM origin"), [(1,)])

    def test_past_archives_heal(self):
        repo = self.serve()
        repo.commit({"locked.zip": archive.zipped({"l.exe": pe.pe("l")}, "seldom word"), "text": b"no program"})
        repo.commit({"x.exe": pe.pe("x")})
        paths, rest = self.history(expect=1)
        self.assertEqual((paths, [(line["path"], line["outcome"]) for line in rest]), (["x.exe"], [("locked.zip", "need_password")]))
        self.assertEqual(self.rows("SELECT path FROM past_entry ORDER BY path"), [(b"locked.zip",), (b"text",)])
        words = self.root / "words"
        words.write_text("seldom word\n")
        self.assertEqual(self.history("--password-list", str(words)), (["locked.zip"], []))
        self.assertEqual([r["command"] for r in self.host.log], ["ls-refs", "", "fetch"])   # the blob alone
        self.assertEqual(self.rows("SELECT path FROM past_entry"), [(b"text",)])

    def test_a_past_blob_that_was_not_sent(self):
        repo = self.serve()
        repo.commit({"past.exe": pe.pe("past", body_bytes=3000)})
        repo.commit({"x.exe": pe.pe("x")})
        bad = repo.git("rev-parse", "main~1:past.exe").strip()
        self.host.faults.append(lambda request, status, headers, body: (
            status, headers, body.replace(b"PACK", b"PUCK", 1) if b"want " + bad in request["body"] else body))
        paths, rest = self.history(expect=1)
        self.assertEqual((paths, [line["path"] for line in rest]), (["x.exe"], ["past.exe"]))
        self.host.faults.clear()
        self.assertEqual(self.history(), (["past.exe"], []))
        self.assertEqual(self.rows("SELECT count(*) FROM past_entry"), [(0,)])

    def test_a_damaged_history_costs_no_tree(self):
        repo = self.serve()
        repo.commit({"past.exe": pe.pe("past")})
        repo.commit({"x.exe": pe.pe("x")})
        self.host.faults.append(lambda request, status, headers, body: (
            status, headers, pkt(b"ERR too much history\n") if request["command"] == "fetch" and b"filter" in request["body"] and b"deepen" not in request["body"] else body))
        paths, rest = self.history(expect=5)
        self.assertEqual((paths, [line["state"] for line in rest]), (["x.exe"], ["error"]))
        self.assertIn("too much history", rest[0]["reason"])
        self.assertEqual(self.rows("SELECT state, history FROM origin"), [("partial", 0)])
        self.assertEqual(self.tips(), set())
        self.host.faults.clear()
        self.assertEqual(self.history(), (["past.exe"], []))
        self.assertEqual(self.rows("SELECT state, history FROM origin"), [("ok", 1)])

    def test_lost_bytes_of_the_past_come_again(self):
        """What fsck --repair finds lost is asked for again, though its commits were gone through and its blob is in no tree."""
        repo = self.serve()
        lost = pe.pe("past")
        repo.commit({"past.exe": lost, "x.exe": pe.pe("x")})
        repo.commit({"x.exe": pe.pe("x")})
        self.assertEqual(self.history(), (["past.exe", "x.exe"], []))
        before = self.digest(self.corpus)
        name = hashlib.sha256(lost).hexdigest()
        (self.corpus / "samples" / name[:2] / name[2:4] / name).unlink()
        self.tool("malseq", "fsck", "--repair")
        self.assertEqual(self.history(), (["past.exe"], []))
        self.assertEqual(self.digest(self.corpus), before)
        self.tool("malseq", "fsck")

    def test_digests_beside_another_version(self):
        """A side file speaks of the file of its own commit, not of those that lay there before or after."""
        repo = self.serve()
        old, new = pe.pe("old"), pe.pe("new")
        # The other order of versions and of object ids for each name, so that no sorting makes it right by chance.
        names = ["%d.exe" % n for n in range(6)]
        for version in range(2):
            repo.commit({path: data for n, name in enumerate(names) for data in [(old, new)[(n + version) % 2] + b"%d" % n]
                         for path, data in ((name, data), (name + ".sha256", hashlib.sha256(data).hexdigest().encode()))})
        self.history()
        self.assertEqual(self.rows("SELECT side_file, count(*) FROM sighting GROUP BY 1"), [("sample", 12)])
        self.assertNotIn("neither", self.talk)

    def test_private_from_now_on(self):
        """The list says so later: what is gone, or was never in the tree, is private too, though the commit is the same."""
        repo = self.serve()
        repo.commit({"past.exe": pe.pe("past"), "x.exe": pe.pe("x")})
        repo.commit({"x.exe": pe.pe("x")})
        repo.commit({"side.exe": pe.pe("side")}, branch="side")
        self.history()
        self.assertEqual(self.rows("SELECT sum(private), count(*) FROM sample"), [(0, 3)])
        self.write_list("@HOST@/h.git private")
        self.assertEqual(self.history(), ([], []))
        self.assertEqual(self.rows("SELECT sum(private), count(*) FROM sample"), [(3, 3)])
        self.assertEqual(self.rows("SELECT sum(private), count(*) FROM sighting"), [(3, 3)])

    def test_forgotten_with_its_past(self):
        repo = self.serve()
        repo.commit({"locked.zip": archive.zipped({"l.exe": pe.pe("l")}, "seldom word")})
        repo.commit({"x.exe": pe.pe("x")})
        self.history(expect=1)
        self.tool("collect", "forget", self.host.url + "/h.git")
        for table in ("origin", "origin_tip", "past_entry", "blob", "sample"):
            self.assertEqual(self.rows("SELECT count(*) FROM " + table), [(0,)], table)


if __name__ == "__main__":
    unittest.main()

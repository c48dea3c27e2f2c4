"""Multi-volume sets in repositories, through the API and by git's protocol: what a set costs as the server counts it, parts that are changed,
missing, in Git LFS, moved, or of an earlier commit."""
import hashlib
import random
import unittest

from gen import pe, rar
from gen.rar import Member
from services.git_case import GitCase
from services.github import pointer
from services.github_case import GitHubCase


def program(seed):
    return pe.pe(seed) + random.Random(seed).randbytes(9000)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def volumes(seed, folder="m/"):
    parts = rar.volumes5([("x.exe", Member(program(seed)))], 1100, password="infected", hide_names=True)
    return {"%sset.part%d.rar" % (folder, number + 1): part for number, part in enumerate(parts)}


class Api(GitHubCase):
    def found(self, samples):
        return {(line["path"], line["chain"]): line["sha256"] for line in samples}

    def test_a_set_costs_each_part_once(self):
        files = {**volumes("a"), "other.exe": pe.pe("other")}
        count = len(files) - 1
        self.assertGreater(count, 9)          # part10 sorts in front of part2
        self.hub.add("lab/sets", files)
        self.write_list("lab/sets")
        samples, rest = self.collect("--jobs", "2")
        self.assertEqual((self.found(samples), rest),
                         ({("m/set.part1.rar", "x.exe"): sha256(program("a")), ("other.exe", ""): sha256(pe.pe("other"))}, []))
        ids = [request["target"].rsplit("/", 1)[1] for request in self.hub.requests("/git/blobs/")]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(self.rows("SELECT count(*) FROM volume JOIN tree_entry USING (git_id)"), [(count,)])
        before = self.digest(self.corpus)
        self.hub.clear_log()
        self.assertEqual(self.collect(), ([], []))
        self.assertEqual((self.hub.count(), self.downloads()), (1, 0))
        self.assertEqual(self.digest(self.corpus), before)
        # Another file changes: the set costs nothing. Then one of its parts does.
        files["other.exe"] = pe.pe("changed")
        self.hub.commit("lab/sets", files)
        self.hub.clear_log()
        samples, rest = self.collect()
        self.assertEqual((list(self.found(samples)), rest, self.downloads()), ([("other.exe", "")], [], 1))
        self.assertEqual(self.hub.count("/tarball/"), 0)
        self.assertEqual(self.rows("SELECT count(*) FROM sighting WHERE gone_ms IS NULL"), [(2,)])
        files["m/set.part4.rar"] = volumes("b")["m/set.part4.rar"]
        self.hub.commit("lab/sets", files)
        samples, rest = self.collect(expect=1)
        self.assertEqual((samples, [line["path"] for line in rest]), ([], ["m/set.part1.rar"]))
        self.assertEqual(self.rows("SELECT count(*) FROM sighting WHERE gone_ms IS NULL"), [(1,)])
        # As it was before: known, and there again.
        files.update(volumes("a"))
        self.hub.commit("lab/sets", files)
        self.hub.clear_log()
        self.assertEqual(self.collect(), ([], []))
        self.assertEqual((self.downloads(), self.hub.count("/tarball/")), (0, 0))
        self.assertEqual(self.rows("SELECT count(*) FROM sighting WHERE gone_ms IS NULL"), [(2,)])
        # Moved to another folder, and in another repository.
        self.hub.commit("lab/sets", volumes("a", "else/"))
        self.hub.add("lab/fork", volumes("a", ""))
        self.write_list("lab/sets", "lab/fork")
        self.hub.clear_log()
        self.assertEqual(self.collect(), ([], []))
        self.assertEqual((self.downloads(), self.hub.count("/tarball/")), (0, 0))
        self.assertEqual(sorted(path for path, in self.rows("SELECT path FROM sighting WHERE gone_ms IS NULL")), [b"else/set.part1.rar", b"set.part1.rar"])

    def test_a_missing_part_that_comes(self):
        files = volumes("a")
        late = files.pop("m/set.part3.rar")
        self.hub.add("lab/sets", files)
        self.write_list("lab/sets")
        samples, rest = self.collect(expect=1)
        self.assertEqual((samples, rest[0]["path"], rest[0]["outcome"], rest[0]["reason"]),
                         ([], "m/set.part1.rar", "incomplete", "'set.part3.rar' is missing"))
        self.assertEqual(self.collect(), ([], []))
        self.hub.commit("lab/sets", {**files, "m/set.part3.rar": late})
        samples, rest = self.collect()
        self.assertEqual((self.found(samples), rest), ({("m/set.part1.rar", "x.exe"): sha256(program("a"))}, []))

    def test_parts_in_lfs(self):
        files = volumes("a")
        for name, data in list(files.items()):
            self.hub.put_lfs(data)
            files[name] = pointer(data)
        self.hub.add("lab/sets", files)
        self.write_list("lab/sets")
        samples, rest = self.collect()
        self.assertEqual((self.found(samples), rest), ({("m/set.part1.rar", "x.exe"): sha256(program("a"))}, []))
        self.hub.clear_log()
        self.assertEqual(self.collect(), ([], []))
        self.assertEqual(self.hub.count(), 1)


class Git(GitCase):
    def test_a_set_by_gits_protocol(self):
        repo = self.host.repository("lab/sets.git")
        files = {**volumes("a"), "other.exe": pe.pe("other")}
        repo.commit(files)
        self.write_list("@HOST@/lab/sets.git")
        samples, rest = self.collect()
        self.assertEqual(({(line["path"], line["chain"]) for line in samples}, rest), ({("m/set.part1.rar", "x.exe"), ("other.exe", "")}, []))
        fetches = sum(request["command"] == "fetch" for request in self.host.log)
        self.assertLessEqual(fetches, 3)                    # trees, and blobs many at a time
        self.host.log.clear()
        repo.commit({**files, "other.exe": pe.pe("changed")})
        samples, rest = self.collect()
        self.assertEqual(([line["path"] for line in samples], rest), (["other.exe"], []))
        self.assertEqual(sum(request["command"] == "fetch" for request in self.host.log), 2)
        self.assertEqual(self.rows("SELECT count(*) FROM sighting WHERE gone_ms IS NULL"), [(2,)])

    def test_a_set_of_an_earlier_commit(self):
        repo = self.host.repository("lab/sets.git")
        repo.commit({**volumes("a"), "other.exe": pe.pe("other")})
        repo.commit({"other.exe": pe.pe("other")})
        self.write_list("@HOST@/lab/sets.git")
        samples, rest = self.collect("--history")
        self.assertEqual(({(line["path"], line["chain"]) for line in samples}, rest), ({("m/set.part1.rar", "x.exe"), ("other.exe", "")}, []))


if __name__ == "__main__":
    unittest.main()

"""Answers of git servers in every shape that the protocol allows, and in some that it does not: against `git http-backend` on loopback."""
# ctest: full cost=40
import gzip
import hashlib
import subprocess
import unittest

from gen import pe
from services.git_case import GitCase
from services.githttp import AUTHOR, packets, pkt

RESULT = "application/x-git-upload-pack-result"


def reframe(body, size):
    """The answer with its pack in pieces of `size` bytes."""
    lines = list(packets(body))
    start = lines.index(b"packfile\n")
    pack = b"".join(line[1:] for line in lines[start + 1:] if line and line[:1] == b"\x01")
    head = b"".join(pkt(line) if line is not None else b"0001" for line in lines[:start + 1])
    return head + b"".join(pkt(b"\x01" + pack[at:at + size]) for at in range(0, len(pack), size)) + b"0000"


class PackCase(GitCase):
    def serve(self, files, name="p.git"):
        repo = self.host.repository(name)
        repo.commit(files)
        self.write_list("@HOST@/" + name)
        return repo

    def change(self, function, command="fetch"):
        """Puts `function` (body -> body, or (body, headers)) in the way of answers to one command."""
        def fault(request, status, headers, body):
            if request["command"] != command or status != 200:
                return status, headers, body
            changed = function(body)
            more = {}
            if isinstance(changed, tuple):
                changed, more = changed
            return status, dict(headers, **more), changed
        self.host.faults[:] = [fault]

    def names(self, *args, **kwargs):
        samples, rest = self.collect(*args, **kwargs)
        return sorted(line["path"] for line in samples), rest


class Shapes(PackCase):
    def test_pieces_of_every_size(self):
        program = pe.pe("x", body_bytes=70_000)
        self.serve({"x.exe": program, "d/y.exe": pe.pe("y")})
        for size in (1, 997, 65515):
            with self.subTest(size=size):
                self.change(lambda body, size=size: reframe(body, size))
                samples, rest = self.collect(corpus=self.root / str(size))
                self.assertEqual(({line["path"]: line["sha256"] for line in samples}["x.exe"], rest), (hashlib.sha256(program).hexdigest(), []))
        # Talk, and signs of life, between the pieces.
        self.change(lambda body: reframe(body, 5000).replace(pkt(b"packfile\n"), pkt(b"packfile\n") + pkt(b"\x02Counting\r") + b"0005\x01" + b"0005\x02"))
        self.assertEqual(self.names(corpus=self.root / "talk"), (["d/y.exe", "x.exe"], []))

    def test_gzip(self):
        self.serve({"x.exe": pe.pe("x", body_bytes=9000)})
        self.change(lambda body: (gzip.compress(body), {"Content-Encoding": "gzip"}))
        self.assertEqual(self.names(), (["x.exe"], []))
        self.assertTrue(all("gzip" in r["headers"]["accept-encoding"] for r in self.host.log if r["method"] == "POST"))
        self.change(lambda body: (gzip.compress(body)[:-40], {"Content-Encoding": "gzip"}))
        _, rest = self.names(corpus=self.root / "cut", expect=5)
        self.assertEqual([line["state"] for line in rest], ["error"])

    def test_chunks_cut_anywhere(self):
        program = pe.pe("x", body_bytes=30_000)
        self.serve({"x.exe": program})
        whole = {}
        self.change(lambda body: whole.setdefault(len(whole), body))
        self.collect(corpus=self.root / "whole")
        self.host.faults.clear()
        for number, at in enumerate((0, 1, 4, 13, 14, 900, -21, -5, -4, -1)):
            with self.subTest(at=at):
                cuts = [at, at, None] * 2          # twice for the trees, twice for the blob

                def cut(body, cuts=cuts):
                    where = cuts.pop(0)
                    return (body, {"X-Chunked": "all" if where is None else str(where % len(body))})
                self.change(cut)
                samples, rest = self.collect(corpus=self.root / ("cut%d" % number))
                self.assertEqual(([line["sha256"] for line in samples], rest), ([hashlib.sha256(program).hexdigest()], []))
                self.assertEqual(cuts, [])

    def test_chains_of_deltas(self):
        repo = self.serve({"x.exe": pe.pe("x")})
        body = "".join("line %d of a text that changes little\n" % n for n in range(400))
        stream = []
        for n in range(130):
            text = (body + "end %d\n" % n).encode()
            stream.append(b"commit refs/heads/main\ncommitter K <k@example.invalid> %d +0000\ndata 0\n%sM 100644 inline t\ndata %d\n%s\n"
                          % (1700001000 + n, b"from refs/heads/main^0\n" if n == 0 else b"", len(text), text))
        repo.git("fast-import", "--quiet", data=b"".join(stream))
        repo.git("repack", "-q", "-a", "-d", "-f", "--depth=4000", "--window=3")
        self.assertEqual(self.names("--history", "--jobs", "2"), (["x.exe"], []))
        self.assertEqual(self.rows("SELECT count(*) FROM blob"), [(131,)])
        self.assertEqual(self.rows("SELECT count(*) FROM blob WHERE outcome NOT IN ('ok', 'no_pe')"), [(0,)])

    def test_a_server_that_is_shallow_itself(self):
        repo = self.serve({"one.exe": pe.pe(1)}, "deep.git")
        for n in (2, 3, 4):
            repo.commit({"%d.exe" % n: pe.pe(n)})
        shallow = self.host.root / "shallow.git"
        subprocess.run(["git", "clone", "-q", "--bare", "--depth", "2", "file://" + str(repo.path), str(shallow)], check=True, capture_output=True,
                       env=dict(AUTHOR, PATH="/usr/bin:/bin"))
        self.write_list("@HOST@/shallow.git")
        self.assertEqual(self.names("--history"), (["3.exe", "4.exe"], []))
        self.assertEqual(self.names("--history"), ([], []))

    def test_no_filter_and_no_shallow(self):
        """What a server says that it cannot do is not asked for: the blobs come with the trees, and nothing is lost."""
        self.host.config = {}
        repo = self.serve({"old.exe": pe.pe("old")})
        repo.commit({"new.exe": pe.pe("new")})
        self.host.faults.append(lambda request, status, headers, body: (
            status, headers, body.replace(pkt(b"fetch=shallow wait-for-done\n"), pkt(b"fetch\n")) if request["method"] == "GET" else body))
        self.assertEqual(self.names(), (["new.exe"], []))
        for request in self.host.log:
            self.assertNotIn(b"filter", request["body"])
            self.assertNotIn(b"deepen", request["body"])
        self.assertEqual(self.names("--history"), (["old.exe"], []))
        repo.commit({"newer.exe": pe.pe("newer")})
        self.assertEqual(self.names("--history"), (["newer.exe"], []))


class Wrong(PackCase):
    def test_refs_that_are_none(self):
        self.serve({"x.exe": pe.pe("x")})
        nobody = b"1" * 40
        cases = {
            "err": (lambda body: pkt(b"ERR access denied or \x1b[2Jnot exported\n"), "access denied"),
            "cut": (lambda body: body[:-4], "cut short"),
            "html": (lambda body: b"<!DOCTYPE html>", "pkt-lines"),
            "nul": (lambda body: pkt(b"\0" * 60) + b"0000", "no list of refs"),
            "lie": (lambda body: pkt(nobody + b" HEAD\n") + pkt(nobody + b" refs/heads/main\n") + b"0000", "not our ref"),
        }
        for name, (change, words) in cases.items():
            for mode in ((), ("--history",)):
                with self.subTest(name=name, mode=mode):
                    self.change(change, "ls-refs")
                    paths, rest = self.names(*mode, expect=5, corpus=self.root / (name + str(len(mode))))
                    self.assertEqual((paths, [line["state"] for line in rest]), ([], ["error"]))
                    self.assertIn(words, rest[0]["reason"])
                    self.assertNotIn("\x1b", self.talk)

    def test_objects_that_nobody_asked_for(self):
        repo = self.serve({"asked.exe": pe.pe("asked"), "kept-back.exe": pe.pe("kept back")})
        side = repo.commit({"unasked.exe": pe.pe("unasked")}, branch="side")
        asked = repo.git("rev-parse", "main:asked.exe").strip().decode()
        ids = "\n".join([asked, side, side + "^{tree}", side + ":unasked.exe"]) + "\n"
        pack = repo.git("pack-objects", "--stdout", "-q", data=repo.git("rev-parse", *ids.split()))
        answer = pkt(b"packfile\n") + b"".join(pkt(b"\x01" + pack[at:at + 60000]) for at in range(0, len(pack), 60000)) + b"0000"

        def fault(request, status, headers, body):
            blobs = request["command"] == "fetch" and b"filter" not in request["body"]
            return (200, {"Content-Type": RESULT}, answer) if blobs else (status, headers, body)
        self.host.faults.append(fault)
        paths, rest = self.names(expect=1)
        self.assertEqual((paths, [(line["path"], line["outcome"]) for line in rest]), (["asked.exe"], [("kept-back.exe", "gone")]))
        self.assertEqual(self.rows("SELECT count(*) FROM sample"), [(1,)])

    def test_trees_of_another_commit(self):
        repo = self.serve({"x.exe": pe.pe("x")})
        other = repo.commit({"other.exe": pe.pe("other")}, branch="side")
        pack = repo.git("pack-objects", "--stdout", "-q", data=repo.git("rev-parse", other, other + "^{tree}"))
        self.change(lambda body: pkt(b"packfile\n") + pkt(b"\x01" + pack) + b"0000")
        paths, rest = self.names(expect=5)
        self.assertEqual((paths, [line["state"] for line in rest]), ([], ["error"]))
        self.assertIn("commit that was asked for", rest[0]["reason"])


if __name__ == "__main__":
    unittest.main()

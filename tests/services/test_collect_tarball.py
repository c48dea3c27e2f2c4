"""collect --github-list where one tarball is cheaper than many blobs: what is asked for, what comes verified out of tarballs that lack
files, have other bytes, are cut, refused, limited or malicious, and that the corpus is always that of single requests."""
import gzip
import io
import signal
import tarfile
import unittest
import zlib

from gen import archive, pe
from services.github_case import LARGE, GitHubCase
from services.gitobjects import SUBMODULE, SYMLINK, object_id
from services.github import pointer, tarball

COUNT = 10
FEW = 10        # blobs that are fetched singly whatever they weigh


def many(seed="", count=COUNT):
    """Enough small files that a tarball pays, of every kind that a tree holds; a path longer than a ustar name, and one blob twice."""
    files = {"%02d/%s%d.exe" % (index % 7, seed, index): pe.pe("%s%d" % (seed, index)) for index in range(count)}
    files["deep/" + "/".join("folder%02d" % level * 3 for level in range(12)) + "/x.exe"] = pe.pe(seed + "deep")
    files["copy/again.exe"] = files["00/%s0.exe" % seed]
    files["locked/a.zip"] = archive.zipped({"a.exe": pe.pe(seed + "locked")}, "an odd word")
    files["locked/a.pass"] = b"an odd word\n"
    files["trailing space /b.exe "] = pe.pe(seed + "space")
    files["link"] = (SYMLINK, b"00/0.exe")
    files["vendor"] = (SUBMODULE, "1" * 40)
    files["large.bin"] = pointer(LARGE)
    files["empty"] = b""
    return files


def programs(files):
    return sum(1 for data in files.values() if isinstance(data, bytes) and data[:2] in (b"MZ", b"PK")) - 1   # one lies there twice


def packed(members):
    """A tar.gz of (name or TarInfo, bytes)."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as out:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


def header(name, size, kind=b"0"):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def zeros_gz(mebibytes):
    """A gzip stream of zeros, one member a 16 MiB."""
    piece = gzip.compress(bytes(16 << 20), mtime=0)
    return piece * (mebibytes // 16)


class TarballCase(GitHubCase):
    def setUp(self):
        super().setUp()
        self.files = many()
        self.blobs = len({object_id("blob", data) for data in self.files.values() if isinstance(data, bytes)})

    def tar(self, *args, **more):
        """A run that may follow the tarball's redirect, which on a loopback service leads to another origin."""
        return self.collect("--git-host", self.hub.codeload.url, *args, **more)

    def add(self, name="lab/many"):
        repository = self.hub.add(name, self.files)
        self.write_list(name)
        return repository

    def singly(self):
        """The digest of the corpus that single requests make: the redirect to another loopback origin is refused."""
        corpus = self.root / "singly"
        self.collect(corpus=corpus)
        self.assertEqual((self.hub.codeload.count(), self.downloads()), (0, self.blobs))
        self.hub.clear_log()
        return self.digest(corpus)

    def check_same(self, want, blobs, tarballs=1, **more):
        """A run with tarballs gives the same corpus, at the cost of so many blob requests."""
        corpus = self.root / "tarballs"
        samples, rest = self.tar(corpus=corpus, **more)
        self.assertEqual((len(samples), rest), (programs(self.files), []))
        self.assertEqual(self.digest(corpus), want)
        self.assertEqual(self.downloads(), blobs)
        self.assertEqual(self.hub.codeload.count(), tarballs)


class Tarballs(TarballCase):
    def test_one_tarball_instead_of_many_blobs(self):
        repository = self.add()
        want = self.singly()
        self.check_same(want, 0)
        targets = [request["target"].split("/repos/lab/many")[1] for request in self.hub.requests("^/repos")]
        self.assertEqual(targets, ["/commits/HEAD", "", "/git/trees/%s?recursive=1" % repository.head, "/tarball/" + repository.head])
        for request in self.hub.codeload.requests():
            self.assertIsNone(request["headers"].get("authorization"))
        self.assertEqual(self.hub.count("/lfs-store/"), 1)       # the pointer came out of the tarball

    def test_later_nights_cost_what_is_new(self):
        self.add()
        self.tar()
        self.hub.clear_log()
        self.hub.codeload.clear_log()
        self.assertEqual(self.tar(), ([], []))
        self.assertEqual((self.hub.count(), self.hub.count(status=304), self.hub.codeload.count()), (1, 1, 0))
        self.hub.commit("lab/many", dict(self.files, **{"new.exe": pe.pe("new")}))
        samples, _ = self.tar()
        self.assertEqual(([line["path"] for line in samples], self.downloads(), self.hub.codeload.count()), (["new.exe"], 1, 0))
        # Many new ones again, in a repository whose other files are known: a tarball, and only what is new is opened.
        more = dict(self.files, **many("b"))
        self.hub.commit("lab/many", more)
        self.hub.clear_log()
        samples, _ = self.tar()
        # (One request: the password file beside the new archive is known, and so not among the files wanted.)
        self.assertEqual((len(samples), self.downloads(), self.hub.codeload.count()), (programs(many("b")), 1, 1))
        # Another repository with the same files costs no byte of them.
        self.hub.add("lab/fork", more)
        self.write_list("lab/fork")
        self.hub.clear_log()
        self.assertEqual(self.tar(), ([], []))
        self.assertEqual((self.hub.count("/tarball/"), self.downloads()), (0, 0))

    def test_a_few_small_files_of_a_large_repository_come_singly(self):
        heavy = {"%d.bin" % index: pe.pe(index, body_bytes=14 << 20, fill="zero") for index in range(5)}
        self.files = dict(heavy, **{"%d.txt" % index: b"%d" % index for index in range(5)})
        self.add()
        self.tar()
        self.hub.clear_log()
        self.hub.codeload.clear_log()
        self.hub.commit("lab/many", dict(self.files, **{"new%02d.exe" % index: pe.pe(index) for index in range(15)}))
        samples, _ = self.tar()          # 15 requests are less than 70 MB
        self.assertEqual((len(samples), self.downloads(), self.hub.codeload.count()), (15, 15, 0))

    def test_what_the_archive_leaves_out_or_rewrites_comes_by_itself(self):
        repository = self.add()
        want = self.singly()
        repository.export_ignore = {"00/0.exe", "copy/again.exe", "locked/a.zip"}
        repository.export_subst = {"01/1.exe": b"$Format: other bytes$" + self.files["01/1.exe"], "02/2.exe": self.files["02/2.exe"][:-1] + b"?",
                                   "large.bin": LARGE}
        self.check_same(want, 5)

    def test_dry_run_fetches_alike_and_writes_nothing(self):
        self.add()
        samples, _ = self.tar("--dry-run")
        self.assertEqual((len(samples), self.downloads(), self.hub.codeload.count()), (programs(self.files) + 1, 0, 1))   # the copy too
        self.assertFalse(self.corpus.exists())

    def test_one_night_two_threads(self):
        self.add()
        want = self.singly()
        corpus = self.root / "two"
        self.tar("--jobs", "2", corpus=corpus)
        self.assertEqual(self.digest(corpus), want)
        self.assertEqual(self.downloads(), 0)


class Faults(TarballCase):
    def test_cut_transfers_keep_what_came(self):
        self.add()
        want = self.singly()
        for kind, tries in (("cut", 2), ("truncated", 1)):
            with self.subTest(kind=kind):
                self.hub.codeload.fault(kind, fraction=0.6)
                corpus = self.root / kind
                self.tar("-v", corpus=corpus)
                self.assertEqual((self.digest(corpus), self.hub.codeload.count()), (want, tries))
                self.assertGreater(self.downloads(), 3)
                self.assertLess(self.downloads(), self.blobs - 3)
                self.assertIn("cut short" if kind == "truncated" else "came incomplete", self.talk)
                self.hub.codeload.clear_faults()
                self.hub.codeload.clear_log()
                self.hub.clear_log()

    def test_a_tarball_host_that_refuses(self):
        self.add()
        want = self.singly()
        self.hub.codeload.fault("status", status=401)       # the token was not sent there, so it is not the token that is refused
        self.check_same(want, self.blobs)

    def test_a_limit_of_the_tarball_host_is_honoured_there(self):
        for status in (403, 429):
            with self.subTest(status=status):
                corpus = self.root / str(status)
                names = ["lab/%s%d" % (letter, status) for letter in "abc"]
                for name in names:
                    self.hub.add(name, many(name))
                self.write_list(*names)
                self.hub.codeload.clear_log()
                self.hub.codeload.fault("status", status=status, retry_after=7200)
                samples, _ = self.tar(corpus=corpus)
                # One answer is enough for all repositories of the night; the API's own quota goes on.
                self.assertEqual((len(samples), self.hub.codeload.count()), (3 * programs(self.files), 1))
                self.hub.codeload.clear_faults()
                for name in names:
                    self.hub.commit(name, many(name + "new"))
                self.tar(corpus=corpus, days=1)
                self.assertEqual(self.hub.codeload.count(), 4)

    def test_a_limit_of_the_api_ends_the_run(self):
        self.add()
        want = self.singly()
        self.hub.fault("status", path="/tarball/", status=429, retry_after=600)
        samples, _ = self.tar(expect=75)
        self.assertEqual((samples, self.states(), self.downloads()), ([], {"lab/many": "limited"}, 0))
        self.hub.clear_faults()
        self.tar()
        self.assertEqual((self.digest(self.corpus), self.downloads()), (want, 0))


class Malice(TarballCase):
    """The tarball's host chooses what comes: it costs nothing but the requests that would have been made without it."""

    def check_archive(self, body, blobs=None, name="malice"):
        self.hub.codeload.body = lambda repository, commit: body
        corpus = self.root / name
        samples, rest = self.tar(corpus=corpus)
        self.assertEqual((len(samples), rest), (programs(self.files), []))
        self.assertEqual((self.digest(corpus), self.downloads()), (self.want, self.blobs if blobs is None else blobs))

    def setUp(self):
        super().setUp()
        self.add()
        self.want = self.singly()

    def test_other_files_under_the_names_wanted(self):
        self.check_archive(packed([("lab-many-1234567/" + path, b"MZ" + data[2:][::-1]) for path, data in self.files.items() if isinstance(data, bytes)]))

    def test_names_mean_nothing(self):
        names = ["../../../../etc/cron.d/x", "/etc/passwd", "..", ".", "a/../../b", "\u202e.exe", "x" * 3000]
        data = [self.files["%02d/%d.exe" % (index, index)] for index in range(len(names))]
        self.check_archive(packed(zip(names, data)), self.blobs - len(names))
        found = {row[0] for row in self.rows("SELECT path FROM sighting", self.root / "malice")}
        self.assertEqual(found, {path.encode() for path in self.files if path.endswith((".exe", ".exe ", ".zip"))})
        written = {path.name for path in self.root.rglob("*") if path.is_file()}
        self.assertFalse(written & {"x", "b", "passwd"})

    def test_files_that_are_links_and_devices(self):
        members = []
        for index, kind in enumerate((tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)):
            info = tarfile.TarInfo("lab-many/%d" % index)
            info.type, info.linkname = kind, "/etc/passwd"
            members.append((info, b""))
        members.append(("lab-many/last.exe", self.files["00/0.exe"]))
        self.check_archive(packed(members), self.blobs - 1)

    def test_sizes_that_are_claims(self):
        first = self.files["00/0.exe"]
        good = header("a", len(first)) + first + bytes(-len(first) % 512)
        for size in (1 << 40, (1 << 30) + 1, len(first) * 1000):
            with self.subTest(size=size):
                self.hub.clear_log()
                self.check_archive(gzip.compress(good + header("huge", size) + bytes(4096)), self.blobs - 1, "malice%d" % size)

    def test_a_bomb(self):
        first = self.files["00/0.exe"]
        start = header("a", len(first)) + first + bytes(-len(first) % 512) + header("zeros", (1 << 30) - 1)
        self.check_archive(gzip.compress(start) + zeros_gz(1088), self.blobs - 1)

    def test_garbage_behind_a_good_beginning(self):
        good = zlib.decompress(tarball(self.hub.get("lab/many"), self.hub.get("lab/many").head), 31)
        half = len(good) // 2 // 512 * 512
        self.hub.codeload.body = lambda repository, commit: gzip.compress(good[:half] + b"\xff" * 4096)
        self.tar()
        self.assertEqual(self.digest(self.corpus), self.want)
        self.assertGreater(self.downloads(), 3)
        self.assertLess(self.downloads(), self.blobs - 3)

    def test_a_tar_without_gzip_is_read_too(self):
        self.check_archive(header("a", 0)[:512] + bytes(1024), self.blobs - 1)      # its one file is the empty one


class Killed(TarballCase):
    def test_kill_then_again(self):
        self.add()
        want = self.singly()
        log, whole = self.root / "steps", self.root / "whole"
        self.tar(corpus=whole, env={"MALSEQ_TEST_STEPS": str(log)})
        self.assertEqual(self.digest(whole), want)
        reached = log.read_text().split()
        for step in ("collect.tarball.fetched", "collect.tarball.read"):
            self.assertEqual(reached.count(step), 1)
        fetched = reached.count("collect.crawl.fetched")
        for step, nth in (("collect.tarball.fetched", 1), ("collect.tarball.read", 1), ("collect.crawl.fetched", fetched // 3),
                          ("collect.crawl.fetched", fetched - 2)):
            corpus = self.root / ("%s.%d" % (step, nth))
            self.tar(corpus=corpus, expect=-signal.SIGKILL, env={"MALSEQ_TEST_KILL": "%s:%d" % (step, nth)})
            left = self.blobs - self.rows("SELECT count(*) FROM blob", corpus)[0][0]
            self.hub.clear_log()
            self.tar(corpus=corpus)
            self.assertEqual(self.digest(corpus), want, (step, nth))
            # What little is left comes by itself; how much that is depends on what was committed before the kill.
            self.assertEqual(self.hub.count("/tarball/"), 1 if left > FEW else 0, (step, nth, left))


if __name__ == "__main__":
    unittest.main()

"""kill -9 at every named step that collect reaches, first, middle and last, in one run over folders, GitHub (LFS, releases, tarballs), a git server
and URLs: the next run makes the corpus that an undisturbed one makes, and fsck finds nothing. A step in the source that no kill hits fails the test."""
# ctest: full release cost=60
import concurrent.futures
import os
import pathlib
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import unittest

from gen import archive, pe
from services.github import GitHub
from services.githttp import GitServer, available
from services.test_collect_urls import Files

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
TOKEN = "ghp_onlyfortests0123456789"
SOURCES = pathlib.Path(__file__).resolve().parents[2]
REACHED_BY = ("collect/*.c", "store/vault*.c", "store/corpus.c")
# Of malseq fsck --repair: tests/cli/test_fsck_repair.py; of removals, as malseq retain's: tests/cli/test_retain.py.
ELSEWHERE = {"collect.adopt.committed", "store.vault.removed"}
AT_LEAST = 3


def steps_in_source():
    found = set()
    for pattern in REACHED_BY:
        for path in SOURCES.glob(pattern):
            found |= set(re.findall(r'ms_step\("([^"]+)"\)', path.read_text()))
    return found


class Steps(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not available():
            print("skipped: git and its http-backend are not installed")
            raise unittest.SkipTest("no git")
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-steps-"))
        cls.addClassCleanup(shutil.rmtree, cls.root)
        cls.hub, cls.host, cls.site = GitHub(token=TOKEN), GitServer(cls.root / "served"), Files()
        for service in (cls.hub, cls.host, cls.site):
            service.start()
            cls.addClassCleanup(service.stop)
        lines, urls, cls.folders = [], [], []
        for name in "abc":
            large = pe.pe("lfs" + name)
            files = {"%02d.bin" % n: b"%s %d\n" % (name.encode(), n) for n in range(12)}
            files.update({"x.exe": pe.pe("hub" + name), "z.zip": archive.zipped({"in.exe": pe.pe("zip" + name)}, "infected"),
                          "l.exe": cls.hub.put_lfs(large), "unknown.zip": archive.zipped({"c.exe": pe.pe("c" + name)}, "not known")})
            cls.hub.add("lab/" + name, files)
            cls.hub.release("lab/" + name, "v1", {"r.exe": pe.pe("release" + name), "again.exe": pe.pe("hub" + name)})
            lines.append("lab/" + name)
            repository = cls.host.repository(name + ".git")
            repository.commit({"g.exe": pe.pe("git" + name), "same.exe": pe.pe("huba"), "g.zip": archive.zipped({"m.exe": pe.pe("m" + name)})})
            lines.append("%s/%s.git" % (cls.host.url, name))
            cls.site.files["/%s.zip" % name] = (archive.zipped({"u.exe": pe.pe("url" + name)}, "infected"), '"%s"' % name)
            urls.append("%s/%s.zip" % (cls.site.url, name))
            folder = cls.root / ("folder-" + name)
            folder.mkdir()
            (folder / "f.exe").write_bytes(pe.pe("folder" + name))
            (folder / "n.zip").write_bytes(archive.nested(pe.pe("nested" + name), depth=2))
            cls.folders.append(folder)
        (cls.root / "repos").write_text("\n".join(lines) + "\n")
        (cls.root / "urls").write_text("\n".join(urls) + "\n")
        cls.log, cls.whole = cls.root / "steps.log", cls.root / "whole"
        result = cls.run_collect(cls.whole, {"MALSEQ_TEST_STEPS": str(cls.log)})
        assert result.returncode == 1, result.stderr        # the zips without a password
        cls.want, cls.reached = cls.digest(cls.whole), cls.log.read_text().split()

    @classmethod
    def run_collect(cls, corpus, env=(), **more):
        environment = dict(os.environ, MALSEQ_TEST_EPOCH_MS=str(int(time.time() * 1000)), MALSEQ_TEST_SPEED="200", GITHUB_TOKEN=TOKEN, **dict(env))
        command = [os.path.join(BIN, "collect"), "--corpus", str(corpus), "--github-list", str(cls.root / "repos"), "--github-url", cls.hub.url,
                   "--github-token", "env:GITHUB_TOKEN", "--releases", "--url-list", str(cls.root / "urls"), "--git-host", cls.host.url,
                   "--git-host", cls.site.url, "--git-host", cls.hub.codeload.url, "--jobs", "2"]
        for folder in cls.folders:
            command += ["--dir", str(folder)]
        return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False, **more)

    @staticmethod
    def malseq(*args):
        return subprocess.run([os.path.join(BIN, "malseq"), *map(str, args)], capture_output=True, timeout=250, check=False)

    @classmethod
    def digest(cls, corpus):
        result = cls.malseq("fsck", "--digest", "--corpus", corpus)
        assert result.returncode == 0, result.stderr
        return result.stdout.split()[-1]

    def killed(self, corpus, step, nth):
        """Where a run was killed: at the step's nth time, or, since what is ready together is stored together and a busy machine groups
        otherwise, at the last time of those that a run reached. None when no run of five was."""
        for attempt in range(5):
            log = self.root / ("%s.%d.log" % (step, nth))
            result = self.run_collect(corpus, {"MALSEQ_TEST_KILL": "%s:%d" % (step, nth), "MALSEQ_TEST_STEPS": str(log)})
            reached = log.read_text().split().count(step)
            log.unlink()
            if result.returncode == -signal.SIGKILL:
                return nth
            shutil.rmtree(corpus)
            if reached == 0 or reached >= nth:
                return None
            nth = reached
        return None

    def kill(self, step, wanted):
        """What is wrong after a kill there and another run, or None; and where it was."""
        corpus = self.root / ("%s.%d" % (step, wanted))
        nth = self.killed(corpus, step, wanted)
        if nth is None:
            return "%s:%d: was not reached" % (step, wanted), None
        return self.rerun(corpus, step, "%s:%d" % (step, nth)), nth

    def rerun(self, corpus, step, where):
        """What is wrong after that kill and another run; None when nothing is."""
        try:
            if step in ("collect.intake.vaulted", "store.vault.linked", "store.vault.synced"):
                # What lies in the vault without a row is adopted.
                repaired = self.malseq("fsck", "--repair", "--corpus", corpus)
                if repaired.returncode not in (0, 1) or self.malseq("fsck", "--corpus", corpus).returncode:
                    return "%s: fsck --repair: %s" % (where, repaired.stdout + repaired.stderr)
            result = self.run_collect(corpus)
            if result.returncode != 1:
                return "%s: the next run ended %d: %s" % (where, result.returncode, result.stderr[-500:])
            found = self.malseq("fsck", "--corpus", corpus)
            if found.returncode:
                return "%s: fsck: %s" % (where, found.stdout + found.stderr)
            if self.digest(corpus) != self.want:
                return "%s: another corpus" % where
            return None
        finally:
            shutil.rmtree(corpus, ignore_errors=True)

    def test_every_step(self):
        kills = []
        for step in sorted(set(self.reached)):
            times = self.reached.count(step)
            kills += [(step, nth) for nth in sorted({1, (times + 1) // 2, times})]
        wanted = steps_in_source() - ELSEWHERE - ({"collect.intake.quick"} if "MALSEQ_TEST_VALGRIND" in os.environ else set())    # no quick there
        self.assertEqual(sorted(wanted - set(self.reached)), [], "steps that nothing reaches")
        self.assertEqual({step: self.reached.count(step) for step in wanted if self.reached.count(step) < AT_LEAST}, {}, "reached too seldom")
        # Each kill has a corpus of its own; the services hold no state that one run could change for another.
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            ended = list(pool.map(lambda kill: self.kill(*kill), kills))
        self.assertEqual([text for text, _ in ended if text], [])
        hits = {step: [at for (name, _), (_, at) in zip(kills, ended) if name == step] for step in sorted(set(self.reached))}
        print("%d kills at %d steps; killed at (of so many):" % (len(kills), len(hits)))
        for step, at in hits.items():
            print("  %-26s %s of %d" % (step, ", ".join(map(str, at)), self.reached.count(step)))

    def test_disk_full(self):
        """No file may grow beyond so many bytes: the run ends 4 and says so, and the next one makes the whole corpus."""
        def limit(size):
            def apply():
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            return apply
        ended = set()
        for size in (600, 40 << 10, 120 << 10, 400 << 10):
            corpus = self.root / ("full.%d" % size)
            result = self.run_collect(corpus, preexec_fn=limit(size))
            ended.add(result.returncode)
            self.assertIn(result.returncode, (1, 4), result.stderr)
            if result.returncode == 4:
                self.assertIn(b"collect: error", result.stderr)
            self.assertEqual(self.run_collect(corpus).returncode, 1)
            self.assertEqual(self.malseq("fsck", "--corpus", corpus).returncode, 0)
            self.assertEqual(self.digest(corpus), self.want, size)
        self.assertIn(4, ended)


if __name__ == "__main__":
    unittest.main()

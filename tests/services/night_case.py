"""What the tests of malseq nightly share: a small world on loopback (a GitHub, a VirusTotal, a Cuckoo), a nightly.conf for it, and runs of
the night. A report of this sandbox depends on its sample alone, so that two corpora of the world are equal, whatever happened on the way."""
import hashlib
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import unittest

from gen import archive, pe, report
from gen.antivirus import Spec
from gen.schema import Schema
from services.cuckoo import Cuckoo
from services.github import GitHub
from services.virustotal import VirusTotal

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
SCHEMA = Schema("nightly.schema.json")
CALLS = ["NtClose", "NtCreateFile", "NtReadFile", "NtWriteFile", "LdrLoadDll", "RegOpenKeyExW", "NtOpenKey", "GetSystemMetrics"]
BASE = """[corpus]
dir = %(corpus)s
[time]
budget = 20m
grace = 10s
wait = 20s
[collect]
github-list = %(root)s/repos.txt
github-url = %(github)s
github-token = @%(root)s/github.key
[label]
vt-key = @%(root)s/vt.key
vt-url = %(vt)s
vt-user = %(user)s
[extract]
cuckoo = %(cuckoo)s
token = @%(root)s/cuckoo.key
poll = 0.05
grace = 1
in-flight = 8
[train]
kind = linear
baselines = no
min-calls = 2
min-samples = 10
[audit]
"""


def sample_report(task, data):
    """Of the sample's bytes alone; some have none."""
    digest = hashlib.sha256(data).hexdigest()
    rng = random.Random(digest)
    calls = rng.sample(CALLS, 5) + (["WriteProcessMemory", "CreateRemoteThread"] if data in BAD else ["DrawTextExW"])
    return report.cuckoo([report.Process("sample.exe", calls)], sha256=digest, task=1)


def programs(word, count):
    return [pe.pe("night/%s/%d" % (word, number)) for number in range(count)]


BAD, GOOD = programs("bad", 12), programs("good", 12)


class World:
    """The services, and the files that name them."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.hub, self.vt = GitHub(token="ghp_onlyfortests0123456789"), VirusTotal(minute=6000, day=20000, month=600000)
        self.cuckoo = Cuckoo(sample_report, token="only-for-tests", machines=8, pending_seconds=.01, running_seconds=.01, processing_seconds=.01,
                             one_at_a_time=False)
        self.hub.add("lab/zoo", {"a.zip": archive.zipped({"%d.exe" % i: data for i, data in enumerate(BAD[:6])}, "infected"),
                                 "cut.zip": archive.zipped({"x.exe": pe.pe("night/cut")})[:700],
                                 **{"bare/%d.bin" % i: data for i, data in enumerate(BAD[6:])}})
        self.hub.add("lab/tools", {"t%d.exe" % i: data for i, data in enumerate(GOOD)})
        for number, data in enumerate(BAD + GOOD):
            names = [hashlib.new(kind, data).hexdigest() for kind in ("sha256", "sha1", "md5")]
            bad = number < len(BAD)
            self.vt.add(Spec(*names, len(data), cls="Worm" if bad else None, family="zelphira", groups=14 if bad else 0, seed=number))
        for service in (self.hub, self.vt, self.cuckoo):
            service.start()
        for name, key in (("github", self.hub.token), ("vt", self.vt.key), ("cuckoo", self.cuckoo.token)):
            self.write(name + ".key", key + "\n")
        self.write("repos.txt", "lab/zoo\nlab/tools claim=benign\n")

    def write(self, name, text):
        with open(os.open(self.root / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        return self.root / name

    def conf(self, corpus, **changes):
        """nightly.conf for this corpus; changes: words of BASE and what stands in their place."""
        text = BASE % {"corpus": corpus, "root": self.root, "github": self.hub.url, "vt": self.vt.api, "user": self.vt.user, "cuckoo": self.cuckoo.url}
        for number, (old, new) in enumerate(changes.get("replace", ())):
            if old not in text:
                raise ValueError((number, old))
            text = text.replace(old, new)
        return self.write(pathlib.Path(corpus).name + ".conf", text + changes.get("more", ""))

    def mend(self):
        """No faults any more; what the services remember they remember."""
        self.vt.day = 20000
        for service in (self.hub, self.vt, self.cuckoo):
            service.clear_faults()

    def clear(self):
        """As on the first day: no tasks that a sandbox remembers either."""
        self.mend()
        for known in (self.cuckoo.table.tasks, self.cuckoo.table.open, self.cuckoo.table.samples):
            known.clear()

    def stop(self):
        for service in (self.hub, self.vt, self.cuckoo):
            service.stop()


def memory():
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def environment(**more):
    env = dict(os.environ, **more)
    for name in ("MALSEQ_CORPUS", "GITHUB_TOKEN", "VT_API_KEY", "VT_USER", "CUCKOO_TOKEN"):
        env.pop(name, None)
    return env


def start(conf, *arguments, env=None, program=os.path.join(BIN, "malseq"), **more):
    return subprocess.Popen([program, "nightly", "--config", str(conf), *arguments], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(**(env or {})), **more)


def small_files(size):
    """For a process that is started: no file of its own, or of those it starts, can grow beyond `size` bytes."""
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return {"preexec_fn": limit, "restore_signals": False}


def night(conf, *arguments, env=None, timeout=250):
    """Exit code, stdout and stderr of a whole night."""
    with start(conf, *arguments, env=env) as process:
        try:
            out, talk = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, out.decode(), talk.decode("utf-8", "replace")


def digest(corpus):
    done = subprocess.run([os.path.join(BIN, "malseq"), "fsck", "--digest", "--corpus", str(corpus)], capture_output=True, timeout=250, check=True)
    return done.stdout.split()[-1].decode()


class NightCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="malseq-night-", dir=memory()))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.world = World(cls.folder)
        cls.addClassCleanup(cls.world.stop)

    def setUp(self):
        self.corpus = self.folder / ("corpus-" + self.id().rsplit(".", 1)[-1])
        self.addCleanup(shutil.rmtree, self.corpus, True)
        self.addCleanup(self.world.clear)

    def night(self, *arguments, expect=0, conf=None, env=None):
        """The record of a night, checked against its schema; None where there is none."""
        code, out, self.talk = night(conf or self.world.conf(self.corpus), "--json", *arguments, env=env)
        self.assertEqual(code, expect, self.talk + out)
        for secret in (self.world.hub.token, self.world.vt.key, self.world.cuckoo.token):
            self.assertNotIn(secret, out + self.talk)
        if not out:
            return None
        record = json.loads(out)
        SCHEMA.check(record, "night")
        self.assertEqual(record["exit"], code)
        return record

    @staticmethod
    def states(record):
        return {step["step"]: step["state"] for step in record["steps"]}

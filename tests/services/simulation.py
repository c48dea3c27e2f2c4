"""Many samples through three pretended sandboxes that fail in every way there is, with kills in between; what each came to, and how often the
servers say that they were given it."""
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter

from gen import pe, report
from services.cape import Cape
from services.cuckoo import Cuckoo
from services.httpd import Fault

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
SPEED = 50

# What may befall a sample, one of each twenty: at the submission, at a look, at its report.
TASKS = ("null_task_id", "error_after_submit", "hidden", "late", "error_and_late", "failed_analysis", "failed_processing", "no_report", "empty_report",
         "truncated_report", "trailing_report", "garbage_report", "no_behavior", "stuck_running")
# (what is asked, how it is answered, how often)
ANSWERS = (("create", "reset after", 1), ("create", "cut after", 1), ("create", "429", 1), ("report", "cut", 2), ("report", "html", 1), ("report", "500", 2))
SHARE = 0.05
ENDS = {"no_report": "report_missing", "empty_report": "report_invalid", "truncated_report": "report_invalid", "trailing_report": "report_invalid",
        "garbage_report": "report_invalid", "no_behavior": "no_behavior", "stuck_running": "lost"}


def calls_of(number):
    return ["NtCreateFile", "NtWriteFile"] + ["RegOpenKeyExW", "NtClose"] * (2 + number % 5)


class Troubled:
    """What the pretended servers share: which sample is troubled by what, drawn from its digest; and noise that no sample is to blame for."""

    def __init__(self, samples):
        self.trouble, self.left = {}, Counter()
        kinds = list(TASKS) + list(ANSWERS)
        for digest in samples:
            at = random.Random(digest).random() / SHARE
            self.trouble[digest] = kinds[int(at)] if at < len(kinds) else None

    def kind(self, digest):
        return self.trouble.get(digest)

    def wait(self, digest, times):
        """True as long as the trouble is not spent."""
        self.left[digest] += 1
        return self.left[digest] <= times


def troubled(base):
    class Server(base):
        world = None
        noise = None

        def take_fault(self, request):
            fault = self.about(request)
            if fault is None and self.noise and request.method == "GET" and not self.has_no_report(request) and self.noise.random() < 0.004:
                fault = self.noise.choice((Fault("status", status=500), Fault("html"), Fault("garbage"), Fault("reset"), Fault("empty"),
                                           Fault("status", status=503, retry_after=1), Fault("content_type", value="text/plain"),
                                           Fault("status", status=429, retry_after=2), Fault("cut"), Fault("truncated")))
            return fault

        def task_of(self, request):
            numbers = [int(part) for part in request.path.split("/") if part.isdigit()]
            return self.table.tasks.get(numbers[0]) if numbers else None

        def has_no_report(self, request):
            """Garbage in place of a report that is not there would be a report: that sample ends otherwise, and rightly."""
            task = self.task_of(request) if "report" in request.path else None
            return task is not None and task.kind == "no_report"

        def about(self, request):
            if request.method == "POST":
                digest = self.digest_of(request.body)
                what = "create"
            elif "report" in request.path:
                task = self.task_of(request)
                digest, what = (task.sample.sha256, "report") if task else (None, "")
            else:
                return None
            kind = self.world.kind(digest)
            if not isinstance(kind, tuple) or kind[0] != what or not self.world.wait(digest, kind[2]):
                return None
            name, _, after = kind[1].partition(" ")
            if name.isdigit():
                return Fault("status", status=int(name), retry_after=1)
            return Fault(name, after=bool(after))

        def digest_of(self, body):
            """The sample in a form; the file is its last part."""
            start = body.index(b"\r\n\r\n", body.index(b"filename=")) + 4
            return hashlib.sha256(body[start:body.index(b"\r\n--", start)]).hexdigest()
    return Server


class Simulation:
    def __init__(self, count, seed=1, speed=SPEED, in_flight=100):
        self.count, self.speed, self.in_flight = count, speed, in_flight
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-farm-", dir=memory))
        self.corpus = self.root / "corpus"
        (self.root / "in").mkdir()
        self.steps = self.root / "steps"
        self.servers, self.kills, self.exits = [], [], Counter()
        random.seed(seed)

    def close(self):
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def prepare(self):
        for index in range(self.count):
            (self.root / "in" / ("%05d.exe" % index)).write_bytes(pe.pe("farm/%d" % index, ("exe", "dll")[index % 2]))
        done = subprocess.run([os.path.join(BIN, "collect"), "--corpus", str(self.corpus), "--dir", str(self.root / "in"), "-q"], capture_output=True,
                              timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        shutil.rmtree(self.root / "in")
        digests = [row[0] for row in self.sql("SELECT lower(hex(sha256)) FROM sample")]
        assert len(digests) == self.count
        self.world = Troubled(digests)
        rules = {}
        for digest in digests:
            kind = self.world.kind(digest)
            if kind in TASKS:
                times = {"null_task_id": 1, "failed_analysis": 1, "failed_processing": 1}.get(kind)
                rules[digest] = {"kind": kind, "times": times, "polls": 2, "seconds": 60 / self.speed}
        for index, base in enumerate((Cuckoo, Cape, Cuckoo)):
            server = troubled(base)(reports=self.report if base is Cuckoo else self.cape_report, machines=1000, pending_seconds=0.01, running_seconds=0.02,
                                    processing_seconds=0.01)
            server.world, server.noise = self.world, random.Random(index)
            server.disabled = set()
            server.table.rule_for = lambda digest: self.rule_for(rules.get(digest))
            server.start()
            self.servers.append(server)

    @staticmethod
    def rule_for(rule):
        """The behaviour of a submission, wherever it goes: a trouble that strikes once does so at one server."""
        if rule is None or rule["times"] == 0:
            return None
        if rule["times"] is not None:
            rule["times"] -= 1
        return rule

    @staticmethod
    def report(task, data):
        return report.cuckoo([report.Process("a.exe", calls_of(len(data)))], sha256=task.sample.sha256, task=task.id)

    @staticmethod
    def cape_report(task, data):
        return report.cape([report.Process("a.exe", calls_of(len(data)))], sha256=task.sample.sha256, task=task.id)

    def sql(self, text):
        db = sqlite3.connect(self.corpus / "corpus.db")
        try:
            return db.execute(text).fetchall()
        finally:
            db.close()

    def run(self, kill=None, timeout=900):
        command = [os.path.join(BIN, "extract"), "--corpus", str(self.corpus), "--poll", "5", "--grace", "75", "--in-flight", str(self.in_flight),
                   "--max-pending", "0", "--run-deadline", "120", "--queue-deadline", "600", "--process-deadline", "600", "--attempts", "2",
                   "--progress", "never", "--json", "-q"]
        for server in self.servers:
            command += ["--cuckoo", (server.api if isinstance(server, Cape) else server.url) + ",weight=1"]
        environment = dict(os.environ, MALSEQ_TEST_SPEED=str(self.speed), MALSEQ_TEST_STEPS=str(self.steps), **({"MALSEQ_TEST_KILL": kill} if kill else {}))
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
        self.exits[done.returncode] += 1
        if done.returncode == -signal.SIGKILL:
            self.kills.append(kill)
        else:
            assert done.returncode in (0, 1, 5, 75), (done.returncode, done.stderr[-2000:])
        return done

    def left(self):
        return self.sql("SELECT count(*) FROM analysis WHERE state IN ('queued', 'submitting', 'pending', 'running', 'completed', 'reported')")[0][0]

    def run_with_kills(self, kills):
        """One run for each kill, then runs to the end."""
        start = time.monotonic()
        for kill in kills:
            self.run(kill)
        for _ in range(20):
            done = self.run()
            if done.returncode in (0, 1) and self.left() == 0:
                break
        self.seconds = time.monotonic() - start
        self.last = json.loads(done.stdout.splitlines()[-1])

    def reached(self):
        return Counter(self.steps.read_text(encoding="ascii").split())

    # What is to be shown.
    def states(self):
        return dict(self.sql("SELECT state, count(*) FROM analysis GROUP BY state"))

    def wrong(self):
        """What is not as it should be, as lines of text."""
        found = []
        rows = self.sql("SELECT lower(hex(s.sha256)), a.state, a.reason FROM analysis a JOIN sample s ON s.id = a.sample")
        if len(rows) != self.count or len({row[0] for row in rows}) != self.count:
            found.append("%d rows for %d samples" % (len(rows), self.count))
        for digest, state, reason in rows:
            kind = self.world.kind(digest)
            want = ENDS.get(kind, "ok") if isinstance(kind, str) or kind is None else "ok"
            if state != want:
                found.append("%s (%s) ended %s, not %s: %s" % (digest[:12], kind, state, want, reason))
        given = Counter()
        keys = Counter()
        for server in self.servers:
            for task in server.table.tasks.values():
                given[task.sample.sha256] += 1
                keys[task.fields.get("custom")] += 1
        for digest, times in given.items():
            # An analysis that failed is followed by another one, as --attempts says; nothing else is.
            most = 2 if self.world.kind(digest) in ("failed_analysis", "failed_processing", "stuck_running") else 1
            if times > most:
                found.append("%s (%s) was submitted %d times" % (digest[:12], self.world.kind(digest), times))
        twice = [key for key, times in keys.items() if times > 1]
        if twice or len(given) != self.count:
            found.append("%d keys were submitted twice, %d samples came to the servers" % (len(twice), len(given)))
        return found

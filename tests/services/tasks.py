"""The task table of a pretended sandbox: samples, tasks, machines and their life cycle; no HTTP, no report formats.

A task goes pending -> running -> completed -> reported, by time (pending_seconds after it was added a free machine takes it, running_seconds
in the machine, processing_seconds after that) or, with by_polls=N, one state further at each Nth look at it.
Behaviour of single tasks: table.behave(SELECTOR, KIND, times=None), SELECTOR a sha256, a submission number (1, 2, ...) or "*". Kinds:
    stuck_reported          reported, and the report is "still being analyzed" for ever (CAPE; elsewhere it is missing)
    null_task_id            the answer to the submission has no id; no task is made
    error_after_submit      500 HTML, but the task was made and runs
    hidden                  the task is unknown to look-ups for its first `polls` (default 3) looks
    late                    the task is unknown to look-ups, lists and searches for `seconds` (default 60) of clock() after its submission
    error_and_late          both: 500 HTML, and nobody sees the task before
    stuck_pending, stuck_running, stuck_completed
    failed_analysis, failed_processing, failed_reporting   that state in place of `reported` (no report; failed_reporting has one)
    unknown_status          the state "distributed" in between, for ever
    no_report               reported, and no report is there
    empty_report, truncated_report, trailing_report, garbage_report, html_report, no_behavior   reported, and the report is that
The report comes from reports(task, sample bytes) -> bytes or None (none: no report); see gen/world.py.
"""
import hashlib
import time
import zlib

STATES = ("pending", "running", "completed", "reported")
KINDS = {"late", "error_and_late", "stuck_reported", "trailing_report", "null_task_id", "error_after_submit", "hidden", "stuck_pending", "stuck_running", "stuck_completed", "failed_analysis",
         "failed_processing", "failed_reporting", "unknown_status", "no_report", "empty_report", "truncated_report", "garbage_report",
         "html_report", "no_behavior"}


class Sample:
    def __init__(self, identity, data):
        self.id, self.data, self.tasks = identity, data, []
        self.sha256, self.sha1, self.md5 = (hashlib.new(name, data).hexdigest() for name in ("sha256", "sha1", "md5"))
        self.sha512, self.crc32 = hashlib.sha512(data).hexdigest(), "%08X" % zlib.crc32(data)
        self.file_type = "PE32 executable (GUI) Intel 80386, for MS Windows" if data[:2] == b"MZ" else "data" if data else "empty"


class Task:
    def __init__(self, identity, sample, fields, name, now):
        self.id, self.sample, self.fields, self.name = identity, sample, fields, name
        self.status, self.added, self.started, self.completed, self.kind = "pending", now, None, None, None
        self.looks = self.moved = 0
        self.visible = 0        # clock() from which on anybody sees it
        self.machine, self.hidden_looks, self.report = None, 0, None


class Table:
    """See the module text. All times come from clock(), Unix seconds."""

    def __init__(self, reports=None, machines=4, pending_seconds=0.05, running_seconds=0.1, processing_seconds=0.05, by_polls=None,
                 clock=time.time):
        self.reports, self.machines, self.by_polls, self.clock = reports, machines, by_polls, clock
        self.pending_seconds, self.running_seconds, self.processing_seconds = pending_seconds, running_seconds, processing_seconds
        self.samples, self.tasks, self.rules, self.submissions = {}, {}, [], 0
        self.machine_free = [0.0] * machines
        self.next_task = 1
        self.open = {}          # the tasks that may still move, so that a look does not cost a walk over all there ever were
        self.others = 0         # pending tasks of other clients, as the status of the server counts them

    def behave(self, selector, kind, times=None, polls=3, seconds=60):
        if kind not in KINDS:
            raise ValueError("unknown task behaviour: %r" % (kind,))
        self.rules.append({"selector": selector, "kind": kind, "times": times, "polls": polls, "seconds": seconds})

    def add_sample(self, data):
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self.samples:
            self.samples[digest] = Sample(len(self.samples) + 1, data)
        return self.samples[digest]

    def rule_for(self, digest):
        for rule in self.rules:
            if rule["selector"] in ("*", digest, self.submissions) and rule["times"] != 0:
                if rule["times"] is not None:
                    rule["times"] -= 1
                return rule
        return None

    def submit(self, data, name, fields):
        """A new task, or None where the behaviour says that nothing is made."""
        self.submissions += 1
        sample = self.add_sample(data)
        rule = self.rule_for(sample.sha256)
        if rule and rule["kind"] == "null_task_id":
            return None
        return self.new_task(sample, fields, name, rule)

    def new_task(self, sample, fields, name, rule=None):
        self.advance()
        task = Task(self.next_task, sample, fields, name, self.clock())
        self.next_task += 1
        if rule:
            task.kind, task.hidden_looks = rule["kind"], rule["polls"] if rule["kind"] == "hidden" else 0
            if rule["kind"] in ("late", "error_and_late"):
                task.visible = self.clock() + rule["seconds"]
        self.tasks[task.id] = self.open[task.id] = task
        sample.tasks.append(task.id)
        return task

    def reschedule(self, task):
        """The new task; the old one becomes `recovered`. The submission's behaviour is looked up anew."""
        task.status, task.kind = "recovered", None
        self.open.pop(task.id, None)
        self.submissions += 1
        return self.new_task(task.sample, dict(task.fields), task.name, self.rule_for(task.sample.sha256))

    def delete(self, task):
        del self.tasks[task.id]
        self.open.pop(task.id, None)
        task.sample.tasks.remove(task.id)

    def look(self, identity):
        """The task as a client sees it now, or None; a look moves it on in the by_polls mode."""
        self.advance()
        task = self.tasks.get(identity)
        if task is None or task.visible > self.clock():
            return None
        task.looks += 1
        if task.hidden_looks > 0:
            task.hidden_looks -= 1
            return None
        if self.by_polls and task.looks - task.moved >= self.by_polls:
            task.moved = task.looks
            self.step(task, self.clock())
        return task

    def step(self, task, now):
        """One state further, as the task's behaviour allows."""
        if task.status not in STATES[:3] or task.kind == "stuck_" + task.status:
            return
        if task.status == "pending":
            task.status, task.started, task.machine = "running", now, "cuckoo1"
            if task.kind == "unknown_status":
                task.status = "distributed"
        elif task.status == "running":
            task.status, task.completed = ("failed_analysis" if task.kind == "failed_analysis" else "completed"), now
        else:
            task.status = task.kind if task.kind in ("failed_processing", "failed_reporting") else "reported"
        if task.status not in STATES[:3]:
            self.open.pop(task.id, None)

    def advance(self):
        if self.by_polls:
            return
        now = self.clock()
        for task in list(self.open.values()):
            if task.status == "pending" and task.kind != "stuck_pending":
                slot = min(range(self.machines), key=self.machine_free.__getitem__)
                start = max(task.added + self.pending_seconds, self.machine_free[slot])
                if start > now:
                    continue
                task.machine = "cuckoo%d" % (slot + 1)
                self.machine_free[slot] = float("inf") if task.kind == "stuck_running" else start + self.running_seconds
                self.step(task, start)
                task.started = start
            if task.status == "running" and now >= task.started + self.running_seconds:
                self.step(task, task.started + self.running_seconds)
            if task.status == "completed" and now >= task.completed + self.processing_seconds:
                self.step(task, task.completed + self.processing_seconds)

    def counts(self):
        self.advance()
        counts = dict.fromkeys(STATES, 0)
        for task in self.open.values():
            if task.status in counts:
                counts[task.status] += 1
        counts["reported"] = len(self.tasks) - len(self.open)
        return dict(counts, pending=counts["pending"] + self.others, total=len(self.tasks) + self.others)

    def visible(self, status=None):
        """The tasks that lists and searches show now."""
        self.advance()
        now = self.clock()
        pool = self.open if status in STATES[:3] else self.tasks
        return [task for task in pool.values() if task.hidden_looks == 0 and task.visible <= now and status in (None, task.status)]

    def report_of(self, task):
        """The report's bytes, or None where there is none (yet)."""
        if task.status not in ("reported", "failed_reporting") or task.kind in ("no_report", "stuck_reported") or self.reports is None:
            return None
        if task.report is None:
            task.report = self.reports(task, task.sample.data)
        if task.report is None:
            return None
        if task.kind == "empty_report":
            return b""
        if task.kind == "truncated_report":
            return task.report[:len(task.report) // 2]
        if task.kind == "trailing_report":
            return task.report + b"}\n{"
        if task.kind == "garbage_report":
            return b"\x00\xff{\"behavior\": [" + task.report[:100]
        if task.kind == "html_report":
            return b"<!doctype html>\n<html><body>Bad gateway</body></html>\n"
        if task.kind == "no_behavior":
            return b'{\n    "info": {\n        "id": %d, \n        "version": "2.0.7"\n    }\n}' % task.id
        return task.report

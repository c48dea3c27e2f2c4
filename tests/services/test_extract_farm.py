"""extract --cuckoo over several servers and long lives: shares, back-pressure, throttling, servers that hang or lie, deadlines and clocks that are set,
what is never sent, how a run ends and what the next one finds."""
# ctest: full release cost=60
import hashlib
import json
import os
import signal
import subprocess
import time
import unittest

from services.cape import Cape
from services.cuckoo import Cuckoo
from services.drakvuf import Drakvuf
from services.extract_case import BIN, SPEED, ExtractCase, calls_of, drakvuf_log
from services.httpd import Fault


class Servers(ExtractCase):
    samples = 12

    def test_three_kinds_told_apart_and_used_at_once(self):
        servers = [self.serve(kind) for kind in (Cuckoo, Cape, Drakvuf)]
        done = self.extract(0, [server.url for server in servers], "--in-flight", "2", "--route", "default", "--json")
        self.assertEqual(self.states(), {"ok": self.samples})
        self.assertTrue(all(server.table.tasks for server in servers))
        self.assertEqual(self.submitted(*servers), 1)
        last = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual([server["kind"] for server in last["servers"]], ["cuckoo", "cape", "drakvuf"])
        self.assertEqual(sum(server["ok"] for server in last["servers"]), self.samples)
        self.assertEqual(dict(self.sql("SELECT sandbox, count(*) > 0 FROM analysis GROUP BY sandbox")), {"cuckoo2": 1, "cape": 1, "drakvuf": 1})

    def test_drakvuf_alone(self):
        server = self.serve(Drakvuf)
        done = self.extract(2, server)
        self.assertIn(b"--route default", done.stderr)
        self.extract(2, server, "--route", "default", "--package", "dll")
        self.assertEqual(server.table.tasks, {})
        server.table.behave(1, "error_after_submit")
        server.table.behave(2, "failed_analysis")
        server.table.behave(3, "no_report")
        self.extract(1, server, "--route", "default", "--in-flight", "1", "--attempts", "1")
        self.assertEqual(self.states(), {"ok": self.samples - 2, "failed": 1, "report_missing": 1})
        self.assertEqual(self.submitted(server), 1)
        names = {task.name for task in server.table.tasks.values()}
        self.assertEqual(len(names), self.samples)
        for name in names:
            self.assertRegex(name, r"^[0-9a-f]{24}\.(exe|dll)$")
        expected = sum(len(calls_of(sample.data)) for sample in server.table.samples.values() if server.table.tasks[sample.tasks[0]].kind
                       in (None, "error_after_submit"))
        self.assertEqual(self.sql("SELECT sum(calls) FROM analysis")[0][0], expected)

    def test_drakvuf_logs(self):
        """An empty log is that of a program that called nothing, once it stays empty; a log that is cut loses its last line, and says so."""
        server = self.serve(Drakvuf)
        server.table.behave(1, "empty_report")
        server.table.behave(2, "truncated_report")
        self.extract(1, server, "--route", "default", "--in-flight", "1", "--attempts", "1", "--discard-reports")
        self.assertEqual(self.states(), {"ok": self.samples - 1, "no_calls": 1})
        self.assertEqual(self.sql("SELECT sandbox, reason, calls FROM analysis WHERE state = 'no_calls'"), [("drakvuf", "the log is empty", 0)])
        (reason, calls), = self.sql("SELECT reason, calls FROM analysis WHERE state = 'ok' AND reason IS NOT NULL")
        whole = drakvuf_log(server.table.tasks[2], server.table.tasks[2].sample.data)
        self.assertEqual(calls, whole[:len(whole) // 2].count(b'"api_called"') - (whole[:len(whole) // 2].rsplit(b"\n", 1)[1].count(b'"api_called"')))
        self.assertRegex(reason, r"^1 of \d+ lines were passed over; the first is line \d+, byte \d+: .*; the log is cut off in its last line$")
        self.assertEqual(self.sql("SELECT count(report_sha256) FROM analysis"), [(0,)])
        self.assertEqual(list((self.corpus / "reports").rglob("*.zst")), [])
        self.run_tool(0, "malseq", "fsck")

    def test_discard_reports(self):
        servers = [self.serve(kind) for kind in (Cuckoo, Cape)]
        self.extract(0, servers, "--discard-reports")
        self.assertEqual(self.states(), {"ok": self.samples})
        self.assertEqual(self.sql("SELECT count(report_sha256), min(calls) > 0, min(reader) > 0 FROM analysis"), [(0, 1, 1)])
        self.assertEqual(list((self.corpus / "reports").rglob("*.zst")), [])
        self.run_tool(0, "malseq", "fsck")

    def test_weight_and_in_flight_behind_the_url(self):
        servers = [self.serve(running_seconds=5), self.serve(running_seconds=5)]
        process = self.start(servers, ["%s,weight=3" % servers[0].url, "%s,kind=cuckoo,in-flight=1" % servers[1].url], "--in-flight", "2")
        self.wait_for(lambda: len(servers[0].table.tasks) == 6 and len(servers[1].table.tasks) == 1)
        time.sleep(0.3)
        self.assertEqual([len(server.table.tasks) for server in servers], [6, 1])
        self.end(process, signal.SIGINT)

    def test_specifications_that_make_no_sense(self):
        for spec, word in ((",weight=0", "weight"), (",weight=x", "weight"), (",in-flight=", "in-flight"), (",kind=joe", "kind"), (",token=secret", "token")):
            self.assertIn(word, self.extract(2, "http://127.0.0.1:9" + spec).stderr.decode())
        self.assertNotIn("secret", self.talk)
        self.extract(2, ["http://127.0.0.1:9", "http://127.0.0.1:9"])

    def test_a_token_for_each_server_and_none_elsewhere(self):
        servers = [self.serve(token="first-token-1"), self.serve(Cape, token="second-token-2")]
        self.extract(2, [server.url for server in servers], "--token", "env:A", env={"A": "x1"})
        self.extract(0, ["%s,token=env:A" % servers[0].url, "%s,token=env:B" % servers[1].api], "--in-flight", "3",
                     env={"A": "first-token-1", "B": "second-token-2"})
        self.assertEqual(self.states(), {"ok": self.samples})
        for server, own, foreign in ((servers[0], "Bearer first-token-1", "second"), (servers[1], "Token second-token-2", "first")):
            self.assertTrue(server.table.tasks)
            for request in server.requests():
                self.assertNotIn(foreign, str(request["headers"]))
            self.assertEqual({request["headers"].get("authorization") for request in server.requests("tasks")}, {own})

    def test_a_server_that_accepts_and_never_answers_holds_nobody_up(self):
        well, hung = self.serve(), self.serve()
        hung.fault("hang", path="/(tasks|files)/", seconds=600)
        done = self.extract(5, [well, hung], "--in-flight", "2", "--request-timeout", "0.2", timeout=200)
        self.assertIn("in flight at servers that were set aside", done.stderr.decode())
        states = self.states()
        self.assertGreaterEqual(states["ok"], self.samples - 2)
        hung.clear_faults()
        self.extract(0, [well, hung])
        self.assertEqual((self.states(), self.submitted(well, hung)), ({"ok": self.samples}, 1))

    def test_what_one_server_swallows_goes_to_another(self):
        well, deaf = self.serve(running_seconds=0.3), self.serve()
        deaf.fault("hang", path="/tasks/create", seconds=60)
        self.extract(0, [well, deaf], "--in-flight", "1", "--request-timeout", "0.5")
        self.assertEqual((self.states(), len(well.table.tasks), len(deaf.table.tasks)), ({"ok": self.samples}, self.samples, 0))

    def test_who_falls_ill_and_recovers_goes_on(self):
        first, second = self.serve(running_seconds=0.6), self.serve(running_seconds=0.1)
        process = self.start([first, second], None, "--in-flight", "1", env={"MALSEQ_TEST_SPEED": "100"})
        self.wait_for(lambda: second.table.tasks)
        second.fault("status", status=502, times=14)
        self.assertEqual(process.wait(50), 0)
        self.assertEqual((self.states(), self.submitted(first, second)), ({"ok": self.samples}, 1))
        self.assertIn("answers again", process.stderr.read().decode())

    # ---- back-pressure, throttling ----

    def test_back_pressure_by_the_queue_of_everybody(self):
        for kind in (Cuckoo, Cape):
            server = self.serve(kind)
            if kind is Cape:
                server.disabled = set()
            server.table.others = 70
            process = self.start([server], None, "--max-pending", "64", "--package", kind.__name__)
            self.wait_for(lambda: server.count("cuckoo/status") > 5)
            self.assertEqual(server.table.tasks, {})
            server.table.others = 0
            self.assertEqual(process.wait(30), 0)
            self.assertEqual(len(server.table.tasks), self.samples)

    def test_throttled_for_long_ends_75_and_says_when(self):
        server = self.serve(Cape)
        server.fault("status", status=429, path="/tasks/create", nth=range(5, 1000), retry_after=3600)
        done = self.extract(75, server, "--in-flight", "2")
        self.assertRegex(done.stderr.decode(), r"(?s)ask to wait; \d+ samples are left.*try again at \d{4}-")
        self.assertGreaterEqual(self.states()["ok"], 2)
        server.clear_faults()
        self.extract(0, server)
        self.assertEqual((self.states(), self.submitted(server)), ({"ok": self.samples}, 1))

    def test_the_other_server_takes_what_a_throttled_one_does_not(self):
        busy, free = self.serve(Cape), self.serve()
        busy.fault("status", status=429, path="/tasks/create", retry_after=3600)
        self.extract(0, [busy, free])
        self.assertEqual((self.states(), len(free.table.tasks), len(busy.table.tasks)), ({"ok": self.samples}, self.samples, 0))

    def test_many_tasks_are_followed_by_lists(self):
        self.add(["many/%d" % index for index in range(48)])
        for kind, lists in ((Cuckoo, "/tasks/list"), (Cape, "/tasks/list"), (Drakvuf, "/api/list")):
            server = self.serve(kind, machines=200, running_seconds=0.6, one_at_a_time=False) if kind is Cuckoo else self.serve(kind, machines=200, running_seconds=0.6)
            self.extract(0, server, "--in-flight", "60", "--max-pending", "0", "--route", "default", "--timeout", {Cuckoo: 1, Cape: 2, Drakvuf: 3}[kind])
            self.assertEqual(len(server.table.tasks), 60)
            polls = server.count(lists)
            self.assertGreater(polls, 3)
            looks = server.count(r"/tasks/view/|/tasks/status/|/api/status/")
            # By themselves: as often as a task was missed by a list, not once a poll.
            self.assertLess(looks, 60 * polls / (3 if kind is Cuckoo else 2), kind)
            if kind is Cuckoo:
                self.assertLess(looks, 150)

    def test_lists_that_are_not_to_be_had(self):
        server = self.serve()
        server.fault("status", status=404, path="/tasks/list")
        self.extract(0, server, "--in-flight", "12")
        self.assertEqual(self.states(), {"ok": self.samples})
        self.assertIn(server.count("/tasks/list"), (1, 2, 3))

    # ---- the life of a task ----

    def test_tasks_that_show_themselves_after_a_minute(self):
        for kind in (Cuckoo, Cape, Drakvuf):
            server = self.serve(kind)
            server.table.behave("*", "error_and_late", seconds=60 / 100)
            self.extract(0, server, "--grace", "90", "--in-flight", "20", "--route", "default", "--timeout",
                         {Cuckoo: 1, Cape: 2, Drakvuf: 3}[kind], speed=100)
            self.assertEqual(self.submitted(server), 1, kind)
            self.assertGreater(server.count(r"/files/view|/tasks/search|/api/list"), 2 * self.samples)

    def test_each_state_has_its_deadline(self):
        ends = {"stuck_pending": "lost", "stuck_running": "lost", "stuck_completed": "lost", "unknown_status": "lost", "stuck_reported": "report_missing"}
        server = self.serve(Cape)
        for index, kind in enumerate(ends, 1):
            server.table.behave(index, kind)
        self.extract(1, server, "--in-flight", "5", "--attempts", "1", "--queue-deadline", "20", "--run-deadline", "30", "--process-deadline", "40")
        self.assertEqual(self.states(), {"lost": 4, "report_missing": 1, "ok": self.samples - 5})
        reasons = {row[0] for row in self.sql("SELECT reason FROM analysis WHERE state <> 'ok'")}
        self.assertTrue({"stayed pending for longer than 20 s", "stayed running for longer than 30 s", "stayed completed for longer than 40 s"} <= reasons, reasons)

    def test_a_clock_that_is_set_ends_no_task(self):
        server = self.serve(running_seconds=1.5, machines=20)
        step = 400 * 86400 * 1000
        now = int(time.time() * 1000)
        for offset in (step, -step, 0):
            process = self.start([server], None, "--in-flight", "12", "--run-deadline", "3600", "--queue-deadline", "3600",
                                 env={"MALSEQ_TEST_EPOCH_MS": str(now + offset)})
            self.wait_for(lambda: self.states().get("running", 0) + self.states().get("ok", 0) == self.samples)
            process.kill()
            process.wait()
        self.extract(0, server)
        self.assertEqual((self.states(), self.submitted(server)), ({"ok": self.samples}, 1))

    def test_a_deadline_goes_on_in_the_next_run(self):
        server = self.serve(machines=20)
        server.table.behave("*", "stuck_running")
        process = self.start([server], None, "--in-flight", "12", "--run-deadline", "60")
        self.wait_for(lambda: self.states().get("running") == self.samples)
        process.kill()
        process.wait()
        first = self.sql("SELECT min(deadline_mono_ms), max(deadline_mono_ms), count(boot), min(deadline_ms) FROM analysis")[0]
        self.assertEqual(first[2], self.samples)
        started = time.monotonic()
        # By the wall clock there would be a year left, or none.
        self.extract(1, server, "--attempts", "1", "--run-deadline", "60", env={"MALSEQ_TEST_EPOCH_MS": "1000"})
        self.assertEqual(self.states(), {"lost": self.samples})
        self.assertLess(time.monotonic() - started, 45)
        self.assertEqual(self.submitted(server), 1)

    def test_a_look_that_fails_once_after_the_grace_sends_nothing_again(self):
        server = self.serve(running_seconds=1)
        server.fault("body", path="/tasks/view/[1-3]$", nth=range(30, 34), status=404, body=b'{"message": "Task not found"}')
        self.extract(0, server, "--in-flight", "3", "--poll", "0.5", "--grace", "5")
        self.assertEqual((self.states(), self.submitted(server)), ({"ok": self.samples}, 1))

    def test_rescheduled_by_somebody(self):
        server = self.serve(running_seconds=0.5)
        process = self.start([server], None, "--in-flight", "3")
        self.wait_for(lambda: len(server.table.tasks) >= 2 and self.states().get("running", 0) + self.states().get("pending", 0) >= 2)
        with server.lock:
            server.table.reschedule(server.table.tasks[1])
        self.assertEqual(process.wait(120), 0)
        self.assertEqual(self.states(), {"ok": self.samples})
        self.assertEqual(len(server.table.tasks), self.samples + 1)

    # ---- what is never sent ----

    def test_what_became_private_or_was_forgotten_is_not_sent(self):
        server = self.serve()
        server.fault("status", status=429, path="/tasks/create", nth=range(3, 1000), retry_after=3600)
        self.extract(75, server, "--in-flight", "1")
        self.assertEqual(self.states(), {"ok": 2, "queued": self.samples - 2})
        queued = [row[0] for row in self.sql("SELECT lower(hex(s.sha256)) FROM sample s JOIN analysis a ON a.sample = s.id WHERE a.state = 'queued'")]
        self.run_tool(0, "collect", "forget", queued[0])
        self.sql("UPDATE sample SET private = 1 WHERE lower(hex(sha256)) = '%s'" % queued[1])
        self.sql("UPDATE sighting SET private = 1 WHERE sample = (SELECT id FROM sample WHERE lower(hex(sha256)) = '%s')" % queued[2])
        server.clear_faults()
        self.extract(1, server)
        self.assertEqual(self.states(), {"ok": self.samples - 3, "failed": 2})
        self.assertFalse(set(queued[:3]) & set(server.table.samples))
        self.assertIn("private", self.sql("SELECT max(reason) FROM analysis WHERE state = 'failed'")[0][0])

    def test_options_are_sent_and_recorded(self):
        server = self.serve()
        given = ["--package", "generic", "--machine", "cuckoo1", "--tags", "win7,office", "--timeout", "77", "--route", "drop"]
        self.extract(0, server, *given)
        self.extract(0, server)
        self.assertEqual(len(server.table.tasks), 2 * self.samples)
        task, plain = server.table.tasks[1].fields, server.table.tasks[self.samples + 1].fields
        self.assertEqual([task[name] for name in ("package", "machine", "tags", "timeout", "options")], ["generic", "cuckoo1", "win7,office", "77", "route=drop"])
        self.assertEqual((plain["options"], plain.get("machine"), plain.get("timeout")), ("route=none", None, None))
        self.assertIn(plain["package"], ("exe", "dll"))
        settings = {row[0] for row in self.sql("SELECT settings FROM analysis")}
        self.assertEqual(settings, {"package=generic route=drop machine=cuckoo1 tags=win7,office timeout=77", "package=auto route=none machine=any tags= timeout=0"})

    # ---- how a run ends ----

    def start(self, servers, urls, *more, env=None):
        command = [os.path.join(BIN, "extract"), *self.arguments(urls or servers, *more), "--corpus", str(self.corpus)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env={**os.environ, "MALSEQ_TEST_SPEED": str(SPEED), **(env or {})})
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        return process

    def wait_for(self, holds):
        end = time.monotonic() + 120
        while not holds():
            self.assertLess(time.monotonic(), end, "it never came to that")
            time.sleep(0.02)

    def end(self, process, number):
        process.send_signal(number)
        talk = process.communicate(timeout=250)[1].decode()
        self.assertEqual(process.returncode, -number, talk)
        return talk

    def test_signals_end_it_in_order(self):
        server = self.serve(running_seconds=600)
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start([server], None, "--in-flight", "3")
            self.wait_for(lambda: server.count("/tasks/view") >= 6 and self.states().get("running", 0) >= 3)
            server.clear_log()
            talk = self.end(process, number)
            self.assertRegex(talk, r"9 samples are queued and 3 in flight")
        self.assertEqual(self.sql("SELECT exit_code FROM run WHERE tool = 'extract' ORDER BY id"), [(128 + signal.SIGINT,), (128 + signal.SIGTERM,)])
        with server.lock:
            server.table.running_seconds, server.table.machine_free = 0.02, [0] * server.table.machines
        self.extract(0, server, "--in-flight", "12")
        self.assertEqual((self.states(), self.submitted(server)), ({"ok": self.samples}, 1))

    def test_another_run_holds_the_corpus(self):
        server = self.serve(running_seconds=3)
        process = self.start([server], None)
        self.wait_for(lambda: server.table.tasks)
        done = self.extract(75, server)
        self.assertIn(b"another run", done.stderr)
        self.end(process, signal.SIGTERM)

    def test_progress_says_queue_running_rate_and_time_left(self):
        server = self.serve(running_seconds=0.1)
        done = self.run_tool(0, "extract", "--cuckoo", server.url, "--poll", "1", "--in-flight", "2", "--progress", "always", env={"MALSEQ_TEST_SPEED": "20"})
        self.assertRegex(done.stderr.decode(), r"detonating: \d+/12 \(\d+%\) samples, [\d.]+/s, .*left, \d+ queued, \d in flight, \d running")

    def test_retry_of_each_state(self):
        server = self.serve()
        kinds = {"no_report": "report_missing", "truncated_report": "report_invalid", "no_behavior": "no_behavior", "failed_analysis": "failed",
                 "stuck_running": "lost"}
        for index, kind in enumerate(kinds, 1):
            server.table.behave(index, kind, times=1)
        self.extract(1, server, "--attempts", "1", "--run-deadline", "30", "--in-flight", "5")
        self.assertEqual(self.states(), dict.fromkeys(kinds.values(), 1, ) | {"ok": self.samples - 5})
        for state in kinds.values():
            self.assertIn(b"1 queued again", self.run_tool(0, "extract", "retry", "--state", state).stdout)
        self.extract(0, server)
        self.assertEqual(self.states(), {"ok": self.samples})
        self.assertEqual(len(server.table.tasks), self.samples + 5)
        self.assertEqual(len({task.fields["custom"] for task in server.table.tasks.values()}), self.samples + 5)
        self.run_tool(0, "malseq", "fsck")


CREATE = "/tasks/create|/api/upload"


def poisoned(base):
    class Server(base):
        """Answers 500 to some files, by their digests, and remembers how often."""
        poison = ()

        def take_fault(self, request):
            start = request.body.find(b"\r\n\r\n", max(0, request.body.find(b"filename="))) + 4
            digest = hashlib.sha256(request.body[start:request.body.find(b"\r\n--", start)]).hexdigest() if request.method == "POST" else None
            return Fault("status", status=500) if digest in self.poison else None
    return Server


class Untaken(ExtractCase):
    """A server that takes no file is ill, whatever else it answers; a file that no server takes costs itself."""
    samples = 8

    def digests(self):
        return [row[0] for row in self.sql("SELECT lower(hex(sha256)) FROM sample ORDER BY id")]

    def under(self, timeout):
        """{digest: state} of the submissions with this --timeout, by which one corpus serves several runs."""
        return dict(self.sql("SELECT lower(hex(sha256)), state FROM analysis a JOIN sample s ON s.id = a.sample WHERE settings LIKE '%%timeout=%d'" % timeout))

    def test_all_of_them(self):
        """An error costs no sample an attempt, nor does an upload without an answer, and the next run finds all as they were."""
        cases = [(Cuckoo, "status"), (Cuckoo, "html"), (Cuckoo, "reset"), (Cape, "status"), (Drakvuf, "status")]
        for timeout, (kind, fault) in enumerate(cases, 60):
            with self.subTest(kind.__name__, fault=fault):
                server = self.serve(kind)
                server.fault(fault, path=CREATE, **({"status": 500} if fault == "status" else {}))
                options = ["--in-flight", "6", "--timeout", str(timeout), "--route", "default" if kind is Drakvuf else "none"]
                # A server that does not answer may count as down before it counts as one that takes no files.
                done = self.extract(None if fault == "reset" else 75, server, *options, speed=100)
                if done.returncode == 75:
                    self.assertRegex(self.talk, r"(?s)takes no file \(.+\); 8 samples are left.*try again at \d{4}-")
                self.assertIn(done.returncode, (5, 75))
                self.assertEqual((server.count(CREATE), len(server.table.tasks)), (5, 0))
                self.assertLessEqual(set(self.under(timeout).values()), {"queued", "submitting"})
                self.assertEqual(self.sql("SELECT max(attempts) FROM analysis"), [(0,)])
                server.clear_faults()
                self.extract(0, server, *options, speed=100)
                self.assertEqual((set(self.under(timeout).values()), self.submitted(server)), ({"ok"}, 1))

    def test_what_it_took_before_is_seen_to_its_end(self):
        server = self.serve(running_seconds=.3)
        server.fault("status", status=500, path=CREATE, nth=range(4, 1000))
        self.extract(75, server, "--in-flight", "8", speed=100)
        self.assertEqual(self.states()["ok"], 3)
        self.assertEqual(sum(self.states().get(state, 0) for state in ("queued", "submitting")), 5)

    def test_it_recovers(self):
        server = self.serve()
        server.fault("status", status=500, path=CREATE, nth=range(1, 5))
        self.extract(0, server, speed=100)
        self.assertEqual((self.states(), self.submitted(server)), ({"ok": 8}, 1))

    def test_another_server_takes_them(self):
        well, ill = self.serve(running_seconds=.2), self.serve()
        ill.fault("status", status=500, path=CREATE)
        self.extract(0, [ill, well], "--in-flight", "2", speed=100)
        self.assertEqual((self.states(), self.submitted(well), len(ill.table.tasks)), ({"ok": 8}, 1, 0))

    def test_another_server_takes_them_and_dies(self):
        """What is left is in flight: that the other takes no file has nothing to do with it."""
        class Dying(Cuckoo):
            def take_fault(self, request):
                return Fault("status", status=500) if len(self.table.tasks) == 8 else None
        well, ill = self.serve(Dying, running_seconds=.5), self.serve()
        ill.fault("status", status=500, path=CREATE)
        self.extract(5, [ill, well], "--in-flight", "2", speed=100)
        self.assertIn("took none of 5 files in a row", self.talk)
        self.assertRegex(self.talk, r"tasks? stays? in flight at servers that were set aside")
        self.assertEqual((len(well.table.tasks), "queued" in self.states()), (8, False))

    def test_a_file_that_breaks_it(self):
        for timeout, kind in enumerate((Cuckoo, Cape, Drakvuf), 60):
            with self.subTest(kind.__name__):
                server = self.serve(poisoned(kind))
                bad = server.poison = self.digests()[2:3]
                self.extract(1, server, "--timeout", str(timeout), "--route", "default" if kind is Drakvuf else "none", speed=100)
                self.assertEqual(self.under(timeout), {digest: "failed" if digest in bad else "ok" for digest in self.digests()})
                self.assertEqual((server.count(CREATE, status=500), self.submitted(server)), (3, 1))

    def test_many_files_that_break_it(self):
        """In a row they look like an ill server; the next run begins with the others, and then knows better."""
        server = self.serve(poisoned(Cuckoo))
        bad = server.poison = self.digests()[:5]
        self.extract(75, server, "--in-flight", "1", "--timeout", "60", speed=100)
        self.assertNotIn("failed", self.states())
        self.extract(1, server, "--in-flight", "1", "--timeout", "60", speed=100)
        self.assertEqual(self.under(60), {digest: "failed" if digest in bad else "ok" for digest in self.digests()})
        self.assertEqual(self.submitted(server), 1)


class Few(ExtractCase):
    samples = 2

    def test_reports_that_were_given_up(self):
        """The same report again is known and goes again; another one of the same submission stays."""
        server = self.serve()
        self.extract(0, server)
        self.sql("UPDATE analysis SET updated_ms = updated_ms - 2 * 86400000")
        self.run_tool(0, "malseq", "retain", "--reports", "1")
        self.sql("UPDATE analysis SET state = 'reported' WHERE id = (SELECT min(id) FROM analysis)")
        self.sql("UPDATE analysis SET state = 'failed' WHERE id = (SELECT max(id) FROM analysis)")
        self.run_tool(0, "extract", "retry", "--state", "failed")
        self.extract(0, server)
        self.assertEqual(self.states(), {"ok": self.samples})
        self.assertEqual(self.sql("SELECT id = (SELECT max(id) FROM analysis) FROM analysis WHERE report_gone_ms IS NULL"), [(1,)])
        self.run_tool(0, "malseq", "fsck")

    def test_no_attempt_is_used_up(self):
        """Two samples are sent again and again until the server counts as ill: then neither is the worse for it."""
        server = self.serve()
        server.fault("status", status=500, path=CREATE)
        self.extract(75, server, speed=100)
        self.assertEqual((server.count(CREATE), "failed" in self.states()), (5, False))
        server.clear_faults()
        self.extract(0, server, speed=100)
        self.assertEqual((self.states(), self.submitted(server)), ({"ok": 2}, 1))


if __name__ == "__main__":
    unittest.main()

"""extract --cuckoo against pretended Cuckoo 2 and CAPE servers: life cycles, faults, kills; judged by the corpus and by the servers' own counts."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from gen import pe, report
from gen.schema import Schema
from services.cape import Cape
from services.cuckoo import Cuckoo

BIN = os.environ["MALSEQ_BIN"]
SCHEMA = Schema("extract.schema.json")
FAST = ["--poll", "0.05", "--grace", "1", "--progress", "never"]
SPED_UP = {"MALSEQ_TEST_SPEED": "20"}  # for waits between attempts
KILL_STEPS = ["extract.task.queued", "extract.task.submitting", "extract.task.sent", "extract.task.accepted", "extract.task.fetched"]


def calls_of(index):
    return ["NtCreateFile", "NtWriteFile", "__exception__"] + ["RegOpenKeyExW", "NtClose"] * (10 + index)


def cuckoo_report(task, data):
    return report.cuckoo([report.Process("sample.exe", calls_of(len(data) % 7))], sha256=task.sample.sha256, task=task.id)


def cape_report(task, data):
    return report.cape([report.Process("sample.exe", calls_of(len(data) % 7))], sha256=task.sample.sha256, task=task.id)


class SandboxCase(unittest.TestCase):
    samples = 6
    made = {}  # by the number of samples: a corpus of them, made once and copied for each test

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name)
        self.corpus = self.root / "corpus"
        self.data = [pe.pe("sandbox/%d" % index, ("exe", "dll")[index % 2], body_bytes=300 + index) for index in range(self.samples)]
        if self.samples not in self.made:
            (self.root / "in").mkdir()
            for index, data in enumerate(self.data):
                (self.root / "in" / ("sample%d.bin" % index)).write_bytes(data)
            self.run_tool(0, "collect", "--dir", str(self.root / "in"))
            folder = tempfile.TemporaryDirectory()
            unittest.addModuleCleanup(folder.cleanup)
            self.made[self.samples] = shutil.copytree(self.corpus, pathlib.Path(folder.name) / "corpus")
        else:
            shutil.copytree(self.made[self.samples], self.corpus)

    def run_tool(self, expected, tool, *arguments, environment=None, timeout=250):
        done = subprocess.run([os.path.join(BIN, tool), *arguments, "--corpus", str(self.corpus)], capture_output=True, timeout=timeout,
                              env=dict(os.environ, **(environment or {})))
        if expected is not None:
            self.assertEqual(done.returncode, expected, (tool, arguments, done.stdout[-800:], done.stderr[-2000:]))
        return done

    def extract(self, expected, url, *arguments, **settings):
        return self.run_tool(expected, "extract", "--cuckoo", url, *FAST, *arguments, **settings)

    def rows(self, sql):
        done = self.run_tool(0, "malseq", "query", "--json", sql)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def states(self):
        return {row["state"]: row["n"] for row in self.rows("select state, count(*) as n from analysis group by state")}

    def serve(self, kind=Cuckoo, provider=cuckoo_report, **settings):
        server = kind(reports=provider, pending_seconds=0.02, running_seconds=0.05, processing_seconds=0.02, **settings)
        server.start()
        self.addCleanup(server.stop)
        return server

    def assert_each_submitted_once(self, server):
        for sample in server.table.samples.values():
            self.assertEqual(len(sample.tasks), 1, "a sample was submitted %d times" % len(sample.tasks))


class CuckooTest(SandboxCase):
    def test_all_samples_once_and_the_second_run_sends_nothing(self):
        server = self.serve(token="sandbox-token-1")
        done = self.extract(0, server.url, "--json", "--token", "env:TOKEN_UNDER_TEST", environment={"TOKEN_UNDER_TEST": "sandbox-token-1"})
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([line["state"] for line in lines if "state" in line], ["ok"] * self.samples)
        for line in lines:
            SCHEMA.check(line, "detonation" if "state" in line else "detonations")
        self.assertEqual([lines[-1][name] for name in ("queued", "resumed", "submitted", "ok", "ended", "left")], [self.samples, 0, self.samples, self.samples, 0, 0])
        self.assertEqual(lines[-1]["servers"][0]["ok"], self.samples)
        self.assertEqual(self.states(), {"ok": self.samples})
        self.assert_each_submitted_once(server)
        calls = self.rows("select count(*) as n from calls")[0]["n"]
        self.assertEqual(calls, sum(len(calls_of(len(data) % 7)) for data in self.data))
        sent = server.count(r"/tasks/create/file")
        names = {task.name for task in server.table.tasks.values()}
        self.assertTrue(all(re.fullmatch(r"[0-9a-f]{16}\.(exe|dll)", name) for name in names), names)
        self.assertTrue(all("route=none" in task.fields.get("options", "") for task in server.table.tasks.values()))
        self.assertEqual(server.got_binaries, 0)
        self.extract(0, server.url, "--token", "env:TOKEN_UNDER_TEST", environment={"TOKEN_UNDER_TEST": "sandbox-token-1"})
        self.assertEqual(server.count(r"/tasks/create/file"), sent)
        self.assertNotIn(b"sandbox-token-1", done.stdout + done.stderr + (self.corpus / "corpus.db").read_bytes())

    def test_private_samples_are_never_sent(self):
        server = self.serve()
        secret = pe.pe("private/1")
        (self.root / "own").mkdir()
        (self.root / "own" / "own.exe").write_bytes(secret)
        self.run_tool(0, "collect", "--private", "--dir", str(self.root / "own"))
        self.extract(0, server.url)
        self.assertEqual(len(server.table.samples), self.samples)
        self.assertNotIn(secret, [sample.data for sample in server.table.samples.values()])

    def test_wrong_token_stops_at_once_and_nothing_is_lost(self):
        server = self.serve(token="right")
        done = self.extract(5, server.url, "--token", "env:T", environment={"T": "wrong"})
        self.assertIn(b"refuses the token", done.stderr)
        self.assertLessEqual(server.count(), 2)
        self.extract(0, server.url, "--token", "env:T", environment={"T": "right"})
        self.assertEqual(self.states(), {"ok": self.samples})

    def test_no_server_no_sandbox(self):
        done = self.extract(5, "http://127.0.0.1:1")
        self.assertIn(b"127.0.0.1:1", done.stderr)
        self.extract(2, "ftp://127.0.0.1/")

    def test_each_trouble_has_its_state(self):
        server = self.serve()
        for index, kind in enumerate(("no_report", "truncated_report", "no_behavior", "failed_analysis", "garbage_report"), 1):
            server.table.behave(index, kind)
        done = self.extract(1, server.url, "--in-flight", "1", "--attempts", "1")
        self.assertEqual(self.states(), {"report_missing": 1, "report_invalid": 2, "no_behavior": 1, "failed": 1, "ok": 1}, done.stderr)

    def test_failed_analysis_gets_another_try(self):
        server = self.serve()
        server.table.behave(1, "failed_analysis")
        self.extract(0, server.url, "--in-flight", "1", "--attempts", "2")
        self.assertEqual(self.states(), {"ok": self.samples})
        self.assertEqual(len(server.table.tasks), self.samples + 1)

    def test_submission_that_happened_behind_an_error(self):
        server = self.serve()
        for index in (1, 3):
            server.table.behave(index, "error_after_submit")
        server.fault("reset", path=r"/tasks/create/file", nth=5, after=True)
        self.extract(0, server.url, "--in-flight", "2")
        self.assertEqual(self.states(), {"ok": self.samples})
        self.assert_each_submitted_once(server)

    def test_null_id_and_late_visible_tasks(self):
        server = self.serve()
        server.table.behave(1, "null_task_id", times=1)
        server.table.behave(3, "hidden", polls=3)
        self.extract(0, server.url, "--in-flight", "1")
        self.assertEqual(self.states(), {"ok": self.samples})
        self.assert_each_submitted_once(server)

    def test_stuck_tasks_end_at_their_deadline(self):
        server = self.serve()
        for index, kind in enumerate(("stuck_pending", "stuck_running", "stuck_completed"), 1):
            server.table.behave(index, kind)
        done = self.extract(1, server.url, "--attempts", "1", "--queue-deadline", "1", "--run-deadline", "1", "--process-deadline", "1")
        self.assertEqual(self.states(), {"lost": 3, "ok": self.samples - 3}, done.stderr)

    def test_faulty_answers_on_the_way(self):
        server = self.serve()
        server.fault("status", status=500, path=r"/tasks/view", nth=(2, 5))
        server.fault("html", path=r"/tasks/view", nth=7)
        server.fault("cut", path=r"/tasks/report", nth=1)
        server.fault("garbage", path=r"/tasks/view", nth=9)
        self.extract(0, server.url)
        self.assertEqual(self.states(), {"ok": self.samples})
        self.assert_each_submitted_once(server)

    def test_server_dies_and_comes_back(self):
        server = self.serve()
        server.fault("reset", path=r"/tasks/view", nth=range(4, 500))
        self.extract(5, server.url, environment=SPED_UP)
        self.assertEqual(sum(self.states().values()), self.samples)
        server.clear_faults()
        self.extract(0, server.url)
        self.assertEqual(self.states(), {"ok": self.samples})
        self.assert_each_submitted_once(server)

    def test_killed_at_each_step(self):
        expected = sum(len(calls_of(len(data) % 7)) for data in self.data)
        for step in KILL_STEPS:
            with self.subTest(step=step):
                self.folder.cleanup()
                self.setUp()
                server = self.serve()
                kills = 0
                for count in (1, 2, 3):
                    done = self.extract(None, server.url, environment={"MALSEQ_TEST_KILL": "%s:%d" % (step, count)})
                    kills += done.returncode == -9
                # The queue is filled once: later runs find nothing new and do not pass that step.
                self.assertGreaterEqual(kills, 1 if step.endswith("queued") else 3, step)
                self.extract(0, server.url)
                self.assertEqual(self.states(), {"ok": self.samples})
                self.assert_each_submitted_once(server)
                self.assertEqual(self.rows("select count(*) as n from calls")[0]["n"], expected)

    def test_one_of_two_servers_dies_with_tasks_in_flight(self):
        well, ill = self.serve(), self.serve()
        ill.table.behave("*", "stuck_running")
        ill.fault("reset", path=r"/tasks/view", nth=range(2, 500))
        done = self.extract(5, well.url, "--cuckoo", ill.url, "--in-flight", "2", environment=SPED_UP)
        self.assertRegex(done.stderr.decode(), r"\d tasks? stays? in flight")
        states = self.states()
        left = sum(states.values()) - states["ok"]
        self.assertGreater(left, 0)
        self.assertEqual(sum(states.values()), self.samples)

    def test_two_servers_share_the_work(self):
        servers = [self.serve(), self.serve()]
        self.extract(0, servers[0].url, "--cuckoo", servers[1].url, "--in-flight", "2")
        self.assertEqual(self.states(), {"ok": self.samples})
        self.assertEqual(sum(len(server.table.tasks) for server in servers), self.samples)
        self.assertTrue(all(server.table.tasks for server in servers))


class CapeTest(SandboxCase):
    samples = 4

    def test_all_samples(self):
        server = self.serve(Cape, cape_report)
        self.extract(0, server.api)
        self.assertEqual(self.states(), {"ok": self.samples})
        self.assertEqual(self.rows("select distinct sandbox as s from analysis"), [{"s": "cape"}])
        self.assert_each_submitted_once(server)

    def test_found_without_its_base_path(self):
        server = self.serve(Cape, cape_report)
        self.extract(0, server.url)
        self.assertEqual(self.states(), {"ok": self.samples})

    def test_throttled(self):
        server = self.serve(Cape, cape_report)
        server.fault("status", status=429, path=r"/tasks/", nth=(2, 4, 6), headers={"Retry-After": "1"}, body=b'{"detail": "throttled"}',
                     content_type="application/json")
        self.extract(0, server.api, "--in-flight", "2")
        self.assertEqual(self.states(), {"ok": self.samples})
        self.assert_each_submitted_once(server)

    def test_throttled_from_the_start(self):
        server = self.serve(Cape, cape_report)
        server.fault("status", status=429, path=r"/cuckoo/status", headers={"Retry-After": "90"}, body=b'{"detail": "throttled"}',
                     content_type="application/json")
        for url in (server.api, server.url):
            done = self.extract(75, url)
            self.assertRegex(done.stderr, rb"(?s)throttling us.*try again at \d{4}-")
        self.assertEqual(server.table.tasks, {})

    def test_a_sick_server_is_not_called_another_kind(self):
        server = self.serve(Cape, cape_report)
        server.fault("status", status=503, path=r"/cuckoo/status", body=b"<html>busy</html>")
        self.assertIn(b"answers 503", self.extract(5, server.api).stderr)

    def test_refusals_with_status_200(self):
        server = self.serve(Cape, cape_report)
        server.fault("body", path=r"/tasks/create/file", nth=1,
                     body=b'{"error": true, "error_value": "You uploaded an empty file."}')
        done = self.extract(1, server.api, "--in-flight", "1")
        self.assertEqual(self.states(), {"refused": 1, "ok": self.samples - 1}, done.stderr)


if __name__ == "__main__":
    sys.argv[0] = "test_extract_sandbox"
    unittest.main()

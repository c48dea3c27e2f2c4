"""label's quota as the service counts it, and kill -9 between reserving, answering and storing."""
import os
import signal
import subprocess
import time
import unittest

from gen.antivirus import CLASSES
from services.label_case import BIN, LabelCase, digest, spec


class Quota(LabelCase):
    def test_minute(self):
        vt = self.service(minute=4, hour=240)
        for number in range(10):
            vt.add(spec(number))
        self.label(vt, "--hashes", self.write_list(*(digest(n) for n in range(10))))
        self.assertEqual((vt.charged, vt.count(status=429)), (10, 0))
        times = sorted(vt.times)
        for first, fifth in zip(times, times[4:]):
            self.assertGreaterEqual(fifth - first, 60)

    def test_day_then_next_day(self):
        vt = self.service(day=5)
        names = [digest(n) for n in range(8)]
        for number in range(8):
            vt.add(spec(number))
        path = self.write_list(*names)
        self.label(vt, "--hashes", path, expect=75)
        self.assertIn("daily quota is spent", self.talk)
        self.assertIn("2026-03-11T00:00:00Z", self.talk)
        self.assertEqual((vt.charged, vt.count(status=429)), (5, 0))
        self.label(vt, "--hashes", path, expect=75)
        self.assertEqual(vt.charged, 5)
        vt.clock.start += 86400
        self.label(vt, "--hashes", path)
        self.assertEqual((vt.charged, vt.count(status=429)), (8, 0))
        self.assertEqual(set(self.states().values()), {"labelled"})

    def test_month(self):
        vt = self.service(month=3)
        self.label(vt, "--hashes", self.write_list(*(digest(n) for n in range(5))), expect=75)
        self.assertIn("2026-04-01T00:00:00Z", self.talk)
        self.assertEqual((vt.charged, vt.count(status=429)), (3, 0))

    def test_shared_with_others(self):
        vt = self.service(day=500)
        vt.spent(day=498)
        self.label(vt, "--hashes", self.write_list(*(digest(n) for n in range(5))), expect=75)
        self.assertEqual((vt.charged, vt.count(status=429)), (2, 0))
        shown = {row["window"]: row for row in self.label(vt, "quota")}
        self.assertEqual((shown["day"]["allowed"], shown["day"]["used"], shown["day"]["left"]), (500, 500, 0))

    def test_group_with_less_left(self):
        vt = self.service(day=500, group={"api_requests_hourly": {"user": 1, "allowed": 100000, "used": 0},
                                          "api_requests_daily": {"allowed": 40, "used": 37}, "api_requests_monthly": {"allowed": 900, "used": 37}})
        self.label(vt, "--hashes", self.write_list(*(digest(n) for n in range(5))), expect=75)
        self.assertEqual(vt.charged, 3)

    def test_silent_service_means_a_public_key(self):
        vt = self.service()
        vt.fault("status", status=403, path="overall_quotas")
        shown = {row["window"]: row for row in self.label(vt, "quota")}
        self.assertEqual([shown[name]["allowed"] for name in ("minute", "day", "month")], [4, 500, 15500])

    def test_budget_and_until(self):
        vt = self.service()
        path = self.write_list(*(digest(n) for n in range(5)))
        self.label(vt, "--hashes", path, "--budget", "2")
        self.assertEqual(vt.charged, 2)
        self.assertIn("budget", self.talk)
        slow = self.service(minute=1, hour=60)
        clock = time.gmtime(slow.clock() + 90)
        self.label(slow, "--hashes", path, "--until", "%02d:%02d" % (clock.tm_hour, clock.tm_min))
        self.assertIn("end time", self.talk)
        self.assertIn(slow.charged, (1, 2))
        for bad in ("24:00", "noon", "1:2:3", "12"):
            self.label(vt, "--until", bad, expect=2)

    def test_two_runs_do_not_collide(self):
        vt = self.service()
        path = self.write_list(digest(1))
        self.label(vt, "--hashes", path)
        vt.fault("hang", path="/files/", seconds=30)
        environment = dict(os.environ, VT_API_KEY=vt.key, XDG_STATE_HOME=os.path.join(self.folder, "state"))
        command = [os.path.join(BIN, "label"), "--vt-key", "--vt-url", vt.api, "--corpus", self.corpus, "--hashes", self.write_list(digest(2))]
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
            try:
                deadline = time.monotonic() + 20
                while vt.count("/files/") < 2 and time.monotonic() < deadline:
                    time.sleep(0.05)
                self.assertEqual(vt.count("/files/"), 2)
                self.label(vt, "--hashes", path, expect=75)
                shown = {row["window"]: row for row in self.label(vt, "quota")}     # looking on is possible
                self.assertEqual(shown["month"]["used"], 2)
            finally:
                first.kill()


class Crash(LabelCase):
    def labels(self):
        return self.rows("SELECT hex(s.sha256), l.verdict, l.class, l.family, l.votes FROM label l JOIN sample s ON s.id = l.sample"
                         " WHERE current = 1 ORDER BY 1")

    def test_kill_at_each_step(self):
        vt = self.service()
        names = [digest(n) for n in range(6)]
        for number in range(5):
            vt.add(spec(number, CLASSES[number]))
        path = self.write_list(*names)
        self.label(vt, "--hashes", path)
        undisturbed = self.labels()
        self.assertEqual(len(undisturbed), 6)
        for step in ("label.lookup.reserved", "label.lookup.answered", "label.lookup.stored"):
            for hit in (1, 3, 6):
                with self.subTest(step, hit=hit):
                    self.corpus = os.path.join(self.folder, "%s-%d" % (step, hit))
                    steps = os.path.join(self.folder, "%s-%d.steps" % (step, hit))
                    start = vt.charged
                    self.label(vt, "--hashes", path, env={"MALSEQ_TEST_KILL": "%s:%d" % (step, hit), "MALSEQ_TEST_STEPS": steps},
                               expect=-signal.SIGKILL, json_lines=False)
                    with open(steps, encoding="ascii") as file:
                        self.assertEqual(file.read().split().count(step), hit)
                    done = self.rows("SELECT count(*) FROM label")[0][0]
                    self.assertEqual(done, hit if step.endswith("stored") else hit - 1)     # every answer but the last is kept
                    booked = self.rows("SELECT count(*) FROM request WHERE counted = 1")[0][0]
                    self.assertEqual(booked, hit)
                    self.assertGreaterEqual(booked, vt.charged - start)
                    self.label(vt, "--hashes", path)
                    self.assertEqual(self.labels(), undisturbed)
                    spent = vt.charged - start
                    self.assertLessEqual(spent, 7 if step.endswith("answered") else 6)
                    self.assertGreaterEqual(self.rows("SELECT count(*) FROM request WHERE counted = 1")[0][0], spent)
                    self.assertEqual(self.rows("SELECT count(*) FROM lookup"), [(6,)])
                    self.assertEqual(self.rows("SELECT count(*) FROM scan"), [(5,)])
                    self.assertEqual(self.rows("PRAGMA integrity_check"), [("ok",)])


if __name__ == "__main__":
    unittest.main()

"""label's quota as the service counts it, and kill -9 between reserving, answering and storing."""
# ctest: full clocked cost=60
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
        shown = {row["window"]: row for row in self.label(vt, "quota")[:-1]}
        self.assertEqual((shown["day"]["allowed"], shown["day"]["used"], shown["day"]["left"]), (500, 500, 0))

    def test_group_with_less_left(self):
        vt = self.service(day=500, group={"api_requests_hourly": {"user": 1, "allowed": 100000, "used": 0},
                                          "api_requests_daily": {"allowed": 40, "used": 37}, "api_requests_monthly": {"allowed": 900, "used": 37}})
        self.label(vt, "--hashes", self.write_list(*(digest(n) for n in range(5))), expect=75)
        self.assertEqual(vt.charged, 3)

    def test_what_a_run_would_ask(self):
        vt = self.service(minute=4, hour=240, day=20)
        self.label(vt, "--hashes", self.write_list(*(digest(n) for n in range(5))))
        plan = self.label(vt, "quota")[-1]
        self.assertEqual((plan["due"], plan["tonight"], plan["minutes"], plan["days"]), (0, 0, 0, 0))
        vt.clock.start += 8 * 86400     # what was not found is due again
        self.label(vt, "--hashes", self.write_list(*(digest(n) for n in range(50, 110))), "--budget", "1")
        rows = self.label(vt, "quota")
        shown = {row["window"]: row for row in rows[:-1]}
        self.assertEqual([row["window"] for row in rows[:-1]], ["minute", "hour", "day", "month"])
        self.assertEqual((shown["day"]["used"], shown["day"]["left"], shown["day"]["resets"]), (1, 19, "2026-03-19T00:00:00Z"))
        self.assertEqual((shown["month"]["used"], shown["month"]["resets"], shown["hour"]["used"]), (6, "2026-04-01T00:00:00Z", 1))
        by_class = {row["class"]: (row["due"], row["tonight"]) for row in rows[-1]["plan"]}
        # 19 turns from the seventh on: two of them for what was not found.
        self.assertEqual((by_class["never asked"], by_class["not found so far"]), ((59, 17), (5, 2)))
        self.assertEqual((rows[-1]["due"], rows[-1]["tonight"], rows[-1]["minutes"], rows[-1]["days"]), (64, 19, 5, 4))
        told = self.label(vt, "quota", json_lines=False)
        for word in ("limits as the service says", "A RUN NOW WOULD ASK", "never asked", "0 h 05 min at 4 a minute", "about 4 days"):
            self.assertIn(word, told)
        vt.clear_log()
        self.label(vt, expect=75)       # and so it does
        asked = [entry["target"].rsplit("/", 1)[1] for entry in vt.log if "/files/" in entry["target"]]
        self.assertEqual((len(asked), len(set(asked) & {digest(n) for n in range(5)})), (19, 2))

    def test_quota_without_a_corpus(self):
        vt = self.service(minute=4, hour=240, day=20)
        vt.spent(day=7)
        for made in (False, True):
            if made:
                os.mkdir(self.corpus)
            rows = self.label(vt, "quota")
            shown = {row["window"]: row for row in rows[:-1]}
            self.assertEqual((shown["day"]["allowed"], shown["day"]["used"], rows[-1]["due"]), (20, 7, 0))
            self.assertEqual(os.path.exists(self.corpus) and os.listdir(self.corpus), made and [])
        self.label(vt, "--hashes", self.write_list(digest(1)))
        self.assertEqual({row["window"]: row for row in self.label(vt, "quota")[:-1]}["day"]["used"], 8)

    def test_nothing_allowed(self):
        vt = self.service(day=0)
        self.label(vt, "--hashes", self.write_list(digest(1)), expect=5)
        self.assertIn("limit of 0", self.talk)
        self.assertEqual(vt.count("/files/"), 0)
        self.assertEqual(self.label(vt, "quota")[-1]["tonight"], 0)

    def test_waits_through_midnight(self):
        vt = self.service(day=3)
        vt.clock.start += 11.9 * 3600       # 23:54
        self.label(vt, "--hashes", self.write_list(*(digest(n) for n in range(5))), "--until", "03:00")
        self.assertIn("waiting until 2026-03-11T00:00:00Z", self.talk)
        self.assertEqual((vt.charged, vt.count(status=429)), (5, 0))

    def test_one_key_two_corpora(self):
        vt = self.service()
        first, other = self.corpus, os.path.join(self.folder, "other")
        vt.fault("hang", path="/files/", seconds=600)
        state = {"XDG_STATE_HOME": os.path.join(self.folder, "state")}
        command = [os.path.join(BIN, "label"), "--vt-key", "--vt-url", vt.api, "--corpus", first, "--hashes", self.write_list(digest(2))]
        with subprocess.Popen(command, env=dict(os.environ, VT_API_KEY=vt.key, **state), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            try:
                deadline = time.monotonic() + 120
                while vt.count("/files/") < 1 and time.monotonic() < deadline:
                    time.sleep(0.05)
                self.corpus = other
                self.label(vt, "--hashes", self.write_list(digest(3)), expect=75)
                self.assertIn("process %d" % run.pid, self.talk)
                self.assertIn(os.path.realpath(first), self.talk)
                self.label(vt, "quota")
                self.assertEqual(self.rows("SELECT count(*) FROM run"), [(0,)])
                vt.clear_faults()
                another = self.service()        # another key is nobody's business
                self.label(another, "--hashes", self.write_list(digest(3)))
            finally:
                run.kill()
        self.label(vt, "--hashes", self.write_list(digest(4)))     # a killed run leaves no lock
        # Whoever may write to the folder may take the lock away; one that is asked for by name is not replaced by another.
        os.chmod(os.path.join(self.folder, "state", "malseq"), 0o777)
        self.label(vt, "--hashes", self.write_list(digest(5)), expect=4)
        self.assertIn("open to others", self.talk)
        os.chmod(os.path.join(self.folder, "state", "malseq"), 0o700)
        home = os.path.join(self.folder, "home")
        os.mkdir(home)
        self.label(vt, "--hashes", self.write_list(digest(5)), env={"XDG_STATE_HOME": "", "HOME": home})
        names = os.listdir(os.path.join(home, ".local", "state", "malseq"))
        self.assertEqual(len(names), 1)
        self.assertNotIn(vt.key[:8], names[0])

    def test_silent_service_means_a_public_key(self):
        vt = self.service()
        vt.fault("status", status=403, path="overall_quotas")
        shown = {row["window"]: row for row in self.label(vt, "quota")[:-1]}
        self.assertEqual([shown[name]["allowed"] for name in ("minute", "day", "month")], [4, 500, 15500])
        self.assertIn("does not tell the quota of the account", self.talk)

    def test_a_quota_that_may_not_be_read_is_asked_for_once(self):
        vt = self.service()
        vt.fault("status", status=403, path="overall_quotas")
        for number in range(1, 4):
            vt.add(spec(number))
            vt.fault("status", path=digest(number), times=1, status=429)
        self.label(vt, "--hashes", self.write_list(digest(1), digest(2), digest(3)))
        self.assertEqual(vt.count("/files/"), 6)
        self.assertEqual(vt.count("overall_quotas"), 1)
        self.assertEqual(self.talk.count("does not tell the quota of the account"), 1)

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

    def test_a_refusal_is_not_of_the_budget(self):
        """What is not charged does not eat the budget, and nobody waits for a request that will not be sent."""
        vt = self.service()
        vt.add(spec(1))
        vt.fault("status", path=digest(1), times=1, status=429)
        rows = self.label(vt, "--hashes", self.write_list(digest(1), digest(2)), "--budget", "1")
        self.assertEqual([(row["hash"], row["state"]) for row in rows], [(digest(1), "labelled"), (digest(2), "pending")])
        self.assertEqual((vt.charged, vt.count("/files/")), (1, 2))
        self.assertIn("the minute's quota, as hour, day and month have some left", self.talk)
        self.assertEqual(self.talk.count("waiting"), 1)
        vt.clear_log()
        vt.fail(digest(3), "TransientError")
        rows = self.label(vt, "--hashes", self.write_list(digest(3), digest(4)), "--budget", "1", expect=1)
        self.assertEqual([(row["hash"], row["state"]) for row in rows], [(digest(3), "error"), (digest(4), "pending")])
        self.assertEqual(vt.count("/files/"), 1)
        self.assertNotIn("waiting", self.talk)
        self.assertIn("budget is used up", self.talk)

    def test_two_runs_do_not_collide(self):
        vt = self.service()
        path = self.write_list(digest(1))
        self.label(vt, "--hashes", path)
        vt.fault("hang", path="/files/", seconds=600)
        environment = dict(os.environ, VT_API_KEY=vt.key, XDG_STATE_HOME=os.path.join(self.folder, "state"))
        command = [os.path.join(BIN, "label"), "--vt-key", "--vt-url", vt.api, "--corpus", self.corpus, "--hashes", self.write_list(digest(2))]
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
            try:
                deadline = time.monotonic() + 120
                while vt.count("/files/") < 2 and time.monotonic() < deadline:
                    time.sleep(0.05)
                self.assertEqual(vt.count("/files/"), 2)
                self.label(vt, "--hashes", path, expect=75)
                shown = {row["window"]: row for row in self.label(vt, "quota")[:-1]}     # looking on is possible
                self.assertEqual(shown["month"]["used"], 2)
            finally:
                first.kill()


class Stop(LabelCase):
    def start(self, vt, path):
        environment = dict(os.environ, VT_API_KEY=vt.key, VT_USER=vt.user, XDG_STATE_HOME=os.path.join(self.folder, "state"))
        command = [os.path.join(BIN, "label"), "--vt-key", "--vt-url", vt.api, "--corpus", self.corpus, "--hashes", path]
        # A shell's background and nohup leave these ignored, and what is ignored stays so.
        run = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                               preexec_fn=lambda: [signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)])
        self.addCleanup(run.kill)
        return run

    def wait(self, ready):
        deadline = time.monotonic() + 120
        while not ready() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertTrue(ready())

    def test_in_order(self):
        """The first signal, sent to the whole group as a terminal does, ends a run that waits for its quota: all is kept, and the run's row says how
        it ended."""
        vt = self.service(minute=2, hour=120)
        vt.clock = time.time
        for number in range(4):
            vt.add(spec(number))
        path = self.write_list(*(digest(number) for number in range(4)))
        for turn, end in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
            self.corpus = os.path.join(self.folder, "c%d" % turn)
            vt.times, seen = [], vt.count("/files/")
            with self.start(vt, path) as run:
                self.wait(lambda: vt.count("/files/") == seen + 2)
                self.wait(lambda: self.rows("SELECT count(*) FROM lookup WHERE state = 'labelled'") == [(2,)])
                time.sleep(0.3)
                os.killpg(run.pid, end)
                begun = time.monotonic()
                out, talk = run.communicate(timeout=250)
            self.assertLess(time.monotonic() - begun, 30)
            self.assertEqual(run.returncode, -end, talk)
            self.assertEqual(len(out.splitlines()), 2)
            self.assertEqual(talk.count(b"stopped by %s; everything so far is kept" % end.name.encode()), 1, talk)
            self.assertEqual(self.rows("SELECT exit_code, ended_ms >= started_ms FROM run"), [(128 + end, 1)])
            self.assertEqual(self.rows("SELECT count(*), sum(state = 'labelled'), sum(state = 'pending') FROM lookup"), [(4, 2, 2)])
        vt.times, seen = [], vt.count("/files/")
        vt.minute, vt.hour = 1000, 100000
        with self.start(vt, path) as run:
            out, talk = run.communicate(timeout=250)
        self.assertEqual((run.returncode, vt.count("/files/") - seen), (0, 2), talk)

    def test_at_once(self):
        """A second signal does not wait for an answer that does not come."""
        vt = self.service()
        vt.fault("hang", path="/files/", seconds=600)
        with self.start(vt, self.write_list(digest(1))) as run:
            self.wait(lambda: vt.count("/files/") == 1)
            run.send_signal(signal.SIGINT)
            time.sleep(0.3)
            self.assertIsNone(run.poll())
            run.send_signal(signal.SIGINT)
            run.communicate(timeout=20)
        self.assertEqual(run.returncode, -signal.SIGINT)
        self.assertEqual(self.rows("SELECT ended_ms FROM run"), [(None,)])


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

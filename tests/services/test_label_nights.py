"""Three nights of label over the wire, the small form of tests/unit/test_label_nights.c: one key, two corpora, a second run in parallel,
another client on the same account, the end of a month. All counts are the service's."""
import calendar
import os
import random
import subprocess
import sys
import threading
import time
import unittest

from services.label_case import BIN, Clock, LabelCase, digest, spec
from services.virustotal import VirusTotal

DAY, MINUTE, LEFT_OF_JANUARY = 40, 4, 25
MIDNIGHT = calendar.timegm((2026, 1, 31, 0, 0, 0))
NIGHTS = 3


class Account(VirusTotal):
    """Keeps books: who was charged on which day, and which window each of our 429s was for."""

    def __init__(self):
        super().__init__(minute=MINUTE, hour=MINUTE * 60, day=DAY, month=1000)
        self.eaten, self.used_by_us, self.names, self.refusals, self.breaches = {}, {}, {}, {}, []
        self.told, self.since, self.full_until = {}, 0, 0

    def today(self):
        return time.strftime("%Y-%m-%d", time.gmtime(self.clock()))

    def used(self):
        minute, hour, day, month = super().used()
        january = time.gmtime(self.clock()).tm_mon == 1
        return minute, hour, day, month + (self.month - LEFT_OF_JANUARY if january else 0)

    def full(self):
        """The longest window that is full, or None."""
        minute, _, day, month = self.used()
        return "month" if month >= self.month else "day" if day >= self.day else "minute" if minute >= self.minute else None

    def left(self):
        _, _, day, month = self.used()
        return min(self.day - day, self.month - month)

    def other(self):
        """One request of the other client; what refused it, or None."""
        with self.lock:
            full = self.full()
            if not full:
                self.charge()
                self.eaten[self.today()] = self.eaten.get(self.today(), 0) + 1
            return full

    def quotas(self):
        _, _, day, month = self.used()
        self.told, self.since = {"day": (self.today(), day), "month": (self.today()[:7], month)}, 0
        return super().quotas()

    def breach(self, what):
        self.breaches.append("%s: %s" % (time.strftime("%FT%TZ", time.gmtime(self.clock())), what))

    def handle(self, request):
        if "/files/" not in request.path:
            return super().handle(request)
        for window, limit, name in (("day", self.day, self.today()), ("month", self.month, self.today()[:7])):
            when, used = self.told.get(window, ("", 0))
            if when == name and used + self.since >= limit:
                self.breach("sent although the %s is known to be spent" % window)
        full = self.full()
        answer = super().handle(request)
        today = self.today()
        if answer.status != 429:
            self.since += 1
            self.used_by_us[today] = self.used_by_us.get(today, 0) + 1
            self.names.setdefault(today, set()).add(request.parts[-1])
            return answer
        key = (full, today[:7] if full == "month" else today)
        self.refusals[key] = self.refusals.get(key, 0) + 1
        if full == "minute":
            if self.clock() < self.full_until:
                self.breach("a second 429 before the minute had room again")
            self.full_until = sorted(self.times)[-self.minute] + 60
        elif self.refusals[key] > 1:
            self.breach("a second 429 for one " + str(full))
        return answer


class Nights(LabelCase):
    def account(self):
        vt = Account()
        vt.clock = Clock()
        vt.start()
        self.addCleanup(vt.stop)
        for number in range(0, 200, 4):
            vt.add(spec(number))
        return vt

    def start(self, vt, name, *args):
        environment = dict(os.environ, **vt.clock.environment(), VT_API_KEY=vt.key, VT_USER=vt.user,
                           XDG_STATE_HOME=os.path.join(self.folder, "state"))
        command = [os.path.join(BIN, "label"), "--vt-key", "--vt-url", vt.api, "--corpus", os.path.join(self.folder, name), *args]
        run = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(lambda: run.poll() is None and run.kill())
        return run

    def end(self, run, *expected):
        _, talk = run.communicate(timeout=250)
        self.assertIn(run.returncode, expected, talk)
        return talk

    def eat(self, vt, rng, stop):
        """A tenth of the day at random moments; again soon where only the minute is full."""
        for _ in range(DAY // 10):
            stop.wait(rng.uniform(0.05, 0.5))
            while vt.other() == "minute" and not stop.wait(rng.uniform(0.01, 0.1)):
                pass

    def night(self, vt, number, lists):
        vt.clock.start += MIDNIGHT + number * 86400 + 300 - vt.clock()
        allowed, stop = vt.left(), threading.Event()
        other = threading.Thread(target=self.eat, args=(vt, random.Random(number), stop))
        other.start()
        try:
            part, asked = ["--budget", "20"] if number == 1 else [], vt.count("/")
            main = self.start(vt, "first", *(["--hashes", lists[0]] if number == 0 else []), *part)
            until = time.monotonic() + 120
            while vt.count("/") == asked and main.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
            self.assertIsNone(main.poll(), "the main run is at work")
            self.assertIn("another run", self.end(self.start(vt, "first"), 75))
            self.assertIn("another run spends the key", self.end(self.start(vt, "second", "--hashes", lists[1]), 75))
            talk = self.end(main, 0 if part else 75)
            self.assertIn("budget" if part else "quota is spent", talk)
        finally:
            other.join(30)
            stop.set()
        # What the first run left is the second corpus's; there may be nothing.
        self.assertIn("quota is spent", self.end(self.start(vt, "second", "--hashes", lists[1]), 75))
        today = vt.today()
        return today, allowed, vt.eaten.get(today, 0), vt.used_by_us.get(today, 0), len(vt.names.get(today, ()))

    def test_three_nights(self):
        vt = self.account()
        lists = []
        for name, numbers in (("a", range(120)), ("b", range(120, 200))):
            lists.append(os.path.join(self.folder, name))
            with open(lists[-1], "w", encoding="ascii") as file:
                file.write("".join(digest(number) + "\n" for number in numbers))
        print("day         allowed  eaten  used  distinct  429s", file=sys.stderr)
        for number in range(NIGHTS):
            today, allowed, eaten, used, distinct = self.night(vt, number, lists)
            refused = {window: count for (window, when), count in vt.refusals.items() if when == today or window == "month" and today.startswith(when)}
            print("%s  %7d %6d %5d %9d  %s" % (today, allowed, eaten, used, distinct, refused), file=sys.stderr)
            self.assertEqual(allowed, LEFT_OF_JANUARY if number == 0 else DAY)
            self.assertGreater(eaten, 0)
            self.assertLessEqual(eaten + used, allowed)
            self.assertGreaterEqual(distinct, 0.99 * (allowed - eaten))
        self.assertEqual(vt.breaches, [])
        self.assertEqual(sum(len(names) for names in vt.names.values()), len(set().union(*vt.names.values())), "no hash was asked on two nights")
        self.assertEqual(vt.errors, [])

    def test_the_books_can_show_a_breach(self):
        """An account whose minute is longer than a minute, and which hides what is used: what is counted above is seen."""
        vt = self.account()
        path = self.write_list(*(digest(number) for number in range(12)))
        vt.clock.start += MIDNIGHT + 86400 + 300 - vt.clock()
        honest = vt.used
        vt.used = lambda: (sum(1 for moment in vt.times if moment > vt.clock() - 90),) + honest()[1:]
        self.label(vt, "--hashes", path, "--budget", "8")
        self.assertTrue(any(window == "minute" for window, _ in vt.refusals), vt.refusals)
        vt.used = honest
        vt.day, vt.quotas = vt.used()[2] + 1, lambda: {"api_requests_daily": {"user": {"used": 0, "allowed": 500}}}
        run = self.start(vt, "corpus", "--hashes", path, "--budget", "4")
        deadline = time.monotonic() + 120
        while "second 429 for one day" not in "".join(vt.breaches) and time.monotonic() < deadline and run.poll() is None:
            time.sleep(0.05)
        run.kill()
        run.communicate()
        self.assertIn("a second 429 for one day", "".join(vt.breaches))


if __name__ == "__main__":
    unittest.main()

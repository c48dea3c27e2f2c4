"""Kills collect --github-list at each of its named steps, runs it again, and compares the corpus with that of an undisturbed run.
One time of each step, the first, the middle or the last by turns: fault.test_collect_steps kills at all three, unsanitized."""
# ctest: full no-leaks
import signal
import unittest

from gen import archive, pe
from services.github_case import GitHubCase, zoo


class Killed(GitHubCase):
    def test_kill_then_again(self):
        self.hub.add("lab/a", dict(zoo(), **{"c.zip": archive.zipped({"c.exe": pe.pe("c")}, "unknown"), "l.exe": self.hub.put_lfs(pe.pe("l"))}))
        self.hub.add("lab/b", {"own.exe": pe.pe("own"), "again.zip": zoo()["malware/A/A.zip"], "b.exe": self.hub.put_lfs(pe.pe("b"))})
        self.hub.release("lab/b", "v1", {"r.exe": pe.pe("r"), "own.exe": pe.pe("own")})
        self.write_list("lab/a", "lab/b claim=benign")
        log, whole = self.root / "steps", self.root / "whole"
        self.collect("--releases", expect=1, corpus=whole, env={"MALSEQ_TEST_STEPS": str(log)})
        want, reached = self.digest(whole), log.read_text().split()
        steps = [step for step in sorted(set(reached)) if step.startswith("collect.")]
        for step in ("collect.github.listed", "collect.source.opened", "collect.crawl.batch", "collect.crawl.object", "collect.intake.known",
                     "collect.releases.listed", "collect.releases.fetched"):
            self.assertIn(step, steps)
        killed = 0
        for number, step in enumerate(steps):
            times = reached.count(step)
            nth = (1, (times + 1) // 2, times)[number % 3]
            corpus = self.root / ("%s.%d" % (step, nth))
            self.collect("--releases", expect=None, corpus=corpus, env={"MALSEQ_TEST_KILL": "%s:%d" % (step, nth)})
            # What is ready together is stored together, so that a step may be reached fewer times than in the first run.
            if nth > 1 and self.code in (0, 1):
                self.assertEqual(self.digest(corpus), want, (step, nth))
                continue
            self.assertEqual(self.code, -signal.SIGKILL, (step, nth))
            killed += 1
            self.collect("--releases", expect=None, corpus=corpus)
            self.assertIn(self.code, (0, 1))
            self.assertEqual(self.digest(corpus), want, (step, nth))
        self.assertGreaterEqual(killed, len(steps) // 2)


if __name__ == "__main__":
    unittest.main()

"""A farm of three sandboxes with every fault there is, each on one sample in twenty, and kill -9 at every named step of extract: each sample ends in
the one state that its trouble calls for, and no server was ever given one twice, by the servers' own count. A hundred and fifty samples; ten thousand with
MALSEQ_LONG set."""
# ctest: full no-leaks cost=40
import os
import pathlib
import random
import re
import subprocess
import unittest

from services.simulation import BIN, Simulation

LONG = bool(os.environ.get("MALSEQ_LONG"))
SOURCES = pathlib.Path(__file__).resolve().parents[2]
# Of other verbs.
ELSEWHERE = {"extract.import.started"}
KILLS = 20


def steps_in_source():
    found = set()
    for path in (SOURCES / "extract").glob("*.c"):
        found |= set(re.findall(r'ms_step\("(extract\.(?:task|import)\.[^"]+)"\)', path.read_text()))
    return found - ELSEWHERE


class Farm(unittest.TestCase):
    def test_each_ends_once_whatever_happens(self):
        farm = Simulation(10000 if LONG else 150, in_flight=200 if LONG else 40)
        self.addCleanup(farm.close)
        farm.prepare()
        steps = sorted(steps_in_source())
        self.assertGreaterEqual(len(steps), 14)
        chance = random.Random(7)
        # What happens to every sample is met early and late; the rest as soon as it comes.
        rare = {"extract.task.queued", "extract.task.found", "extract.task.asking"}
        kills = [(step, 1 if step in rare else chance.randint(1, 400 if LONG else 7)) for step in steps]
        often = [step for step in steps if step not in rare]
        kills += [(chance.choice(often), chance.randint(1, 400 if LONG else 7)) for _ in range(KILLS - len(kills))]
        # Once, when all is new.
        kills.sort(key=lambda kill: kill[0] != "extract.task.queued")
        farm.run_with_kills(["%s:%d" % kill for kill in kills])
        states = farm.states()
        print("%d samples, %d kills in %.1f s: %s" % (farm.count, len(farm.kills), farm.seconds, states))
        print("killed at " + ", ".join(farm.kills))
        print("the servers hold %s tasks; the last run made %d requests for %d samples" %
              (" + ".join(str(len(server.table.tasks)) for server in farm.servers), sum(server["requests"] for server in farm.last["servers"]),
               farm.last["ok"] + farm.last["ended"]))
        self.assertEqual(farm.wrong(), [])
        self.assertEqual(farm.left(), 0)
        self.assertGreaterEqual(len(farm.kills), KILLS if LONG else 15)
        self.assertEqual(sorted(set(steps) - set(farm.reached())), [], "steps that nothing reached")
        self.assertEqual(sorted(set(steps) - {kill.split(":")[0] for kill in farm.kills}), [], "steps where nothing was killed")
        # What a kill left in the vault without a row is for fsck to take away.
        self.fsck(farm, "--repair", (0, 1))
        self.fsck(farm, "-q", (0,))

    def fsck(self, farm, option, codes):
        done = subprocess.run([os.path.join(BIN, "malseq"), "fsck", option, "--corpus", str(farm.corpus)], capture_output=True, timeout=300, check=False)
        self.assertIn(done.returncode, codes, done.stdout[-2000:] + done.stderr[-2000:])


if __name__ == "__main__":
    unittest.main()

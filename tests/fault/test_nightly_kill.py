"""A whole night disturbed in seven ways, then an undisturbed one: the corpus is that of a night that nothing happened to. The same at hundreds
of moments: test_nightly_kills.py."""
# ctest: full release
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from night_kill_case import STEPS, kills, live_through_all, lost, table, unexpected  # noqa: E402

MOMENTS = [("step", "nightly.step.end", 3), ("step", "extract.import.rows", 9), ("kill", .4), ("write", 300000), ("quota", 7), ("clock", -1),
           ("turn", .4, 1)]


class Night(unittest.TestCase):
    def test_a_few_moments(self):
        results, steps = live_through_all(lambda reached: MOMENTS, 3)
        self.assertEqual(STEPS - steps, set())
        print(table(results))
        self.assertEqual(lost(results), [])
        self.assertEqual((unexpected(results), kills(results)), ([], 3))


if __name__ == "__main__":
    unittest.main()

"""collect --github-list on a vault that is full: what was downloaded is kept, the rest is asked for by the next run and nothing twice."""
import unittest

from gen import pe
from services.github_case import GitHubCase


class Room(GitHubCase):
    def test_next_run_downloads_the_rest(self):
        files = {f"p{number}.exe": pe.pe(f"p{number}", body_bytes=100_000) for number in range(12)}
        self.hub.add("o/zoo", files)
        self.write_list("o/zoo")
        samples, rest = self.collect("--max-store", "350K", "--jobs", "2", expect=4)
        self.assertEqual((len(samples), rest), (3, []))
        self.assertIn("--max-store: what was taken in so far is kept", self.talk)
        self.assertEqual(self.rows("SELECT outcome, count(*) FROM blob GROUP BY 1"), [("ok", 3)])
        first = self.downloads()
        self.assertLessEqual(first, 8)      # those that are kept, and what was on its way
        samples, rest = self.collect("--max-store", "10M")
        self.assertEqual((len(samples), rest), (9, []))
        self.assertEqual(self.downloads() - first, 9)
        self.assertEqual(self.states(), {"o/zoo": "ok"})
        other = self.root / "other"
        self.collect(corpus=other)
        self.assertEqual(self.digest(self.corpus), self.digest(other))


if __name__ == "__main__":
    unittest.main()

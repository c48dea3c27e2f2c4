"""collect --github-list on a vault that is full: what was downloaded is kept, the rest is asked for by the next run and nothing twice; and on one that
lost bytes, which are asked for again after a repair."""
import hashlib
import os
import subprocess
import unittest

from gen import pe
from services.github_case import BIN, GitHubCase


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


class Lost(GitHubCase):
    def test_lost_bytes_are_downloaded_again(self):
        programs = {f"p{number}.exe": pe.pe(f"p{number}") for number in range(4)}
        self.hub.add("o/zoo", programs)
        self.write_list("o/zoo")
        self.collect()
        before, downloads = self.digest(self.corpus), self.downloads()
        name = hashlib.sha256(programs["p2.exe"]).hexdigest()
        (self.corpus / "samples" / name[:2] / name[2:4] / name).unlink()
        self.assertEqual(self.collect(), ([], []))      # nothing moved: nothing is looked at
        fsck = [os.path.join(BIN, "malseq"), "fsck", "--repair", "--corpus", str(self.corpus)]
        self.assertEqual(subprocess.run(fsck, capture_output=True, timeout=250, check=False).returncode, 0)
        samples, _ = self.collect()
        self.assertEqual([sample["sha256"] for sample in samples], [name])
        self.assertEqual(self.downloads() - downloads, 1)
        self.assertEqual(self.digest(self.corpus), before)


if __name__ == "__main__":
    unittest.main()

"""A tarball whose wanted files are more than are held at a time: read again for each stretch of them, and nothing is fetched twice."""
# ctest: full release
import unittest

from gen import pe
from services.github_case import GitHubCase

MIB = 1 << 20


class Windows(GitHubCase):
    def test_more_than_is_held_at_a_time(self):
        files = {"%02d/small.exe" % index: pe.pe("small%d" % index) for index in range(15)}
        for index in (3, 7, 11):
            files["%02d/large.exe" % index] = pe.pe("large%d" % index, body_bytes=60 * MIB, fill="zero")
        repository = self.hub.add("lab/large", files)
        repository.export_ignore = {"12/small.exe"}
        self.write_list("lab/large")
        whole, log = self.root / "whole", self.root / "steps"
        self.collect("--git-host", self.hub.codeload.url, corpus=whole, env={"MALSEQ_TEST_STEPS": str(log)})
        self.assertEqual((self.hub.codeload.count(), self.downloads()), (1, 1))
        self.assertEqual(log.read_text().split().count("collect.tarball.read"), 2)      # 120 MiB, then the rest
        self.assertEqual(self.rows("SELECT count(*) FROM sample", whole), [(len(files),)])
        self.hub.clear_log()
        self.collect()
        self.assertEqual(self.downloads(), len(files))
        self.assertEqual(self.digest(whole), self.digest(self.corpus))


if __name__ == "__main__":
    unittest.main()

"""collect over git's protocol from a repository of many blobs: each travels once, in few requests, and of a change only what is new."""
# ctest: full also-release
import os
import unittest

from gen import pe
from services.git_case import GitCase

# Batches grow from 32 blobs to 1024. Each blob is a process's work, of which a sanitized one is dear: it sees the growing, the other
# build a full batch and the one behind it.
MANY = 500 if os.environ.get("MALSEQ_SANITIZED") == "1" else 2000


class Batches(GitCase):
    def test_one_changed_among_many(self):
        repo = self.host.repository("big.git")
        files = {"d%02d/%04d.txt" % (n % 40, n): b"not a program %d\n" % n for n in range(MANY)}
        files["x.exe"] = pe.pe("x")
        repo.commit(files)
        repo.repack()
        self.write_list("@HOST@/big.git")
        samples, rest = self.collect("--jobs", "2")
        self.assertEqual((len(samples), rest), (1, []))
        self.assertEqual(self.rows("SELECT count(*) FROM blob"), [(MANY + 1,)])
        self.assertEqual(len(self.host.wants()), 1 + MANY + 1)                # each blob once
        self.assertLessEqual(self.host.count("fetch"), 1 + 6)
        repo.commit(dict(files, **{"d07/0007.txt": pe.pe("was text")}))
        self.host.log.clear()
        samples, _ = self.collect()
        self.assertEqual([line["path"] for line in samples], ["d07/0007.txt"])
        self.assertEqual(len(self.host.wants()), 2)
        self.assertLess(self.host.sent_bytes(), 200_000)


if __name__ == "__main__":
    unittest.main()

"""kill -9 at every named step of label import: the next run ends with the corpus of an undisturbed one.
Each step at its first, its middle and its last time; at one of these, by turns, under AddressSanitizer."""
# ctest: full also-release no-leaks cost=40
import collections
import concurrent.futures
import gzip
import hashlib
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from gen import antivirus_forms as forms  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MALSEQ_BIN", ROOT / "build/release/bin"))
HITS = 1 if os.environ.get("MALSEQ_SANITIZED") == "1" else 3  # each step is hit that often at least
STEPS = {"label.import." + step for step in ("started", "begun", "scan", "record", "rows", "committed")}
RECORDS = 1300  # transactions of 256 and 512, and a third


def small(number):
    """AVClass's form cut down: what is counted here is transactions, not engines."""
    document = forms.report("simple", forms.spec(number, groups=6))
    document["av_labels"] = document["av_labels"][:3]
    return json.dumps(document)


class Kill(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="malseq-kill-")
        cls.addClassCleanup(folder.cleanup)
        cls.base = pathlib.Path(folder.name)
        cls.reports = cls.base / "reports"
        cls.reports.mkdir()
        (cls.reports / "a.jsonl").write_text("\n".join(small(number) for number in range(RECORDS - 300)))
        (cls.reports / "b.json.gz").write_bytes(gzip.compress("\n".join(small(number) for number in range(RECORDS - 300, RECORDS)).encode()))
        # A newer scan, an older one, the same again, one that is no JSON, and v2's two words for nothing.
        newer, older = (json.dumps(forms.report("vt3", forms.spec(7, groups=groups, analysed=when))) for groups, when in ((20, 1700000000), (0, 1690000000)))
        (cls.reports / "c.jsonl").write_text("\n".join([newer, older, newer, '{"data": {', json.dumps({"response_code": 0, "resource": "ab" * 16}),
                                                        json.dumps({"response_code": -2, "resource": "cd" * 32})]))
        for number, form in enumerate(forms.FORMS):
            (cls.reports / ("d%d.json" % number)).write_text(json.dumps(forms.report(form, forms.spec(9000 + number)), indent=2))

    def take(self, corpus, **environment):
        done = subprocess.run([str(BIN / "label"), "import", str(self.reports), "--corpus", str(corpus), "-q"], capture_output=True, timeout=250,
                              env={**os.environ, **{key: str(value) for key, value in environment.items()}})
        return done.returncode

    def digest(self, corpus):
        done = subprocess.run([str(BIN / "malseq"), "fsck", "--digest", "--corpus", str(corpus)], capture_output=True, text=True, timeout=250)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def own_digest(self, corpus):
        """The same question asked without malseq's own answer."""
        digest = hashlib.sha256()
        with sqlite3.connect(f"file:{corpus / 'corpus.db'}?mode=ro", uri=True) as connection:
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            self.assertEqual(connection.execute("PRAGMA foreign_key_check").fetchall(), [])
            for sql in ("SELECT sha256, sha1, md5 FROM sample ORDER BY 1, 2, 3",
                        "SELECT s.sha256, c.source, c.asked, c.format, c.last_analysis_ms, c.body_sha256, length(c.body) FROM scan c JOIN sample s ON s.id = c.sample ORDER BY 1, 6",
                        "SELECT coalesce(s.sha256, s.md5), l.state FROM lookup l JOIN sample s ON s.id = l.sample ORDER BY 1",
                        "SELECT coalesce(s.sha256, s.md5), l.policy, l.verdict, l.class, l.family, l.votes FROM label l JOIN sample s ON s.id = l.sample WHERE l.current = 1 ORDER BY 1"):
                digest.update(repr(connection.execute(sql).fetchall()).encode())
            self.assertEqual(connection.execute("SELECT count(*) FROM scan").fetchone()[0], RECORDS + 2 + len(forms.FORMS))
        return digest.hexdigest()

    def test_every_step(self):
        whole, log = self.base / "whole", self.base / "whole.steps"
        self.assertEqual(self.take(whole, MALSEQ_TEST_STEPS=log), 1)
        reached = collections.Counter(log.read_text().split())
        self.assertLessEqual(STEPS, set(reached))
        wanted, own = self.digest(whole), self.own_digest(whole)
        self.assertEqual(self.take(whole), 1)  # a second run changes nothing
        self.assertEqual(self.digest(whole), wanted)
        hits = collections.Counter()

        def kill(step, hit, at):
            corpus, steps = self.base / f"{step}-{hit}", self.base / f"{step}-{hit}.steps"
            # A step of the import ends after a second too: a run has fewer of them than the slowest had.
            while (code := self.take(corpus, MALSEQ_TEST_KILL=f"{step}:{at}", MALSEQ_TEST_STEPS=steps)) != -signal.SIGKILL:
                self.assertEqual((code, at > 1), (1, True), f"{step}:{at}")
                at -= 1
                steps.unlink()
                shutil.rmtree(corpus)
            self.assertEqual(steps.read_text().split()[-1], step)
            self.assertEqual(self.take(corpus), 1, f"after {step}:{at}")
            self.assertEqual(self.own_digest(corpus), own, f"after {step}:{at}")
            self.assertEqual(self.digest(corpus), wanted, f"after {step}:{at}")
            return step

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            runs = [pool.submit(kill, step, hit, 1 + (hit + number) % 3 * (times - 1) // 2) for number, (step, times) in enumerate(sorted(reached.items()))
                    for hit in range(HITS)]
            for run in runs:
                hits[run.result()] += 1
        print("kill -9 at:", ", ".join(f"{step} {count}x" for step, count in sorted(hits.items())), file=sys.stderr)
        self.assertTrue(all(hits[step] >= HITS for step in reached))


if __name__ == "__main__":
    unittest.main()

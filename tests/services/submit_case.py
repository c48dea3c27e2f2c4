"""What the tests of label rescan and label --upload share."""
import os
import shutil
import signal
import sqlite3
import tempfile

from services.label_case import LabelCase, digest, spec

DAY = 86400
NOON = 1773144000           # 2026-03-10 12:00 UTC, where the tests' clock begins


def place():
    """Memory where there is enough of it: hundreds of small transactions wait for the disk."""
    try:
        state = os.statvfs("/dev/shm")
        return "/dev/shm" if state.f_bavail * state.f_frsize > 512 << 20 and os.access("/dev/shm", os.W_OK) else None
    except OSError:
        return None


class SubmitCase(LabelCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="malseq-submit-", dir=place())
        self.addCleanup(shutil.rmtree, self.folder)
        self.corpus = os.path.join(self.folder, "corpus")

    def sql(self, statement, *values):
        with sqlite3.connect(os.path.join(self.corpus, "corpus.db")) as db:
            db.execute(statement, values)
        db.close()

    def assert_not_stored(self, text):
        with open(os.path.join(self.corpus, "corpus.db"), "rb") as file:
            self.assertNotIn(text.encode(), file.read())

    def requests(self, endpoint):
        return self.rows("SELECT subject, status, counted FROM request WHERE endpoint = '%s' ORDER BY id" % endpoint)

    def known(self, vt, *numbers, **more):
        """Samples of the corpus that the service was asked about."""
        for number in numbers:
            vt.add(spec(number, "Worm", 12, **more))
        self.label(vt, "--hashes", self.write_list(*(digest(number) for number in numbers)))
        vt.clear_log()

    def kill_at(self, vt, step, hit, *args):
        steps = os.path.join(self.folder, "%s-%d.steps" % (step, hit))
        self.label(vt, *args, env={"MALSEQ_TEST_KILL": "%s:%d" % (step, hit), "MALSEQ_TEST_STEPS": steps},
                   expect=-signal.SIGKILL, json_lines=False)
        with open(steps, encoding="ascii") as file:
            self.assertEqual(file.read().split().count(step), hit)

"""label rescan: which samples are sent for a new analysis, how often, within which budget; and which never. Nothing goes beyond
loopback."""
import os
import unittest

from services.label_case import digest, spec
from services.submit_case import DAY, NOON, SubmitCase

YOUNG = {"first_seen": NOON - 100 * DAY, "analysed": NOON - 95 * DAY}       # of age since ten days, its only scan from the fifth


class Rescan(SubmitCase):
    def rescan(self, vt, *args, **more):
        return self.label(vt, "rescan", *args, **more)

    def asked(self, vt):
        return [entry["target"].split("/")[-2] for entry in vt.log if entry["target"].endswith("/analyse")]

    def test_needs_a_key_and_a_corpus(self):
        vt = self.service()
        self.label(None, "rescan", expect=2)
        self.rescan(vt, expect=3)
        self.assertEqual(len(vt.log), 0)

    def test_private_empty_and_unknown_are_never_asked(self):
        vt = self.service()
        self.known(vt, 1, 2, **YOUNG)
        self.sql("UPDATE sample SET private = 1 WHERE lower(hex(sha256)) = ?", digest(1))
        empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        path = self.write_list(digest(1), empty, "nonsense", digest(77))
        rows = {row["hash"]: row for row in self.rescan(vt, "--hashes", path, expect=1)}
        self.assertEqual(self.asked(vt), [])
        self.assertEqual(rows[digest(1)]["outcome"], "skipped")
        self.assertIn("private", rows[digest(1)]["reason"])
        for name in (empty, "nonsense", digest(77)):
            self.assertEqual(rows[name]["outcome"], "refused", rows)
        self.rescan(vt)
        self.assertEqual(self.asked(vt), [digest(2)])

    def test_selection(self):
        vt = self.service()
        self.known(vt, 1, **YOUNG)                                                                   # immature, of age
        self.known(vt, 2, first_seen=NOON - 40 * DAY, analysed=NOON - 39 * DAY)                      # immature, still young
        vt.add(spec(3, "Worm", 3, first_seen=NOON - 900 * DAY, analysed=NOON - 400 * DAY))           # uncertain, old scan
        vt.add(spec(4, "Worm", 3, first_seen=NOON - 900 * DAY, analysed=NOON - 10 * DAY))            # uncertain, fresh scan
        vt.add(spec(5, None, 0))                                                                     # benign
        vt.add(spec(6, "Worm", 12))                                                                  # malicious
        self.label(vt, "--hashes", self.write_list(*(digest(n) for n in (3, 4, 5, 6, 7))))           # 7: not found
        verdicts = dict(self.rows("SELECT lower(hex(s.sha256)), verdict FROM label JOIN sample s ON s.id = sample WHERE current = 1"))
        self.assertEqual([verdicts[digest(n)] for n in range(1, 8)],
                         ["immature", "immature", "uncertain", "uncertain", "benign", "malicious", "not_found"])
        would = self.rescan(None, "--dry-run")
        self.assertEqual([(row["hash"], row["outcome"]) for row in would], [(digest(1), "would_ask"), (digest(3), "would_ask")])
        rows = self.rescan(vt)
        self.assertEqual(self.asked(vt), [digest(1), digest(3)])
        self.assertEqual([(row["hash"], row["outcome"]) for row in rows], [(digest(1), "asked"), (digest(3), "asked")])
        # Under a policy without an age nothing is immature.
        self.label(None, "relabel", "--policy", "sophos-1-5")
        vt.clock.start += 40 * DAY
        vt.clear_log()
        self.rescan(vt, "--policy", "sophos-1-5")
        uncertain = {row[0] for row in self.rows("SELECT lower(hex(s.sha256)) FROM label JOIN sample s ON s.id = sample WHERE current = 1"
                                                 " AND policy = 'sophos-1-5' AND verdict = 'uncertain'")}
        self.assertTrue({digest(3), digest(4)} & uncertain)
        self.assertEqual(set(self.asked(vt)), uncertain)

    def test_contested_labels_get_a_second_opinion(self):
        vt = self.service()
        self.known(vt, 1, first_seen=NOON - 900 * DAY, analysed=NOON - 400 * DAY)
        vt.clock.start += 400 * DAY
        vt.add(spec(1, None, 0, first_seen=NOON - 900 * DAY, analysed=NOON + 399 * DAY))
        self.label(vt)
        self.assertEqual(self.rows("SELECT verdict, contested FROM label WHERE current = 1"), [("malicious", "benign")])
        self.rescan(vt)
        self.assertEqual(self.asked(vt), [])            # the scan is a day old
        vt.clock.start += 30 * DAY
        self.rescan(vt)
        self.assertEqual(self.asked(vt), [digest(1)])

    def test_look_up_is_queued_and_nothing_polls(self):
        vt = self.service()
        vt.rescan_seconds = 120
        self.known(vt, 1, **YOUNG)
        before = vt.charged
        self.assertEqual(self.rows("SELECT verdict FROM label WHERE current = 1"), [("immature",)])
        row = self.rescan(vt)[0]
        self.assertEqual([entry["target"].split("/api/v3")[1] for entry in vt.log if "/users/" not in entry["target"]],
                         ["/files/%s/analyse" % digest(1)])
        state, asked, due, rescan = self.rows("SELECT state, asked_ms, due_ms, rescan_ms FROM lookup")[0]
        self.assertEqual(state, "labelled")
        self.assertGreater(rescan, asked)
        self.assertEqual(due - rescan, 600000)          # ten minutes after the asking, by one look at the clock
        self.assertIsNotNone(row["due"])
        self.assertEqual(vt.charged - before, 1)
        self.assertEqual(self.requests("analyse"), [(digest(1), 200, 1)])
        self.label(vt)                                  # too early: not due
        self.assertEqual(vt.charged - before, 1)
        self.rescan(vt)                                 # nor is it asked for a second time
        self.rescan(vt)
        self.assertEqual(vt.charged - before, 1)
        vt.clock.start += 700
        self.label(vt)
        self.assertEqual(vt.charged - before, 2)
        self.assertEqual(self.rows("SELECT verdict FROM label WHERE current = 1"), [("malicious",)])
        self.assertEqual(self.rows("SELECT count(*) FROM scan"), [(2,)])
        self.assertFalse(vt.count("/analyses/"))

    def test_a_slow_analysis_is_looked_at_once_more(self):
        vt = self.service()
        vt.rescan_seconds = 3 * 3600
        self.known(vt, 1, **YOUNG)
        before = vt.charged
        self.rescan(vt)
        vt.clock.start += 700
        self.label(vt)                                  # still the old scan
        self.assertEqual(self.rows("SELECT verdict, (due_ms - asked_ms) / 3600000 FROM label JOIN lookup USING (sample) WHERE current = 1"),
                         [("immature", 24)])
        vt.clock.start += DAY + 700
        self.label(vt)
        self.assertEqual(self.rows("SELECT verdict FROM label WHERE current = 1"), [("malicious",)])
        self.assertEqual(vt.charged - before, 3)

    def test_named_ones_may_be_asked_for_again(self):
        vt = self.service()
        self.known(vt, 1, **YOUNG)
        path = self.write_list(digest(1), digest(1, "md5"), digest(1, "sha1"))
        for turn in (1, 2):
            self.assertEqual([row["outcome"] for row in self.rescan(vt, "--hashes", path)], ["asked"])
            self.assertEqual(self.asked(vt), [digest(1)] * turn)
        vt.clock.start += 31 * DAY                     # and without a name after 30 days, the scan being as old as before
        self.rescan(vt)
        self.assertEqual(len(self.asked(vt)), 3)

    def test_budget(self):
        vt = self.service()
        self.known(vt, *range(24), **YOUNG)
        before = vt.charged
        self.assertEqual(len(self.rescan(None, "--dry-run")), 20)
        self.rescan(vt, "--budget", "3")
        self.assertEqual(vt.charged - before, 3)
        self.assertIn("budget", self.talk)
        self.rescan(vt)                                 # 20 where nothing is said
        self.assertEqual(vt.charged - before, 23)
        self.assertEqual(len(set(self.asked(vt))), 23)
        self.rescan(vt)
        self.assertEqual(vt.charged - before, 24)
        self.assertEqual(self.rows("SELECT count(*) FROM request WHERE counted = 1")[0][0], vt.charged)

    def test_never_more_than_the_quota_leaves(self):
        vt = self.service(day=8)
        self.known(vt, *range(5), **YOUNG)
        self.rescan(vt, expect=75)
        self.assertEqual((vt.charged, vt.count(status=429)), (8, 0))
        self.assertIn("daily quota is spent", self.talk)
        self.assertEqual(len(self.asked(vt)), 3)

    def test_refused_in_the_middle(self):
        vt = self.service()
        self.known(vt, 1, 2, 3, **YOUNG)
        vt.fail(digest(2), "QuotaExceededError", times=1)
        self.assertEqual([row["outcome"] for row in self.rescan(vt)], ["asked"] * 3)
        self.assertEqual(self.asked(vt), [digest(1), digest(2), digest(2), digest(3)])
        self.assertEqual([row[2] for row in self.requests("analyse")], [1, 0, 1, 1])

    def test_answers(self):
        vt = self.service()
        self.known(vt, *range(6), **YOUNG)
        vt.fail(digest(0), "AlreadyExistsError")        # an analysis is under way: as good
        vt.fail(digest(1), "NotFoundError")
        vt.fail(digest(2), "InvalidArgumentError")
        vt.fail(digest(3), "TransientError", times=2)
        vt.fail(digest(4), "TransientError")
        rows = {row["hash"]: row for row in self.rescan(vt, expect=1)}
        self.assertEqual([rows[digest(n)]["outcome"] for n in range(6)], ["asked", "not_found", "refused", "asked", "failed", "asked"])
        self.assertEqual([self.asked(vt).count(digest(n)) for n in range(6)], [1, 1, 1, 3, 5, 1])
        states = self.states()
        self.assertEqual([states[digest(n)] for n in range(6)], ["labelled", "not_found", "labelled", "labelled", "labelled", "labelled"])
        self.assertEqual(self.rows("SELECT verdict FROM label JOIN sample s ON s.id = sample WHERE current = 1 AND lower(hex(sha256)) = '%s'"
                                   % digest(1)), [("immature",)])   # the stored scan still says what it said
        vt.clear_log()
        self.rescan(vt, expect=1)                       # only what failed is tried again
        self.assertEqual(set(self.asked(vt)), {digest(4)})

    def test_bad_key_ends_the_run(self):
        for code in ("WrongCredentialsError", "ForbiddenError"):
            with self.subTest(code):
                self.corpus = os.path.join(self.folder, code)
                vt = self.service()
                self.known(vt, 1, 2, **YOUNG)
                vt.fail(digest(1), code)
                vt.fail(digest(2), code)
                self.rescan(vt, expect=5)
                self.assertEqual(len(self.asked(vt)), 1)
                # Who is not known is not charged; who may not do this is.
                self.assertEqual([row[2] for row in self.requests("analyse")], [int(code == "ForbiddenError")])

    def test_three_failures_in_a_row_end_the_run(self):
        vt = self.service()
        self.known(vt, *range(5), **YOUNG)
        vt.fault("reset", path="/analyse")
        self.rescan(vt, expect=5)
        self.assertEqual(len(set(self.asked(vt))), 3)
        self.assertEqual(self.rows("SELECT count(*) FROM lookup WHERE rescan_ms IS NOT NULL"), [(0,)])

    def test_kill_at_each_step(self):
        for step in ("label.rescan.reserved", "label.rescan.answered", "label.rescan.stored"):
            for hit in (1, 2, 3):
                with self.subTest(step, hit=hit):
                    self.corpus = os.path.join(self.folder, "%s-%d" % (step, hit))
                    vt = self.service()
                    self.known(vt, 1, 2, 3, **YOUNG)
                    before = vt.charged
                    self.kill_at(vt, step, hit, "rescan")
                    self.assertGreaterEqual(len(self.requests("analyse")), vt.charged - before)
                    self.rescan(vt)
                    # No sample twice; one that may not have gone out is left to its look-up.
                    sent = self.asked(vt)
                    self.assertEqual(len(sent), len(set(sent)))
                    self.assertGreaterEqual(len(sent), 2)
                    self.assertEqual(self.rows("SELECT count(*) FROM lookup WHERE rescan_ms IS NOT NULL"), [(3,)])
                    vt.clock.start += 700
                    self.label(vt)
                    verdicts = [row[0] for row in self.rows("SELECT verdict FROM label WHERE current = 1")]
                    self.assertEqual(verdicts.count("malicious"), len(sent))
                    self.assertGreaterEqual(self.rows("SELECT count(*) FROM request WHERE counted = 1")[0][0], vt.charged)


if __name__ == "__main__":
    unittest.main()

"""label --upload: what leaves the machine, on whose word, and what never does. Keys, samples and service are made here; nothing goes
beyond loopback."""
import hashlib
import os
import pty
import select
import subprocess
import time
import unittest

from gen import pe
from gen.antivirus import Spec
from services.label_case import BIN, digest
from services.submit_case import DAY, NOON, SubmitCase


class Upload(SubmitCase):
    def collect(self, files, *args):
        """Files of a folder become samples; gives their SHA-256 by name."""
        source = os.path.join(self.folder, "source-%d" % len(os.listdir(self.folder)))
        os.mkdir(source)
        for name, data in files.items():
            with open(os.path.join(source, name), "wb") as file:
                file.write(data)
        result = subprocess.run([os.path.join(BIN, "collect"), "--dir", source, "--corpus", self.corpus, "-q", *args],
                                stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}

    def programs(self, *seeds, args=("--claim", "malware"), **more):
        names = self.collect({"Invoice %s.exe" % seed: pe.pe("upload-%s" % seed, **more) for seed in seeds}, *args)
        return [names["Invoice %s.exe" % seed] for seed in seeds]

    def uploads(self, vt):
        return [entry for entry in vt.log if entry["method"] == "POST"]

    def outcomes(self, rows):
        return {row["hash"]: row["outcome"] for row in rows if row.get("action") == "upload"}

    def test_nobody_said_yes(self):
        vt = self.service()
        self.programs(1, 2)
        for args in (["--upload"], ["--upload", "--hashes", self.write_list(digest(1))], ["--yes"]):
            self.label(vt, *args, expect=2)
        self.assertIn("--upload", self.talk)
        self.label(vt, "--upload", expect=2)
        for word in ("no terminal", "--yes", "--dry-run"):
            self.assertIn(word, self.talk)
        self.assertEqual(len(vt.log), 0)                # not even a look-up

    def test_without_the_option_nothing_is_sent(self):
        vt = self.service()
        self.programs(1)
        self.label(vt)
        self.label(vt, "rescan")
        self.assertEqual(self.uploads(vt), [])
        self.assertEqual(set(self.states().values()), {"not_found"})

    def terminal(self, vt, answer, *args):
        """The tool on a terminal of its own; gives its exit code and what it showed there."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        environment = dict(os.environ, **vt.clock.environment(), TERM="dumb",
                           VT_API_KEY=vt.key, VT_USER=vt.user, XDG_STATE_HOME=os.path.join(self.folder, "state"))
        command = [os.path.join(BIN, "label"), "--upload", "--vt-key", "--vt-url", vt.api, "--corpus", self.corpus, *args]
        shown, said, deadline = b"", False, time.monotonic() + 120
        with subprocess.Popen(command, stdin=slave, stdout=subprocess.DEVNULL, stderr=slave, env=environment) as child:
            os.close(slave)
            try:
                while time.monotonic() < deadline:
                    if not select.select([master], [], [], 0.5)[0]:
                        continue
                    try:
                        piece = os.read(master, 4096)
                    except OSError:                     # the other side is closed
                        break
                    shown += piece
                    if b"[no]: " in shown and not said:
                        self.assertEqual(self.uploads(vt), [])
                        os.write(master, answer)
                        said = True
                code = child.wait(timeout=250)
            finally:
                child.kill()
        return code, shown.decode("utf-8", "replace")

    def test_the_question(self):
        vt = self.service()
        self.programs(1, 2, 3)
        bytes_ = self.rows("SELECT sum(size) FROM sample")[0][0]
        for answer in (b"\n", b"no\n", b"y\n", b"YES\n", b"yes please\n", b"\x04", b"yes yes yes yes yes yes yes\n"):
            with self.subTest(answer):
                code, shown = self.terminal(vt, answer)
                self.assertEqual(code, 0, shown)
                for words in ("3 files", "%d bytes" % bytes_ if bytes_ < 100000 else "MB", "partners", "cannot be taken back", "nothing uploaded"):
                    self.assertIn(words, shown)
                self.assertEqual(self.uploads(vt), [])
        code, shown = self.terminal(vt, b"yes\n")
        self.assertEqual((code, vt.uploads), (0, 3), shown)
        self.assertNotIn(vt.key, shown)
        # Nothing is left to ask about.
        code, shown = self.terminal(vt, b"yes\n")
        self.assertEqual((code, vt.uploads), (0, 3), shown)
        self.assertNotIn("[no]", shown)

    def test_nobody_is_asked_when_the_quota_is_spent(self):
        vt = self.service(day=3)
        self.programs(1, 2, 3)
        code, shown = self.terminal(vt, b"yes\n")
        self.assertEqual((code, vt.uploads), (75, 0), shown)
        self.assertNotIn("[no]", shown)
        self.assertIn("the daily quota is spent; nothing uploaded", shown)
        self.assertIn("2026-03-11T00:00:00Z", shown)

    def test_what_never_leaves(self):
        vt = self.service()
        good, = self.programs("good")
        private, = self.programs("private", args=("--private",))
        benign, = self.programs("benign", args=("--claim", "benign"))
        both, = self.programs("both")
        self.programs("both", args=("--claim", "benign"))
        cut = self.collect({"cut.exe": pe.truncated("cut")}, "--claim", "malware")["cut.exe"]
        damaged, large, orphan, known, foreign = self.programs("damaged", "large", "orphan", "known", "foreign")
        vt.add(Spec(known, cls="Worm", groups=12))
        self.assertIn("truncated", self.rows("SELECT flags FROM sample WHERE lower(hex(sha256)) = '%s'" % cut)[0][0])
        self.sql("UPDATE sample SET size = 650000001 WHERE lower(hex(sha256)) = ?", large)
        self.sql("DELETE FROM sighting WHERE sample = (SELECT id FROM sample WHERE lower(hex(sha256)) = ?)", orphan)
        self.sql("UPDATE sample SET size = size + 1 WHERE lower(hex(sha256)) = ?", foreign)
        path = os.path.join(self.corpus, "samples", damaged[:2], damaged[2:4], damaged)
        os.chmod(path, 0o600)
        with open(path, "r+b") as file:
            file.seek(60)
            byte = file.read(1)
            file.seek(60)
            file.write(bytes([byte[0] ^ 1]))
        rows = self.label(vt, "--upload", "--yes", expect=1)
        self.assertEqual([entry["sha256"] for entry in vt.received], [good])
        self.assertEqual(len(self.uploads(vt)), 1)
        outcomes = self.outcomes(rows)
        self.assertEqual(outcomes, {good: "uploaded", damaged: "failed", large: "refused", foreign: "failed"})
        states = self.states()
        self.assertEqual([states[name] for name in (good, benign, both, cut, damaged, large, orphan)], ["pending"] + ["not_found"] * 6)
        self.assertNotIn(private, states)
        self.assertEqual(states[known], "labelled")
        self.assertIn("650 MB", self.rows("SELECT reason FROM lookup JOIN sample s ON s.id = sample WHERE lower(hex(sha256)) = '%s'" % large)[0][0])
        for entry in vt.log:
            for name in (private,):
                self.assertNotIn(name, entry["target"])
        # A sample that turns private later, and one whose origin does.
        later, hidden = self.programs("later", "hidden")
        self.label(vt)
        self.sql("UPDATE sample SET private = 1 WHERE lower(hex(sha256)) = ?", later)
        self.sql("UPDATE sighting SET private = 1 WHERE sample = (SELECT id FROM sample WHERE lower(hex(sha256)) = ?)", hidden)
        self.label(vt, "--upload", "--yes", "--hashes", self.write_list(later, hidden))
        self.assertEqual(len(vt.received), 1)

    def test_what_arrives(self):
        vt = self.service()
        vt.verdict = lambda content: Spec(*(hashlib.new(kind, content).hexdigest() for kind in ("sha256", "sha1", "md5")), cls="Worm",
                                          groups=12, family="zelphira", first_seen=NOON - 100 * DAY, analysed=NOON)
        programs = {"Invoice 7.exe": pe.pe("upload-7"), "secret plan.scr": pe.pe("upload-8", body_bytes=70000)}
        names = self.collect(programs, "--claim", "malware")
        rows = self.label(vt, "--upload", "--yes")
        charged = vt.charged
        self.assertEqual(self.outcomes(rows), dict.fromkeys(names.values(), "uploaded"))
        self.assertEqual({row["hash"]: row["bytes"] for row in rows if "action" in row},
                         {names[name]: len(data) for name, data in programs.items()})
        self.assertEqual(sorted((part["field"], part["name"], part["bytes"], part["sha256"], part["path"], part["parts"]) for part in vt.received),
                         sorted(("file", names[name], len(data), names[name], "/api/v3/files", 1) for name, data in programs.items()))
        for entry in vt.log:
            text = repr(entry)
            for word in ("Invoice", "secret", "plan", ".scr", ".exe", self.folder, "source-", "password"):
                self.assertNotIn(word, text)
        for entry in self.uploads(vt):
            self.assertEqual([name for name, value in entry["headers"].items() if vt.key in value], ["x-apikey"])
            self.assertNotIn(vt.key, entry["target"])
        # Free by the service's word, booked here all the same.
        self.assertEqual(charged, 2)
        self.assertEqual([row[1:] for row in self.requests("upload")], [(200, 1)] * 2)
        # Looked up ten minutes later, not before, and not uploaded again.
        self.assertEqual(set(self.states().values()), {"pending"})
        self.assertEqual(self.rows("SELECT due_ms - rescan_ms FROM lookup"), [(600000,)] * 2)
        self.label(vt, "--upload", "--yes")
        self.assertEqual((vt.charged, vt.uploads), (2, 2))
        vt.clock.start += 700
        self.label(vt, "--upload", "--yes")
        self.assertEqual(vt.uploads, 2)
        self.assertEqual(self.rows("SELECT verdict, class FROM label WHERE current = 1"), [("malicious", "Worm")] * 2)
        self.assert_not_stored(vt.key)

    def test_still_unknown_after_an_upload(self):
        vt = self.service()
        vt.verdict = lambda content: None
        self.programs(1)
        self.label(vt, "--upload", "--yes")
        vt.clock.start += 700
        self.label(vt, "--upload", "--yes")
        after = self.rows("SELECT (due_ms - asked_ms) / 3600000 FROM lookup")[0][0]
        self.assertTrue(23 <= after <= 24, after)       # asked again tomorrow, it may just be slow
        for days in (1, 8, 15):
            vt.clock.start += days * DAY
            self.label(vt, "--upload", "--yes")
        self.assertEqual(vt.uploads, 1)
        self.assertEqual(set(self.states().values()), {"not_found"})
        vt.clock.start += 31 * DAY
        self.label(vt, "--upload", "--yes")
        self.assertEqual(vt.uploads, 2)

    def test_dry_run_and_list(self):
        vt = self.service()
        one, two, three = self.programs(1, 2, 3)
        self.label(vt)
        vt.clear_log()
        rows = self.label(None, "--upload", "--dry-run")
        self.assertEqual(self.outcomes(rows), dict.fromkeys((one, two, three), "would_upload"))
        self.assertEqual(len(vt.log), 0)
        self.label(vt, "--upload", "--yes", "--hashes", self.write_list(two, digest(5)))
        self.assertEqual([entry["sha256"] for entry in vt.received], [two])

    def test_budget_and_quota(self):
        vt = self.service()
        self.programs(*range(6))
        self.label(vt, "--upload", "--yes", "--budget", "8")
        self.assertEqual(vt.uploads, 2)
        self.assertEqual(len(self.requests("files")) + len(self.requests("upload")), 8)
        self.assertIn("budget", self.talk)
        small = self.service(day=8)
        self.corpus += "-small"
        self.programs(*range(6))
        self.label(small, "--upload", "--yes", expect=75)
        self.assertEqual((small.uploads, small.count(status=429)), (2, 0))
        self.assertIn("daily quota is spent", self.talk)

    def test_refused_in_the_middle(self):
        vt = self.service()
        names = self.programs(1, 2, 3)
        vt.fail("upload:" + names[1], "QuotaExceededError", times=1)
        self.assertEqual(self.outcomes(self.label(vt, "--upload", "--yes")), dict.fromkeys(names, "uploaded"))
        self.assertEqual(vt.uploads, 3)
        self.assertEqual([row[1:] for row in self.requests("upload")], [(200, 1), (429, 0), (200, 1), (200, 1)])

    def test_answers(self):
        vt = self.service()
        names = self.programs(*range(4))
        vt.fail("upload:" + names[0], "AlreadyExistsError")
        vt.fail("upload:" + names[1], "BadRequestError")
        vt.fail("upload:" + names[2], "TransientError", times=1)
        outcomes = self.outcomes(self.label(vt, "--upload", "--yes", expect=1))
        self.assertEqual([outcomes[name] for name in names], ["uploaded", "refused", "failed", "uploaded"])
        self.assertEqual(len(self.uploads(vt)), 4)      # none is sent twice in a run
        states = self.states()
        self.assertEqual([states[name] for name in names], ["pending", "not_found", "pending", "pending"])
        vt.clear_log()
        vt.clock.start += 700
        outcomes = self.outcomes(self.label(vt, "--upload", "--yes"))
        self.assertEqual(outcomes, {names[2]: "uploaded"})      # the look-up said that it had not arrived
        self.assertEqual(vt.count("/files/" + names[2], method="GET"), 1)
        for code in ("WrongCredentialsError", "ForbiddenError"):
            more = self.programs(code, code + "2")
            for name in more:
                vt.fail("upload:" + name, code)
            self.label(vt, "--upload", "--yes", "--hashes", self.write_list(*more), expect=5)
            self.assertIn("key", self.talk)

    def test_no_clear_answer(self):
        """What may have arrived is looked up, never sent again."""
        for kind, arguments in (("reset", {}), ("status", {"status": 500, "after": True}), ("status", {"status": 302, "headers": {"Location": "/x"}}),
                                ("garbage", {"after": True}), ("html", {"after": True})):
            with self.subTest(kind, **arguments):
                self.corpus = os.path.join(self.folder, "%s-%d" % (kind, len(os.listdir(self.folder))))
                vt = self.service()
                name, = self.programs(1)
                vt.fault(kind, path="/api/v3/files$", method="POST", times=1, **arguments)
                rows = self.label(vt, "--upload", "--yes", expect=1)
                self.assertEqual(self.outcomes(rows), {name: "failed"})
                self.assertEqual(len(self.uploads(vt)), 1)
                self.assertEqual(self.states()[name], "pending")
                arrived = bool(arguments.get("after"))
                vt.clear_log()
                vt.clock.start += 700
                self.label(vt, "--upload", "--yes")
                self.assertEqual((vt.log and vt.uploads, len(self.uploads(vt))), (1, 0 if arrived else 1))
                self.assertEqual(vt.count("/files/" + name, method="GET"), 1)

    def big(self):
        """A program above 32 MB that the vault holds in a few kB."""
        return self.programs("big", body_bytes=33000000, fill="zero")[0]

    def test_large_files_go_to_a_url_of_their_own(self):
        vt = self.service()
        big = self.big()
        self.label(vt, "--upload", "--yes", "--budget", "2")        # look-up, URL: nothing left for the file, so no URL either
        self.assertEqual((vt.uploads, vt.count("upload_url")), (0, 0))
        self.label(vt, "--upload", "--yes")
        part = vt.received[0]
        self.assertEqual((part["sha256"], part["name"], part["bytes"]), (big, big, self.rows("SELECT size FROM sample")[0][0]))
        self.assertTrue(part["path"].startswith("/_ah/upload/"), part)
        self.assertEqual(vt.count("/files", method="POST"), 0)
        self.assertEqual([row[1:] for row in self.requests("upload_url")], [(200, 1)])
        self.assertEqual([row[1:] for row in self.requests("upload")], [(200, 1)])
        ticket = part["path"].rsplit("/", 1)[1]
        self.assertNotIn(ticket, self.talk + self.out)
        self.assert_not_stored(ticket)

    def test_upload_url_that_leads_elsewhere(self):
        vt, other = self.service(), self.service()
        big = self.big()
        self.label(vt)
        for url in (other.url + "/_ah/upload/x", "https://203.0.113.9/x", "http://10.0.0.1/x", "https://www.virustotal.com.example.net/x",
                    "file:///etc/passwd", "https://user:word@127.0.0.1/x", vt.url.replace("127.0.0.1", "localhost") + "/_ah/upload/x",
                    vt.url.replace("http:", "https:") + "/x", "nonsense", "", {"a": 1}):
            with self.subTest(url):
                vt.upload_url = url
                rows = self.label(vt, "--upload", "--yes", expect=5)
                self.assertIn("nothing more is uploaded", self.talk)
                self.assertEqual(self.outcomes(rows), {big: "failed"})
                self.assertEqual((vt.uploads, self.uploads(vt), len(other.log)), (0, [], 0))
                self.assertEqual(self.states()[big], "not_found")
        # Nor is a redirect followed on the way there.
        vt.upload_url = None
        vt.fault("redirect", path="/_ah/upload/", location=other.url + "/_ah/upload/x", status=307)
        self.label(vt, "--upload", "--yes", expect=1)
        self.assertEqual((vt.uploads, len(other.log)), (0, 0))

    def test_kill_at_each_step(self):
        for step in ("label.upload.reserved", "label.upload.answered", "label.upload.stored"):
            for hit in (1, 2, 3):
                with self.subTest(step, hit=hit):
                    self.corpus = os.path.join(self.folder, "%s-%d" % (step, hit))
                    vt = self.service()
                    names = self.programs(1, 2, 3)
                    self.kill_at(vt, step, hit, "--upload", "--yes")
                    self.assertEqual(len(self.requests("upload")), hit)
                    before = vt.uploads
                    self.assertEqual(before, hit - 1 if step.endswith("reserved") else hit)
                    vt.clear_log()
                    self.label(vt, "--upload", "--yes")
                    # The one in doubt was looked up first; nothing arrives twice.
                    self.assertEqual(vt.count("/files/" + names[hit - 1], method="GET"), 0 if step.endswith("stored") else 1)
                    self.assertEqual(sorted(part["sha256"] for part in vt.received), sorted(names))
                    self.assertEqual(vt.uploads, 3)
                    vt.clock.start += 700
                    self.label(vt, "--upload", "--yes")
                    self.assertEqual(set(self.states().values()), {"labelled"})
                    self.assertEqual(vt.uploads, 3)
                    self.assertGreaterEqual(self.rows("SELECT count(*) FROM request WHERE counted = 1")[0][0], vt.charged)
                    self.assertEqual(self.rows("PRAGMA integrity_check"), [("ok",)])


if __name__ == "__main__":
    unittest.main()

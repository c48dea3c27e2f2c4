"""Every answer and every fault of the wire, one row each: the state of the hash it befalls, the exit code, the requests the service saw,
what it charged and what the ledger counts; the hashes before and behind it in the same run are none the worse."""
import concurrent.futures
import gzip
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

from services.httpd import http_date
from services.label_case import BIN, SPEED, Clock, digest, spec
from services.virustotal import ERRORS, VirusTotal

BEFORE, TARGET, BEHIND = (digest(number) for number in (1, 2, 3))
ANOTHER = digest(4)
JSON = "application/json"
ONCE, TWICE, ALWAYS = 1, 2, None


def error(code, message="told by the service"):
    return {"error": {"code": code, "message": message}}


class Row:
    """arm(vt) puts the fault in place. asked: requests for the hash; charged: of those, what the service charged; booked: what the ledger
    counts of them, never less; exit_code and state: of the run and the hash; reason: in what the tool prints; ends: the run ends there, and
    the hash behind is not asked."""

    def __init__(self, name, arm, state, asked, charged, booked=None, exit_code=0, reason="", ends=False, verdict=None, seconds=None):
        self.name, self.arm, self.state, self.asked, self.charged, self.exit_code = name, arm, state, asked, charged, exit_code
        self.booked = charged if booked is None else booked
        self.reason, self.ends, self.verdict, self.seconds = reason, ends, verdict, seconds


def fault(kind, times, **settings):
    return lambda vt: vt.fault(kind, path=TARGET, times=times, **settings)


def fail(code, times=ALWAYS):
    return lambda vt: vt.fail(TARGET, code, times)


def passes(name, kind, charged=1, booked=2, asked=2, **settings):
    """A fault that comes once: the second request has the answer. charged: 2 when the service had worked before the fault."""
    return Row(name, fault(kind, ONCE, **settings), "labelled", asked, charged, booked, verdict="malicious")


def stays(name, kind, tries=5, charged=0, **settings):
    """A fault that does not pass: after the last try the hash is put off, and the run goes on. tries: 5 where the service says that it may
    pass, 3 where no answer comes, 2 where one that is charged is no use, 1 where the service declines in words of its own."""
    return Row(name + ", for good", fault(kind, ALWAYS, **settings), "error", tries, charged, tries, 1)


def good(vt):
    return json.dumps({"data": vt.files[TARGET]})


def changed(change, times=ONCE):
    """The true answer with its bytes changed."""
    def arm(vt):
        vt.fault("body", path=TARGET, times=times, body=change(good(vt)).encode("utf-8", "surrogateescape"))
    return arm


def other_host(vt):
    vt.other = VirusTotal(key=vt.key, user=vt.user).start()
    vt.other.add(spec(2))
    return vt.other.api + "/files/" + TARGET


def redirect(status):
    return lambda vt: vt.fault("redirect", path=TARGET, times=ONCE, status=status, location=other_host(vt))


# Table 1.1 of the service's error codes: once with each code as the only answer, once where it passes.
CODES = [
    Row("BadRequestError", fail("BadRequestError"), "invalid", 1, 1, exit_code=1, reason="400 BadRequestError"),
    Row("InvalidArgumentError", fail("InvalidArgumentError"), "invalid", 1, 1, exit_code=1, reason="400 InvalidArgumentError"),
    Row("NotAvailableYet", fail("NotAvailableYet"), "pending", 1, 1),
    Row("AuthenticationRequiredError", fail("AuthenticationRequiredError"), "pending", 1, 0, exit_code=5, reason="refuses the key", ends=True),
    Row("UserNotActiveError", fail("UserNotActiveError"), "pending", 1, 0, exit_code=5, reason="UserNotActiveError", ends=True),
    Row("WrongCredentialsError", fail("WrongCredentialsError"), "pending", 1, 0, exit_code=5, reason="VT_API_KEY", ends=True),
    Row("ForbiddenError", fail("ForbiddenError"), "pending", 1, 0, 1, exit_code=5, reason="may not look files up", ends=True),
    Row("NotFoundError", fail("NotFoundError"), "not_found", 1, 1, verdict="not_found"),
    Row("AlreadyExistsError", fail("AlreadyExistsError", ONCE), "labelled", 2, 2),
    Row("AlreadyExistsError, for good", fail("AlreadyExistsError"), "error", 2, 2, exit_code=1),
    Row("FailedDependencyError", fail("FailedDependencyError", ONCE), "labelled", 2, 2),
    Row("FailedDependencyError, for good", fail("FailedDependencyError"), "error", 5, 5, exit_code=1, reason="424"),
    Row("QuotaExceededError", fail("QuotaExceededError", ONCE), "labelled", 2, 1),
    Row("QuotaExceededError, twice", fail("QuotaExceededError", TWICE), "labelled", 3, 1),
    Row("TooManyRequestsError", fail("TooManyRequestsError", ONCE), "labelled", 2, 1),
    Row("TransientError", fail("TransientError", ONCE), "labelled", 2, 2),
    Row("TransientError, for good", fail("TransientError"), "error", 5, 5, exit_code=1, reason="503 TransientError"),
    Row("DeadlineExceededError", fail("DeadlineExceededError", ONCE), "labelled", 2, 2),
    Row("DeadlineExceededError, for good", fail("DeadlineExceededError"), "error", 5, 5, exit_code=1, reason="504 DeadlineExceededError"),
    Row("UnselectiveContentQueryError", fail("UnselectiveContentQueryError", ONCE), "error", 1, 1, exit_code=1),
    Row("UnsupportedContentQueryError", fail("UnsupportedContentQueryError", ONCE), "error", 1, 1, exit_code=1),
]

# Statuses without the code they should carry: a page of something in between, which says nothing of the hash.
PAGES = [passes("%d as a page" % status, "html", status=status) for status in (200, 400, 403, 404, 409, 424, 500, 502, 503, 504)] + [
    passes("204", "empty", status=204), stays("204", "empty", 2, status=204), stays("418 as a page", "html", 2, status=418), stays("403 as a page", "html", 2, status=403),
    stays("503 as a page", "html", status=503), stays("418 with a code of its own", "body", 1, status=418, body=error("TeapotError")), passes("200 with nothing", "empty"),
    passes("404 with nothing", "empty", status=404), passes("418", "status", status=418),
    Row("401 as a page", fault("html", ALWAYS, status=401), "pending", 1, 0, exit_code=5, reason="refuses the key", ends=True),
    Row("429 as a page", fault("html", ONCE, status=429), "labelled", 2, 1),
    passes("200 with an error in it", "body", body=error("TransientError")),
    passes("200 that says not found", "body", body=error("NotFoundError")),
    stays("200 with an error in it", "body", 2, body=error("TransientError")),
    passes("404 with a code that is none", "body", status=404, body=error("No such\x1b[31m code")),
    Row("404, gzip as asked", fault("status", ALWAYS, status=404, content_type=JSON, headers={"Content-Encoding": "gzip"},
                                    body=gzip.compress(json.dumps(error("NotFoundError")).encode())), "not_found", 1, 0, 1,
        verdict="not_found"),
    Row("404, plain although gzip was asked", fault("status", ALWAYS, status=404, content_type=JSON, body=error("NotFoundError")), "not_found", 1, 0, 1,
        verdict="not_found"),
    passes("404 that says gzip and is not", "status", status=404, content_type=JSON, headers={"Content-Encoding": "gzip"}, body=error("NotFoundError")),
    Row("429 that says gzip and is not", fault("status", ONCE, status=429, content_type=JSON, headers={"Content-Encoding": "gzip"},
                                               body=error("QuotaExceededError")), "labelled", 2, 1, 2),
]

WIRE = [passes("reset", "reset"), stays("reset", "reset", 3), passes("cut", "cut", 2), stays("cut", "cut", 2, 2),
        passes("truncated", "truncated", 2), stays("truncated", "truncated", 2, 2),
        passes("truncated gzip", "truncated_gzip", 2), stays("truncated gzip", "truncated_gzip", 2, 2),
        passes("gzip that is none", "false_gzip", 2), passes("garbage", "garbage"), stays("garbage", "garbage", 2),
        passes("32 MiB", "oversize", total_bytes=1 << 25), stays("32 MiB", "oversize", 2, total_bytes=1 << 25),
        passes("32 MiB, declared", "oversize", total_bytes=1 << 25, declare=True),
        Row("another content type", fault("content_type", ALWAYS, value="text/plain"), "labelled", 1, 1),
        Row("slow", fault("slow", ALWAYS, piece=2048, delay=0.01), "labelled", 1, 1),
        passes("accepted and never answered", "hang", seconds=30), passes("a byte now and then", "slow", 2, piece=1, delay=0.2)]

BODIES = [passes(name, "body", body=body) for name, body in (
    ("null", b"null"), ("a list", b"[]"), ("no data", b"{}"), ("data null", {"data": None}), ("data a list", {"data": []}),
    ("data a text", {"data": "x"}), ("deep", b"[" * 100000), ("NUL bytes", b"\0" * 100), ("not UTF-8", b'{"data": "\xff\xfe"}'),
    ("without attributes", {"data": {"type": "file", "id": TARGET}}),
    ("attributes a number", {"data": {"type": "file", "id": TARGET, "attributes": 7}}),
    ("about another file", {"data": {"type": "file", "id": ANOTHER, "attributes": {
        "sha256": ANOTHER, "last_analysis_results": {"Engine": {"category": "malicious", "result": "Worm.Other"}}}}}))] + [
    Row("a body with a NUL inside", changed(lambda text: text[:200] + "\0" + text[200:]), "labelled", 2, 1, 2),
    Row("a body with raw control bytes in a text", changed(lambda text: text.replace("Win32 EXE", "Win\x01\x1b[31m32")), "labelled", 2, 1, 2),
    Row("half a body", changed(lambda text: text[:len(text) // 2]), "labelled", 2, 1, 2),
    Row("about another file, for good", lambda vt: vt.fault("body", path=TARGET, times=ALWAYS, body=json.dumps({"data": vt.files[BEFORE]})), "error",
        2, 0, 2, exit_code=1, reason="about another file"),
    Row("a report of version 2, for good", fault("body", ALWAYS, body={"response_code": 1, "sha256": TARGET, "resource": TARGET, "scan_date": "2024-01-01 00:00:00", "scans": {
        "Engine": {"detected": True, "result": "Worm.Other"}}}), "error", 2, 0, 2, exit_code=1, reason="no file object of version 3"),
    Row("half a body, for good", changed(lambda text: text[:len(text) // 2], ALWAYS), "error", 2, 0, 2, exit_code=1, reason="unusable"),
    Row("a body with a tail", changed(lambda text: text + "{}"), "labelled", 2, 1, 2),
    Row("a body with escapes", changed(lambda text: text.replace("Win32 EXE", "\\u001b]0;x\\u0007\\u202e"), ALWAYS), "labelled", 1, 0, 1),
]

RETRY_AFTER = [passes("503, Retry-After " + value, "status", status=503, retry_after=value)
               for value in ("2", "0", "-5", "soon", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", http_date(0), "")] + [
    Row("429, Retry-After 5", fault("status", ONCE, status=429, retry_after="5"), "labelled", 2, 1, seconds=60),
    Row("429, Retry-After a minute and a half", fault("status", ONCE, status=429, retry_after="90"), "labelled", 2, 1, seconds=90),
    Row("429, Retry-After never", fault("status", ONCE, status=429, retry_after="99999999999"), "pending", 1, 0, exit_code=75,
        reason="longer pause", ends=True),
]

REDIRECTS = [Row("redirect %d to another host" % status, redirect(status), "labelled", 2, 1, 2) for status in (301, 302, 303, 307, 308)] + [
    passes("redirect to a private address", "redirect", location="http://10.0.0.1/api/v3/files/" + TARGET),
    passes("redirect to a file", "redirect", location="file:///etc/passwd"), passes("redirect without an end", "redirect", location="/api/v3/files/" + TARGET)]

TABLES = {"codes": CODES, "pages": PAGES, "wire": WIRE, "bodies": BODIES, "retry_after": RETRY_AFTER, "redirects": REDIRECTS}


class Faults(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="malseq-faults-")
        self.addCleanup(shutil.rmtree, self.folder)

    def run_label(self, vt, folder, lines=(BEFORE, TARGET, BEHIND), umask=-1):
        path = os.path.join(folder, "hashes")
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        environment = dict(os.environ, VT_API_KEY=vt.key, VT_USER=vt.user, XDG_STATE_HOME=folder, **vt.clock.environment(),
                           MALSEQ_TEST_PATIENCE_MS="5000")
        return subprocess.run([os.path.join(BIN, "label"), "--vt-key", "--vt-url", vt.api, "--corpus", os.path.join(folder, "corpus"), "--hashes", path,
                               "--json", "-v"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False,
                              umask=umask)

    def check(self, name, number, row):
        folder = os.path.join(self.folder, "%s%d" % (name, number))
        os.mkdir(folder)
        vt = VirusTotal(minute=1000, hour=100000)
        vt.clock, vt.other = Clock(), None
        for n in (1, 2, 3):
            vt.add(spec(n))
        row.arm(vt)
        try:
            with vt:
                done = self.run_label(vt, folder)
        finally:
            if vt.other:
                vt.other.stop()
        talk = done.stdout.decode("utf-8", "replace") + done.stderr.decode("utf-8", "replace")
        self.assertEqual(done.returncode, row.exit_code, talk)
        self.assertNotIn(vt.key, talk)                          # -v prints no key
        self.assertFalse(any(ord(c) < 32 and c not in "\t\n\r" for c in talk), "control bytes printed")
        self.assertIn(row.reason, talk)
        shown = [json.loads(line)["hash"] for line in done.stdout.splitlines()]
        # What came before a key that is refused is shown; else each hash has its row, whatever became of it.
        self.assertEqual(sorted(shown), sorted((BEFORE,) if row.exit_code == 5 else (BEFORE, TARGET, BEHIND)), talk)
        with sqlite3.connect("file:%s?mode=ro" % os.path.join(folder, "corpus", "corpus.db"), uri=True) as db:
            states = dict(db.execute("SELECT lower(hex(s.sha256)), l.state FROM lookup l JOIN sample s ON s.id = l.sample"))
            booked = dict(db.execute("SELECT subject, sum(counted) FROM request GROUP BY 1"))
            verdicts = dict(db.execute("SELECT lower(hex(s.sha256)), l.verdict FROM label l JOIN sample s ON s.id = l.sample WHERE current = 1"))
            self.assertEqual(db.execute("SELECT count(*) FROM sample").fetchall(), [(3,)])
            put_off = db.execute("SELECT round((due_ms - asked_ms) / 3600000.0) FROM lookup WHERE state = 'error'").fetchall()
        end = 0 if row.ends else 1
        self.assertEqual(states, {BEFORE: "labelled", TARGET: row.state, BEHIND: "labelled" if end else "pending"})
        self.assertEqual([vt.count(hash_, method="GET") for hash_ in (BEFORE, TARGET, BEHIND)], [1, row.asked, end], talk)
        self.assertEqual(vt.charged, 1 + row.charged + end)
        self.assertEqual([booked.get(hash_, 0) for hash_ in (BEFORE, TARGET, BEHIND)], [1, row.booked, end], talk)
        self.assertGreaterEqual(row.booked, row.charged)        # whatever befell: never under-counted
        self.assertEqual([verdicts.get(hash_) for hash_ in (BEFORE, BEHIND)], ["malicious", "malicious" if end else None])
        if row.state == "error":                                # for a day where a try is charged for nothing
            self.assertEqual(put_off, [(24 if row.asked < 3 else 1,)])
        if row.state == "labelled" or row.verdict:
            self.assertEqual(verdicts.get(TARGET), row.verdict or "malicious")
        else:
            self.assertNotIn(TARGET, verdicts)
        if row.seconds:
            times = [entry["time"] for entry in vt.requests(TARGET)]
            self.assertGreaterEqual((times[1] - times[0]) * SPEED, row.seconds)
        if vt.other:
            self.assertEqual(vt.other.log, [])                  # the key never went along

    def test_table(self):
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            runs = [(name, row, pool.submit(self.check, name, number, row)) for name, rows in TABLES.items() for number, row in enumerate(rows)]
            for name, row, run in runs:
                with self.subTest(name, row=row.name):
                    run.result()
        print("%d rows in %.0f s" % (len(runs), time.monotonic() - start), file=sys.stderr)

    def test_only_whole_hashes_are_sent(self):
        """A list may be anybody's CSV: a word with a hash inside is no hash, and nothing but a hash goes out."""
        lines = ["x" + BEFORE, BEHIND + "0", "http://example.test/file/" + ANOTHER, TARGET + ",trojan.exe,12", "../" + ANOTHER, ANOTHER + "/../x", "a" * 32768]
        vt = VirusTotal(minute=1000, hour=100000)
        vt.clock = Clock()
        vt.add(spec(2))
        with vt:
            done = self.run_label(vt, self.folder, lines)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual([entry["target"] for entry in vt.requests("/files/")], ["/api/v3/files/" + TARGET])
        self.assertEqual([json.loads(line)["state"] for line in done.stdout.splitlines()].count("invalid"), 6)

    def test_files_are_the_users_alone(self):
        """Whatever the umask: the list of what somebody looks up is nobody else's business."""
        vt = VirusTotal(minute=1000, hour=100000)
        vt.clock = Clock()
        vt.add(spec(2))
        with vt:
            self.assertEqual(self.run_label(vt, self.folder, umask=0).returncode, 0)
        self.assertEqual(os.stat(os.path.join(self.folder, "corpus")).st_mode & 0o777, 0o700)
        for base, folders, files in os.walk(self.folder):
            for name in folders + files:
                path = os.path.join(base, name)
                if name != "hashes":
                    self.assertEqual(os.stat(path).st_mode & 0o022, 0, path)
        for base, _, files in os.walk(self.folder):
            for name in files:
                with open(os.path.join(base, name), "rb") as file:
                    self.assertNotIn(vt.key.encode(), file.read(), name)

    def test_each_documented_code_has_a_row(self):
        self.assertEqual({row.name.split(",")[0] for row in CODES}, set(ERRORS))


if __name__ == "__main__":
    unittest.main()

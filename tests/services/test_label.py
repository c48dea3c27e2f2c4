"""label against the loopback VirusTotal: verdicts, every documented answer, faults of the wire, certificates, secrecy of the key."""
# in release: Key.test_processes_hold_no_key
import re
import hashlib
import json
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
import unittest

from gen.antivirus import CLASSES
from services.label_case import BIN, SPEED, Clock, LabelCase, digest, spec
from services.virustotal import VirusTotal


class Verdicts(LabelCase):
    def test_classes_verdicts_and_explain(self):
        vt = self.service()
        for number, cls in enumerate(CLASSES):
            vt.add(spec(number, cls))
        vt.add(spec(20, None, 0))
        vt.add(spec(21, "Trojan", 3))
        vt.add(spec(22, "Trojan", 14, first_seen=1699000000, analysed=1700000000))
        names = [digest(n) for n in (*range(8), 20, 21, 22)]
        path = self.write_list("# a comment", *names, digest(3, "md5"), digest(4, "sha1").upper(), digest(99), "nonsense",
                               hashlib.sha256(b"").hexdigest(), names[0])
        rows = self.label(vt, "--hashes", path, expect=1)
        by_hash = {row["hash"]: row for row in rows}
        for number, cls in enumerate(CLASSES):
            row = by_hash[digest(number)]
            self.assertEqual((row["state"], row["verdict"], row["class"], row["family"]), ("labelled", "malicious", cls, "zelphira"))
            self.assertGreaterEqual(row["groups"], 5)
            self.assertGreater(row["margin"], 0)
        self.assertEqual(by_hash[digest(20)]["verdict"], "benign")
        self.assertEqual(by_hash[digest(21)]["verdict"], "uncertain")
        self.assertEqual(by_hash[digest(22)]["verdict"], "immature")
        self.assertEqual(by_hash[digest(22)]["class"], "none")
        self.assertEqual((by_hash[digest(99)]["state"], by_hash[digest(99)]["verdict"]), ("not_found", "not_found"))
        self.assertEqual(by_hash["nonsense"]["state"], "invalid")
        # Two lines are other names of files asked already; the empty file and the nonsense never reached the service.
        self.assertEqual(vt.count("/files/", method="GET"), len(set(names)) + 1)
        self.assertEqual(self.rows("SELECT count(*) FROM sample"), [(len(names) + 1,)])
        # One row a line, in the words of the list.
        self.assertEqual(sorted(row["hash"] for row in rows), sorted([*names, digest(3, "md5"), digest(4, "sha1"), digest(99), "nonsense",
                                                                      hashlib.sha256(b"").hexdigest(), names[0]]))
        self.assertEqual(by_hash[digest(4, "sha1")]["class"], CLASSES[4])
        self.assertEqual(vt.count("e3b0c442"), 0)
        # Nothing is due: a second run asks nothing, and still shows every listed hash.
        again = self.label(vt, "--hashes", path, expect=1)
        self.assertEqual(vt.count("/files/", method="GET"), len(set(names)) + 1)
        self.assertEqual({row["hash"]: row["verdict"] for row in again}, {row["hash"]: row["verdict"] for row in rows})
        told = self.label(None, "explain", digest(7), json_lines=False)
        for word in ("verdict: malicious", "class:   Worm", "ember2024", "ENGINE", "zelphira"):
            self.assertIn(word, told)
        explained = self.label(None, "explain", digest(3, "md5"))[0]
        self.assertEqual((explained["verdict"], explained["class"]), ("malicious", CLASSES[3]))
        speakers = [row for row in explained["engines"] if row["speaks"]]
        self.assertEqual(len({row["group"] for row in speakers}), len(speakers))
        self.assertEqual(sum(explained["votes"].values()), len(speakers))
        self.label(None, "explain", digest(5000), expect=1)

    def test_relabel_sends_nothing(self):
        vt = self.service()
        vt.add(spec(1, "Worm", 12))
        vt.add(spec(2, "Trojan", 9, first_seen=1699000000))
        path = self.write_list(digest(1), digest(2), digest(3))
        self.label(vt, "--hashes", path)
        before = len(vt.log)
        rows = {row["hash"]: row["verdict"] for row in self.label(None, "relabel", "--policy", "sophos-1-5")}
        self.assertEqual(rows, {digest(1): "malicious", digest(2): "malicious", digest(3): "not_found"})
        labels = self.rows("SELECT policy, verdict, count(*) FROM label WHERE current = 1 GROUP BY 1, 2 ORDER BY 1, 2")
        self.assertEqual(labels, [("ember2024", "immature", 1), ("ember2024", "malicious", 1), ("ember2024", "not_found", 1),
                                  ("sophos-1-5", "malicious", 2), ("sophos-1-5", "not_found", 1)])
        self.label(None, "relabel")
        self.assertEqual(self.rows("SELECT count(*) FROM label"), [(6,)])   # equal labels are left alone
        self.assertEqual(len(vt.log), before)
        self.label(None, "relabel", "--policy", "nosuch", expect=2)

    def test_recheck(self):
        vt = self.service()
        vt.add(spec(1, "Worm", 3))
        path = self.write_list(digest(1), digest(2))
        self.label(vt, "--hashes", path)
        first = self.rows("SELECT due_ms, asked_ms FROM lookup ORDER BY sample")
        self.assertEqual([round((due - asked) / 86400000) for due, asked in first], [30, 7])
        vt.clock.start += 31 * 86400
        self.label(vt, "--hashes", path)
        # Nobody rescanned it: no second scan, and a longer wait.
        self.assertEqual(self.rows("SELECT count(*) FROM scan"), [(1,)])
        second = self.rows("SELECT due_ms, asked_ms FROM lookup ORDER BY sample")
        self.assertEqual([round((due - asked) / 86400000) for due, asked in second], [60, 14])
        vt.add(spec(1, "Worm", 12, analysed=1710000000))
        vt.clock.start += 61 * 86400
        self.label(vt, "--hashes", path)
        self.assertEqual(self.rows("SELECT count(*) FROM scan"), [(2,)])
        self.assertEqual(self.rows("SELECT verdict, current FROM label WHERE verdict <> 'not_found' ORDER BY id"),
                         [("uncertain", 0), ("malicious", 1)])

    def test_private_samples_are_never_asked(self):
        vt = self.service()
        path = self.write_list(digest(1), digest(2))
        self.label(vt, "--hashes", path, "--budget", "1")
        with sqlite3.connect(os.path.join(self.corpus, "corpus.db")) as db:
            db.execute("UPDATE sample SET private = 1 WHERE lower(hex(sha256)) = ?", (digest(2),))
        vt.clear_log()
        vt.clock.start += 100 * 86400
        rows = self.label(vt, "--hashes", path)
        self.assertEqual(vt.count(digest(2)), 0)
        self.assertEqual(vt.count(digest(1)), 1)
        self.assertIn("private", next(row["reason"] for row in rows if row["hash"] == digest(2)))

    def test_dry_run(self):
        vt = self.service()
        self.label(vt, "--hashes", self.write_list(digest(1)))
        vt.clear_log()
        rows = self.label(None, "--dry-run", "--hashes", self.write_list(digest(1), digest(2), digest(3)))
        self.assertEqual({row["hash"] for row in rows if row.get("would_ask")}, {digest(2), digest(3)})
        self.assertEqual(self.rows("SELECT count(*) FROM sample"), [(1,)])
        self.assertEqual(len(vt.log), 0)


class Answers(LabelCase):
    """Each row of the table of error codes, and what may happen to an answer on its way."""

    def test_permanent(self):
        vt = self.service()
        vt.add(spec(9))
        for number, code in enumerate(("BadRequestError", "InvalidArgumentError", "NotAvailableYet", "NotFoundError")):
            vt.fail(digest(number), code)
        rows = {row["hash"]: row for row in self.label(vt, "--hashes", self.write_list(*(digest(n) for n in (0, 1, 2, 3, 9))), expect=1)}
        self.assertEqual([rows[digest(n)]["state"] for n in (0, 1, 2, 3, 9)], ["invalid", "invalid", "pending", "not_found", "labelled"])
        self.assertIn("BadRequestError", rows[digest(0)]["reason"])
        self.assertEqual(vt.count("/files/"), 5)
        vt.clock.start += 3 * 86400
        self.label(vt)
        self.assertEqual(vt.count("/files/"), 6)            # only what was not available yet is asked again

    def test_transient(self):
        for number, code in enumerate(("FailedDependencyError", "TransientError", "DeadlineExceededError", "TooManyRequestsError",
                                       "AlreadyExistsError", "QuotaExceededError")):
            with self.subTest(code):
                vt = self.service()
                self.corpus = os.path.join(self.folder, "c%d" % number)
                vt.add(spec(1))
                vt.fail(digest(1), code, times=1)
                rows = self.label(vt, "--hashes", self.write_list(digest(1)))
                self.assertEqual(rows[0]["verdict"], "malicious")
                self.assertEqual(vt.count("/files/"), 2)
                if code in ("QuotaExceededError", "TooManyRequestsError"):
                    self.assertEqual(vt.count("overall_quotas"), 2)     # asked which quota it was
                    self.assertEqual(self.rows("SELECT count(*) FROM request WHERE counted = 1"), [(1,)])

    def test_faults_of_the_wire(self):
        other = self.service()
        faults = [("status", {"status": 500}), ("empty", {"status": 204}), ("empty", {}), ("garbage", {}), ("html", {}),
                  ("html", {"status": 404}), ("html", {"status": 403}), ("truncated_gzip", {}), ("truncated", {}), ("cut", {}), ("reset", {}),
                  ("redirect", {"location": other.api + "/files/" + digest(1)}),
                  ("body", {"body": b'{"data":{"attributes":{"sha256":"%s"}}}' % digest(7).encode()}),
                  ("body", {"body": b"[" * 100000}), ("oversize", {"total_bytes": 1 << 25})]
        for number, (kind, settings) in enumerate(faults):
            with self.subTest(kind, **{key: str(value)[:20] for key, value in settings.items()}):
                vt = self.service()
                self.corpus = os.path.join(self.folder, "c%d" % number)
                vt.add(spec(1))
                vt.fault(kind, path="/files/", times=1, **settings)
                rows = self.label(vt, "--hashes", self.write_list(digest(1)))
                self.assertEqual((rows[0]["state"], rows[0]["verdict"]), ("labelled", "malicious"))
                self.assertEqual(vt.count("/files/"), 2)
                self.assertEqual(self.rows("SELECT count(*) FROM scan"), [(1,)])
                vt.stop()
        self.assertEqual(len(other.log), 0)

    def test_slow_is_not_broken(self):
        vt = self.service()
        vt.add(spec(1))
        vt.fault("slow", path="/files/", piece=2048, delay=0.02)
        self.assertEqual(self.label(vt, "--hashes", self.write_list(digest(1)))[0]["verdict"], "malicious")
        self.assertEqual(vt.count("/files/"), 1)

    def test_one_bad_hash_does_not_stop_the_batch(self):
        vt = self.service()
        vt.add(spec(1))
        vt.add(spec(3))
        vt.fail(digest(2), "TransientError")
        rows = {row["hash"]: row["state"] for row in self.label(vt, "--hashes", self.write_list(digest(1), digest(2), digest(3)), expect=1)}
        self.assertEqual(rows, {digest(1): "labelled", digest(2): "error", digest(3): "labelled"})
        self.assertEqual(vt.count(digest(2)), 5)

    def test_service_down(self):
        vt = self.service()
        vt.add(spec(0))
        vt.fault("status", status=503, path="/files/", nth=range(2, 1000))
        rows = self.label(vt, "--hashes", self.write_list(*(digest(n) for n in range(10))), expect=5)
        self.assertEqual([row["state"] for row in rows], ["labelled"] + ["error"] * 3)
        self.assertIn("3 hashes in a row", self.talk)
        self.assertEqual(len(re.findall(r"a look-up failed: answered 503.*; waiting ", self.talk)), 4 * 3)   # nobody sits before a silent terminal
        self.assertEqual(sorted(self.states().values()), ["error"] * 3 + ["labelled"] + ["pending"] * 6)

    def test_nobody_there(self):
        vt = self.service()
        vt.stop()
        self.label(vt, "--hashes", self.write_list(*(digest(n) for n in range(4))), expect=5)
        # Nothing went out: an outage must not eat the day's quota. What may have arrived counts.
        self.assertEqual(self.rows("SELECT counted, count(*) FROM request GROUP BY counted"), [(0, 9)])
        other = self.service()
        other.fault("reset", path="/files/")
        self.label(other, "--hashes", self.write_list(digest(10)), expect=1)
        self.assertEqual(self.rows("SELECT counted, count(*) FROM request WHERE subject = '%s' GROUP BY counted" % digest(10)), [(1, 3)])

    def test_key_refused(self):
        vt = self.service()
        path = self.write_list(digest(1), digest(2))
        self.label(vt, "--hashes", path, key="f" * 64, expect=5)
        self.assertIn("refuses the key", self.talk)
        self.assertEqual(vt.count("/files/"), 0)
        vt.fail(digest(1), "UserNotActiveError")
        self.label(vt, "--hashes", path, expect=5)
        self.assertEqual(vt.count("/files/"), 1)            # at once, no second hash
        vt.fail(digest(1), "ForbiddenError")
        self.label(vt, "--hashes", path, expect=5)
        self.assertEqual(vt.count("/files/"), 2)
        self.assertEqual(set(self.states().values()), {"pending"})


class RealAnswers(LabelCase):
    """Genuine file objects, served as they are; the counts are taken from them here, independently."""

    def test_counts(self):
        data = os.environ.get("MALSEQ_DATA")
        if not data:
            print("MALSEQ_DATA is not set: genuine VirusTotal answers are not tried")
            self.skipTest("MALSEQ_DATA is not set")
        objects = []
        for name in ("avclass/vtv3_sample.json", "vt3/claravy_v3_scan.jsonl", "vt3/al_claravy_malware.jsonl", "edge/edge_v3.jsonl"):
            with open(os.path.join(data, "labels", name), encoding="utf-8") as file:
                objects += [json.loads(line) for line in file if line.strip()]
        tried = 0
        for number, item in enumerate(objects):
            item = item.get("data", item)
            attributes = item.get("attributes", {})
            name = attributes.get("sha256") or attributes.get("md5")
            if not name or "last_analysis_results" not in attributes or len(name) not in (32, 64):
                continue
            with self.subTest(name, number=number):
                vt = self.service()
                vt.add(dict(item, id=name, type="file"))
                self.corpus = os.path.join(self.folder, "real%d" % number)
                row = self.label(vt, "--hashes", self.write_list(name))[0]
                categories = [engine.get("category", "malicious" if engine.get("result") else "undetected") for engine in attributes["last_analysis_results"].values()]
                detecting = sum(1 for category in categories if category in ("malicious", "suspicious"))
                self.assertEqual(row["positives"], detecting)
                self.assertEqual(row["responding"], detecting + sum(1 for category in categories if category in ("undetected", "harmless")))
                self.assertLessEqual(row["groups"], detecting)
                tried += 1
                vt.stop()
        self.assertGreaterEqual(tried, 3)


class Tls(LabelCase):
    """A server that cannot prove who it is gets neither the key nor a second try."""

    def context(self):
        """A TLS context of the server's side, and the path of its self-signed certificate."""
        if not shutil.which("openssl"):
            print("openssl is not installed: certificates are not tried")
            self.skipTest("no openssl")
        certificate = os.path.join(self.folder, "server.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-keyout", certificate, "-out", certificate + ".crt"],
                       check=True, capture_output=True, timeout=250)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate + ".crt", certificate)
        return context, certificate + ".crt"

    def test_certificate_of_the_user(self):
        context, certificate = self.context()
        vt = VirusTotal(minute=1000, hour=100000)
        vt.clock = Clock()
        vt._server.socket = context.wrap_socket(vt._server.socket, server_side=True)    # pylint: disable=protected-access
        vt.start()
        self.addCleanup(vt.stop)
        vt.add(spec(1))
        vt.api = "https://127.0.0.1:%d/api/v3" % vt.port
        path = self.write_list(digest(1))
        self.assertEqual(self.label(vt, "--hashes", path, env={"SSL_CERT_FILE": certificate})[0]["verdict"], "malicious")
        vt.clear_log()
        vt.api = "https://localhost:%d/api/v3" % vt.port      # not the name in the certificate
        self.label(vt, "--hashes", self.write_list(digest(2)), env={"SSL_CERT_FILE": certificate}, expect=5)
        self.assertEqual(len(vt.log), 0)

    def test_self_signed(self):
        context, _ = self.context()
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        received, accepted = [], []

        def serve():
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                accepted.append(1)
                try:
                    with context.wrap_socket(connection, server_side=True) as stream:
                        received.append(stream.recv(4096))
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        environment = dict(os.environ, VT_API_KEY="a" * 64, MALSEQ_TEST_SPEED=str(SPEED))
        command = [os.path.join(BIN, "label"), "--vt-url", "https://127.0.0.1:%d/api/v3" % listener.getsockname()[1], "--corpus", self.corpus,
                   "--hashes", self.write_list(digest(1), digest(2), digest(3)), "-v"]
        result = subprocess.run(command, env=environment, capture_output=True, timeout=250, check=False)
        self.assertEqual(result.returncode, 5, result.stderr)
        self.assertIn(b"certificate", result.stderr)
        self.assertEqual(len(accepted), 1)
        self.assertEqual([data for data in received if data], [])
        self.assertNotIn(b"a" * 64, result.stderr + result.stdout)


class Key(LabelCase):
    def test_nothing_holds_the_key(self):
        vt = self.service()
        vt.add(spec(1))
        vt.fail(digest(2), "TransientError", times=1)
        path = self.write_list(digest(1), digest(2), digest(3))
        self.label(vt, "-v", "-v", "--hashes", path)
        self.label(vt, "-v", "-v", "quota")
        file = os.path.join(self.folder, "key")
        with open(file, "w", encoding="ascii") as out:
            out.write(vt.key + "\n")
        os.chmod(file, 0o600)
        self.label(vt, "quota", tool_args=("--vt-key", "@" + file))
        vt.clock.start += 40 * 86400
        self.label(vt, "-v", "--hashes", path, tool_args=("--vt-key", vt.key))
        self.assertIn("warning", self.talk)
        found = 0
        for folder, _, names in os.walk(self.corpus):
            for name in names:
                with open(os.path.join(folder, name), "rb") as content:
                    self.assertNotIn(vt.key.encode(), content.read(), name)
                found += 1
        self.assertGreater(found, 0)
        for entry in vt.log:
            self.assertNotIn(vt.key, entry["target"])
        self.assertEqual({row[0] for row in self.rows("SELECT DISTINCT key_print FROM request")}, {hashlib.sha256(vt.key.encode()).hexdigest()[:8]})

    @unittest.skipIf("MALSEQ_TEST_VALGRIND" in os.environ, "what the system knows of them there is valgrind's own environment and argv")
    def test_processes_hold_no_key(self):
        """While a run waits for an answer: nothing in its argv, and nothing at all in the processes that read what came."""
        for given in ("environment", "argv", "file"):
            with self.subTest(given):
                vt = self.service()
                vt.fault("hang", path="/files/", seconds=30)
                file = os.path.join(self.folder, "key")
                with open(file, "w", encoding="ascii") as out:
                    out.write(vt.key + "\n")
                os.chmod(file, 0o600)
                environment = dict(os.environ, XDG_STATE_HOME=self.folder)
                environment.pop("VT_API_KEY", None)
                key = {"argv": ["--vt-key", vt.key], "file": ["--vt-key", "@" + file], "environment": ["--vt-key"]}[given]
                if given == "environment":
                    environment["VT_API_KEY"] = vt.key
                command = [os.path.join(BIN, "label"), *key, "--vt-url", vt.api, "--corpus", os.path.join(self.folder, given), "--hashes",
                           self.write_list(digest(1)), "-v"]
                with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
                    try:
                        deadline = time.monotonic() + 120
                        while vt.count("/files/") < 1 and time.monotonic() < deadline:
                            time.sleep(0.05)
                        self.assertEqual(vt.count("/files/"), 1)
                        self.look_into(run.pid, vt.key.encode())
                        if given == "environment" and os.geteuid() == 0:
                            with self.assertRaises(AssertionError):         # the search finds what is there
                                self.scan(run.pid, vt.key.encode())
                    finally:
                        run.kill()

    def look_into(self, pid, key):
        def content(name, process=pid):
            with open("/proc/%d/%s" % (process, name), "rb") as file:
                return file.read()
        self.assertNotIn(key, content("cmdline"))
        with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as file:
            children = [int(word) for word in file.read().split()]
        self.assertGreaterEqual(len(children), 1)
        for child in children:
            self.assertNotIn(key, content("cmdline", child))
            try:
                self.assertNotIn(key, content("environ", child))
                if os.environ.get("MALSEQ_SANITIZED") == "1":
                    continue        # AddressSanitizer's runtime keeps a copy of the environment of its own
                looked = self.scan(child, key)
            except PermissionError:
                print("not allowed to read the memory of %d: not looked through for the key" % child)
                continue
            self.assertGreater(looked, 1 << 16)

    def scan(self, pid, key):
        """Bytes of memory looked through."""
        looked = 0
        with open("/proc/%d/maps" % pid, encoding="utf-8", errors="replace") as maps, open("/proc/%d/mem" % pid, "rb", buffering=0) as memory:
            for line in maps:
                words = line.split()
                start, end = (int(word, 16) for word in words[0].split("-"))
                if not words[1].startswith("rw") or end - start > 1 << 26:
                    continue
                try:
                    memory.seek(start)
                    content = memory.read(end - start)
                except (OSError, ValueError, OverflowError):
                    continue
                self.assertNotIn(key, content, line)
                looked += len(content)
        return looked

    def test_a_list_of_keys_is_refused(self):
        vt = self.service()
        path = self.write_list(digest(1))
        for keys in ("%s,%s" % (vt.key, vt.key[::-1]), "%s;%s" % (vt.key, vt.key)):
            self.label(vt, "--hashes", path, key=keys, expect=2)
            self.assertIn("one key a run", self.talk)
        self.assertEqual(vt.log, [])

    def test_the_key_is_in_no_url(self):
        vt = self.service()
        self.label(vt, "--vt-user", vt.user, "--hashes", self.write_list(digest(1)))
        self.assertEqual(vt.count("users/%s/overall_quotas" % vt.user), 1)
        self.label(vt, "--hashes", self.write_list(digest(2)), env={"VT_USER": ""})
        self.assertEqual(vt.count("overall_quotas"), 1)
        self.assertIn("--vt-user", self.talk)
        self.assertEqual(vt.count("/files/"), 2)
        self.label(vt, "--vt-user", vt.key, "--hashes", self.write_list(digest(3)), expect=2)
        self.label(vt, "quota", env={"VT_USER": vt.key}, expect=2)
        self.assertIn("not its key", self.talk)
        for entry in vt.log:
            self.assertNotIn(vt.key, entry["target"])

    def test_refused_before_anything_is_sent(self):
        vt = self.service()
        path = self.write_list(digest(1))
        self.label(None, "--vt-key", "--hashes", path, expect=2, json_lines=False)
        self.assertIn("VT_API_KEY", self.talk)
        file = os.path.join(self.folder, "key")
        with open(file, "w", encoding="ascii") as out:
            out.write(vt.key + "\n")
        os.chmod(file, 0o644)
        self.label(vt, "--hashes", path, tool_args=("--vt-key", "@" + file), expect=2)
        self.assertIn("chmod 600", self.talk)
        os.chmod(file, 0o600)
        with open(file, "w", encoding="ascii") as out:
            out.write("two words\n")
        self.label(vt, "--hashes", path, tool_args=("--vt-key", "@" + file), expect=2)
        self.assertEqual(len(vt.log), 0)
        environment = dict(os.environ, VT_API_KEY=vt.key)
        command = [os.path.join(BIN, "label"), "--vt-url", "http://vt.invalid/api/v3", "--corpus", self.corpus, "--hashes", path]
        result = subprocess.run(command, env=environment, capture_output=True, timeout=250, check=False)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn(b"https", result.stderr)
        self.label(vt, "--hashes", os.path.join(self.folder, "missing"), expect=3)


if __name__ == "__main__":
    unittest.main()

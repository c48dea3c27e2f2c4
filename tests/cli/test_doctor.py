"""malseq doctor: keys and their files, a GitHub and a sandbox on loopback, the database and the clock; a line each, and never a secret."""
import http.server
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest
from email.utils import formatdate

from gen.schema import Schema

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
LINE = Schema("doctor.schema.json")
TOKEN, KEY = "token-0123456789abcdef", "key-fedcba9876543210"


class Services(http.server.BaseHTTPRequestHandler):
    """A GitHub that counts requests and a Cuckoo that says who it is."""

    def do_GET(self):
        away = self.headers.get("Authorization") != "Bearer " + TOKEN
        if self.path == "/api/rate_limit":
            body = {"resources": {"core": {"limit": 5000, "remaining": self.server.left, "reset": 1893456000}}}
            self.answer(401 if away else 200, body)
        elif self.path == "/sandbox/cuckoo/status":
            self.answer(200, {"version": "2.0.7", "hostname": "h", "tasks": {"pending": 3, "running": 1}, "machines": {"available": 1, "total": 1}})
        else:
            self.answer(404, {"message": "no"})

    def answer(self, code, body):
        data = json.dumps(body).encode()
        self.send_response_only(code)
        self.send_header("Date", formatdate(time.time() + self.server.ahead, usegmt=True))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words):
        pass


class Doctor(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-doctor-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.corpus = self.root / "corpus"
        (self.root / "in").mkdir()
        subprocess.run([os.path.join(BIN, "collect"), "--dir", str(self.root / "in"), "-q", "--corpus", str(self.corpus)], check=True, timeout=250,
                       stdout=subprocess.DEVNULL)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Services)
        self.server.left, self.server.ahead = 4999, 0
        self.addCleanup(self.server.server_close)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.shutdown)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.token = self.secret("token", TOKEN)

    def secret(self, name, value, mode=0o600):
        path = self.root / name
        path.write_text(value + "\n")
        path.chmod(mode)
        return path

    def doctor(self, *args, expect=0):
        env = {name: value for name, value in os.environ.items() if name not in ("VT_API_KEY", "GITHUB_TOKEN", "CUCKOO_TOKEN")}
        result = subprocess.run([os.path.join(BIN, "malseq"), "doctor", "--json", "--corpus", str(self.corpus), *map(str, args)], env=env,
                                capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=250, check=False)
        self.assertEqual(result.returncode, expect, result.stdout + result.stderr)
        for value in (TOKEN, KEY):
            self.assertNotIn(value, result.stdout + result.stderr)
        found = {}
        for line in map(json.loads, result.stdout.splitlines()):
            LINE.check(line, "finding")
            found.setdefault(line["check"], []).append((line["state"], line["text"]))
        return found

    def test_all_is_well(self):
        found = self.doctor("--github-url", self.url + "/api", "--github-token", f"@{self.token}", "--cuckoo", self.url + "/sandbox")
        self.assertEqual([state for state, _ in found["github"]], ["ok", "ok"])
        self.assertIn("4999 of 5000 requests left until 2030-01-01T00:00:00Z", found["github"][1][1])
        self.assertEqual(found["sandbox"], [("ok", f"{self.url}/sandbox is cuckoo 2.0.7, 1 tasks running, 3 waiting")])
        self.assertEqual([found[name][0][0] for name in ("confinement", "corpus", "runs", "clock")], ["ok"] * 4)

    def test_what_is_wrong_is_told(self):
        self.server.ahead = 3600
        self.corpus.chmod(0o755)
        db = sqlite3.connect(self.corpus / "corpus.db")
        db.execute("PRAGMA user_version = 9999")
        db.close()
        key = self.secret("key", KEY, 0o644)
        found = self.doctor("--github-url", self.url + "/api", "--vt-key", f"@{key}", "--github-token", f"@{self.secret('old', 'revoked-token')}",
                            "--cuckoo", self.url + "/nothing", expect=1)
        self.assertEqual(found["github"][-1], ("fault", "the token is refused"))
        self.assertRegex(found["virustotal"][0][1], "open to others .mode 0644")
        self.assertEqual([found[name][-1][0] for name in ("virustotal", "sandbox", "corpus", "clock", "folder")],
                         ["fault", "fault", "fault", "fault", "warning"])

    def test_configuration(self):
        conf = self.root / "nightly.conf"
        conf.write_text(f"[extract]\ncuckoo = {self.url}/sandbox\n[label]\nvt-key = @key\n")
        self.secret("key", KEY)
        found = self.doctor("--config", conf)
        self.assertEqual((found["nightly"][0][0], found["sandbox"][0][0], found["virustotal"][0][0]), ("ok", "ok", "ok"))
        self.assertIn("requests left", found["virustotal"][1][1])
        conf.write_text("[extract]\ncucko = x\n")
        self.assertEqual(self.doctor("--config", conf, "--offline", expect=1)["nightly"][0][0], "fault")


if __name__ == "__main__":
    unittest.main()

"""malseq doctor: keys and their files, a GitHub, a VirusTotal and a sandbox on loopback, the database and the clock; a line each, and never a
secret. Nothing leaves the machine."""
import http.server
import json
import os
import sqlite3
import threading
import time
import unittest
import unittest.mock
from email.utils import formatdate

from corpus_case import CorpusCase
from gen.schema import Schema
from services.virustotal import VirusTotal
from test_migrate import OLDEST, old_database

LINE = Schema("doctor.schema.json")
TOKEN, KEY = "token-0123456789abcdef", "key-fedcba9876543210"


class Services(http.server.BaseHTTPRequestHandler):
    """A GitHub that counts requests and a Cuckoo that says who it is."""

    def do_GET(self):
        away = self.headers.get("Authorization") != "Bearer " + TOKEN
        if self.path == "/api/rate_limit":
            self.server.asked.append(self.headers.get("Authorization"))
            body = {"resources": {"core": {"limit": 5000, "remaining": self.server.left, "reset": self.server.reset}}}
            self.answer(401 if away else 200, body)
        elif self.path == "/sandbox/cuckoo/status":
            self.server.tokens.append(self.headers.get("Authorization"))
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


class Doctor(CorpusCase):
    def setUp(self):
        super().setUp()
        unset = unittest.mock.patch.dict(os.environ)
        unset.start()
        self.addCleanup(unset.stop)
        for name in ("MALSEQ_CORPUS", "GITHUB_TOKEN", "VT_API_KEY", "VT_USER", "CUCKOO_TOKEN"):
            os.environ.pop(name, None)
        self.tool("collect", "--dir", self.input, "-q")
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Services)
        self.server.left, self.server.ahead, self.server.reset, self.server.tokens, self.server.asked = 4999, 0, 1893456000, [], []
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

    def doctor(self, *args, expect=0, **more):
        """{check: its states and texts}."""
        out = self.tool("malseq", "doctor", "--json", *args, expect=expect, **more)
        for value in (TOKEN, KEY):
            self.assertNotIn(value, out + self.talk)
        found = {}
        for line in map(json.loads, out.splitlines()):
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
        self.assertEqual(found["virustotal"][1], ("warning", "the key was not tried: without the account's id nobody is asked"))
        self.assertRegex(found["virustotal"][2][1], "^day: 500 of 500 requests left until .*, by the corpus's own count$")
        conf.write_text("[extract]\ncucko = x\n")
        self.assertEqual(self.doctor("--config", conf, "--offline", expect=1)["nightly"][0][0], "fault")

    def configured(self, text, *args, expect=0):
        """What doctor finds with this nightly.conf, asking nobody unless told."""
        conf = self.root / "nightly.conf"
        conf.write_text(text)
        conf.chmod(0o600)
        return self.doctor("--config", conf, *(args or ("--offline",)), expect=expect)

    def test_a_night_that_would_not_begin(self):
        """What nightly refuses is no sound file: a section with nothing to do, two models of one name."""
        for text, why in (("[collect]\nhistory = yes\n", "has nothing to do"), ("[train]\nname = m\n[train m]\n", "would both train the model 'm'"),
                          ("[train]\nenabled = no\n", "no stage is on")):
            found = self.configured(text, expect=1)["nightly"]
            self.assertEqual([state for state, _ in found], ["fault"])
            self.assertIn(why, found[0][1])
            self.tool("malseq", "nightly", "--config", self.root / "nightly.conf", "--dry-run", expect=3)
            self.assertIn(found[0][1], self.talk)

    def test_what_is_off_is_not_looked_at(self):
        text = "[audit]\n" + "".join(f"[{section}]\nenabled = {{0}}\n{rest}\n" for section, rest in (
            ("collect", "github-list = none\ngithub-token = @none"), ("label x", "vt-key = @none"), ("extract", "cuckoo = http://127.0.0.1:1,token=@none")))
        faults = [name for name, found in self.configured(text.format("yes"), expect=1).items() if ("fault" in dict(found))]
        self.assertEqual(faults, ["nightly", "virustotal", "github", "sandbox"])
        self.assertEqual(self.configured(text.format("no"))["virustotal"], [("ok", "no key is given, and no night labels")])

    def test_named_sections(self):
        """Their keys are read and their servers asked with their own tokens; two that share a key are one finding."""
        (self.root / "repos").write_text("")
        for name in ("open", "seen"):
            self.secret(name, KEY, 0o644)
        lists = "github-list = repos\ngithub-token = @token\ngithub-url = " + self.url + "/api\n"
        text = f"[extract a]\ncuckoo = {self.url}/sandbox\ntoken = @%s\n[label x]\nvt-key = @seen\n[collect a]\n{lists}[collect b]\n{lists}"
        found = self.configured(text % "open", "--sandbox", "cuckoo", expect=1)
        self.assertEqual([found[name][0][0] for name in ("sandbox", "virustotal")], ["fault", "fault"])
        self.assertRegex(found["virustotal"][0][1], "seen.* open to others")
        self.assertEqual([text for _, text in found["github"]],
                         ["the GitHub token can be read, and by its owner alone", "4999 of 5000 requests left until 2030-01-01T00:00:00Z"])
        self.assertEqual(self.server.tokens, [])
        self.assertEqual(len(self.configured(text % "token" + "[collect c]\ngithub-list = repos\ngithub-token = @open\n", "--sandbox", "cuckoo", expect=1)["github"]), 3)
        self.assertEqual(set(self.server.tokens), {"Bearer " + TOKEN})

    def test_one_token_for_several_sections(self):
        """--token is one server's: none of two gets it, in a file or in clear."""
        text = f"[extract a]\ncuckoo = {self.url}/sandbox\n[extract b]\ncuckoo = http://localhost:{self.server.server_port}/sandbox\n"
        for token in (f"@{self.token}", TOKEN):
            self.assertEqual(self.configured(text, "--token", token, "--sandbox", "cuckoo", expect=1)["sandbox"],
                             [("fault", "--token is bound to one server, and nightly.conf names more")])
        self.assertEqual(self.server.tokens, [])
        self.assertEqual([state for state, _ in self.configured(text + "enabled = no\n", "--token", TOKEN, "--sandbox", "cuckoo")["sandbox"]], ["ok"] * 2)
        self.assertEqual(set(self.server.tokens), {"Bearer " + TOKEN})

    def test_files_it_names(self):
        """Each that a stage reads is there, and so is the folder the report goes to."""
        text = "[collect]\ngithub-list = {0}/r\ndir = {0}\npassword-list = {0}/r\n[label]\nimport = {0}\n[extract]\nimport = {0}\n[report]\nhtml = {0}/x\n"
        found = self.configured(text.format("none"), expect=1)["nightly"]
        self.assertEqual([state for state, _ in found], ["ok"] + ["fault"] * 6)
        self.assertIn(f"nightly.conf:2: github-list: cannot read '{self.root}/none/r': No such file or directory", found[1][1])
        self.assertIn(f"html: cannot write into '{self.root}/none': ", found[6][1])
        (self.root / "none").mkdir()
        (self.root / "none" / "r").touch()
        self.assertEqual(len(self.configured(text.format("none"))["nightly"]), 1)

    def test_who_writes_the_configuration(self):
        """Others who write the file, or its folder, decide where keys are sent."""
        conf = self.root / "nightly.conf"
        conf.write_text("[audit]\n")
        for file, folder, texts in ((0o644, 0o755, []), (0o664, 0o700, ["it says where keys are sent"]), (0o600, 0o777, ["another nightly.conf there"]),
                                    (0o600, 0o1777, []), (0o602, 0o720, ["it says where keys are sent", "another nightly.conf there"])):
            conf.chmod(file)
            self.root.chmod(folder)
            found = self.doctor("--config", conf, "--offline")["nightly"]
            self.assertEqual([state for state, _ in found], ["ok"] + ["warning"] * len(texts), (file, folder))
            for want, (_, text) in zip(texts, found[1:]):
                self.assertIn(want, text)

    def test_the_disk_of_a_corpus_to_be(self):
        """With no corpus yet: that of the nearest folder above it, not of the one doctor was called in."""
        if not os.access("/dev/shm", os.W_OK) or os.stat("/dev/shm").st_dev == os.stat("/").st_dev:
            self.skipTest("/dev/shm is no file system of its own")
        for place, want in (("/dev/shm/malseq-none/a/corpus", True), (os.path.relpath("/dev/shm/malseq-none/corpus"), True), ("/proc/malseq-none/", False)):
            mount = self.doctor("--offline", corpus=place, expect=None)["mount"]
            self.assertEqual(mount == [("warning", "the corpus lies in memory and is gone with the machine")], want, (place, mount))
        self.assertIn("disk", self.doctor("--offline", corpus="malseq-none/corpus", expect=None))

    def test_servers_are_read_as_extract_reads_them(self):
        """A token in clear, one token for two servers, and two for one are refused there, so that no run begins with them."""
        one, other = self.url + "/sandbox", f"http://localhost:{self.server.server_port}/sandbox"
        for args, env in ((["--cuckoo", one + ",token=hunter2"], {}), (["--cuckoo", one, "--cuckoo", other, "--token", f"@{self.token}"], {}),
                          (["--cuckoo", one, "--cuckoo", other], {"CUCKOO_TOKEN": TOKEN}), (["--cuckoo", one + ",kind=joe"], {}),
                          (["--cuckoo", one + f",token=@{self.token}", "--token", f"@{self.token}"], {})):
            found = self.doctor(*args, env=env, expect=1)["sandbox"]
            self.assertEqual([state for state, _ in found], ["fault"], args)
            self.assertNotIn("hunter2", str(found) + self.talk)
        self.assertEqual(self.server.tokens, [])
        self.assertEqual([state for state, _ in self.doctor("--cuckoo", one + f",weight=2,token=@{self.token}")["sandbox"]], ["ok", "ok"])
        self.assertEqual(set(self.server.tokens), {"Bearer " + TOKEN})
        # A comma that no member follows is part of the URL.
        self.assertIn("/sandbox,x", self.doctor("--cuckoo", one + ",x", expect=1)["sandbox"][0][1])

    def test_a_time_that_is_none(self):
        self.server.reset = 2 ** 63 - 1
        found = self.doctor("--github-url", self.url + "/api", "--github-token", f"@{self.token}")
        self.assertEqual(found["github"][1], ("ok", "4999 of 5000 requests left until a time it does not say"))

    def test_the_environments_token(self):
        """It is GitHub's, and goes to no other server unless named for it, as in collect."""
        for args, text, asked in (((), f"$GITHUB_TOKEN is for GitHub and does not go to {self.url}/api", [None]),
                                  (("--github-token", "env:GITHUB_TOKEN"), "4999 of 5000 requests left until 2030-01-01T00:00:00Z", ["Bearer " + TOKEN])):
            self.server.asked.clear()
            found = self.doctor("--github-url", self.url + "/api", *args, env={"GITHUB_TOKEN": TOKEN}, expect=None)["github"]
            self.assertEqual((found[1][1], self.server.asked), (text, asked))

    def test_virustotal(self):
        """The key is tried where the account is named, and only there; nobody's corpus is migrated or held for it."""
        with VirusTotal(key=KEY) as vt:
            vt.spent(day=100)
            key = ("--vt-url", vt.api, "--vt-key", f"@{self.secret('key', KEY)}")
            named = self.doctor(*key, "--vt-user", vt.user)["virustotal"]
            self.assertEqual([state for state, _ in named], ["ok"] * 3)
            self.assertRegex(named[1][1], "^day: 400 of 500 requests left until [^,]*$")
            before = vt.count()
            self.assertEqual([state for state, _ in self.doctor(*key)["virustotal"]], ["ok", "warning", "ok", "ok"])
            self.assertEqual(vt.count(), before)
            self.assertIn("does not tell", self.doctor(*key, "--vt-user", "somebody-else")["virustotal"][1][1])
            before = vt.count()
            for make in (lambda: old_database(self.corpus / "corpus.db", OLDEST).close(), lambda: (self.corpus / "corpus.db").write_bytes(b"x" * 8192)):
                for path in self.corpus.glob("corpus.db*"):
                    path.unlink()
                make()
                bytes_before = (self.corpus / "corpus.db").read_bytes()
                self.assertEqual(self.doctor(*key, "--vt-user", vt.user, expect=None)["virustotal"][1][0], "warning")
                self.assertEqual((self.corpus / "corpus.db").read_bytes(), bytes_before)
            self.assertEqual(vt.count(), before)
            wrong = self.secret("wrong", "revoked-key")
            self.corpus = self.root / "none"
            self.assertEqual(self.doctor(*key[:3], f"@{wrong}", "--vt-user", vt.user, expect=1)["virustotal"][-1][0], "fault")
            self.assertIn("refuses the key", self.talk)
            self.assertFalse(self.corpus.exists())


if __name__ == "__main__":
    unittest.main()

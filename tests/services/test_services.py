"""Tests of the loopback services themselves: every status, quota and fault they promise; no malseq program is run here."""
import base64
import gzip
import hashlib
import http.client
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
import zipfile
from urllib.parse import urlsplit

from gen import report
from gen.antivirus import CLASSES, Spec, group_of
from services.cape import Cape
from services.cuckoo import Cuckoo
from services.github import GitHub
from services.gitobjects import EXECUTABLE, SUBMODULE, SYMLINK, Store, object_id
from services.httpd import Response, Service
from services.virustotal import ERRORS, VirusTotal

AGENT = {"User-Agent": "test/1"}


def ask(url, method="GET", body=None, headers=None, timeout=60):
    """(status, headers, body) of one request on its own connection; redirects are not followed."""
    split = urlsplit(url)
    connection = http.client.HTTPConnection(split.hostname, split.port, timeout=timeout)
    try:
        connection.request(method, split.path + ("?" + split.query if split.query else ""), body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def ask_json(url, **arguments):
    status, headers, body = ask(url, **arguments)
    return status, json.loads(body), headers


def multipart(data, filename="sample.bin", **fields):
    mark = "----malseq-test"
    parts = ['--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (mark, name, value) for name, value in fields.items()]
    head = '--%s\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\nContent-Type: application/octet-stream\r\n\r\n' % (mark, filename)
    return {"method": "POST", "body": "".join(parts).encode() + head.encode() + data + ("\r\n--%s--\r\n" % mark).encode(),
            "headers": {"Content-Type": "multipart/form-data; boundary=" + mark}}


def wait_for(check, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = check()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("did not happen in %d s" % seconds)


class Echo(Service):
    """Answers with a JSON object that is long enough to be cut."""

    def __init__(self):
        super().__init__()
        self.handled = 0

    def handle(self, request):
        self.handled += 1
        return Response(200, json.dumps({"path": request.path, "pad": "x" * 2000}).encode(), "application/json")


class Httpd(unittest.TestCase):
    def setUp(self):
        self.service = Echo().start()
        self.addCleanup(self.service.stop)
        self.url = self.service.url + "/thing"

    def test_plain_answer_and_log(self):
        status, value, _ = ask_json(self.url + "?a=1")
        self.assertEqual((status, value["path"]), (200, "/thing"))
        ask(self.url, "POST", b"12345")
        self.assertEqual((self.service.count(), self.service.count(r"^/thing\?a=1$"), self.service.count("/thing", "POST")), (2, 1, 1))
        self.assertEqual(self.service.requests(method="POST")[0]["body_bytes"], 5)

    def test_keep_alive_and_chunked_body(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=60)
        for _ in range(3):
            connection.request("POST", "/x", iter([b"ab", b"cde"]), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
            self.assertEqual(connection.getresponse().read()[:9], b'{"path": ')
        connection.close()
        self.assertEqual([entry["body_bytes"] for entry in self.service.log], [5, 5, 5])
        self.assertEqual(self.service.connection_count, 1)

    def test_statuses_on_chosen_requests(self):
        self.service.fault("status", status=503, nth=[2, 3])
        self.assertEqual([ask(self.url)[0] for _ in range(4)], [200, 503, 503, 200])
        self.assertEqual(self.service.count(status=503), 2)

    def test_429_with_and_without_retry_after(self):
        self.service.fault("status", status=429, retry_after=7, times=1)
        self.service.fault("status", status=429, times=1)
        self.assertEqual([ask(self.url)[1].get("Retry-After") for _ in range(3)], ["7", None, None])
        self.assertEqual([entry["status"] for entry in self.service.log], [429, 429, 200])

    def test_fault_before_or_after_the_work(self):
        self.service.fault("status", times=1)
        self.service.fault("status", times=1, after=True)
        self.assertEqual((ask(self.url)[0], self.service.handled), (500, 0))
        self.assertEqual((ask(self.url)[0], self.service.handled), (500, 1))

    def test_hang(self):
        self.service.fault("hang", times=1)
        start = time.monotonic()
        with self.assertRaises(socket.timeout):
            ask(self.url, timeout=0.4)
        self.assertLess(time.monotonic() - start, 3)
        self.assertEqual(ask(self.url)[0], 200)

    def test_reset(self):
        self.service.fault("reset", times=1)
        with self.assertRaises(ConnectionError):
            ask(self.url)

    def test_cut(self):
        self.service.fault("cut", fraction=0.25)
        with self.assertRaises(http.client.IncompleteRead) as caught:
            ask(self.url)
        self.assertGreater(len(caught.exception.partial), 100)
        self.assertGreater(caught.exception.expected, len(caught.exception.partial))

    def test_bad_bodies(self):
        for kind in ("html", "garbage", "truncated"):
            self.service.clear_faults()
            self.service.fault(kind)
            status, headers, body = ask(self.url)
            self.assertEqual((status, int(headers["Content-Length"])), (200, len(body)))
            with self.assertRaises(ValueError, msg=kind):
                json.loads(body)

    def test_truncated_gzip(self):
        self.service.fault("truncated_gzip")
        _, headers, body = ask(self.url)
        self.assertEqual(headers["Content-Encoding"], "gzip")
        with self.assertRaises(EOFError):
            gzip.decompress(body)

    def test_false_gzip(self):
        self.service.fault("false_gzip")
        _, headers, body = ask(self.url)
        self.assertEqual(headers["Content-Encoding"], "gzip")
        self.assertEqual(json.loads(body)["path"], "/thing")

    def test_other_kinds(self):
        self.service.fault("content_type", value="text/plain", times=1)
        self.service.fault("redirect", location="http://10.0.0.1/secret", times=1)
        self.service.fault("empty", times=1)
        self.service.fault("body", body={"a": 1}, status=418, times=1)
        self.assertEqual(ask(self.url)[1]["Content-Type"], "text/plain")
        status, headers, _ = ask(self.url)
        self.assertEqual((status, headers["Location"]), (302, "http://10.0.0.1/secret"))
        self.assertEqual(ask(self.url)[2], b"")
        self.assertEqual(ask_json(self.url)[:2], (418, {"a": 1}))

    def test_slow_and_oversize(self):
        self.service.fault("slow", piece=200, delay=0.02, times=1)
        start = time.monotonic()
        self.assertEqual(ask_json(self.url)[0], 200)
        self.assertGreater(time.monotonic() - start, 0.15)
        self.service.fault("oversize", total_bytes=3 << 20)
        status, headers, body = ask(self.url)
        self.assertEqual((status, headers["Content-Length"], len(body)), (200, None, 3 << 20))

    def test_unknown_kind_is_refused(self):
        with self.assertRaises(ValueError):
            self.service.fault("no-such-fault")

    def test_control_from_another_process(self):
        control = "%s/__control/%s" % (self.service.url, self.service.control_token)
        self.assertEqual(ask_json(control, method="POST", body=b'{"op": "fault", "kind": "status", "status": 502, "times": 1}')[0], 200)
        self.assertEqual((ask(self.url)[0], ask(self.url)[0]), (502, 200))
        self.assertEqual(ask_json(control, method="POST", body=b'{"op": "count", "status": 502}')[1]["count"], 1)
        self.assertEqual(ask(control + "x", "POST", b'{"op": "clear"}')[0], 404)
        self.assertEqual(ask(control, "POST", b"nonsense")[0], 400)
        self.assertEqual(ask_json(control, method="POST", body=b'{"op": "clear"}')[0], 200)
        self.assertEqual(self.service.count(), 0)


class Git(unittest.TestCase):
    """Against ids that git itself gave for the same content."""

    FILES = {"a/b/x.txt": b"hello\n", "a.txt": b"", "a-z": b"z", "run": (EXECUTABLE, b"#!/bin/sh\n"), "link": (SYMLINK, b"a.txt")}

    def test_ids(self):
        self.assertEqual(object_id("blob", b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")
        self.assertEqual(object_id("blob", b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a")
        store = Store()
        self.assertEqual(store.put_tree({}), "4b825dc642cb6eb9a060e54bf8d69288fbee4904")
        tree = store.put_tree(self.FILES)
        self.assertEqual(tree, "1e2c478994e934e5e769762a789817eb49a8e219")
        self.assertEqual(store.put_commit(tree, [], 1700000060), "c5a3494828451af18915f0cfed934aa5ee45f751")


class GitHubTest(unittest.TestCase):
    def setUp(self):
        self.hub = GitHub(token="good").start()
        self.addCleanup(self.hub.stop)
        self.repository = self.hub.add("own/repo", dict(Git.FILES, sub=(SUBMODULE, "1" * 40)))
        self.base = self.hub.url + "/repos/own/repo"

    def get(self, url, token="good", **headers):
        headers = dict(AGENT, **{name.replace("_", "-"): value for name, value in headers.items()})
        if token:
            headers["Authorization"] = "Bearer " + token
        return ask(url, headers=headers)

    def test_head_commit_and_304(self):
        status, headers, body = self.get(self.base + "/commits/HEAD", Accept="application/vnd.github.sha")
        self.assertEqual((status, body.decode(), headers["ETag"]), (200, self.repository.head, '"%s"' % self.repository.head))
        used = self.hub.used[True]
        status, headers, body = self.get(self.base + "/commits/HEAD", Accept="application/vnd.github.sha", If_None_Match=headers["ETag"])
        self.assertEqual((status, body, self.hub.used[True]), (304, b"", used))
        self.get(self.base + "/commits/HEAD", token=None, If_None_Match=headers["ETag"])
        self.assertEqual(self.hub.used[False], 1, "a 304 without a token is charged")
        old = self.repository.head
        self.hub.commit("own/repo", {"new": b"1"})
        status, _, body = self.get(self.base + "/commits/HEAD", Accept="application/vnd.github.sha", If_None_Match='"%s"' % old)
        self.assertEqual((status, body.decode()), (200, self.repository.head))
        self.assertEqual(json.loads(self.get(self.base + "/commits/main")[2])["parents"], [{"sha": old}])

    def test_tree_and_blobs(self):
        tree = json.loads(self.get(self.base + "/git/trees/%s?recursive=1" % self.repository.head)[2])
        found = {entry["path"]: entry for entry in tree["tree"]}
        self.assertEqual(set(found), {"a", "a/b", "a/b/x.txt", "a.txt", "a-z", "run", "link", "sub"})
        self.assertEqual((found["sub"]["type"], found["link"]["mode"], found["a/b/x.txt"]["size"], tree["truncated"]), ("commit", "120000", 6, False))
        status, headers, body = self.get(self.base + "/git/blobs/" + found["a/b/x.txt"]["sha"], Accept="application/vnd.github.raw+json")
        self.assertEqual((status, body), (200, b"hello\n"))
        self.assertEqual(hashlib.sha1(b"blob 6\0hello\n").hexdigest(), found["a/b/x.txt"]["sha"])
        self.assertEqual(base64.b64decode(json.loads(self.get(self.base + "/git/blobs/" + found["a/b/x.txt"]["sha"])[2])["content"]), b"hello\n")
        self.assertEqual(self.get(self.base + "/git/blobs/" + "0" * 40)[0], 404)

    def test_truncated_tree_and_walk(self):
        self.repository.truncate = 2
        tree = json.loads(self.get(self.base + "/git/trees/HEAD?recursive=1")[2])
        self.assertEqual((tree["truncated"], len(tree["tree"])), (True, 2))
        flat = json.loads(self.get(self.base + "/git/trees/HEAD")[2])
        self.assertFalse(flat["truncated"])
        folder = next(entry for entry in flat["tree"] if entry["type"] == "tree")
        below = json.loads(self.get(self.base + "/git/trees/" + folder["sha"])[2])
        self.assertEqual([entry["path"] for entry in below["tree"]], ["b"])

    def test_metadata_and_rename(self):
        meta = json.loads(self.get(self.base)[2])
        self.assertEqual((meta["id"], meta["default_branch"], meta["full_name"]), (self.repository.id, "main", "own/repo"))
        self.hub.rename("own/repo", "own/fresh")
        status, headers, _ = self.get(self.base + "/commits/HEAD")
        self.assertEqual((status, headers["Location"]), (301, "%s/repositories/%d/commits/HEAD" % (self.hub.url, self.repository.id)))
        self.assertEqual(json.loads(self.get("%s/repositories/%d" % (self.hub.url, self.repository.id))[2])["full_name"], "own/fresh")
        other = self.hub.replace("own/fresh", {"x": b"y"})
        self.assertNotEqual(json.loads(self.get(self.hub.url + "/repos/own/fresh")[2])["id"], self.repository.id)
        self.assertEqual(other.name, "own/fresh")

    def test_states(self):
        expected = {"gone": 404, "empty": 409, "dmca": 451, "tos": 403, "primary": 403, "secondary": 403, "server": 502, "ok": 200}
        for state, status in expected.items():
            self.repository.state = state
            got, headers, body = self.get(self.base + "/commits/HEAD")
            self.assertEqual(got, status, state)
            if state == "dmca":
                self.assertEqual(json.loads(body)["block"]["reason"], "dmca")
            if state == "primary":
                self.assertEqual(headers["X-RateLimit-Remaining"], "0")
            if state == "secondary":
                self.assertEqual((headers["Retry-After"], b"secondary rate limit" in body), ("60", True))
        self.repository.state, self.repository.limit_status = "secondary", 429
        self.assertEqual(self.get(self.base)[0], 429)

    def test_refusals(self):
        self.assertEqual(self.get(self.base, token="bad")[0], 401)
        self.assertEqual(ask(self.base)[0], 403, "no User-Agent")
        self.assertEqual(self.get(self.base + "/")[0], 404)
        self.assertEqual(self.get(self.hub.url + "/repos/own/none")[0], 404)
        self.hub.anonymous_limit = 2
        answers = [self.get(self.base, token=None) for _ in range(3)]
        self.assertEqual([answer[0] for answer in answers], [200, 200, 403])
        self.assertEqual([answer[1]["X-RateLimit-Remaining"] for answer in answers], ["1", "0", "0"])
        self.assertEqual(self.get(self.base)[0], 200, "the token has a limit of its own")

    def test_tarball_on_the_other_host(self):
        status, headers, _ = self.get(self.base + "/tarball/" + self.repository.head)
        self.assertEqual(status, 302)
        self.assertTrue(headers["Location"].startswith(self.hub.codeload.url + "/"))
        body = self.get(headers["Location"], token=None)[2]
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            top = "own-repo-%s/" % self.repository.head[:7]
            self.assertEqual(archive.extractfile(top + "a/b/x.txt").read(), b"hello\n")
        self.assertNotIn("authorization", self.hub.codeload.log[0]["headers"])


class VirusTotalTest(unittest.TestCase):
    def setUp(self):
        self.vt = VirusTotal(minute=3, day=5, month=7).start()
        self.addCleanup(self.vt.stop)
        self.now = 1763800000.0
        self.vt.clock = lambda: self.now
        data = b"sample"
        self.spec = Spec(hashlib.sha256(data).hexdigest(), hashlib.sha1(data).hexdigest(), hashlib.md5(data).hexdigest(), cls="Worm", family="kriechla",
                         groups=15)
        self.vt.add(self.spec)

    def get(self, path, **headers):
        return ask(self.vt.api + path, headers=dict({"x-apikey": self.vt.key}, **{name.replace("_", "-"): value for name, value in headers.items()}))

    def code(self, answer):
        return answer[0], json.loads(answer[2])["error"]["code"]

    def test_found_by_each_hash(self):
        for name in (self.spec.sha256, self.spec.sha1, self.spec.md5.upper()):
            status, _, body = self.get("/files/" + name)
            self.assertEqual((status, json.loads(body)["data"]["id"]), (200, self.spec.sha256))

    def test_not_found_costs_and_bad_hash(self):
        self.assertEqual(self.code(self.get("/files/" + "0" * 64)), (404, "NotFoundError"))
        self.assertEqual(self.vt.charged, 1)
        self.assertEqual(self.code(self.get("/files/nonsense")), (400, "BadRequestError"))

    def test_keys(self):
        self.assertEqual(self.code(ask(self.vt.api + "/files/" + self.spec.sha256)), (401, "AuthenticationRequiredError"))
        self.assertEqual(self.code(self.get("/files/" + self.spec.sha256, x_apikey="0" * 64)), (401, "WrongCredentialsError"))
        self.assertEqual(self.vt.charged, 0)

    def quota_left(self):
        data = json.loads(self.get("/users/%s/overall_quotas" % self.vt.user)[2])["data"]
        return [data["api_requests_" + name]["user"]["allowed"] - data["api_requests_" + name]["user"]["used"] for name in ("daily", "monthly")]

    def test_quota_windows(self):
        path = "/files/" + self.spec.sha256
        self.assertEqual([self.get(path)[0] for _ in range(4)], [200, 200, 200, 429], "the minute")
        self.assertEqual(self.quota_left(), [2, 4])
        self.now += 61
        self.assertEqual([self.get(path)[0] for _ in range(3)], [200, 200, 429], "the day")
        self.assertEqual(self.quota_left(), [0, 2])
        self.now += 86400
        self.assertEqual([self.get(path)[0] for _ in range(3)], [200, 200, 429], "the month")
        self.assertEqual(self.quota_left(), [3, 0])
        refused = self.get(path)
        self.assertEqual(self.code(refused), (429, "QuotaExceededError"))
        self.assertIsNone(refused[1]["Retry-After"])
        self.now += 20 * 86400
        self.assertEqual(self.get(path)[0], 200, "the next month")
        self.assertEqual(self.vt.charged, 8)

    def test_what_others_spent(self):
        self.vt.spent(day=4, month=4)
        self.assertEqual([self.get("/files/" + self.spec.sha256)[0] for _ in range(2)], [200, 429])
        self.assertEqual(json.loads(self.get("/users/%s/overall_quotas" % self.vt.key)[2])["data"]["api_requests_daily"]["user"]["used"], 5)

    def test_every_error(self):
        self.vt.minute = self.vt.day = self.vt.month = 100
        for code, status in ERRORS.items():
            self.vt.fail(self.spec.sha256, code, times=1)
            before = self.vt.charged
            self.assertEqual(self.code(self.get("/files/" + self.spec.sha256)), (status, code))
            self.assertEqual(self.vt.charged - before, 0 if status in (401, 403, 429) else 1, code)
        self.assertEqual(self.get("/files/" + self.spec.sha256)[0], 200)
        self.vt.fail(self.spec.sha256, "ForbiddenError", times=1)
        self.assertEqual(self.get("/files/" + "0" * 64)[0], 404, "another hash")
        self.assertEqual([self.get("/files/" + self.spec.sha256)[0] for _ in range(2)], [403, 200])

    def test_gzip_only_when_the_agent_says_so(self):
        status, headers, body = self.get("/files/" + self.spec.sha256, Accept_Encoding="gzip", User_Agent="malseq; gzip")
        self.assertEqual((status, headers["Content-Encoding"]), (200, "gzip"))
        self.assertEqual(json.loads(gzip.decompress(body))["data"]["id"], self.spec.sha256)
        self.assertIsNone(self.get("/files/" + self.spec.sha256, Accept_Encoding="gzip", User_Agent="malseq")[1]["Content-Encoding"])
        self.assertIsNone(self.get("/files/" + "0" * 64, Accept_Encoding="gzip", User_Agent="malseq; gzip")[1]["Content-Encoding"])

    def test_rescan_and_upload(self):
        self.vt.rescan_seconds = 600
        before = json.loads(self.get("/files/" + self.spec.sha256)[2])["data"]["attributes"]["last_analysis_date"]
        status, _, body = ask(self.vt.api + "/files/%s/analyse" % self.spec.sha256, "POST", b"", {"x-apikey": self.vt.key})
        self.assertEqual((status, json.loads(body)["data"]["type"]), (200, "analysis"))
        self.now += 300
        self.assertEqual(json.loads(self.get("/files/" + self.spec.sha256)[2])["data"]["attributes"]["last_analysis_date"], before)
        self.now += 400
        self.assertEqual(json.loads(self.get("/files/" + self.spec.sha256)[2])["data"]["attributes"]["last_analysis_date"], int(1763800600))
        self.assertEqual(self.vt.uploads, 0)

    def post_file(self, url, content, key=None):
        body = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n" + content + b"\r\n--b--\r\n"
        return ask(url, "POST", body, {"x-apikey": key or self.vt.key, "Content-Type": "multipart/form-data; boundary=b"})

    def test_uploads(self):
        before, content = self.vt.charged, b"never seen"
        name = hashlib.sha256(content).hexdigest()
        self.vt.upload_seconds, self.vt.direct_bytes = 60, 20000
        self.assertEqual(self.post_file(self.vt.api + "/files", content, key="0" * 64)[0], 401)
        self.assertEqual(self.post_file(self.vt.api + "/files", content)[0], 200)
        self.assertEqual((self.vt.charged - before, self.vt.uploads), (0, 1))           # unseen: free
        self.assertEqual(self.get("/files/" + name)[0], 404)
        self.now += 61
        self.assertEqual(json.loads(self.get("/files/" + name)[2])["data"]["id"], name)
        before = self.vt.charged
        self.assertEqual(self.post_file(self.vt.api + "/files", content)[0], 200)
        self.assertEqual(self.vt.charged - before, 1)                                   # known: one
        large = bytes(30000)
        self.assertEqual(self.post_file(self.vt.api + "/files", large)[0], 413)
        url = json.loads(self.get("/files/upload_url")[2])["data"]
        self.assertEqual(self.vt.charged - before, 2)
        self.now += 61
        self.assertEqual([self.post_file(url, large)[0] for _ in range(2)], [200, 404])  # good for one file
        self.vt.fail("upload:" + name, "AlreadyExistsError", times=1)
        self.now += 61
        self.assertEqual(self.code(self.post_file(self.vt.api + "/files", content)), (409, "AlreadyExistsError"))
        self.vt.day = self.vt.used()[2]
        self.assertEqual(self.code(self.post_file(self.vt.api + "/files", b"other")), (429, "QuotaExceededError"))

    def test_answers_by_class(self):
        for cls in CLASSES + (None,):
            sha256 = hashlib.sha256(str(cls).encode()).hexdigest()
            attributes = self.vt.add(Spec(sha256, cls=cls, family="zelphira", groups=14 if cls else 0))["attributes"]
            found = {engine: row["result"] for engine, row in attributes["last_analysis_results"].items() if row["category"] == "malicious"}
            self.assertEqual(len(found), attributes["last_analysis_stats"]["malicious"])
            self.assertTrue(all(found.values()))
            self.assertEqual(len({group_of(engine) for engine in found}), 14 if cls else 0)
            self.assertEqual(sum(attributes["last_analysis_stats"].values()), len(attributes["last_analysis_results"]))
            self.assertEqual("popular_threat_classification" in attributes, cls is not None)


class SandboxCase(unittest.TestCase):
    DATA = b"MZ" + b"\0" * 62

    @staticmethod
    def provider(task, data):
        return report.cuckoo([report.Process("a.exe", ["NtCreateFile", "NtWriteFile"] * 20)], task=task.id, sample=data)


class CuckooTest(SandboxCase):
    def serve(self, **settings):
        server = Cuckoo(settings.pop("reports", self.provider), **settings).start()
        self.addCleanup(server.stop)
        return server

    def status(self, server, task):
        return ask_json("%s/tasks/view/%d" % (server.url, task))[1]["task"]["status"]

    def test_life_cycle_by_time(self):
        server = self.serve(pending_seconds=10, running_seconds=20, processing_seconds=5, machines=1)
        server.table.clock = lambda: self.now
        self.now = 1000.0
        tasks = [ask_json(server.url + "/tasks/create/file", **multipart(self.DATA, custom="job"))[1]["task_id"] for _ in range(2)]
        self.assertEqual(tasks, [1, 2])
        seen = []
        for self.now in (1000.0, 1011.0, 1029.0, 1031.0, 1036.0, 1051.0, 1056.0):
            seen.append((self.status(server, 1), self.status(server, 2)))
        self.assertEqual(seen, [("pending", "pending"), ("running", "pending"), ("running", "pending"), ("completed", "running"),
                                ("reported", "running"), ("reported", "completed"), ("reported", "reported")])

    def test_life_cycle_by_polls(self):
        server = self.serve(by_polls=2)
        ask(server.url + "/tasks/create/file", **multipart(self.DATA))
        self.assertEqual([self.status(server, 1) for _ in range(8)],
                         ["pending", "running", "running", "completed", "completed", "reported", "reported", "reported"])

    def test_report_and_lookups(self):
        server = self.serve(by_polls=1)
        ask(server.url + "/tasks/create/file", **multipart(self.DATA))
        self.assertEqual(ask_json(server.url + "/tasks/report/1")[:2], (404, {"message": "Report not found"}))
        while self.status(server, 1) != "reported":
            pass
        status, headers, body = ask(server.url + "/tasks/report/1/json")
        whole = json.loads(body)
        self.assertEqual((status, whole["target"]["file"]["sha256"]), (200, hashlib.sha256(self.DATA).hexdigest()))
        self.assertEqual([len(process["calls"]) for process in whole["behavior"]["processes"]], [0, 40])
        self.assertEqual(ask_json(server.url + "/tasks/report/1?elements=info")[1]["version"], "2.0.7")
        sample = ask_json(server.url + "/files/view/sha256/" + hashlib.sha256(self.DATA).hexdigest())[1]["sample"]
        self.assertEqual(sample["tasks"], [1])
        self.assertEqual(len(ask_json(server.url + "/tasks/list?status=reported")[1]["tasks"]), 1)
        self.assertEqual(ask_json(server.url + "/cuckoo/status")[1]["tasks"]["reported"], 1)
        self.assertEqual(ask_json(server.url + "/tasks/reschedule/1")[1], {"status": "OK", "task_id": 2})
        self.assertEqual(self.status(server, 1), "recovered")
        self.assertEqual(ask_json(server.url + "/tasks/delete/1")[1], {"status": "OK"})
        self.assertEqual(ask(server.url + "/tasks/view/1")[0], 404)

    def test_token_is_checked_before_the_body(self):
        server = self.serve(token="secret")
        for header in ({}, {"Authorization": "bearer secret"}, {"Authorization": "Bearer wrong"}):
            self.assertEqual(ask_json(server.url + "/tasks/list", headers=header)[0], 401)
        self.assertEqual(ask_json(server.url + "/tasks/create/file", **multipart(b"x" * 500000))[0], 401)
        self.assertEqual(server.table.tasks, {})
        self.assertEqual(ask_json(server.url + "/tasks/list", headers={"Authorization": "Bearer secret"})[:2], (200, {"tasks": []}))

    def test_form_errors(self):
        server = self.serve()
        create = server.url + "/tasks/create/file"
        self.assertEqual(ask(create, "POST", b"")[0], 400)
        self.assertEqual(ask(create, **multipart(self.DATA, filename=""))[0], 500)
        status, headers, _ = ask(create, **multipart(self.DATA, unique="perhaps"))
        self.assertEqual((status, headers["Content-Type"]), (500, "text/html; charset=utf-8"))
        self.assertEqual(ask(create, **multipart(self.DATA))[0], 200)
        self.assertEqual(ask_json(create, **multipart(self.DATA, unique="1"))[:2], (400, {"message": "This file has already been submitted"}))
        self.assertEqual(ask_json(create, **multipart(self.DATA))[1], {"task_id": 2})
        self.assertEqual(ask(create)[0], 405)
        self.assertEqual(ask(server.url + "/tasks/view/1/")[0], 404)

    def test_task_troubles(self):
        server = self.serve(pending_seconds=0, running_seconds=0, processing_seconds=0)
        kinds = ["null_task_id", "error_after_submit", "stuck_running", "failed_processing", "no_report", "truncated_report", "garbage_report",
                 "empty_report", "html_report", "no_behavior", "hidden", "unknown_status"]
        for number, kind in enumerate(kinds, 1):
            server.table.behave(number, kind)
        answers = [ask(server.url + "/tasks/create/file", **multipart(self.DATA)) for _ in kinds]
        self.assertEqual(json.loads(answers[0][2]), {"task_id": None})
        self.assertEqual((answers[1][0], server.table.tasks[1].kind), (500, "error_after_submit"))
        task_of = {kind: index for index, kind in enumerate(kinds)}
        seen = {kind: self.status(server, task) for kind, task in task_of.items() if kind not in ("null_task_id", "hidden")}
        self.assertEqual((seen["stuck_running"], seen["failed_processing"], seen["unknown_status"], seen["no_report"]),
                         ("running", "failed_processing", "distributed", "reported"))
        self.assertEqual([ask("%s/tasks/view/%d" % (server.url, task_of["hidden"]))[0] for _ in range(4)], [404, 404, 404, 200])
        self.assertEqual(ask("%s/tasks/report/%d" % (server.url, task_of["no_report"]))[0], 404)
        for kind in ("truncated_report", "garbage_report", "empty_report", "html_report"):
            status, _, body = ask("%s/tasks/report/%d" % (server.url, task_of[kind]))
            self.assertEqual(status, 200)
            with self.assertRaises(ValueError, msg=kind):
                json.loads(body)
        self.assertNotIn("behavior", ask_json("%s/tasks/report/%d" % (server.url, task_of["no_behavior"]))[1])

    def test_one_request_at_a_time(self):
        for single in (True, False):
            server = self.serve(one_at_a_time=single)
            with socket.create_connection(("127.0.0.1", server.port)):
                wait_for(lambda: server.connection_count == 1)
                if single:
                    with self.assertRaises(socket.timeout):
                        ask(server.url + "/cuckoo/status", timeout=0.4)
                else:
                    self.assertEqual(ask(server.url + "/cuckoo/status")[0], 200)
            self.assertEqual(ask(server.url + "/cuckoo/status")[0], 200)

    def test_expect_100_continue(self):
        server = self.serve()
        with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
            connection.sendall(b"POST /tasks/create/file HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 100"))
            connection.sendall(b"abc")
            self.assertTrue(connection.recv(100).startswith(b"HTTP/1.0 400 BAD REQUEST\r\nServer: Werkzeug"))

    @unittest.skipUnless(os.environ.get("MALSEQ_DATA"), "MALSEQ_DATA is not set: the recorded answers of a real server are not compared")
    def test_like_the_recorded_answers(self):
        folder = os.path.join(os.environ["MALSEQ_DATA"], "..", "recorded", "cuckoo2")
        if not os.path.isdir(folder):
            self.skipTest("no recorded answers beside MALSEQ_DATA")
        server = self.serve(token="t", pending_seconds=0, running_seconds=1000)
        good = {"Authorization": "Bearer t"}

        def form(data=b"abc", **fields):
            request = multipart(data, **fields)
            request["headers"].update(good)
            return request
        submit = "/tasks/create/file"
        cases = [("create_file_badauth", submit, dict(multipart(b"x"))), ("create_file", submit, form(filename="s1.bin", options="free=yes,procmemdump=no", tags="win7")),
                 ("create_file_badbool", submit, form(memory="maybe")), ("create_file_nofile", submit, dict(method="POST", headers=good, body=b"")),
                 ("create_file_emptyname", submit, form(filename="")), ("create_file_unique_dup", submit, form(unique="1")),
                 ("view_running", "/tasks/view/1", {}), ("list_running", "/tasks/list", {}), ("view_404", "/tasks/view/999", {}),
                 ("view_slash", "/tasks/view/1/", {}), ("view_nonint", "/tasks/view/x", {}), ("report_pending", "/tasks/report/1", {}),
                 ("report_badfmt", "/tasks/report/1/doc", {}), ("report_all_notask", "/tasks/report/999/all", {}), ("files_view_404", "/files/view/md5/00", {}),
                 ("machines", "/machines/list", {}), ("v1_status", "/v1/cuckoo/status", {}), ("exit", "/exit", {}), ("root", "/", {}),
                 ("get_on_post", submit, {}), ("delete_running", "/tasks/delete/1", {}), ("delete_again", "/tasks/delete/99", {}),
                 ("completed_after_bad", "/tasks/list?completed_after=x", {}), ("submit_none", "/tasks/create/submit", dict(method="POST", headers=good, body=b"")),
                 ("files_view", "/files/view/id/1", {}), ("reschedule", "/tasks/reschedule/1", {}), ("view_recovered", "/tasks/view/1", {})]
        for name, path, request in cases:
            with self.subTest(name):
                with open(os.path.join(folder, name + ".http"), "rb") as file:
                    head, _, body = file.read().partition(b"\r\n\r\n")
                self.compare(head.decode().split("\r\n"), body, self.raw(server, path, **dict({"headers": good}, **request)))

    @staticmethod
    def raw(server, path, method="GET", body=b"", headers=None):
        with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
            lines = ["%s %s HTTP/1.1" % (method, path), "Host: x", "Content-Length: %d" % len(body)] + ["%s: %s" % pair for pair in headers.items()]
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
            data = b""
            while piece := connection.recv(65536):
                data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        return head.decode().split("\r\n"), body

    def compare(self, head, body, ours):
        """Same status line, same headers, and the same shape of the body: HTML to the byte, JSON by keys and layout."""
        self.assertEqual(head[0], ours[0][0])

        def fixed(lines):
            return sorted(line for line in lines[1:] if not line.startswith(("Date:", "Content-Length:")))
        self.assertEqual(fixed(head), fixed(ours[0]))
        if b"<!doctype" in body:
            self.assertEqual(body, ours[1])
            return
        theirs, mine = json.loads(body), json.loads(ours[1])
        self.assertEqual(list(keys_of(theirs)), list(keys_of(mine)))
        if "message" in theirs:
            self.assertEqual(body, ours[1])
        self.assertEqual(ours[1], (json.dumps(mine, indent=2, sort_keys=True) + "\n").encode())


def keys_of(value, path=""):
    if isinstance(value, dict):
        for key in sorted(value):
            if key not in ("guest", "options"):
                yield path + "/" + key
                yield from keys_of(value[key], path + "/" + key)
    elif isinstance(value, list) and value:
        yield from keys_of(value[0], path + "[]")


class CapeTest(SandboxCase):
    @staticmethod
    def provider(task, data):
        return report.cape([report.Process("a.exe", ["NtCreateFile"] * 5 + ["NtClose"])], task=task.id, sample=data)

    def serve(self, **settings):
        server = Cape(self.provider, **settings).start()
        self.addCleanup(server.stop)
        return server

    def test_submission_to_report(self):
        server = self.serve(by_polls=1)
        status, value, _ = ask_json(server.api + "/tasks/create/file/", **multipart(self.DATA))
        self.assertEqual((status, value["error"], value["data"]["task_ids"]), (200, [], [1]))
        report_url = server.api + "/tasks/get/report/1/json/"
        self.assertEqual(ask_json(report_url)[:2], (200, {"error": True, "error_value": "Task is still being analyzed"}))
        seen = [ask_json(server.api + "/tasks/status/1/")[1]["data"] for _ in range(3)]
        self.assertEqual(seen, ["running", "completed", "reported"])
        whole = ask_json(report_url)[1]
        self.assertEqual([call["repeated"] for call in whole["behavior"]["processes"][0]["calls"]], [4, 0])
        self.assertEqual(whole["target"]["file"]["sha256"], hashlib.sha256(self.DATA).hexdigest())
        self.assertNotIn("processes", ask_json(server.api + "/tasks/get/report/1/lite/")[1]["behavior"])
        packed = zipfile.ZipFile(io.BytesIO(ask(server.api + "/tasks/get/report/1/json/zip/")[2]))
        self.assertEqual(json.loads(packed.read("reports/report.json")), whole)
        found = ask_json(server.api + "/tasks/search/sha256/%s/" % hashlib.sha256(self.DATA).hexdigest())[1]
        self.assertEqual([task["id"] for task in found["data"]], [1])
        self.assertEqual(ask_json(server.api + "/tasks/search/md5/%s/" % ("0" * 32))[1], {"error": False, "data": []})
        self.assertEqual(ask_json(server.api + "/tasks/view/1/")[1]["data"]["status"], "reported")

    def test_refusals_come_with_200(self):
        server = self.serve()
        server.table.behave(1, "null_task_id")
        create = server.api + "/tasks/create/file/"
        self.assertTrue(ask_json(create, **multipart(self.DATA))[1]["error"])
        ask(create, **multipart(self.DATA))
        duplicate = ask_json(create, **multipart(self.DATA, unique="1"))
        self.assertEqual((duplicate[0], duplicate[1]["error"]), (200, True))
        self.assertIn("Duplicated file", json.dumps(duplicate[1]["errors"]))
        self.assertTrue(ask_json(create, **multipart(b""))[1]["error"])
        self.assertEqual(ask_json(server.api + "/tasks/status/99/")[1], {"error": True, "error_value": "Task does not exist"})
        self.assertTrue(ask_json(server.api + "/tasks/delete/1/")[1]["error"])
        self.assertTrue(ask_json(server.api + "/cuckoo/status/")[1]["error"])

    def test_slash_token_and_throttle(self):
        server = self.serve(token="key", per_minute=3)
        status, headers, _ = ask(server.api + "/tasks/status/1")
        self.assertEqual((status, headers["Location"]), (301, "/apiv2/tasks/status/1/"))
        self.assertEqual(ask_json(server.api + "/tasks/status/1/")[0], 401)
        self.assertEqual(ask_json(server.api + "/tasks/status/1/", headers={"Authorization": "Bearer key"})[0], 401)
        answers = [ask(server.api + "/tasks/status/1/", headers={"Authorization": "Token key"}) for _ in range(4)]
        self.assertEqual([answer[0] for answer in answers], [200, 200, 200, 429])
        self.assertGreater(int(answers[3][1]["Retry-After"]), 0)
        self.assertIn(b"throttled", answers[3][2])

    def test_html_for_browsers(self):
        server = self.serve()
        self.assertEqual(ask(server.api + "/tasks/status/1/", headers={"Accept": "text/html"})[1]["Content-Type"], "text/html; charset=utf-8")
        self.assertEqual(ask(server.api + "/tasks/status/1/", headers={"Accept": "application/json"})[1]["Content-Type"], "application/json")


class DemoProcess(unittest.TestCase):
    def test_start_serve_and_end_with_the_parent(self):
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "demo_world.py")
            child = subprocess.Popen([sys.executable, "-B", program, "--out", folder, "--samples", "60", "--seed", "3", "--sandbox", "both"],
                                     stdin=subprocess.PIPE)
            try:
                path = os.path.join(folder, "services.json")
                wait_for(lambda: os.path.exists(path), 15)
                with open(path, encoding="utf-8") as file:
                    info = json.load(file)
                self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
                self.assertEqual(info["counts"]["samples"], 60)
                headers = dict(AGENT, Authorization="Bearer " + info["github_token"])
                self.assertEqual(ask(info["github_url"] + "/repos/garden-lab/zoo", headers=headers)[0], 200)
                self.assertEqual(ask(info["virustotal_url"] + "/users/demo-user/overall_quotas", headers={"x-apikey": info["vt_key"]})[0], 200)
                self.assertEqual(ask(info["cuckoo_url"] + "/cuckoo/status", headers={"Authorization": "Bearer " + info["cuckoo_token"]})[0], 200)
                self.assertEqual(ask(info["cape_url"] + "/tasks/status/1/")[0], 200)
                self.assertEqual(sorted(os.listdir(info["fresh"])), sorted(info["fresh_truth"]))
                with open(info["key_files"]["vt"], encoding="utf-8") as file:
                    self.assertEqual(file.read().strip(), info["vt_key"])
                child.stdin.close()
                self.assertEqual(child.wait(10), 0)
            finally:
                child.kill()
                child.wait()


if __name__ == "__main__":
    unittest.main()

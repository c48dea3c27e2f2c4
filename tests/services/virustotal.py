"""A fake VirusTotal API v3 with key check and real quota windows; no feeds, no searches, no behaviours.

    vt = VirusTotal(minute=4, day=500, month=15500)      # vt.key is the one good key, vt.user its user id
    vt.add(Spec(...))                                     # found by md5, sha1 or sha256
    vt.fail(HASH, "TransientError")                       # that hash answers this error (any code of ERRORS; times=N limits it)
    with vt: client("--vt-url", vt.api, key=vt.key)
Unknown hashes are 404 NotFoundError. Every look-up, 404s included, costs one request of the minute (sliding 60 s), the day (UTC)
and the month (UTC); overall_quotas and api_usage are free. Over quota: 429 QuotaExceededError, the same for all three windows, without
Retry-After, as the real one. A refused request (401, 403, 429) is not charged, one refused by vt.fail neither. vt.spent(day=N, month=N) sets what other tools used. vt.charged is the
number charged by this service; vt.clock may be replaced by a function that returns Unix seconds (quota windows).
Bodies are gzip when the client sends Accept-Encoding: gzip and has the word "gzip" in its User-Agent; error answers never are.
POST /files/HASH/analyse charges one and renews last_analysis_date after vt.rescan_seconds.
POST /files takes up to vt.direct_bytes, else 413; GET /files/upload_url charges one and gives a URL (or vt.upload_url, whatever that is)
that takes one upload of up to 650 MB. Both need the key. An upload of what the service has never seen is not charged (but refused when a
window is full); one of a known file is. Uploads are counted in vt.uploads and kept in vt.received: {"name", "field", "bytes", "sha256",
"path"}; the file is known after vt.upload_seconds, as vt.verdict(content) says: a Spec, or None when it stays unknown.
"""
import base64
import calendar
import gzip
import hashlib
import json
import re
import secrets
import time

from gen.antivirus import Spec, file_object
from services.httpd import Response, Service, parse_multipart

ERRORS = {"BadRequestError": 400, "InvalidArgumentError": 400, "NotAvailableYet": 400, "UnselectiveContentQueryError": 400,
          "UnsupportedContentQueryError": 400, "AuthenticationRequiredError": 401,
          "UserNotActiveError": 401, "WrongCredentialsError": 401, "ForbiddenError": 403, "NotFoundError": 404, "AlreadyExistsError": 409,
          "FailedDependencyError": 424, "QuotaExceededError": 429, "TooManyRequestsError": 429, "TransientError": 503,
          "DeadlineExceededError": 504}
MESSAGES = {"QuotaExceededError": "Quota exceeded", "WrongCredentialsError": "Wrong API key", "TransientError": "Transient error. Please retry.",
            "AuthenticationRequiredError": "X-Apikey header is missing", "ForbiddenError": "You are not authorized to perform the requested operation",
            "DeadlineExceededError": "The operation took too long to complete", "TooManyRequestsError": "Too many requests"}
MAX_UPLOAD_BYTES = 650 << 20
THREAT_CATEGORIES = ["adware", "banker", "downloader", "dropper", "fakeav", "hacktool", "miner", "phising", "pua", "ransomware", "spyware",
                     "trojan", "virus", "worm"]


class VirusTotal(Service):
    """See the module text. api is the base URL with /api/v3."""

    def __init__(self, minute=4, day=500, month=15500, hour=None, key=None, user="demo-user", group=None):
        super().__init__()
        self.key, self.user = key or secrets.token_hex(32), user
        self.minute, self.hour, self.day, self.month, self.group = minute, hour or minute * 60, day, month, group
        self.clock = time.time
        self.times, self.charged, self.uploads, self.rescan_seconds = [], 0, 0, 0
        self.direct_bytes, self.upload_seconds, self.upload_url, self.verdict = 32 << 20, 0, None, self.undetected
        self.received, self.coming, self.tickets = [], {}, set()
        self.before = {"day": 0, "month": 0}
        self.files, self.aliases, self.failures, self.analyses = {}, {}, {}, {}
        self.api = self.url + "/api/v3"

    def add(self, spec_or_object):
        """Take a Spec, or a ready "data" object (dict with id and attributes). Returns the object."""
        data = file_object(spec_or_object) if isinstance(spec_or_object, Spec) else spec_or_object
        with self.lock:
            self.files[data["id"]] = data
            for name in ("sha256", "sha1", "md5"):
                if data["attributes"].get(name):
                    self.aliases[data["attributes"][name]] = data["id"]
        return data

    def fail(self, name, code, times=None, status=None):
        self.failures[name.lower()] = [code, times, status]

    def spent(self, day=0, month=0):
        self.before = {"day": day, "month": max(day, month)}

    # Quota.
    def used(self):
        """Requests used in (minute, hour, UTC day, UTC month), other tools' included in the last two."""
        now = self.clock()
        today = time.gmtime(now)
        day_start = calendar.timegm(today[:3] + (0, 0, 0))
        month_start = calendar.timegm(today[:2] + (1, 0, 0, 0))
        since = [sum(1 for moment in self.times if moment > start) for start in (now - 60, now - 3600)]
        return (since[0], since[1], sum(1 for moment in self.times if moment >= day_start) + self.before["day"],
                sum(1 for moment in self.times if moment >= month_start) + self.before["month"])

    def charge(self, cost=1):
        """True, and `cost` requests booked, unless a window is full."""
        used = self.used()
        if used[0] >= self.minute or used[2] >= self.day or used[3] >= self.month:
            return False
        self.times += [self.clock()] * cost
        self.charged += cost
        return True

    def quotas(self):
        _, hour, day, month = self.used()
        answer = {}
        for name, used, allowed in (("hourly", hour, self.hour), ("daily", day, self.day), ("monthly", month, self.month)):
            answer["api_requests_" + name] = {"user": {"used": used, "allowed": allowed}}
            if self.group:
                answer["api_requests_" + name]["group"] = dict({"inherited_from": "demo-group"}, **self.group["api_requests_" + name])
        return answer

    # Answers.
    def last_headers(self):
        return [("Cache-Control", "no-cache"), ("X-Cloud-Trace-Context", "0")]

    def json(self, value, status=200, request=None):
        body, headers = json.dumps(value, indent=4).encode(), []
        if request is not None and status == 200 and "gzip" in request.header("accept-encoding") and "gzip" in request.header("user-agent"):
            body, headers = gzip.compress(body, 5, mtime=0), [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        return Response(status, body, "application/json; charset=utf-8", headers)

    def problem(self, code, message=None, status=None):
        return self.json({"error": {"message": message or MESSAGES.get(code, code), "code": code}}, status or ERRORS[code])

    def handle(self, request):
        key = request.header("x-apikey")
        if not key:
            return self.problem("AuthenticationRequiredError")
        if key != self.key:
            return self.problem("WrongCredentialsError")
        if request.parts[:2] == ["_ah", "upload"] and request.method == "POST":
            return self.upload(request, MAX_UPLOAD_BYTES, request.parts[2] if len(request.parts) == 3 else "")
        if request.parts[:2] != ["api", "v3"] or len(request.parts) < 3:
            return self.problem("NotFoundError", "Resource not found.")
        parts = request.parts[2:]
        if parts[0] == "users":
            return self.users(parts, request)
        if parts == ["popular_threat_categories"]:
            return self.json({"data": THREAT_CATEGORIES}, request=request)
        if parts == ["files"] and request.method == "POST":
            return self.upload(request, self.direct_bytes)
        refused = self.refusal(parts[1]) if len(parts) > 1 and parts[0] == "files" else None
        if refused:
            return refused
        if not self.charge():
            return self.problem("QuotaExceededError")
        if parts == ["files", "upload_url"] and request.method == "GET":
            ticket = secrets.token_urlsafe(24)
            self.tickets.add(ticket)
            return self.json({"data": "%s/_ah/upload/%s" % (self.url, ticket) if self.upload_url is None else self.upload_url}, request=request)
        if parts[0] == "files" and len(parts) == 2 and request.method == "GET":
            return self.file(parts[1], request)
        if parts[0] == "files" and len(parts) == 3 and parts[2] == "analyse" and request.method == "POST":
            return self.analyse(parts[1], request)
        if parts[0] == "analyses" and len(parts) == 2 and request.method == "GET":
            return self.analysis(parts[1], request)
        return self.problem("ForbiddenError") if parts[0] in ("intelligence", "feeds", "files") else self.problem("NotFoundError", "Resource not found.")

    def users(self, parts, request):
        if len(parts) != 3 or request.method != "GET" or parts[1] not in (self.user, self.key):
            return self.problem("ForbiddenError")
        if parts[2] == "overall_quotas":
            return self.json({"data": self.quotas()}, request=request)
        if parts[2] == "api_usage":
            day = time.strftime("%Y-%m-%d", time.gmtime(self.clock()))
            return self.json({"data": {"daily": {day: {"files/get": self.used()[2]}}, "total": {"files/get": self.used()[3]}}}, request=request)
        return self.problem("NotFoundError", "Resource not found.")

    def refusal(self, name):
        """The failure armed for a name when it is of the kind that costs nothing."""
        entry = self.failures.get(name.lower())
        if entry is None or (entry[2] or ERRORS[entry[0]]) not in (401, 403, 429):
            return None
        return self.failure(name)

    def failure(self, name):
        entry = self.failures.get(name.lower())
        if entry is None or entry[1] == 0:
            return None
        if entry[1] is not None:
            entry[1] -= 1
        return self.problem(entry[0], status=entry[2])

    def file(self, name, request):
        refused = self.failure(name)
        if refused:
            return refused
        self.arrive()
        if not re.fullmatch("[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64}", name):
            return self.problem("BadRequestError", "Invalid hash")
        identity = self.aliases.get(name.lower())
        if identity is None:
            return self.problem("NotFoundError", 'File "%s" not found' % name)
        data = self.files[identity]
        due = self.analyses.get(identity)
        if due is not None and self.clock() >= due:
            data["attributes"]["last_analysis_date"] = int(due)
            del self.analyses[identity]
        return self.json({"data": dict(data, links={"self": "https://www.virustotal.com/api/v3/files/" + identity})}, request=request)

    def descriptor(self, identity, request):
        md5 = self.files.get(identity, {}).get("attributes", {}).get("md5") or identity[:32]
        text = base64.b64encode(("%s:%d" % (md5, int(self.clock()))).encode()).decode()
        return self.json({"data": {"type": "analysis", "id": text}}, request=request)

    def analyse(self, name, request):
        refused = self.failure(name)
        if refused:
            return refused
        identity = self.aliases.get(name.lower())
        if identity is None:
            return self.problem("NotFoundError", 'File "%s" not found' % name)
        self.analyses[identity] = self.clock() + self.rescan_seconds
        return self.descriptor(identity, request)

    def analysis(self, name, request):
        try:
            md5 = base64.b64decode(name, validate=True).decode().split(":")[0]
        except ValueError:
            return self.problem("BadRequestError", "Invalid analysis id")
        done = self.aliases.get(md5) not in self.analyses
        return self.json({"data": {"type": "analysis", "id": name, "attributes": {
            "date": int(self.clock()), "status": "completed" if done else "queued", "stats": {}, "results": {}}}}, request=request)

    def undetected(self, content):
        """What the engines say of an uploaded file, unless vt.verdict is replaced."""
        digests = [hashlib.new(kind, content).hexdigest() for kind in ("sha256", "sha1", "md5")]
        now = int(self.clock())
        return Spec(*digests, size=len(content), first_seen=now, analysed=now)

    def upload(self, request, max_bytes, ticket=None):
        if len(request.body) > max_bytes + 4096:
            return Response(413, b"<html><title>413 Request Entity Too Large</title></html>", "text/html; charset=UTF-8")
        if ticket is not None and ticket not in self.tickets:
            return self.problem("NotFoundError", "Resource not found.")
        try:
            parts = parse_multipart(request.header("content-type"), request.body)
        except ValueError:
            return self.problem("BadRequestError", "No file")
        field, name, content = next(((field, name, data) for field, name, data in parts if field == "file"), (None, None, None))
        if content is None:
            return self.problem("BadRequestError", "No file")
        sha256 = hashlib.sha256(content).hexdigest()
        refused = self.failure("upload:" + sha256)
        if refused:
            return refused
        if not self.charge(1 if sha256 in self.aliases or sha256 in self.coming else 0):
            return self.problem("QuotaExceededError")
        self.tickets.discard(ticket)
        self.uploads += 1
        self.received.append({"field": field, "name": name, "bytes": len(content), "sha256": sha256, "path": request.path,
                              "parts": len(parts)})
        if sha256 not in self.aliases:
            self.coming[sha256] = (self.clock() + self.upload_seconds, self.verdict(content))
        return self.descriptor(sha256, request)

    def arrive(self):
        """Files uploaded long enough ago become known."""
        for sha256, (due, spec) in list(self.coming.items()):
            if spec is not None and self.clock() >= due:
                del self.coming[sha256]
                self.add(spec)

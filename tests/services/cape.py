"""A fake CAPEv2 apiv2 server: envelope, throttle and slashes as the real one's; no web pages beyond the refusals, no zipped samples.

    server = Cape(reports=provider, token="secret", per_minute=5)     # provider(task, sample bytes) -> report bytes or None
    with server: client("--cuckoo", server.api, "--sandbox", "cape")  # server.api ends in /apiv2, without a slash
Refusals come as {"error": true, "error_value": ...} with status 200, as the real server's do; 401 {"detail": ...} and 429 with Retry-After when
token authentication is on (token=None: open and not throttled). A path without its trailing slash is answered by a 301. task behaviours:
see services/tasks.py (null_task_id: "Error adding task to database"; error_after_submit: 500 HTML). `disabled` names switched-off endpoints.
"""
import hashlib
import io
import json
import re
import time
import zipfile

from services.httpd import Response, Service, parse_multipart
from services.tasks import Table

MAX_SAMPLE_BYTES = 30_000_000
HTML = b"<!DOCTYPE html>\n<html>\n<head><title>CAPE Sandbox</title></head>\n<body><h1>CAPE Sandbox</h1></body>\n</html>\n"


def answer(value, status=200, headers=()):
    return Response(status, json.dumps(value, separators=(",", ":")).encode(), "application/json", headers)


def refuse(text, status=200, **more):
    return answer(dict({"error": True, "error_value": text}, **more), status)


class Cape(Service):
    """See the module text."""

    def __init__(self, reports=None, token=None, per_minute=None, port=0, **table):
        super().__init__(port)
        self.token, self.per_minute, self.moments, self.clock = token, per_minute, [], time.monotonic
        self.table, self.disabled, self.unique_always = Table(reports, **table), {"delete", "reschedule", "cuckoo_status", "machines"}, False
        self.api = self.url + "/apiv2"

    def last_headers(self):
        return [("Vary", "Accept, Cookie"), ("X-Frame-Options", "DENY"), ("X-Content-Type-Options", "nosniff"), ("Server", "gunicorn")]

    ROUTES = (
        ("POST", r"tasks/create/file", "create_file"), ("GET", r"tasks/status/(\d+)", "task_status"), ("GET", r"tasks/view/(\d+)", "task_view"),
        ("GET", r"tasks/list(?:/(\d+))?(?:/(\d+))?(?:/(\d+))?", "task_list"), ("GET", r"tasks/search/(md5|sha1|sha256)/([^/]+)", "task_search"),
        ("GET", r"tasks/get/report/(\d+)(?:/([a-z0-9]+))?(?:/(zip))?", "task_report"), ("GET", r"tasks/delete/([0-9,-]+)", "task_delete"),
        ("GET", r"tasks/reschedule/(\d+)", "task_reschedule"), ("GET", r"files/view/(md5|sha1|sha256|id)/([^/]+)", "file_view"),
        ("GET", r"cuckoo/status", "cuckoo_status"), ("GET", r"machines/list", "machine_list"),
    )

    def handle(self, request):
        if not request.path.startswith("/apiv2/"):
            return Response(404, HTML, "text/html; charset=utf-8")
        if not request.path.endswith("/"):
            return Response(301, b"", "text/html; charset=utf-8", [("Location", request.target.replace(request.path, request.path + "/", 1))])
        path = request.path[len("/apiv2/"):-1]
        if self.token is not None:
            refusal = self.authorise(request)
            if refusal:
                return refusal
        for method, pattern, name in self.ROUTES:
            match = re.fullmatch(pattern, path)
            if match and request.method == method:
                response = getattr(self, name)(request, *match.groups())
                return self.browsable(request, response)
            if match:
                return answer({"detail": 'Method "%s" not allowed.' % request.method}, 405, [("Allow", method + ", OPTIONS")])
        return Response(404, HTML, "text/html; charset=utf-8")

    def authorise(self, request):
        scheme, _, secret = request.header("authorization").partition(" ")
        if not secret:
            return answer({"detail": "Authentication credentials were not provided."}, 401, [("WWW-Authenticate", "Token")])
        if scheme != "Token" or secret != self.token:
            return answer({"detail": "Invalid token."}, 401, [("WWW-Authenticate", "Token")])
        if self.per_minute is None:
            return None
        now = self.clock()
        self.moments = [moment for moment in self.moments if moment > now - 60]
        if len(self.moments) >= self.per_minute:
            wait = max(1, int(self.moments[0] + 60 - now) + 1)
            return answer({"detail": "Request was throttled. Expected available in %d seconds." % wait}, 429, [("Retry-After", wait)])
        self.moments.append(now)
        return None

    @staticmethod
    def browsable(request, response):
        """Who asks for HTML before JSON gets the API's page for people."""
        accept = request.header("accept", "*/*")
        if response.content_type == "application/json" and "text/html" in accept and "json" not in accept.split("text/html")[0]:
            return Response(response.status, HTML, "text/html; charset=utf-8", response.headers)
        return response

    # Submission.
    def create_file(self, request):
        try:
            parts = parse_multipart(request.header("content-type"), request.body)
        except ValueError:
            return refuse("No file was submitted")
        fields = {name: data.decode("utf-8", "replace") for name, filename, data in parts if filename is None}
        files = [(filename, data) for name, filename, data in parts if name == "file" and filename is not None]
        if not files:
            return refuse("No file was submitted")
        name, data = files[0]
        if not data:
            return refuse("Error adding task to database", errors=[{name: "You uploaded an empty file."}])
        if len(data) > MAX_SAMPLE_BYTES:
            return refuse("Error adding task to database", errors=[{name: "Uploaded file exceeds the maximum allowed size in conf/web.conf."}])
        if fields.get("machine") and not re.fullmatch("cuckoo[0-9]+|all|first", fields["machine"]):
            return refuse("Machine '%s' does not exist. Available: cuckoo1" % fields["machine"])
        unique = self.unique_always or fields.get("unique", "").lower() in ("1", "true", "yes", "on")
        if unique and hashlib.sha256(data).hexdigest() in self.table.samples:
            return refuse("Error adding task to database", errors=[{name: "Duplicated file, disable unique option on submit or in conf/web.conf "
                                                                          "to force submission"}])
        task = self.table.submit(data, name, fields)
        if task is None:
            return refuse("Error adding task to database", errors=[])
        if task.kind in ("error_after_submit", "error_and_late"):
            return Response(500, HTML, "text/html; charset=utf-8")
        return answer({"error": [], "data": {"task_ids": [task.id], "message": "Task ID %d has been submitted" % task.id}, "errors": [],
                       "url": ["http://cape.invalid/submit/status/%d/" % task.id]})

    # Tasks.
    def task_object(self, task):
        def stamp(seconds):
            return None if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
        sample = task.sample
        return {"id": task.id, "target": "/tmp/cuckoo-tmp/upload_%06d/%s" % (task.id, task.name), "category": "file",
                "timeout": int(task.fields.get("timeout") or 0), "priority": int(task.fields.get("priority") or 1), "custom": task.fields.get("custom", ""),
                "machine": task.machine or "", "package": task.fields.get("package", "exe"), "route": task.fields.get("route"),
                "tags_tasks": None, "options": task.fields.get("options", ""), "platform": "windows", "memory": False, "enforce_timeout": False,
                "clock": stamp(task.added), "added_on": stamp(task.added), "started_on": stamp(task.started), "completed_on": stamp(task.completed),
                "status": task.status, "errors": [], "guest": {}, "sample_id": sample.id,
                "sample": {"id": sample.id, "file_size": len(sample.data), "file_type": sample.file_type, "md5": sample.md5, "crc32": sample.crc32,
                           "sha1": sample.sha1, "sha256": sample.sha256, "sha512": sample.sha512, "ssdeep": None}}

    def task_status(self, _request, identity):
        task = self.table.look(int(identity))
        return answer({"error": False, "data": task.status}) if task else refuse("Task does not exist")

    def task_view(self, _request, identity):
        task = self.table.look(int(identity))
        return answer({"error": False, "data": self.task_object(task)}) if task else refuse("Task not found in database")

    def task_list(self, _request, limit, offset, _window):
        tasks = sorted(self.table.visible(), key=lambda task: (-(task.completed or 0), -task.id))
        limit, offset = min(int(limit or 10), 50), int(offset or 0)
        return answer({"error": False, "data": [self.task_object(task) for task in tasks[offset:offset + limit]], "config": "Limit: %d" % limit})

    def task_search(self, _request, kind, name):
        self.table.advance()
        now, known = self.table.clock(), self.table.samples
        samples = [known[name.lower()]] if kind == "sha256" and name.lower() in known else [sample for sample in known.values() if getattr(sample, kind) == name.lower()]
        found = [self.table.tasks[number] for sample in samples for number in sample.tasks]
        found = [task for task in found if task.visible <= now and task.hidden_looks == 0]
        return answer({"error": False, "data": [self.task_object(task) for task in found]})

    def task_delete(self, _request, names):
        if "delete" in self.disabled:
            return refuse("Task Deletion API is Disabled")
        for name in names.split(","):
            first, _, last = name.partition("-")
            for identity in range(int(first), int(last or first) + 1):
                if identity in self.table.tasks:
                    self.table.delete(self.table.tasks[identity])
        return answer({"error": False, "data": "Task(s) ID(s) %s has been deleted" % names})

    def task_reschedule(self, _request, identity):
        if "reschedule" in self.disabled:
            return refuse("Task Reschedule API is Disabled")
        task = self.table.tasks.get(int(identity))
        if task is None:
            return refuse("Task ID does not exist in the database")
        return answer({"error": False, "data": {"new_task_id": self.table.reschedule(task).id}})

    # Reports.
    def task_report(self, _request, identity, form, packed):
        self.table.advance()
        task = self.table.tasks.get(int(identity))
        form = form or "json"
        if "report" in self.disabled:
            return refuse("Task Report API is Disabled")
        if task is None:
            return refuse("Task does not exist")
        if task.status in ("failed_analysis", "failed_processing"):
            return refuse("Task failed")
        if task.status not in ("reported", "failed_reporting") or task.kind == "stuck_reported":
            return refuse("Task is still being analyzed")
        report = self.table.report_of(task)
        if form not in ("json", "lite", "litereport"):
            return refuse("Report format not found: " + form, 400)
        if report is None:
            return refuse("Reports directory does not exist")
        if form != "json":
            report = without_calls(report)
        name = "%d_report.%s" % (task.id, "zip" if packed else "json")
        headers = [("Content-Disposition", "attachment; filename=" + name)]
        if packed:
            raw = io.BytesIO()
            with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(zipfile.ZipInfo("reports/report.json"), report, zipfile.ZIP_DEFLATED)
            return Response(200, raw.getvalue(), "application/zip", headers)
        return Response(200, report, "text/html; charset=utf-8" if task.kind == "html_report" else "application/json", headers)

    def file_view(self, _request, kind, name):
        for sample in self.table.samples.values():
            if name == str(getattr(sample, kind)):
                return answer({"error": False, "data": {"id": sample.id, "sha256": sample.sha256, "md5": sample.md5, "sha1": sample.sha1,
                                                        "file_size": len(sample.data), "file_type": sample.file_type}})
        return refuse("Sample not found in database")

    def cuckoo_status(self, _request):
        if "cuckoo_status" in self.disabled:
            return refuse("Cuckoo Status API is Disabled")
        counts = self.table.counts()
        return answer({"error": False, "data": {"version": "2.4-CAPE", "hostname": "sandbox", "tasks": counts,
                                                "machines": {"total": self.table.machines, "available": self.table.machines - counts["running"]}}})

    def machine_list(self, _request):
        if "machines" in self.disabled:
            return refuse("Machine List API is Disabled")
        return answer({"error": False, "data": [{"name": "cuckoo%d" % (index + 1), "platform": "windows"} for index in range(self.table.machines)]})


def without_calls(report):
    """The lite report: behaviour without its calls."""
    whole = json.loads(report)
    whole["behavior"] = {key: value for key, value in whole.get("behavior", {}).items() if key in ("processtree", "summary")}
    return json.dumps(whole).encode()

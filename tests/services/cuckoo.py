"""A fake Cuckoo 2.0.7 REST server: headers, JSON layout and HTML errors as the real one's; no web interface, no VNC, no memory dumps.

    server = Cuckoo(reports=provider, token="secret", running_seconds=0.1)    # provider(task, sample bytes) -> report bytes or None
    server.table.behave(SHA256, "no_report")                                   # see services/tasks.py
    with server: client("--cuckoo", server.url)
HTTP/1.0, a connection per request, one request at a time (an idle connection blocks all others; one_at_a_time=False turns that off), no
trailing slash. With a token every request needs `Authorization: Bearer TOKEN`, byte for byte, and is refused before its body is read.
server.table.tasks has the tasks (id -> Task with status, sample, fields, name), server.got_binaries counts GET /files/get (a client has
no business there).
"""
import bz2
import hashlib
import io
import json
import re
import tarfile
import time
from urllib.parse import parse_qsl

from services.httpd import Response, Service, http_date, parse_multipart
from services.tasks import Table

PAGES = {
    400: ("Bad Request", "The browser (or proxy) sent a request that this server could not understand."),
    404: ("Not Found", "The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again."),
    405: ("Method Not Allowed", "The method is not allowed for the requested URL."),
    500: ("Internal Server Error", "The server encountered an internal error and was unable to complete your request. Either the server is "
          "overloaded or there is an error in the application."),
}
NOT_IN_V1 = ("summary", "rereport", "reboot")
TRUE, FALSE = ("1", "true", "True", "yes", "on"), ("0", "false", "False", "None", "no", "off", "")


class BadField(Exception):
    """A form field the real server fails on with a 500."""


def parse_bool(text):
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    try:
        return bool(int(text))
    except ValueError:
        raise BadField from None


def page(status, headers=()):
    title, text = PAGES[status]
    body = "<!doctype html>\n<html lang=en>\n<title>%d %s</title>\n<h1>%s</h1>\n<p>%s</p>\n" % (status, title, title, text)
    return Response(status, body.encode(), "text/html; charset=utf-8", headers)


def answer(value, status=200):
    return Response(status, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode(), "application/json")


def problem(status, message):
    return answer({"message": message}, status)


class Cuckoo(Service):
    """See the module text."""

    protocol = "HTTP/1.0"
    upper_reason = True

    def __init__(self, reports=None, token=None, one_at_a_time=True, port=0, **table):
        super().__init__(port)
        self.one_at_a_time, self.token, self.table, self.got_binaries = one_at_a_time, token, Table(reports, **table), 0
        self.submit_ids = 0

    def first_headers(self):
        return [("Server", "Werkzeug/2.2.2 Python/3.11.2"), ("Date", http_date(time.time()))]

    def last_headers(self):
        return [("Server", "Machete Server"), ("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY"),
                ("X-XSS-Protection", "1; mode=block"), ("Pragma", "no-cache"), ("Cache-Control", "no-cache"), ("Expires", "0")]

    def refuse_early(self, headers, method, target):
        if target.startswith("/__control/") or not self.token or headers.get("authorization") == "Bearer " + self.token:
            return None
        return problem(401, "Authentication in the form of an 'Authorization: Bearer <TOKEN>' header is required")

    ROUTES = (
        ("POST", r"/tasks/create/file", "create_file"), ("POST", r"/tasks/create/url", "create_url"),
        ("POST", r"/tasks/create/submit", "create_submit"),
        ("GET", r"/tasks/list(?:/(\d+))?(?:/(\d+))?", "task_list"), ("GET", r"/tasks/sample/(\d+)", "task_sample"),
        ("GET", r"/tasks/view/(\d+)", "task_view"), ("GET", r"/tasks/reschedule/(\d+)(?:/(\d+))?", "task_reschedule"),
        ("GET", r"/tasks/delete/(\d+)", "task_delete"), ("GET", r"/tasks/rereport/(\d+)", "task_rereport"),
        ("GET", r"/tasks/report/(\d+)(?:/([^/]+))?", "task_report"), ("GET", r"/tasks/summary/(\d+)", "task_summary"),
        ("GET", r"/files/view/(md5|sha256)/([^/]+)", "file_view"), ("GET", r"/files/view/(id)/(\d+)", "file_view"),
        ("GET", r"/files/get/([^/]+)", "file_get"), ("GET", r"/machines/list", "machine_list"),
        ("GET", r"/machines/view/([^/]+)", "machine_view"), ("GET", r"/cuckoo/status", "cuckoo_status"), ("GET", r"/exit", "leave"),
    )

    def handle(self, request):
        path = request.path
        if path.startswith("/v1/"):
            path = path[3:]
            if path == "/exit" or path.startswith(tuple("/tasks/%s/" % name for name in NOT_IN_V1)):
                return page(404)
        for method, pattern, name in self.ROUTES:
            match = re.fullmatch(pattern, path)
            if not match:
                continue
            if request.method != method and not (method == "GET" and request.method == "HEAD"):
                return page(405, [("Allow", "OPTIONS, POST" if method == "POST" else "GET, HEAD, OPTIONS")])
            return getattr(self, name)(request, *match.groups())
        return page(404)

    # Submission.
    def form(self, request):
        """(fields, [(part name, file name, bytes)]) of a multipart or urlencoded body; nothing of it is required here."""
        fields, files = {}, []
        try:
            for name, filename, data in parse_multipart(request.header("content-type"), request.body):
                if filename is None:
                    fields[name] = data.decode("utf-8", "replace")
                else:
                    files.append((name, filename, data))
        except ValueError:
            if "urlencoded" in request.header("content-type"):
                fields = dict(parse_qsl(request.body.decode("latin-1"), keep_blank_values=True))
        return fields, files

    def create_file(self, request):
        fields, files = self.form(request)
        chosen = [part for part in files if part[0] == "file"]
        if not chosen:
            return page(400)
        _, filename, data = chosen[0]
        try:
            int(fields.get("priority") or 1)
            flags = {name: parse_bool(fields.get(name, "0")) for name in ("memory", "unique", "enforce_timeout")}
        except (BadField, ValueError):
            return page(500)
        filename = re.split(r"[\\/]", filename)[-1]
        if not filename:
            return page(500)
        if flags["unique"] and hashlib.sha256(data).hexdigest() in self.table.samples:
            return problem(400, "This file has already been submitted")
        task = self.table.submit(data, filename, dict(fields, **flags))
        if task is not None and task.kind in ("error_after_submit", "error_and_late"):
            return page(500)
        return answer({"task_id": task.id if task else None})

    def create_url(self, request):
        fields, _ = self.form(request)
        if "url" not in fields:
            return page(400)
        task = self.table.submit(fields["url"].encode(), fields["url"], fields)
        return answer({"task_id": task.id if task else None})

    def create_submit(self, request):
        fields, files = self.form(request)
        if not files and not fields.get("strings"):
            return problem(500, "No files or strings have been given!")
        tasks = [self.table.submit(data, name, fields) for _, name, data in files]
        self.submit_ids += 1
        return answer({"errors": [], "submit_id": self.submit_ids, "task_ids": [task.id for task in tasks if task]})

    # Tasks.
    def sample_object(self, sample):
        return {"crc32": sample.crc32, "file_size": len(sample.data), "file_type": sample.file_type, "id": sample.id, "md5": sample.md5,
                "sha1": sample.sha1, "sha256": sample.sha256, "sha512": sample.sha512, "ssdeep": None}

    def task_object(self, task, http_dates):
        def stamp(seconds):
            if seconds is None:
                return None
            return http_date(seconds) if http_dates else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
        guest = {}
        if task.started is not None:
            def plain(seconds):
                return None if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
            guest = {"id": task.id, "label": task.machine, "manager": "VirtualBox", "name": task.machine, "shutdown_on": plain(task.completed),
                     "started_on": plain(task.started), "status": "running" if task.completed is None else "stopped", "task_id": task.id}
        fields = task.fields
        options = dict(pair.split("=", 1) for pair in fields.get("options", "").split(",") if "=" in pair)
        timeout = fields.get("timeout", "")
        return {"added_on": stamp(task.added), "category": "file", "clock": stamp(task.added), "completed_on": stamp(task.completed),
                "custom": fields.get("custom", ""), "duration": -1 if task.completed is None else int(task.completed - task.started),
                "enforce_timeout": bool(fields.get("enforce_timeout")), "errors": [], "guest": guest, "id": task.id,
                "machine": fields.get("machine", ""), "memory": bool(fields.get("memory")), "options": options, "owner": fields.get("owner", ""),
                "package": fields.get("package", ""), "platform": fields.get("platform", ""), "priority": int(fields.get("priority") or 1),
                "processing": None, "route": None, "sample": self.sample_object(task.sample), "sample_id": task.sample.id,
                "started_on": stamp(task.started), "status": task.status, "submit_id": None,
                "tags": [tag.strip() for tag in fields.get("tags", "").split(",") if tag.strip()],
                "target": "/home/cuckoo/.cuckoo/tmp-upload/tmp%06d/%s" % (task.id, task.name), "timeout": int(timeout) if timeout.isdigit() else 0}

    def task_view(self, _request, identity):
        task = self.table.look(int(identity))
        return answer({"task": self.task_object(task, True)}) if task else problem(404, "Task not found")

    def task_list(self, request, limit, offset):
        tasks = self.table.visible(request.query.get("status") or None)
        if request.query.get("completed_after"):
            try:
                after = int(request.query["completed_after"])
            except ValueError:
                return page(500)
            tasks = [task for task in tasks if task.completed is not None and task.completed > after]
        if request.query.get("owner"):
            tasks = [task for task in tasks if task.fields.get("owner", "") == request.query["owner"]]
        tasks.sort(key=lambda task: (task.completed is not None, task.completed or 0, task.id))
        start = int(offset or 0)
        tasks = tasks[start:start + int(limit)] if limit else tasks
        return answer({"tasks": [self.task_object(task, False) for task in tasks]})

    def task_sample(self, _request, identity):
        self.table.advance()
        return answer({"tasks": [self.task_object(task, False) for task in self.table.tasks.values() if task.sample.id == int(identity)]})

    def task_reschedule(self, _request, identity, priority):
        self.table.advance()
        task = self.table.tasks.get(int(identity))
        if task is None:
            return problem(404, "There is no analysis with the specified ID")
        new = self.table.reschedule(task)
        if priority:
            new.fields["priority"] = priority
        return answer({"status": "OK", "task_id": new.id})

    def task_delete(self, _request, identity):
        self.table.advance()
        task = self.table.tasks.get(int(identity))
        if task is None:
            return problem(404, "Task not found")
        if task.status == "running":
            return problem(500, "The task is currently being processed, cannot delete")
        self.table.delete(task)
        return answer({"status": "OK"})

    def task_rereport(self, _request, identity):
        return answer({"success": int(identity) in self.table.tasks})

    # Reports.
    def task_report(self, request, identity, form):
        self.table.advance()
        task = self.table.tasks.get(int(identity))
        form = form or "json"
        report = self.table.report_of(task) if task else None
        if form in ("all", "dropped", "package_files"):
            return page(500) if task is None or report is None else self.tar(report if form == "all" else None)
        if form not in ("json", "html"):
            return problem(400, "Invalid report format")
        if report is None or form == "html":
            return problem(404, "Report not found")
        if request.query.get("elements"):
            return self.element(report, request.query["elements"])
        return Response(200, report, "text/html" if task.kind == "html_report" else "application/json")

    @staticmethod
    def element(report, name):
        try:
            whole = json.loads(report)
        except ValueError:
            return page(500)
        if name not in whole:
            return problem(404, "'%s' not found" % name)
        return Response(200, json.dumps(whole[name], sort_keys=True).encode(), "application/json")

    @staticmethod
    def tar(report):
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as archive:
            if report is not None:
                member = tarfile.TarInfo("reports/report.json")
                member.size = len(report)
                archive.addfile(member, io.BytesIO(report))
        return Response(200, bz2.compress(raw.getvalue()), "application/x-tar; charset=UTF-8")

    def task_summary(self, _request, identity):
        self.table.advance()
        task = self.table.tasks.get(int(identity))
        report = self.table.report_of(task) if task else None
        return problem(404, "Report not found") if report is None else Response(200, report, "application/json")

    # Files, machines, status.
    def file_view(self, _request, kind, name):
        self.table.advance()
        known = self.table.samples
        for sample in [known[name]] if kind == "sha256" and name in known else () if kind == "sha256" else known.values():
            if name == (str(sample.id) if kind == "id" else getattr(sample, kind)):
                now = self.table.clock()
                tasks = [number for number in sample.tasks if self.table.tasks[number].visible <= now]
                return answer({"sample": dict(self.sample_object(sample), tasks=tasks)}) if tasks or not sample.tasks else problem(404, "File not found")
        return problem(404, "File not found")

    def file_get(self, _request, name):
        self.got_binaries += 1
        sample = self.table.samples.get(name)
        return Response(200, sample.data, "application/octet-stream; charset=UTF-8") if sample else problem(404, "File not found")

    def machine_object(self, index):
        return {"id": index + 1, "interface": "vboxnet0", "ip": "192.168.56.%d" % (101 + index), "label": "cuckoo%d" % (index + 1), "locked": False,
                "locked_changed_on": None, "name": "cuckoo%d" % (index + 1), "options": [], "platform": "windows", "rcparams": {},
                "resultserver_ip": "192.168.56.1", "resultserver_port": 2042, "snapshot": None, "status": None, "status_changed_on": None,
                "tags": ["win7", "32bit"]}

    def machine_list(self, _request):
        return answer({"machines": [self.machine_object(index) for index in range(self.table.machines)]})

    def machine_view(self, _request, name):
        for index in range(self.table.machines):
            if name == "cuckoo%d" % (index + 1):
                return answer({"machine": self.machine_object(index)})
        return problem(404, "Machine not found")

    def cuckoo_status(self, _request):
        counts = self.table.counts()
        space = {"free": 80050360320, "total": 270553174016, "used": 190502813696}
        return answer({"cpu_count": 2, "cpuload": [0.5, 0.4, 0.3], "diskspace": {"analyses": space, "binaries": space}, "hostname": "sandbox",
                       "machines": {"available": max(0, self.table.machines - counts["running"]), "total": self.table.machines},
                       "memavail": 23709820, "memory": 3.94, "memtotal": 24682416, "processes": {}, "tasks": counts, "version": "2.0.7"})

    def leave(self, _request):
        return problem(403, "This call can only be used in debug mode")

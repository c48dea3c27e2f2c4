"""A fake DRAKVUF Sandbox REST server: uploads, states, its list of the latest analyses, logs; no frontend but the page that it serves for every
other path, no karton, no memory dumps.

    server = Drakvuf(reports=provider)                 # provider(task, sample bytes) -> the lines of the apimon log or None
    with server: client("--cuckoo", server.url, "--sandbox", "drakvuf", "--route", "default")
Task behaviours: see services/tasks.py (null_task_id: 500 HTML, nothing made; failed_*: failed). server.table.tasks has the tasks.
"""
import hashlib
import json
import re
import uuid

from services.httpd import Response, Service, parse_multipart
from services.tasks import Table

LIST_MAX = 100
HTML = b"<!DOCTYPE html>\n<html><head><title>DRAKVUF Sandbox</title></head><body><div id=\"root\"></div></body></html>\n"
WORDS = {"pending": "queued", "running": "started", "completed": "started", "reported": "finished", "failed_reporting": "finished",
         "failed_analysis": "failed", "failed_processing": "failed", "recovered": "failed"}


def answer(value, status=200):
    return Response(status, json.dumps(value).encode() + b"\n", "application/json")


class Drakvuf(Service):
    """See the module text."""

    def __init__(self, reports=None, port=0, **table):
        super().__init__(port)
        self.table, self.uids = Table(reports, **table), {}
        self.api = self.url + "/api"

    ROUTES = (("POST", r"/api/upload", "upload"), ("GET", r"/api/list", "listing"), ("GET", r"/api/status/([^/]+)", "status"),
              ("GET", r"/api/logs/([^/]+)/([a-z]+)", "log_of"), ("GET", r"/api/report/([^/]+)", "summary"))

    def handle(self, request):
        for method, pattern, name in self.ROUTES:
            match = re.fullmatch(pattern, request.path)
            if match and request.method == method:
                return getattr(self, name)(request, *match.groups())
        return Response(404 if request.path.startswith("/api/") else 200, HTML, "text/html; charset=utf-8")

    def upload(self, request):
        try:
            parts = parse_multipart(request.header("content-type"), request.body)
        except ValueError:
            parts = []
        fields = {name: data.decode("utf-8", "replace") for name, filename, data in parts if filename is None}
        files = [(filename, data) for name, filename, data in parts if name == "file" and filename is not None]
        if not files:
            return answer([{"loc": ["file"], "msg": "Field required", "type": "missing"}], 422)
        name = fields.get("file_name") or files[0][0]
        task = self.table.submit(files[0][1], name, fields)
        if task is None:
            return Response(500, HTML, "text/html; charset=utf-8")
        task.uid = str(uuid.UUID(bytes=hashlib.md5(b"%d" % task.id).digest(), version=4))
        self.uids[task.uid] = task
        if task.kind in ("error_after_submit", "error_and_late"):
            return Response(500, HTML, "text/html; charset=utf-8")
        return answer({"task_uid": task.uid})

    @staticmethod
    def analysis(task):
        return {"id": task.uid, "status": WORDS.get(task.status, task.status), "substatus": "done" if task.status == "reported" else "analyzing",
                "vm_id": 1, "options": {"timeout": int(task.fields.get("timeout") or 600), "plugins": ["apimon", "procmon"]},
                "file": {"name": task.name, "type": task.sample.file_type, "sha256": task.sample.sha256}, "time_started": "2026-11-22T10:28:25"}

    def listing(self, _request):
        tasks = sorted(self.table.visible(), key=lambda task: -task.id)[:LIST_MAX]
        return answer([self.analysis(task) for task in tasks])

    def status(self, _request, uid):
        task = self.uids.get(uid)
        task = self.table.look(task.id) if task else None
        return answer(self.analysis(task)) if task else answer({"error": "Job not found"}, 404)

    def log_of(self, _request, uid, kind):
        self.table.advance()
        task = self.uids.get(uid)
        report = self.table.report_of(task) if task and kind == "apimon" else None
        return answer({"error": "Data not found"}, 404) if report is None else Response(200, report, "text/plain; charset=utf-8")

    def summary(self, _request, uid):
        task = self.uids.get(uid)
        return answer({"info": {"id": uid}, "processes": []} if task else {"error": "Data not found"}, 200 if task else 404)

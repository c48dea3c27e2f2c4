"""A small threaded HTTP server on 127.0.0.1 with a request log and programmable faults; it knows no particular service.

Use: derive from Service, implement handle(request) -> Response, then

    with MyService() as service:
        run_client(service.url)
        assert service.count("/tasks/view", method="GET") == 3

Faults are armed with service.fault(KIND, path=REGEX, method=..., nth=..., times=..., **arguments); the first armed fault that
matches a request fires. nth counts the matching requests from 1 (an int, or a collection of ints); times limits the firings.
KINDS (arguments with their defaults):
    status          status=500 headers={} body=None content_type="text/html"   any status; retry_after=N adds the header
    hang            seconds=60          the request is read and never answered; the connection stays open
    reset                               the connection is closed (RST) without an answer
    cut             fraction=0.5        Content-Length of the whole body, a part of it, then close
    truncated       fraction=0.5        a shorter body whose Content-Length is right
    truncated_gzip  fraction=0.5        Content-Encoding: gzip and a gzip stream that ends early, Content-Length right
    false_gzip                          Content-Encoding: gzip over the plain body
    html            status=200          an HTML page where data is expected
    garbage                             200, application/json, bytes that are not JSON
    empty           status=200          no body at all
    content_type    value="text/plain"  the true body under another type
    body            body=b"" status=200 content_type="application/json"
    redirect        location=URL status=302
    slow            piece=64 delay=0.05 the true body in small pieces
    oversize        total_bytes=1<<30 declare=False   zeros without end (until the client closes)
after=True lets the service do its work first and only replaces the answer: a submission that happened, answered by a 500.

A service in another process is steered through POST /__control/TOKEN with one JSON object: {"op": "fault", "kind": ..., ...},
{"op": "clear"}, {"op": "log"}, {"op": "count", "path": ..., "method": ..., "status": ...}; TOKEN is service.control_token, random
for each start. The control requests are not in the log. Fault settings from a file: service.load_faults(PATH), a JSON list of
objects with the same members.
"""
import gzip
import hmac
import json
import re
import secrets
import socket
import socketserver
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, unquote, urlsplit

MAX_REQUEST_BYTES = 128 << 20   # guards the test machine against a client that sends without end
SMALL_BODY_BYTES = 1 << 20      # a body refused by its headers is still read up to this size
IDLE_SECONDS = 30               # a connection kept alive without a request is dropped after this
KINDS = ("status", "hang", "reset", "cut", "truncated", "truncated_gzip", "false_gzip", "html", "garbage", "empty", "content_type",
         "body", "redirect", "slow", "oversize")
HTML_PAGE = (b"<!doctype html>\n<html lang=en>\n<title>Service page</title>\n<h1>Something else than the data you asked for</h1>\n"
             b"<p>{\"this\": \"is not the answer\"}</p>\n")


class Request:
    """One request as the service sees it: method, path (still percent-encoded), parts (decoded), query, headers, body."""

    def __init__(self, method, target, headers, body, peer):
        self.method, self.target, self.headers, self.body, self.peer = method, target, headers, body, peer
        split = urlsplit(target)
        self.path = split.path
        self.query = dict(parse_qsl(split.query, keep_blank_values=True))
        self.parts = [unquote(part, errors="surrogateescape") for part in split.path.split("/")[1:]]

    def header(self, name, default=""):
        return self.headers.get(name.lower(), default)


class Response:
    """One answer. headers: list of (name, value), sent in order after Content-Type; reason: text of the status line; chunked: the length
    is not told."""

    def __init__(self, status=200, body=b"", content_type=None, headers=(), reason=None, chunked=False):
        self.status, self.body, self.content_type = status, body, content_type
        self.headers, self.reason, self.chunked = list(headers), reason, chunked


class Fault:
    """One armed fault; see the module text for the kinds."""

    def __init__(self, kind, path=None, method=None, nth=None, times=None, after=False, **arguments):
        if kind not in KINDS:
            raise ValueError("unknown fault kind: %r" % (kind,))
        self.kind, self.method, self.times, self.after, self.arguments = kind, method, times, after, arguments
        self.path = re.compile(path) if path else None
        self.nth = {nth} if isinstance(nth, int) else set(nth) if nth else None
        self.seen = self.fired = 0

    def take(self, request):
        """True when this fault shall answer the request; counts the request in any case."""
        if self.method and request.method != self.method:
            return False
        if self.path and not self.path.search(request.target):
            return False
        self.seen += 1
        if self.nth is not None and self.seen not in self.nth:
            return False
        if self.times is not None and self.fired >= self.times:
            return False
        self.fired += 1
        return True


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that goes away is part of the tests; anything else is kept for them to see."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, socket.timeout, BrokenPipeError)):
            self.service.errors.append(repr(error))


class _Handler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS

    def handle(self):
        service = self.server.service
        with service.connections_lock:
            service.connections.add(self.connection)
            service.connection_count += 1
        try:
            if service.one_at_a_time:
                # As Flask before 1.0: one connection is served to its end, and an idle one keeps all others waiting.
                with service.turn:
                    super().handle()
            else:
                super().handle()
        except (ConnectionError, socket.timeout):
            self.close_connection = True
        finally:
            with service.connections_lock:
                service.connections.discard(self.connection)

    def finish(self):
        try:
            super().finish()
        except (ConnectionError, ValueError):
            pass

    def parse_request(self):
        self.protocol_version = self.server.service.protocol
        if not super().parse_request():
            return False
        if self.protocol_version < "HTTP/1.1" and self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def log_message(self, *arguments):
        pass

    def read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            pieces, total = [], 0
            while True:
                size = int(self.rfile.readline(64).split(b";")[0] or b"0", 16)
                total += size
                if total > MAX_REQUEST_BYTES:
                    raise ConnectionError("request too large")
                if size == 0:
                    while self.rfile.readline(8192) not in (b"\r\n", b"\n", b""):
                        pass
                    return b"".join(pieces)
                pieces.append(self.rfile.read(size))
                self.rfile.readline(8)
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_REQUEST_BYTES:
            raise ConnectionError("request too large")
        body = self.rfile.read(length) if length else b""
        if len(body) != length:
            raise ConnectionError("request body ended early")
        return body

    def serve(self):
        service = self.server.service
        headers = {name.lower(): value for name, value in self.headers.items()}
        early = service.refuse_early(headers, self.command, self.path)
        if early is not None:
            # The answer of a server that looks at the headers before it reads the body. A large body is cut off by the close, as it is
            # in reality; a small one is taken in, so that the client sees the answer and not a reset.
            service.record(Request(self.command, self.path, headers, b"", self.client_address), early.status, None)
            self.close_connection = True
            self.send(early)
            if int(headers.get("content-length") or 0) <= SMALL_BODY_BYTES:
                self.read_body()
            return
        request = Request(self.command, self.path, headers, self.read_body(), self.client_address)
        if request.path.startswith("/__control/"):
            self.send(service.control(request))
            return
        fault = service.take_fault(request)
        needs_answer = fault is None or fault.after or fault.kind in ("cut", "truncated", "truncated_gzip", "false_gzip", "content_type",
                                                                              "slow")
        with service.lock:
            entry = service.record(request, None, fault)
            response = service.handle(request) if needs_answer else None
            if response is not None:
                entry["status"] = response.status
        if fault is None:
            self.send(response)
        else:
            self.fail(fault, response, entry)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = serve

    def head(self, response, length):
        service = self.server.service
        reason = response.reason or self.responses.get(response.status, ("Unknown",))[0]
        if service.upper_reason:
            reason = reason.upper()
        lines = ["%s %d %s" % (service.protocol, response.status, reason)]
        lines += ["%s: %s" % pair for pair in service.first_headers()]
        if response.content_type:
            lines.append("Content-Type: " + response.content_type)
        if response.chunked:
            lines.append("Transfer-Encoding: chunked")
        elif length is not None and response.status not in (204, 304):
            lines.append("Content-Length: %d" % length)
        lines += ["%s: %s" % pair for pair in response.headers + service.last_headers()]
        if service.protocol < "HTTP/1.1":
            self.close_connection = True
        if self.close_connection:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def send(self, response, length=None):
        body = b"" if response.status in (204, 304) else response.body
        data = self.head(response, len(body) if length is None else length)
        if response.chunked:
            body = (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        self.wfile.write(data if self.command == "HEAD" else data + body)
        self.wfile.flush()

    def fail(self, fault, response, entry):
        arguments = dict(fault.arguments)
        kind = fault.kind
        if kind == "status":
            headers = list(arguments.get("headers", {}).items())
            if "retry_after" in arguments:
                headers.append(("Retry-After", arguments["retry_after"]))
            body = arguments.get("body", HTML_PAGE)
            response = Response(arguments.get("status", 500), as_bytes(body), arguments.get("content_type", "text/html; charset=utf-8"), headers)
        elif kind == "html":
            response = Response(arguments.get("status", 200), HTML_PAGE, "text/html; charset=utf-8")
        elif kind == "garbage":
            response = Response(200, b'{"data": {"id": \xff\xfe, ,]', "application/json")
        elif kind == "empty":
            response = Response(arguments.get("status", 200), b"", "application/json")
        elif kind == "content_type":
            response.content_type = arguments.get("value", "text/plain")
        elif kind == "body":
            response = Response(arguments.get("status", 200), as_bytes(arguments.get("body", b"")),
                                arguments.get("content_type", "application/json"))
        elif kind == "redirect":
            response = Response(arguments.get("status", 302), b"", None, [("Location", arguments["location"])])
        elif kind == "truncated":
            response.body = response.body[:int(len(response.body) * arguments.get("fraction", 0.5))]
        elif kind == "truncated_gzip":
            packed = response.body if ("Content-Encoding", "gzip") in response.headers else gzip.compress(response.body)
            response.body = packed[:max(1, int(len(packed) * arguments.get("fraction", 0.5)))]
            if ("Content-Encoding", "gzip") not in response.headers:
                response.headers.append(("Content-Encoding", "gzip"))
        elif kind == "false_gzip":
            if ("Content-Encoding", "gzip") in response.headers:
                response.body = gzip.decompress(response.body)
            else:
                response.headers.append(("Content-Encoding", "gzip"))
        entry["status"] = None if kind in ("hang", "reset") else 200 if response is None else response.status
        if kind in ("hang", "reset", "cut", "slow", "oversize"):
            self.close_connection = True
            getattr(self, "fail_" + kind)(arguments, response)
        else:
            self.send(response)

    def fail_hang(self, arguments, _response):
        deadline = time.monotonic() + float(arguments.get("seconds", 60))
        self.connection.settimeout(0.1)
        while time.monotonic() < deadline and not self.server.service.stopping.is_set():
            try:
                if self.connection.recv(1, socket.MSG_PEEK) == b"":
                    return
                time.sleep(0.05)
            except socket.timeout:
                pass

    def fail_reset(self, _arguments, _response):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def fail_cut(self, arguments, response):
        body = response.body
        start = b"%x\r\n" % len(body) if response.chunked else b""
        self.wfile.write(self.head(response, len(body)) + start + body[:int(len(body) * arguments.get("fraction", 0.5))])
        self.wfile.flush()

    def fail_slow(self, arguments, response):
        response.chunked = False
        piece = int(arguments.get("piece", 64))
        self.wfile.write(self.head(response, len(response.body)))
        for start in range(0, len(response.body), piece):
            if self.server.service.stopping.wait(arguments.get("delay", 0.05)):
                return
            self.wfile.write(response.body[start:start + piece])
            self.wfile.flush()

    def fail_oversize(self, arguments, _response):
        total = int(arguments.get("total_bytes", 1 << 30))
        response = Response(200, b"", arguments.get("content_type", "application/json"))
        self.wfile.write(self.head(response, total if arguments.get("declare") else None))
        block = b"\0" * 65536
        while total > 0 and not self.server.service.stopping.is_set():
            self.wfile.write(block[:min(total, len(block))])
            total -= len(block)


def as_bytes(value):
    if isinstance(value, (dict, list)):
        value = json.dumps(value)
    return value.encode() if isinstance(value, str) else value


class Service:
    """A service on its own port of 127.0.0.1. Start it with start() or as a context manager; url has no trailing slash."""

    protocol = "HTTP/1.1"
    one_at_a_time = False
    upper_reason = False

    def __init__(self, port=0):
        self.lock = threading.RLock()
        self.turn = threading.Lock()
        self.connections_lock = threading.Lock()
        self.connections, self.connection_count = set(), 0
        self.stopping = threading.Event()
        self.faults, self.log, self.errors = [], [], []
        self.control_token = secrets.token_hex(16)
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.service = self
        self.port = self._server.server_address[1]
        self.url = "http://127.0.0.1:%d" % self.port
        self._thread = None

    def start(self):
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def stop(self):
        self.stopping.set()
        if self._thread:
            self._server.shutdown()
            self._thread.join(5)
        self._server.server_close()
        with self.connections_lock:
            for connection in list(self.connections):
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def __enter__(self):
        return self.start()

    def __exit__(self, *_exception):
        self.stop()

    # What a service overrides.
    def handle(self, request):
        raise NotImplementedError

    def refuse_early(self, headers, method, target):
        """An answer given before the body is read, or None."""
        return None

    def first_headers(self):
        return [("Date", http_date(time.time()))]

    def last_headers(self):
        return []

    # Faults, log, control.
    def fault(self, kind, **settings):
        fault = Fault(kind, **settings)
        with self.lock:
            self.faults.append(fault)
        return fault

    def clear_faults(self):
        with self.lock:
            self.faults.clear()

    def load_faults(self, path):
        with open(path, encoding="utf-8") as file:
            for settings in json.load(file):
                self.fault(**settings)

    def take_fault(self, request):
        with self.lock:
            for fault in self.faults:
                if fault.take(request):
                    return fault
        return None

    def record(self, request, status, fault):
        entry = {"method": request.method, "target": request.target, "headers": request.headers, "body_bytes": len(request.body),
                 "status": status, "fault": fault.kind if fault else None, "time": time.monotonic()}
        with self.lock:
            self.log.append(entry)
        return entry

    def requests(self, path=None, method=None, status=None):
        """The logged requests whose target matches the regular expression `path` (and method, status where given)."""
        with self.lock:
            return [entry for entry in self.log
                    if (path is None or re.search(path, entry["target"])) and (method is None or entry["method"] == method)
                    and (status is None or entry["status"] == status)]

    def count(self, path=None, method=None, status=None):
        return len(self.requests(path, method, status))

    def clear_log(self):
        with self.lock:
            self.log.clear()

    def control(self, request):
        if not hmac.compare_digest(request.path, "/__control/" + self.control_token):
            return Response(404, b"not found\n", "text/plain")
        try:
            order = json.loads(request.body or b'{"op": "log"}')
            operation = order.pop("op")
            answer = {"ok": True}
            if operation == "fault":
                self.fault(**order)
            elif operation == "clear":
                self.clear_faults()
                self.clear_log()
            elif operation == "count":
                answer["count"] = self.count(**order)
            elif operation == "log":
                answer["log"] = self.requests(**order)
            else:
                raise ValueError("unknown op")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return Response(400, as_bytes({"ok": False, "why": str(error)}), "application/json")
        return Response(200, as_bytes(answer), "application/json")


def http_date(seconds):
    moment = time.gmtime(seconds)
    return "%s, %02d %s %04d %02d:%02d:%02d GMT" % (
        ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[moment.tm_wday], moment.tm_mday,
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[moment.tm_mon - 1],
        moment.tm_year, moment.tm_hour, moment.tm_min, moment.tm_sec)


def parse_multipart(content_type, body):
    """The parts of a multipart/form-data body as a list of (name, filename or None, bytes); ValueError when it is not one."""
    match = re.search(r'boundary="?([^";,]+)"?', content_type or "")
    if "multipart/form-data" not in (content_type or "") or not match:
        raise ValueError("not multipart/form-data")
    mark = b"--" + match.group(1).encode("latin-1")
    parts = []
    for piece in (b"\r\n" + body).split(b"\r\n" + mark)[1:]:
        if piece.startswith(b"--"):
            return parts
        head, separator, data = piece.lstrip(b" \t").partition(b"\r\n\r\n")
        if not separator:
            raise ValueError("part without headers")
        text = head.decode("utf-8", "surrogateescape")
        name = re.search(r'[; ]name="((?:[^"\\]|\\.)*)"', text)
        filename = re.search(r'[; ]filename="((?:[^"\\]|\\.)*)"', text)
        parts.append((name.group(1) if name else "", filename.group(1) if filename else None, data))
    raise ValueError("multipart body without its end")

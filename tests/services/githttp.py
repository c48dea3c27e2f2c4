"""A git server on loopback: `git http-backend` behind a small CGI runner, repositories made by git in a folder, a log of requests, and
faults put in the way of answers. Knows nothing of collect."""
import http.server
import os
import pathlib
import shutil
import subprocess
import threading

AUTHOR = {"GIT_AUTHOR_NAME": "Keeper", "GIT_AUTHOR_EMAIL": "keeper@example.invalid", "GIT_COMMITTER_NAME": "Keeper",
          "GIT_COMMITTER_EMAIL": "keeper@example.invalid", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}


def available():
    """Is git here, with its server?"""
    git = shutil.which("git")
    if not git:
        return False
    folder = subprocess.run([git, "--exec-path"], capture_output=True, text=True, check=False).stdout.strip()
    return os.path.exists(os.path.join(folder, "git-http-backend"))


def pkt(data):
    return b"%04x" % (len(data) + 4) + data


def packets(body):
    """The payloads of pkt-lines; None for a flush, delimiter or end."""
    at = 0
    while at + 4 <= len(body):
        length = int(body[at:at + 4], 16)
        yield body[at + 4:at + length] if length >= 4 else None
        at += max(length, 4)


class Repository:
    """A bare repository and the commands that fill it; times are fixed, so that ids are the same in every run."""

    def __init__(self, path, *options):
        self.path, self.clock, self.index = path, 1700000000, str(path) + ".index"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", *options, str(path)], env=self._env(), check=True)

    def _env(self):
        when = "%d +0000" % self.clock if hasattr(self, "clock") else ""
        return dict(os.environ, GIT_DIR=str(self.path), GIT_INDEX_FILE=self.index, GIT_AUTHOR_DATE=when, GIT_COMMITTER_DATE=when, **AUTHOR)

    def git(self, *args, data=None):
        return subprocess.run(["git", *args], env=self._env(), input=data, capture_output=True, check=True).stdout

    def commit(self, files, branch="main"):
        """A commit whose tree is exactly `files`: {path: bytes, (mode, bytes), or ("160000", id)}. Returns its id."""
        if os.path.exists(self.index):
            os.remove(self.index)
        stream, entries = [], []
        for number, (path, content) in enumerate(files.items(), 1):
            mode, data = content if isinstance(content, tuple) else ("100644", content)
            raw = path if isinstance(path, bytes) else path.encode()
            if mode == "160000":
                entries.append((mode, data.encode(), raw))
                continue
            stream.append(b"blob\nmark :%d\ndata %d\n" % (number, len(data)) + data + b"\n")
            entries.append((mode, number, raw))
        marks = str(self.path) + ".marks"
        self.git("fast-import", "--quiet", "--force", "--export-marks=" + marks, data=b"".join(stream) or b"done\n")
        ids = dict(line.split() for line in pathlib.Path(marks).read_bytes().splitlines()) if os.path.exists(marks) else {}
        lines = [b"%s %s\t%s" % (mode.encode(), ids[b":%d" % what] if isinstance(what, int) else what, raw) for mode, what, raw in entries]
        self.git("update-index", "-z", "--index-info", data=b"".join(line + b"\0" for line in lines))
        tree = self.git("write-tree", "--missing-ok").strip().decode()
        parent = subprocess.run(["git", "rev-parse", "-q", "--verify", branch], env=self._env(), capture_output=True, check=False).stdout.strip().decode()
        self.clock += 60
        commit = self.git("commit-tree", tree, *(["-p", parent] if parent else []), "-m", "Change").strip().decode()
        self.git("update-ref", "refs/heads/" + branch, commit)
        return commit

    def repack(self):
        """One pack with long delta chains, as a server that has been there for a while keeps it."""
        self.git("repack", "-q", "-a", "-d", "-f", "--depth=250", "--window=50")


class GitServer:
    """faults: functions (request, status, headers, body) -> (status, headers, body), asked in turn for each answer; request is a dict with
    method, path, headers, body and command ("ls-refs", "fetch", or "" for other requests). In an answer's headers X-Cut says after how many bytes
    the connection ends, X-Chunked that it goes in chunks: "all", or so many bytes and no end."""

    def __init__(self, root):
        self.root, self.log, self.faults, self.version, self.config = pathlib.Path(root), [], [], 2, {"uploadpack.allowFilter": "true"}
        self.lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                outer._serve(self)

            do_POST = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def start(self):
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def repository(self, name, *options):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return Repository(path, *options)

    def count(self, command=None, method=None):
        return sum(1 for r in self.log if (command is None or r["command"] == command) and (method is None or r["method"] == method))

    def wants(self):
        """Ids asked for by all logged fetches, and how many of them are blobs of batches (requests without a filter)."""
        return [line[5:45].decode() for r in self.log if r["command"] == "fetch" for line in packets(r["body"]) if line and line.startswith(b"want ")]

    def sent_bytes(self):
        return sum(r["sent"] for r in self.log)

    def _serve(self, handler):
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        path, _, query = handler.path.partition("?")
        first = next(packets(body), None) if body[:4].isalnum() else None
        command = first.decode("utf-8", "replace").strip().partition("command=")[2] if first else ""
        request = {"method": handler.command, "path": path, "query": query, "headers": {k.lower(): v for k, v in handler.headers.items()},
                   "body": body, "command": command, "sent": 0}
        with self.lock:
            self.log.append(request)
        status, headers, answer = self._backend(request)
        for fault in list(self.faults):
            status, headers, answer = fault(request, status, headers, answer)
        cut, chunked = headers.pop("X-Cut", None), headers.pop("X-Chunked", None)
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if chunked:
            handler.send_header("Transfer-Encoding", "chunked")
            pieces = answer if chunked == "all" else answer[:int(chunked)]
            answer = b"".join(b"%x\r\n%s\r\n" % (len(pieces[at:at + 700]), pieces[at:at + 700]) for at in range(0, len(pieces), 700))
            answer += b"0\r\n\r\n" if chunked == "all" else b""
            handler.close_connection = chunked != "all"
        else:
            handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        if cut:
            answer = answer[:int(cut)]
            handler.close_connection = True
        request["sent"] = len(answer)
        try:
            handler.wfile.write(answer)
        except OSError:
            handler.close_connection = True

    def _backend(self, request):
        environment = dict(os.environ, GIT_PROJECT_ROOT=str(self.root), GIT_HTTP_EXPORT_ALL="1", REQUEST_METHOD=request["method"],
                           PATH_INFO=request["path"], QUERY_STRING=request["query"], CONTENT_TYPE=request["headers"].get("content-type", ""),
                           CONTENT_LENGTH=str(len(request["body"])), REMOTE_ADDR="127.0.0.1", **AUTHOR)
        if self.version == 2:
            environment["GIT_PROTOCOL"] = request["headers"].get("git-protocol", "")
        environment["GIT_CONFIG_COUNT"] = str(len(self.config))
        for index, (key, value) in enumerate(self.config.items()):
            environment["GIT_CONFIG_KEY_%d" % index], environment["GIT_CONFIG_VALUE_%d" % index] = key, value
        out = subprocess.run(["git", "http-backend"], env=environment, input=request["body"], capture_output=True, timeout=250, check=False).stdout
        head, _, body = out.partition(b"\r\n\r\n")
        headers = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n") if b": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        return status, headers, body

"""A fake api.github.com with a codeload-like second host; real git object ids, Git LFS, releases, no smart HTTP.

    hub = GitHub(token="t0ken")                       # token=None: every token is taken, none is needed
    hub.add("owner/name", {"a/b.zip": b"..."})        # returns Repository; id, head (commit), default_branch
    hub.commit("owner/name", {...})                   # a new head (the whole new content)
    with hub: client("--github-url", hub.url)
States of a repository (repository.state): "ok", "gone" 404, "empty" 409, "dmca" 451, "tos" 403 with a block, "primary" 403 with
x-ratelimit-remaining 0, "secondary" 403 or 429 with Retry-After (repository.limit_status), "server" 502.
hub.rename("owner/old", "owner/new"): the old name answers 301 to /repositories/ID/...; hub.replace(name, files): the name now
belongs to another id. repository.truncate = N: recursive trees stop after N entries with truncated true; the plain per-folder
walk stays whole. Rate limit: hub.limit (with a token) and hub.anonymous_limit; 304 is free only with a token, as documented.
Git LFS: hub.put_lfs(data) keeps an object and gives the text of its pointer; the batch API is below /OWNER/NAME.git/info/lfs, the objects
below /lfs-store/ with a header of their own. hub.lfs[oid] = bytes, or an error object {"code":, "message":}; hub.lfs_action(oid) may be
replaced: it gives the "download" action. Neither is charged.
Releases: hub.release(name, tag, {asset: bytes}) adds one and gives its record; assets are listed with their digest unless digest=False, and
fetched by a redirect to hub.asset_location(asset), which may be replaced. Records may be changed in place.
Tarballs: GET .../tarball/COMMIT leads to hub.codeload, which tells no length; repository.export_ignore = {path} are left out,
repository.export_subst = {path: bytes} have other bytes, hub.codeload.body = function of (repository, commit) gives other archives.
hub.used counts what was charged; hub.codeload is the second host (its log shows whether an Authorization header leaked there).
"""
import base64
import gzip
import hashlib
import io
import json
import tarfile
import time
from urllib.parse import quote

from services.gitobjects import FOLDER, SUBMODULE, Store
from services.httpd import Response, Service

DOCS = "https://docs.github.com/rest"


class Repository:
    """One repository: name 'owner/name', id, default_branch, head (commit id), store (git objects), state, truncate."""

    def __init__(self, name, identity, files, default_branch, seconds):
        self.name, self.id, self.default_branch = name, identity, default_branch
        self.store, self.state, self.truncate, self.limit_status = Store(), "ok", None, 403
        self.releases, self.export_ignore, self.export_subst = [], set(), {}
        self.head, self.seconds = None, seconds
        self.commit(files)

    def commit(self, files):
        self.seconds += 60
        self.head = self.store.put_commit(self.store.put_tree(files), [self.head] if self.head else [], self.seconds)
        return self.head

    def resolve(self, name):
        """A commit id from a branch name, HEAD, or an id (a prefix of 7 or more will do); None if there is none."""
        if name in ("HEAD", self.default_branch, "heads/" + self.default_branch, "refs/heads/" + self.default_branch):
            return self.head
        found = [commit for commit in self.store.commits if len(name) >= 7 and commit.startswith(name.lower())]
        return found[0] if len(found) == 1 else None


class Codeload(Service):
    """The host that tarball redirects lead to: GET /OWNER/NAME/legacy.tar.gz/COMMIT."""

    def __init__(self, hub):
        super().__init__()
        self.hub, self.body = hub, tarball

    def handle(self, request):
        parts = request.parts
        repository = self.hub.repositories.get("/".join(parts[:2]).lower()) if len(parts) == 4 else None
        commit = repository.resolve(parts[3]) if repository else None
        if request.method != "GET" or commit is None or parts[2] not in ("legacy.tar.gz", "tar.gz"):
            return Response(404, b"404: Not Found", "text/plain; charset=utf-8")
        body = self.body(repository, commit)
        name = "%s-%s.tar.gz" % (repository.name.replace("/", "-"), commit[:7])
        return Response(200, body, "application/x-gzip", [("Content-Disposition", "attachment; filename=" + name), ("ETag", '"%s"' % commit)],
                        chunked=True)


def pointer(data):
    """The text that stands for the bytes in a repository with Git LFS."""
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (hashlib.sha256(data).hexdigest().encode(), len(data))


def tarball(repository, commit):
    """What `git archive` packs: every file below OWNER-NAME-SHA7/, deterministic."""
    raw = io.BytesIO()
    top = "%s-%s/" % (repository.name.replace("/", "-"), commit[:7])
    seconds = repository.store.commits[commit]["seconds"]
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": commit}) as archive:
        for mode, path, child in repository.store.walk(repository.store.commits[commit]["tree"]):
            if path.decode("utf-8", "surrogateescape") in repository.export_ignore:
                continue
            member = tarfile.TarInfo(top + path.decode("utf-8", "surrogateescape"))
            member.mtime, member.mode = seconds, 0o775 if mode == FOLDER else 0o664
            if mode in (FOLDER, SUBMODULE):
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
                continue
            data = repository.export_subst.get(path.decode("utf-8", "surrogateescape"), repository.store.objects[child][1])
            if mode == "120000":
                member.type, member.linkname = tarfile.SYMTYPE, data.decode("utf-8", "surrogateescape")
                archive.addfile(member)
                continue
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


class GitHub(Service):
    """See the module text. Start and stop it as any Service; the codeload host starts and stops with it."""

    def __init__(self, token=None, limit=5000, anonymous_limit=60, require_token=False):
        super().__init__()
        self.token, self.require_token = token, require_token
        self.limit, self.anonymous_limit, self.used = limit, anonymous_limit, {True: 0, False: 0}
        self.reset = int(time.time()) + 3600
        self.repositories, self.renamed = {}, {}
        self.codeload = Codeload(self)
        self.lfs, self.lfs_secret, self.asset_bytes = {}, "RemoteAuth lfs-only", {}

    def put_lfs(self, data):
        self.lfs[hashlib.sha256(data).hexdigest()] = data
        return pointer(data)

    def lfs_action(self, oid):
        return {"href": "%s/lfs-store/%s" % (self.url, oid), "header": {"Authorization": self.lfs_secret}, "expires_in": 3600}

    def release(self, name, tag, assets, digest=True, draft=False):
        with self.lock:
            record = {"id": 500 + sum(len(item.releases) for item in self.repositories.values()), "tag_name": tag, "name": tag, "draft": draft,
                      "prerelease": False, "assets": [self.asset(file, data, digest) for file, data in assets.items()]}
            self.get(name).releases.insert(0, record)
        return record

    def asset(self, name, data, digest=True):
        identity = 9000 + len(self.asset_bytes)
        self.asset_bytes[identity] = data
        return {"id": identity, "name": name, "label": None, "state": "uploaded", "content_type": "application/octet-stream", "size": len(data),
                "digest": "sha256:" + hashlib.sha256(data).hexdigest() if digest else None, "download_count": 0,
                "created_at": "2025-01-01T00:00:00Z", "updated_at": "2025-01-01T00:00:00Z"}

    def asset_location(self, identity):
        return "%s/asset-store/%d" % (self.url, identity)

    def release_answer(self, repository, rest, request):
        if rest[1:2] == ["assets"] and len(rest) == 3:
            known = {str(asset["id"]) for record in repository.releases for asset in record["assets"]}
            if rest[2] not in known or "octet-stream" not in request.header("accept"):
                return self.problem(404, "Not Found")
            return Response(302, b"", None, [("Location", self.asset_location(int(rest[2])))])
        size, page = int(request.query.get("per_page", 30)), int(request.query.get("page", 1))
        answer = self.json(repository.releases[(page - 1) * size:page * size])
        etag = 'W/"%s"' % hashlib.sha256(answer.body).hexdigest()
        if request.header("if-none-match") == etag:
            return Response(304, b"", None, [("ETag", etag)])
        answer.headers = answer.headers + [("ETag", etag)]
        return answer

    def lfs_batch(self, request):
        kind = "application/vnd.git-lfs+json"
        name = "/".join(request.parts[:2])[:-len(".git")].lower()
        if kind not in request.header("accept") or kind not in request.header("content-type"):
            return Response(406, b'{"message": "not acceptable"}', kind)
        order = json.loads(request.body)
        if name not in self.repositories or order["operation"] != "download" or len(order["objects"]) > 100:
            return Response(404 if name not in self.repositories else 422, b'{"message": "Not Found"}', kind)
        answers = []
        for item in order["objects"]:
            data = self.lfs.get(item["oid"], {"code": 404, "message": "Object does not exist"})
            answers.append(dict(item, error=data) if isinstance(data, dict) else
                           dict(item, authenticated=True, actions={"download": self.lfs_action(item["oid"])}))
        return Response(200, json.dumps({"transfer": "basic", "objects": answers, "hash_algo": "sha256"}).encode(), kind)

    def lfs_object(self, request):
        data = self.lfs.get(request.parts[1])
        if request.header("authorization") != self.lfs_secret:
            return Response(403, b"no", "text/plain")
        return Response(200, data, "application/octet-stream") if isinstance(data, bytes) else Response(404, b"", "text/plain")

    def start(self):
        self.codeload.start()
        return super().start()

    def stop(self):
        super().stop()
        self.codeload.stop()

    def add(self, name, files, default_branch="main", identity=None, seconds=1700000000):
        identity = identity or 1000 + int.from_bytes(hashlib.sha1(name.encode()).digest()[:3], "big")
        with self.lock:
            repository = self.repositories[name.lower()] = Repository(name, identity, files, default_branch, seconds)
        return repository

    def get(self, name):
        return self.repositories[name.lower()]

    def commit(self, name, files):
        with self.lock:
            return self.get(name).commit(files)

    def rename(self, old, new):
        with self.lock:
            repository = self.repositories.pop(old.lower())
            repository.name = new
            self.repositories[new.lower()] = repository
            self.renamed[old.lower()] = repository.id

    def replace(self, name, files):
        """Another owner takes the name: same name, other id, other content."""
        identity = self.get(name).id + 1
        return self.add(name, files, identity=identity)

    def last_headers(self):
        return [("X-GitHub-Media-Type", "github.v3; format=json"), ("X-Content-Type-Options", "nosniff"), ("Vary", "Accept, Authorization")]

    # Answers.
    def json(self, value, status=200, headers=()):
        return Response(status, json.dumps(value, separators=(",", ":")).encode(), "application/json; charset=utf-8", headers)

    def problem(self, status, message, headers=(), **more):
        return self.json(dict({"message": message, "documentation_url": DOCS, "status": str(status)}, **more), status, headers)

    def handle(self, request):
        if not request.header("user-agent"):
            return Response(403, b"\r\nRequest forbidden by administrative rules. Please make sure your request has a User-Agent header\r\n", "text/html")
        if request.path.endswith(".git/info/lfs/objects/batch") and request.method == "POST":
            return self.lfs_batch(request)
        if request.parts[0] == "asset-store" and len(request.parts) == 2:
            return Response(200, self.asset_bytes[int(request.parts[1])], "application/octet-stream")
        if request.parts[0] == "lfs-store" and len(request.parts) == 2:
            return self.lfs_object(request)
        scheme, _, secret = request.header("authorization").partition(" ")
        authorised = bool(secret)
        if secret and (scheme.lower() not in ("bearer", "token") or (self.token is not None and secret != self.token)):
            return self.problem(401, "Bad credentials")
        if not secret and self.require_token:
            return self.problem(401, "Requires authentication")
        if request.path.rstrip("/") == "/rate_limit":
            return self.rate_limit(authorised)
        limit = self.limit if authorised else self.anonymous_limit
        if self.used[authorised] >= limit:
            who = "user ID 1" if authorised else "127.0.0.1"
            return self.problem(403, "API rate limit exceeded for %s." % who, self.limit_headers(authorised))
        response = self.route(request)
        if not (response.status == 304 and authorised):
            self.used[authorised] += 1
        response.headers = response.headers + [pair for pair in self.limit_headers(authorised)
                                               if pair[0] not in {name for name, _ in response.headers}]
        return response

    def limit_headers(self, authorised):
        limit = self.limit if authorised else self.anonymous_limit
        used = self.used[authorised]
        return [("X-RateLimit-Limit", limit), ("X-RateLimit-Remaining", max(0, limit - used)), ("X-RateLimit-Used", used),
                ("X-RateLimit-Reset", self.reset), ("X-RateLimit-Resource", "core")]

    def rate_limit(self, authorised):
        limit, used = (self.limit if authorised else self.anonymous_limit), self.used[authorised]
        core = {"limit": limit, "used": used, "remaining": max(0, limit - used), "reset": self.reset}
        return self.json({"resources": {"core": core}, "rate": core}, headers=self.limit_headers(authorised))

    def route(self, request):
        parts = request.parts
        if parts[-1] == "":
            return self.problem(404, "Not Found")
        if parts[0] == "repos" and len(parts) >= 3:
            name, rest, tail = "/".join(parts[1:3]), parts[3:], request.target.split("/", 4)[4:]
            repository = self.repositories.get(name.lower())
            if repository is None and name.lower() in self.renamed:
                target = "%s/repositories/%d%s" % (self.url, self.renamed[name.lower()], "/" + tail[0] if tail else "")
                return self.json({"message": "Moved Permanently", "url": target, "documentation_url": DOCS}, 301, [("Location", target)])
        elif parts[0] == "repositories" and len(parts) >= 2:
            repository = next((item for item in self.repositories.values() if str(item.id) == parts[1]), None)
            rest = parts[2:]
        else:
            return self.problem(404, "Not Found")
        if request.method != "GET":
            return self.problem(404, "Not Found")
        if repository is None or repository.state == "gone":
            return self.problem(404, "Not Found")
        refusal = self.refuse(repository, rest)
        return refusal or self.repository_route(repository, rest, request)

    def refuse(self, repository, rest):
        state = repository.state
        if state == "dmca":
            return self.problem(451, "Repository access blocked", block={
                "reason": "dmca", "created_at": "2024-03-01T12:00:00Z", "html_url": "https://example.invalid/notice"})
        if state == "tos":
            return self.problem(403, "Repository access blocked", block={"reason": "tos", "created_at": "2024-03-01T12:00:00Z", "html_url": None})
        if state == "primary":
            return self.problem(403, "API rate limit exceeded for user ID 1.",
                                [("X-RateLimit-Limit", self.limit), ("X-RateLimit-Remaining", 0), ("X-RateLimit-Reset", self.reset)])
        if state == "secondary":
            return self.problem(repository.limit_status, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
                                [("Retry-After", 60)])
        if state == "server":
            return Response(502, b"<html><body>Server Error</body></html>", "text/html")
        if state == "empty" and rest:
            return self.problem(409, "Git Repository is empty.")
        return None

    def repository_route(self, repository, rest, request):
        if not rest:
            return self.metadata(repository)
        if rest[0] == "commits" and len(rest) >= 2:
            return self.commit_answer(repository, "/".join(rest[1:]), request)
        if rest[:2] == ["git", "trees"] and len(rest) == 3:
            return self.tree_answer(repository, rest[2], "recursive" in request.query)
        if rest[:2] == ["git", "blobs"] and len(rest) == 3:
            return self.blob_answer(repository, rest[2], request)
        if rest[0] == "releases":
            return self.release_answer(repository, rest, request)
        if rest[0] == "tarball":
            commit = repository.resolve("/".join(rest[1:]) or "HEAD")
            if commit is None:
                return self.problem(404, "Not Found")
            location = "%s/%s/legacy.tar.gz/%s" % (self.codeload.url, quote(repository.name), commit)
            return Response(302, b"", "text/html;charset=utf-8", [("Location", location)])
        return self.problem(404, "Not Found")

    def metadata(self, repository):
        owner, name = repository.name.split("/")
        size = sum(len(data) for kind, data in repository.store.objects.values() if kind == "blob")
        pushed = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(repository.seconds))
        return self.json({"id": repository.id, "name": name, "full_name": repository.name, "private": False, "owner": {"login": owner, "id": 1},
                          "html_url": "https://github.com/" + repository.name, "url": "%s/repos/%s" % (self.url, repository.name),
                          "fork": False, "archived": False, "disabled": False, "size": size // 1024,
                          "default_branch": repository.default_branch, "pushed_at": pushed, "license": None, "visibility": "public"})

    def commit_answer(self, repository, reference, request):
        commit = repository.resolve(reference)
        if commit is None:
            return self.problem(422, "No commit found for SHA: " + reference)
        etag = '"%s"' % commit
        if commit in request.header("if-none-match"):
            return Response(304, b"", None, [("ETag", etag)])
        if "vnd.github.sha" in request.header("accept"):
            return Response(200, commit.encode(), "application/vnd.github.sha; charset=utf-8", [("ETag", etag)])
        record = repository.store.commits[commit]
        date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record["seconds"]))
        person = {"name": "Demo Keeper", "email": "keeper@example.invalid", "date": date}
        return self.json({"sha": commit, "commit": {"author": person, "committer": person, "message": record["message"],
                                                    "tree": {"sha": record["tree"]}},
                          "parents": [{"sha": parent} for parent in record["parents"]]}, headers=[("ETag", etag)])

    def tree_answer(self, repository, name, recursive):
        store = repository.store
        commit = repository.resolve(name)
        tree = store.commits[commit]["tree"] if commit else name
        if tree not in store.trees:
            return self.problem(404, "Not Found")
        entries, truncated = [], False
        base = "%s/repos/%s/git/" % (self.url, repository.name)
        for mode, path, child in store.walk(tree, recursive=recursive):
            if recursive and repository.truncate is not None and len(entries) >= repository.truncate:
                truncated = True
                break
            kind = "tree" if mode == FOLDER else "commit" if mode == SUBMODULE else "blob"
            entry = {"path": path.decode("utf-8", "replace"), "mode": mode, "type": kind, "sha": child}
            if kind == "blob":
                entry["size"] = len(store.objects[child][1])
            if kind != "commit":
                entry["url"] = "%s%ss/%s" % (base, kind, child)
            entries.append(entry)
        return self.json({"sha": tree, "url": base + "trees/" + tree, "tree": entries, "truncated": truncated},
                         headers=[("ETag", 'W/"%s"' % tree)])

    def blob_answer(self, repository, name, request):
        kind, data = repository.store.objects.get(name, (None, None))
        if kind != "blob":
            return self.problem(404, "Not Found")
        if "raw" in request.header("accept"):
            return Response(200, data, "application/vnd.github.raw+json; charset=utf-8", [("ETag", '"%s"' % name)])
        return self.json({"sha": name, "node_id": "B_" + name[:12], "size": len(data), "encoding": "base64",
                          "url": "%s/repos/%s/git/blobs/%s" % (self.url, repository.name, name),
                          "content": base64.encodebytes(data).decode()})

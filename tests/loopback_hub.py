"""A Hugging Face Hub on the loopback interface, so that tests can drive the unmodified clients without a network.

It keeps repositories in memory and answers the part of the Hub's HTTP API that huggingface_hub, datasets,
transformers and peft use to create, push, list and pull. Those libraries read `HF_ENDPOINT` once, when imported:
start the hub and set its `environment` first.

Left out: Xet storage, pull requests, organizations, quotas, and every check of card metadata but the YAML syntax.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

try:
    import yaml
except ImportError:  # cards are then accepted unchecked
    yaml = None

LFS_SUFFIXES = (".safetensors", ".bin", ".parquet", ".pt", ".pth", ".arrow", ".gz")
GITATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()
DATE = "2026-01-01T00:00:00.000Z"  # the same for every commit, as no client orders anything by it
FRONT_MATTER = re.compile(r"^\s*---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|$)", re.DOTALL)

# Matched against the path as it was sent, still quoted: the slash of a revision like refs%2Fpr%2F1 is no separator.
API = r"/api/(?P<type>model|dataset|space)s/(?P<id>[^/]+(?:/[^/]+)?)"
WEB = r"/(?:(?P<type>dataset|space)s/)?(?P<id>[^/]+(?:/[^/]+)?)"
REVISION = r"(?P<revision>[^/]+)"


@dataclass(frozen=True)
class Request:
    """What an endpoint gets to see; `user` is None for an anonymous request."""

    user: str | None
    params: dict[str, str]
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class HubError(Exception):
    """An answer that makes the client raise; it chooses its exception by the status and by `X-Error-Code`."""

    def __init__(self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        errors = {"X-Error-Message": ascii(message)[1:-1]}  # the name of a file may not fit into a header
        if code is not None:
            errors["X-Error-Code"] = code
        self.reply = as_json({"error": message}, status, {**errors, **(headers or {})})


@dataclass
class Fault:
    """A failure to inject into the next `times` matching requests; no status means a cut connection."""

    pattern: re.Pattern[str]
    times: int
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    page: bytes | None = None


@dataclass(frozen=True)
class Commit:
    """A snapshot of all the files of a repository."""

    sha: str
    parent: str | None
    title: str
    files: dict[str, bytes]


class Repo:
    """A repository with its history; like on the Hub, the first commit holds `.gitattributes` only."""

    def __init__(self, repo_type: str, repo_id: str, private: bool, gated: bool):
        self.type, self.id, self.private, self.gated = repo_type, repo_id, private, gated
        self.commits: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.commit("main", {".gitattributes": GITATTRIBUTES}, "initial commit")

    @property
    def owner(self) -> str:
        return self.id.partition("/")[0]

    @property
    def web_path(self) -> str:
        return self.id if self.type == "model" else f"{self.type}s/{self.id}"

    def commit(self, branch: str, files: dict[str, bytes], title: str) -> Commit:
        """Add a commit, named by all it depends on: clients cache by sha and must never meet one sha twice."""
        parent = self.branches.get(branch)
        contents = [(path, hashlib.sha256(data).hexdigest()) for path, data in sorted(files.items())]
        identity = json.dumps([self.type, self.id, parent, branch, title, contents])
        commit = Commit(hashlib.sha1(identity.encode()).hexdigest(), parent, title, files)
        self.commits[commit.sha] = commit
        self.branches[branch] = commit.sha
        return commit

    def at(self, revision: str) -> Commit:
        """Look up a branch, a tag or a full sha."""
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        if sha not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[sha]


class LoopbackHub:
    """The server, its repositories, and the faults to inject. `repo_type` is "model", "dataset" or "space"."""

    def __init__(self, user: str = "tester", token: str = "hf_loopback_token"):
        self.user, self.token = user, token
        self.requests: list[tuple[str, str]] = []
        self.repos: dict[tuple[str, str], Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self._server = Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def environment(self, hf_home: str | os.PathLike[str]) -> dict[str, str]:
        """The variables that point the clients at this hub, with `hf_home` for their caches."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.token,
            "HF_HOME": os.fspath(hf_home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def create(self, repo_type: str, repo_id: str, private: bool = False, gated: bool = False) -> None:
        """Make a repository, in any namespace. Those of other users are read-only for the token's owner."""
        with self._lock:
            self.repos[repo_type, repo_id] = Repo(repo_type, repo_id, private, gated)

    def put(self, repo_type: str, repo_id: str, files: Mapping[str, bytes]) -> str:
        """Add files to the main branch and return the sha of the commit."""
        with self._lock:
            repo = self.repos[repo_type, repo_id]
            return repo.commit("main", {**repo.at("main").files, **files}, "Add files").sha

    def files(self, repo_type: str, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """The content of a repository at a branch, tag or sha."""
        with self._lock:
            return dict(self.repos[repo_type, repo_id].at(revision).files)

    def fail(
        self,
        match: str,
        status: int = 503,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        page: bytes | None = None,
    ) -> None:
        """Answer the next `times` requests whose "METHOD /path" contains the regular expression with `status`.

        Args:
            page: HTML, as a gateway before the Hub answers; None answers as the Hub does.
        """
        with self._lock:
            self._faults.append(Fault(re.compile(match), times, status, dict(headers or {}), page))

    def cut(self, match: str, times: int = 1) -> None:
        """Close the connection on such requests: a GET gets half of its body, the others are lost unanswered."""
        with self._lock:
            self._faults.append(Fault(re.compile(match), times))

    def heal(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def clear(self) -> None:
        """Forget all repositories, uploads, faults and requests."""
        with self._lock:
            for state in (self.repos, self.lfs, self._faults, self.requests):
                state.clear()

    def close(self) -> None:
        """Stop accepting connections; those that a client keeps open are still served."""
        self._server.shutdown()
        self._server.server_close()

    def meet(self, method: str, path: str) -> Fault | None:
        """Record a request and use up the fault that is to hit it, if any."""
        with self._lock:
            self.requests.append((method, path))
            for fault in self._faults:
                if fault.times > 0 and fault.pattern.search(f"{method} {path}"):
                    fault.times -= 1
                    return fault
        return None

    def answer(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Find the endpoint of a request and call it."""
        try:
            user = self._authenticate(headers.get("Authorization"))
            for pattern, endpoint in ROUTES:
                if found := pattern.fullmatch(f"{method} {path}"):
                    params = {name: unquote(value or "") for name, value in found.groupdict().items()}
                    fields = {name: values[-1] for name, values in parse_qs(query).items()}
                    with self._lock:
                        return endpoint(self, Request(user, params, fields, headers, body))
            raise HubError(404, f"The loopback hub does not know {method} {path}")
        except HubError as error:
            return error.reply

    def _authenticate(self, authorization: str | None) -> str | None:
        """Tell whose token was sent; the Hub refuses a wrong one even where none is needed."""
        if authorization is None:
            return None
        if authorization != f"Bearer {self.token}":
            raise HubError(401, "Invalid credentials in Authorization header")
        return self.user

    def readable(self, request: Request) -> Repo:
        """The repository of a request. The Hub does not tell a private one from a missing one.

        An anonymous user gets a 401, which clients take for a missing repository only on https, hence the code.
        """
        repo = self.repos.get((request.params["type"] or "model", request.params["id"]))
        if repo and (not repo.private or repo.owner == request.user):
            return repo
        if request.user is None:
            raise HubError(401, "Invalid username or password.", "RepoNotFound")
        raise HubError(404, "Repository not found", "RepoNotFound")

    def writable(self, request: Request) -> Repo:
        """The repository of a request that changes it: 401 for anonymous users, 403 for all but the owner."""
        if request.user is None:
            raise HubError(401, "Invalid username or password.", "RepoNotFound")
        repo = self.readable(request)
        self.require_owner(request, repo.owner)
        return repo

    def require_owner(self, request: Request, namespace: str) -> None:
        """Refuse a write to the namespace of somebody else."""
        if request.user is None:
            raise HubError(401, "Invalid username or password.")
        if request.user != namespace:
            raise HubError(403, f"You don't have the rights to write under the namespace {namespace}")


Endpoint = Callable[[LoopbackHub, Request], Reply]
ROUTES: list[tuple[re.Pattern[str], Endpoint]] = []


def route(pattern: str) -> Callable[[Endpoint], Endpoint]:
    """Register an endpoint for the requests whose "METHOD /path" matches the whole pattern."""

    def register(endpoint: Endpoint) -> Endpoint:
        ROUTES.append((re.compile(pattern), endpoint))
        return endpoint

    return register


def as_json(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(data).encode(), {"Content-Type": "application/json", **(headers or {})})


def is_lfs(path: str, size: int) -> bool:
    """The Hub goes by `.gitattributes`, and by the size; the clients never send an empty file to LFS."""
    return size > 0 and path.endswith(LFS_SUFFIXES)


def content_id(path: str, data: bytes) -> str:
    """What the Hub uses as ETag, and the clients to skip files that have not changed."""
    if is_lfs(path, len(data)):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def file_entry(path: str, data: bytes) -> dict[str, Any]:
    """A file as the tree and paths-info endpoints describe it."""
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": content_id(path, data)}
    if is_lfs(path, len(data)):
        entry["lfs"] = {"oid": content_id(path, data), "size": len(data), "pointerSize": 134}
    return entry


def folder_entry(path: str) -> dict[str, Any]:
    """A folder as the same endpoints describe it."""
    return {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}


@route("GET /api/whoami-v2")
def whoami(hub: LoopbackHub, request: Request) -> Reply:
    """The user behind the token, who belongs to no organization here."""
    if request.user is None:
        raise HubError(401, "Invalid username or password.")
    access = {"type": "access_token", "accessToken": {"displayName": "loopback", "role": "write"}}
    return as_json({"type": "user", "name": hub.user, "fullname": hub.user, "orgs": [], "auth": access})


@route("POST /api/validate-yaml")
def validate_yaml(hub: LoopbackHub, request: Request) -> Reply:
    """Check the metadata block of a card. The Hub also checks the values, which is not done here."""
    block = FRONT_MATTER.match(request.json()["content"])
    if block is None:
        return as_json({"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]})
    errors = []
    if yaml is not None:
        try:
            if not isinstance(yaml.safe_load(block[1]), dict | None):
                errors.append({"message": '"value" must be of type object'})
        except yaml.YAMLError as error:
            errors.append({"message": f"YAML Metadata Error: {error}"})
    return as_json({"errors": errors, "warnings": []}, 400 if errors else 200)


def named_repo(hub: LoopbackHub, request: Request) -> tuple[str, str]:
    """The repository that the body of a request names, which must be in the namespace of the user."""
    payload = request.json()
    namespace = payload.get("organization") or hub.user
    hub.require_owner(request, namespace)
    return payload.get("type") or "model", f"{namespace}/{payload['name']}"


@route("POST /api/repos/create")
def create_repo(hub: LoopbackHub, request: Request) -> Reply:
    """Create a repository; for one that exists, a 409 that still tells the url, as `exist_ok` needs it."""
    key = named_repo(hub, request)
    exists = key in hub.repos
    if not exists:
        hub.create(*key, private=request.json().get("visibility") == "private")
    created = {"name": key[1], "url": f"{hub.url}/{hub.repos[key].web_path}"}
    if exists:
        return as_json({**created, "error": f"You already created this {key[0]} repo"}, 409)
    return as_json(created)


@route("DELETE /api/repos/delete")
def delete_repo(hub: LoopbackHub, request: Request) -> Reply:
    """Delete a repository with its history."""
    if hub.repos.pop(named_repo(hub, request), None) is None:
        raise HubError(404, "Repository not found", "RepoNotFound")
    return Reply()


@route(f"PUT {API}/settings")
def update_settings(hub: LoopbackHub, request: Request) -> Reply:
    """Make a repository private or public, gated or open."""
    repo, payload = hub.writable(request), request.json()
    if "visibility" in payload:
        repo.private = payload["visibility"] == "private"
    if "gated" in payload:
        repo.gated = bool(payload["gated"])
    return as_json({"private": repo.private, "gated": repo.gated})


@route(f"GET {API}(?:/revision/{REVISION})?")
def repo_info(hub: LoopbackHub, request: Request) -> Reply:
    """Describe a repository at a revision. A gated one may be described and listed by all, but not downloaded."""
    repo = hub.readable(request)
    commit = repo.at(request.params["revision"] or "main")
    card = (
        FRONT_MATTER.match(commit.files["README.md"].decode(errors="replace")) if "README.md" in commit.files else None
    )
    info = {
        "id": repo.id,
        "cardData": yaml.safe_load(card[1]) if yaml and card else None,
        "author": repo.owner,
        "sha": commit.sha,
        "private": repo.private,
        "gated": "auto" if repo.gated else False,
        "lastModified": DATE,
        "tags": [],
        "siblings": [{"rfilename": path} for path in sorted(commit.files)],
    }
    return as_json(info)


@route(f"GET {API}/auth-check/write")
def auth_check(hub: LoopbackHub, request: Request) -> Reply:
    """Tell whether the user may write to a repository."""
    hub.writable(request)
    return Reply()


@route(f"GET {API}/tree/{REVISION}(?:/(?P<path>.+))?")
def list_tree(hub: LoopbackHub, request: Request) -> Reply:
    """List a folder, with all that is below it if asked. The Hub splits long lists into pages."""
    files = hub.readable(request).at(request.params["revision"]).files
    folder = PurePosixPath(request.params["path"])
    below = [path for path in sorted(files) if folder in PurePosixPath(path).parents]
    if not below and request.params["path"]:
        raise HubError(404, f"{folder} does not exist", "EntryNotFound")
    folders = {parent for path in below for parent in PurePosixPath(path).parents if folder in parent.parents}
    entries = [folder_entry(str(path)) for path in sorted(folders)] + [file_entry(path, files[path]) for path in below]
    if request.query.get("recursive") != "true":
        entries = [entry for entry in entries if PurePosixPath(entry["path"]).parent == folder]
    return as_json(entries)


@route(f"POST {API}/paths-info/{REVISION}")
def paths_info(hub: LoopbackHub, request: Request) -> Reply:
    """Describe the given files and folders, leaving out those that do not exist."""
    files = hub.readable(request).at(request.params["revision"]).files
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    paths = parse_qs(request.body.decode()).get("paths", [])
    known = [file_entry(path, files[path]) for path in paths if path in files]
    return as_json(known + [folder_entry(path) for path in paths if path in folders])


@route(f"GET {API}/refs")
def list_refs(hub: LoopbackHub, request: Request) -> Reply:
    """List branches and tags."""
    repo = hub.readable(request)

    def describe(kind: str, refs: dict[str, str]) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha} for name, sha in refs.items()]

    branches, tags = describe("heads", repo.branches), describe("tags", repo.tags)
    return as_json({"branches": branches, "tags": tags, "converts": []})


@route(f"GET {API}/commits/{REVISION}")
def list_commits(hub: LoopbackHub, request: Request) -> Reply:
    """List the history of a revision, newest first."""
    repo = hub.readable(request)
    commit: Commit | None = repo.at(request.params["revision"])
    history = []
    while commit is not None:
        history.append({"id": commit.sha, "title": commit.title, "message": "", "authors": [], "date": DATE})
        commit = repo.commits[commit.parent] if commit.parent else None
    return as_json(history)


@route(f"POST {API}/branch/(?P<name>[^/]+)")
def create_branch(hub: LoopbackHub, request: Request) -> Reply:
    """Start a branch at a revision, by default at the head of main."""
    repo, name = hub.writable(request), request.params["name"]
    if name in repo.branches:
        raise HubError(409, f"Reference already exists: refs/heads/{name}")
    repo.branches[name] = repo.at(request.json().get("startingPoint", "main")).sha
    return Reply()


@route(f"POST {API}/tag/{REVISION}")
def create_tag(hub: LoopbackHub, request: Request) -> Reply:
    """Tag a revision."""
    repo, name = hub.writable(request), request.json()["tag"]
    if name in repo.tags:
        raise HubError(409, f"Tag already exists: refs/tags/{name}")
    repo.tags[name] = repo.at(request.params["revision"]).sha
    return Reply()


@route(f"POST {API}/preupload/{REVISION}")
def preupload(hub: LoopbackHub, request: Request) -> Reply:
    """Tell how each file is to be uploaded, and what the repository holds under its name already."""
    files = hub.writable(request).at(request.params["revision"]).files
    answers = []
    for asked in request.json()["files"]:
        path = asked["path"]
        mode = "lfs" if is_lfs(path, asked["size"]) else "regular"
        oid = content_id(path, files[path]) if path in files else None
        answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return as_json({"files": answers})


@route(rf"POST {WEB}\.git/info/lfs/objects/batch")
def lfs_batch(hub: LoopbackHub, request: Request) -> Reply:
    """Say where to upload each LFS object; one that is stored already gets no action."""
    hub.writable(request)
    objects = request.json()["objects"]
    for item in objects:
        if item["oid"] not in hub.lfs:
            item["actions"] = {"upload": {"href": f"{hub.url}/lfs/{item['oid']}"}}
    return as_json({"transfer": "basic", "objects": objects})


@route("PUT /lfs/(?P<oid>[0-9a-f]{64})")
def lfs_upload(hub: LoopbackHub, request: Request) -> Reply:
    """Store an LFS object. On the Hub this is a signed url of the storage, so it needs no token here either."""
    if hashlib.sha256(request.body).hexdigest() != request.params["oid"]:
        raise HubError(400, "The content does not match its checksum")
    hub.lfs[request.params["oid"]] = request.body
    return Reply()


@route(f"POST {API}/commit/{REVISION}")
def create_commit(hub: LoopbackHub, request: Request) -> Reply:
    """Apply a list of operations, one JSON object a line, to a branch: all of them or none."""
    repo, branch = hub.writable(request), request.params["revision"]
    if branch not in repo.branches:
        raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
    head, *operations = (json.loads(line) for line in request.body.splitlines())
    if head["value"].get("parentCommit", repo.branches[branch]) != repo.branches[branch]:
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    files = dict(repo.at(branch).files)
    for operation in operations:
        apply(hub, files, operation["key"], operation["value"])
    sha = repo.commit(branch, files, head["value"]["summary"]).sha
    return as_json({"success": True, "commitOid": sha, "commitUrl": f"{hub.url}/{repo.web_path}/commit/{sha}"})


def apply(hub: LoopbackHub, files: dict[str, bytes], key: str, value: dict[str, str]) -> None:
    """Apply one operation of a commit; an unknown file, LFS object or operation refuses the whole commit."""
    path = value["path"].rstrip("/")
    if key == "file":
        files[path] = base64.b64decode(value["content"])
    elif key == "lfsFile":
        if value["oid"] not in hub.lfs:
            raise HubError(400, f"LFS object {value['oid']} of {path} was not uploaded")
        files[path] = hub.lfs[value["oid"]]
    elif key in ("deletedFile", "deletedFolder"):
        doomed = [name for name in files if name == path or name.startswith(f"{path}/")]
        if not doomed:
            raise HubError(404, f"{path} does not exist", "EntryNotFound")
        for name in doomed:
            del files[name]
    else:
        raise HubError(400, f"Unknown operation {key}")


@route(f"(?:HEAD|GET) {WEB}/resolve/{REVISION}/(?P<path>.+)")
def download(hub: LoopbackHub, request: Request) -> Reply:
    """Send a file or a range of it. The Hub redirects to its storage for large files, which is not done here."""
    repo, path = hub.readable(request), request.params["path"]
    if repo.gated and repo.owner != request.user:
        message = f"Access to {repo.type} {repo.id} is restricted and you are not in the authorized list."
        raise HubError(401 if request.user is None else 403, message, "GatedRepo")
    commit = repo.at(request.params["revision"])
    if path not in commit.files:
        raise HubError(404, "BenchmarkSpec not found", "EntryNotFound", {"X-Repo-Commit": commit.sha})
    data = commit.files[path]
    headers = {
        "Content-Type": "application/octet-stream",
        "X-Repo-Commit": commit.sha,
        "ETag": f'"{content_id(path, data)}"',
        "Accept-Ranges": "bytes",
    }
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if wanted is None:
        return Reply(200, data, headers)
    start, stop = int(wanted[1]), min(int(wanted[2] or len(data)) + 1, len(data))
    if start >= len(data):
        raise HubError(416, "Range not satisfiable", headers={"Content-Range": f"bytes */{len(data)}"})
    return Reply(206, data[start:stop], {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"})


class Handler(BaseHTTPRequestHandler):
    """Reads requests off a connection and writes the answers of the hub, or the failures asked for."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: Nagle would hold back the second one
    server: Server

    def serve(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.hub.meet(self.command, unquote(url.path))
        if fault is not None and fault.status is not None:
            failure = HubError(fault.status, "Injected failure", headers=fault.headers).reply
            self.write(failure if fault.page is None else Reply(fault.status, fault.page))
        elif fault is not None and self.command != "GET":
            self.close_connection = True
        else:
            reply = self.server.hub.answer(self.command, url.path, url.query, self.headers, body)
            self.write(reply, cut=fault is not None)

    do_HEAD = do_GET = do_POST = do_PUT = do_DELETE = serve

    def write(self, reply: Reply, cut: bool = False) -> None:
        self.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if cut:
            self.wfile.write(reply.body[: len(reply.body) // 2])
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: `LoopbackHub.requests` is the log."""


class Server(ThreadingHTTPServer):
    """One thread a connection."""

    daemon_threads = True
    request_queue_size = 128  # a connection beyond the queue waits a second before the system retries it

    def __init__(self, hub: LoopbackHub):
        super().__init__(("127.0.0.1", 0), Handler)
        self.hub = hub

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a client hangs up early, as one does that streams only the start of a dataset."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

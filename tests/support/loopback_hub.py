"""A stand-in for the Hugging Face hub on the loopback interface, so that the real download code runs in tests without a network."""

import hashlib
import json
import re
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

Files = Mapping[str, bytes]
REVISION = r"refs/convert/\w+|[^/]+"
KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}


class Request(NamedTuple):
    method: str
    path: str
    range: str | None
    token: str | None = None


class Reply(NamedTuple):
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}
    sent: int | None = None
    """Bytes of the body after which the connection breaks off, if it does; -1 before anything is said."""


@dataclass
class Fault:
    """What goes wrong with the requests for some file, so many times."""

    status: int = 200
    sent: int | None = None
    times: float = float("inf")


@dataclass(frozen=True)
class Repository:
    name: str
    files: Files
    revisions: Collection[str] = ()

    @property
    def commit(self) -> str:
        digest = hashlib.sha1(self.name.encode())
        for path, content in sorted(self.files.items()):
            digest.update(path.encode() + b"\0" + content)
        return digest.hexdigest()

    def has(self, revision: str) -> bool:
        return revision in ("main", self.commit, *self.revisions)

    def info(self) -> dict[str, Any]:
        siblings = [{"rfilename": path} for path in sorted(self.files)]
        flags = {"private": False, "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0}
        return {"_id": self.commit[:24], "id": self.name, "modelId": self.name, "sha": self.commit, "siblings": siblings, **flags}

    def entry(self, path: str) -> dict[str, Any] | None:
        if path in self.files:
            return {"type": "file", "path": path, "size": len(self.files[path]), "oid": _hash(self.files[path])}
        if any(name.startswith(f"{path}/") for name in self.files):
            return {"type": "directory", "path": path, "size": 0, "oid": _hash(path.encode())}
        return None

    def tree(self, folder: str, recursive: bool) -> list[dict[str, Any]]:
        paths = set()
        for name in self.files:
            if folder and not name.startswith(f"{folder}/"):
                continue
            parts = name.removeprefix(f"{folder}/" if folder else "").split("/")
            for depth in range(1, len(parts) + 1 if recursive else 2):
                paths.add("/".join([*([folder] if folder else []), *parts[:depth]]))
        return [self.entry(path) for path in sorted(paths)]


class LoopbackHub:
    """Serves repositories at ``url`` while the context is open, and keeps a record of what was asked for.

    Args:
        models: Model repositories by name: a folder on disk, or the contents of its files by path.
        datasets: Data set repositories, likewise.
        revisions: Other names under which every repository's only commit is known, such as the commit that a program pins.
        faults: What goes wrong with requests whose path contains a text.
        gated: Names of repositories that exist, and are given to nobody.
    """

    def __init__(
        self,
        models: Mapping[str, Files | Path] | None = None,
        datasets: Mapping[str, Files | Path] | None = None,
        revisions: Collection[str] = (),
        faults: Mapping[str, Fault] | None = None,
        gated: Collection[str] = (),
    ) -> None:
        self._gated = gated
        self._faults = dict(faults or {})
        given = {"models": models or {}, "datasets": datasets or {}}
        self._repositories = {
            (kind, name): Repository(name, _read(files), revisions) for kind, named in given.items() for name, files in named.items()
        }
        self.requests: list[Request] = []

    def __enter__(self) -> "LoopbackHub":
        hub = self

        class Handler(_Handler):
            def answer(self, request: Request, body: bytes) -> Reply:
                hub.requests.append(request)
                return hub._disturbed(request, hub._answer(request, body))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def asked_for(self, text: str) -> list[Request]:
        """The requests whose path contains a text."""
        return [request for request in self.requests if text in request.path]

    def _disturbed(self, request: Request, reply: Reply) -> Reply:
        for text, fault in self._faults.items():
            if text in request.path and fault.times > 0:
                if fault.sent is not None and fault.sent >= 0 and request.method == "HEAD":
                    continue  # which has no body to break off
                fault.times -= 1
                return _error(fault.status, "", "disturbed") if fault.status != 200 else reply._replace(sent=fault.sent)
        return reply

    def _answer(self, request: Request, body: bytes) -> Reply:
        parts = urlsplit(request.path)
        path = unquote(parts.path)
        if any(f"/{name}/" in f"{path}/" for name in self._gated):
            return _error(401, "GatedRepo", "Access to this model is restricted. You must have access to it and be authenticated.")
        if match := re.fullmatch(rf"/api/(models|datasets|spaces)/(.+?)(?:/(revision|tree|paths-info)/({REVISION})(?:/(.*))?)?", path):
            kind, name, what, revision, rest = match.groups()
            return self._api(kind, name, what, revision or "main", (rest or "").strip("/"), parse_qs(parts.query), body)
        if match := re.fullmatch(rf"/((?:datasets|spaces)/)?(.+?)/resolve/({REVISION})/(.+)", path):
            prefix, name, revision, file = match.groups()
            return self._file(prefix.strip("/") if prefix else "models", name, revision, file, request.range)
        return _error(404, "EntryNotFound", f"no such page: {path}")

    def _api(self, kind: str, name: str, what: str | None, revision: str, rest: str, query: dict[str, list[str]], body: bytes) -> Reply:
        repository = self._repositories.get((kind, name))
        if repository is None:
            return _error(401, "RepoNotFound", f"no {KINDS[kind]} repository {name}")
        if not repository.has(revision):
            return _error(404, "RevisionNotFound", f"no revision {revision}")
        if what == "tree":
            if rest and repository.entry(rest) is None:
                return _error(404, "EntryNotFound", f"no folder {rest}")
            return _json(repository.tree(rest, query.get("recursive", ["false"])[0].lower() in ("true", "1")))
        if what == "paths-info":
            return _json([entry for path in _paths(body) if (entry := repository.entry(path))])
        return _json(repository.info())

    def _file(self, kind: str, name: str, revision: str, file: str, span: str | None) -> Reply:
        repository = self._repositories.get((kind, name))
        if repository is None:
            return _error(401, "RepoNotFound", f"no {KINDS[kind]} repository {name}")
        if not repository.has(revision):
            return _error(404, "RevisionNotFound", f"no revision {revision}")
        commit = {"X-Repo-Commit": repository.commit}
        if file not in repository.files:
            return _error(404, "EntryNotFound", f"no file {file}", commit)
        content = repository.files[file]
        headers = {**commit, "ETag": f'"{_hash(content)}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        return Reply(200, content, headers) if span is None else _part(content, span, headers)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet a reply: small ones would wait for acknowledgements
    disable_nagle_algorithm = True

    def answer(self, request: Request, body: bytes) -> Reply:
        raise NotImplementedError

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reply = self.answer(Request(self.command, self.path, self.headers.get("Range"), self.headers.get("Authorization")), body)
        if reply.sent == -1:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: reply.sent])
        if reply.sent is not None:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = _serve

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _read(files: Files | Path) -> Files:
    if not isinstance(files, Path):
        return files
    return {path.relative_to(files).as_posix(): path.read_bytes() for path in files.rglob("*") if path.is_file()}


def _part(content: bytes, span: str, headers: Mapping[str, str]) -> Reply:
    """The bytes that a Range header asks for: from-to, from-, or the last n."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", span)
    first, last = match.groups() if match else ("", "")
    if not (first or last):
        return Reply(200, content, headers)
    start = int(first) if first else max(0, len(content) - int(last))
    stop = min(int(last) + 1, len(content)) if first and last else len(content)
    if start >= stop:
        return Reply(416, b"", {**headers, "Content-Range": f"bytes */{len(content)}"})
    return Reply(206, content[start:stop], {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"})


def _paths(body: bytes) -> list[str]:
    text = body.decode()
    return json.loads(text)["paths"] if text.startswith("{") else parse_qs(text).get("paths", [])


def _json(data: Any) -> Reply:
    return Reply(200, json.dumps(data).encode(), {"Content-Type": "application/json"})


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    body = json.dumps({"error": message}).encode()
    return Reply(status, body, {"X-Error-Code": code, "X-Error-Message": message, "Content-Type": "application/json", **(headers or {})})


def _hash(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()

"""A loopback hub that keeps what it gets, as huggingface_hub sends it: new repositories, and files in commits and as large objects."""

import base64
import hashlib
import json
import os
import re
import signal
import threading
from collections.abc import Collection, Mapping
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from loopback_hub import KINDS, Files, LoopbackHub, Reply, Repository, Request

LARGE = 3_000
"""Bytes from which a file that is no Markdown is a large object."""


class KeptRepository(Repository):
    """A repository that says of its files what the hub says: git's hashes, and of large objects theirs."""

    private = False

    def entry(self, path: str) -> dict[str, Any] | None:
        entry = super().entry(path)
        if entry is None or entry["type"] != "file":
            return entry
        content = self.files[path]
        entry["oid"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        if is_large(path, len(content)):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return entry

    def info(self) -> dict[str, Any]:
        return {**super().info(), "private": self.private}


class UploadHub(LoopbackHub):
    """A hub to publish to.

    Args:
        users: Users by their tokens; each may write to repositories of their own name.
        private: Names of the repositories that are private.
        given: What else ``LoopbackHub`` takes.
    """

    def __init__(self, users: Mapping[str, str], private: Collection[str] = (), **given: Any) -> None:
        super().__init__(**given)
        self._users = users
        self._repositories = {(kind, each.name): kept(each.name, each.files) for (kind, _), each in self._repositories.items()}
        for (_, name), each in self._repositories.items():
            object.__setattr__(each, "private", name in private)
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self.sent: list[tuple[Request, bytes]] = []
        """What was written to it: every request with a body, and the body."""
        self.kill: tuple[str, int, int] | None = None
        """A process that is killed when the n-th request with some text in its path arrives, which is then not answered."""

    def files(self, kind: str, name: str) -> Files:
        return self._repositories[f"{kind}s", name].files

    def is_private(self, kind: str, name: str) -> bool:
        return self._repositories[f"{kind}s", name].private

    def writes(self, text: str = "") -> list[str]:
        """The paths of the requests that write something and have a text in them."""
        return [f"{request.method} {request.path}" for request, _ in self.sent if text in request.path]

    def _answer(self, request: Request, body: bytes) -> Reply:
        with self._lock:
            return self._answer_one(request, body)

    def _answer_one(self, request: Request, body: bytes) -> Reply:
        path = unquote(urlsplit(request.path).path)
        if request.method in ("POST", "PUT"):
            self.sent.append((request, body))
        if self._killed(path):
            return Reply(503, sent=-1)
        for pattern, answer in self._answers.items():
            if match := re.fullmatch(pattern, path):
                return answer(self, request, body, *match.groups())
        if (match := re.match(r"/(?:api/)?(?:datasets/|spaces/|models/)?([\w.-]+/[\w.-]+)", path)) and self._is_hidden(match[1], request):
            return _refused(401, "RepoNotFound", f"no repository {match[1]}")
        return super()._answer(request, body)

    def _killed(self, path: str) -> bool:
        if self.kill is None or self.kill[0] not in path:
            return False
        text, left, pid = self.kill
        self.kill = (text, left - 1, pid)
        if left == 1:
            os.kill(pid, signal.SIGKILL)
        return left == 1

    def _whoami(self, request: Request, body: bytes) -> Reply:
        user = self._user(request)
        return _json({"name": user, "type": "user", "orgs": []}) if user else _refused(401, "", "Invalid username or password.")

    def _validate(self, request: Request, body: bytes) -> Reply:
        return _json({"errors": [], "warnings": []})

    def _write(self, request: Request, body: bytes, kind: str, name: str, what: str, revision: str) -> Reply:
        if self._user(request) != name.split("/")[0]:
            return _refused(403, "", f"You have no right to write to {name}")
        return self._preupload(kind, name, body) if what == "preupload" else self._commit(kind, name, body)

    def _put(self, request: Request, body: bytes, oid: str) -> Reply:
        if hashlib.sha256(body).hexdigest() != oid:
            return _refused(400, "", "other content than its hash")
        self._objects[oid] = body
        return Reply(200)

    def _user(self, request: Request) -> str | None:
        return self._users.get((request.token or "").removeprefix("Bearer "))

    def _is_hidden(self, name: str, request: Request) -> bool:
        found = [each for (_, known), each in self._repositories.items() if known == name]
        return bool(found) and all(each.private for each in found) and self._user(request) != name.split("/")[0]

    def _create(self, request: Request, body: bytes) -> Reply:
        asked = json.loads(body)
        kind, name = f"{asked.get('type', 'model')}s", f"{asked['organization']}/{asked['name']}"
        if self._user(request) != asked["organization"]:
            return _refused(403, "", f"You don't have the rights to create a {KINDS[kind]} under {asked['organization']}")
        if (kind, name) in self._repositories:
            return _refused(409, "", "You already created this repo", {"url": f"{self.url}/{kind}/{name}"})
        template = {"README.md": b"---\ntitle: template\nsdk: static\n---\n", "index.html": b"hello"} if kind == "spaces" else {}
        made = kept(name, {".gitattributes": b"*.parquet filter=lfs\n", **template})
        object.__setattr__(made, "private", asked.get("private", asked.get("visibility") == "private"))
        self._repositories[kind, name] = made
        return _json({"url": f"{self.url}/{'' if kind == 'models' else f'{kind}/'}{name}", "name": name})

    def _preupload(self, kind: str, name: str, body: bytes) -> Reply:
        there = self._repositories.get((kind, name))
        if there is None:
            return _refused(404, "RepoNotFound", f"no repository {name}")
        modes = []
        for file in json.loads(body)["files"]:
            entry = there.entry(file["path"]) or {}
            mode = "lfs" if is_large(file["path"], file["size"]) else "regular"
            oid = entry.get("lfs", {}).get("oid") or entry.get("oid")
            modes.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, **({"oid": oid} if oid else {})})
        return _json({"files": modes})

    def _batch(self, request: Request, body: bytes) -> Reply:
        objects = []
        for each in json.loads(body)["objects"]:
            known = each["oid"] in self._objects
            href = f"{self.url}/objects/{each['oid']}"
            objects.append({**each, **({} if known else {"actions": {"upload": {"href": href}}})})
        return _json({"transfer": "basic", "objects": objects})

    def _commit(self, kind: str, name: str, body: bytes) -> Reply:
        there = self._repositories[kind, name]
        files = dict(there.files)
        for line in body.decode().splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header" and value.get("parentCommit", there.commit) != there.commit:
                return _refused(412, "", "A commit has happened since")
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if item["key"] == "lfsFile":
                files[value["path"]] = self._objects[value["oid"]]
        changed = kept(name, files)
        object.__setattr__(changed, "private", there.private)
        self._repositories[kind, name] = changed
        return _json({"commitUrl": f"{self.url}/{kind}/{name}/commit/{changed.commit}", "commitOid": changed.commit})

    _answers: ClassVar = {
        "/api/whoami-v2": _whoami,
        "/api/validate-yaml": _validate,
        "/api/repos/create": _create,
        r"/api/(models|datasets|spaces)/(.+?)/(preupload|commit)/([^/]+)": _write,
        r"/.+\.git/info/lfs/objects/batch": _batch,
        r"/objects/([0-9a-f]{64})": _put,
    }


def kept(name: str, files: Files) -> KeptRepository:
    return KeptRepository(name, files)


def is_large(path: str, size: int) -> bool:
    return path.endswith(".parquet") or (size >= LARGE and not path.endswith(".md"))


def bytes_sent(hub: UploadHub) -> bytes:
    """All that was written to a hub, with what is in base64 within it as it is."""
    found = []
    for request, body in hub.sent:
        found += [request.path.encode(), body]
        for text in re.findall(rb'"(?:content|sample)": ?"([A-Za-z0-9+/=]+)"', body):
            found.append(base64.b64decode(text))
    return b"\n".join(found)


def _json(data: Any) -> Reply:
    return Reply(200, json.dumps(data).encode(), {"Content-Type": "application/json"})


def _refused(status: int, code: str, message: str, more: Mapping[str, Any] | None = None) -> Reply:
    headers = {"X-Error-Code": code, "X-Error-Message": message, "Content-Type": "application/json"}
    return Reply(status, json.dumps({"error": message, **(more or {})}).encode(), headers)

"""A W&B server on this machine: as much of its private interface as a run, an artifact and a saved workspace need."""

import json
import re
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import wandb

ENTITY, PROJECT = "tester", "tests"


@dataclass
class Received:
    """What clients have sent."""

    url: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    """Uploads by name: those of a run, and those of artifacts under ``artifacts/NAME``."""
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    committed: list[str] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Operations that the stub has no answer to."""
    refuses: bool = False
    """Whether every operation is answered with an error."""


@contextmanager
def loopback_wandb(monkeypatch):
    """Runs the server, to which W&B logs meanwhile; yields what it receives."""
    received = Received()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"received": received}))
    received.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    wandb.teardown()  # it remembers the settings of the first run
    for name, value in {"MODE": "online", "BASE_URL": received.url, "API_KEY": "0" * 40}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    try:
        yield received
    finally:
        wandb.teardown()  # which waits until everything is uploaded
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # which is how a client's process ends
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    received: Received

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/graphql" and self.received.refuses:
            self._answer({"errors": [{"message": "permission denied"}]}, status=403)
        elif self.path == "/graphql":
            self._answer({"data": _graphql(self.received, json.loads(body))})
        elif self.path.endswith("/file_stream"):
            _file_stream(self.received, json.loads(body))
            self._answer({"exitcode": None, "limits": {}})
        else:
            self._answer({})

    def do_PUT(self):
        self.received.files[unquote(self.path).removeprefix("/storage/")] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({})

    def do_GET(self):
        self._answer({})

    def _answer(self, data, status=200):
        text = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


def _file_stream(received, data):
    for name, part in (data.get("files") or {}).items():
        if name == "wandb-history.jsonl":
            received.history += [json.loads(line) for line in part["content"]]
        elif name == "wandb-summary.json":
            received.summary |= json.loads(part["content"][-1])


def _graphql(received, request):
    operation = request.get("operationName") or re.search(r"(?:query|mutation)\s+(\w+)", request["query"])[1]
    variables = request.get("variables") or {}
    answer = _ANSWERS.get(operation)
    if answer is None:
        received.unknown.append(operation)
        return {}
    return answer(received, variables)


def _viewer(received, variables):
    viewer = {"id": "viewer", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}", "teams": {"edges": []}, "admin": False}
    return {"viewer": viewer, "serverInfo": {"cliVersionInfo": {}, "latestLocalVersionInfo": None}}


def _upsert_bucket(received, variables):
    received.config |= json.loads(variables.get("config") or "{}")
    project = {"id": "project", "name": PROJECT, "entity": {"id": "entity", "name": ENTITY}}
    name = variables["name"]
    bucket = {"id": name, "name": name, "displayName": name, "description": "", "config": "{}", "sweepName": None, "historyLineCount": 0}
    return {"upsertBucket": {"bucket": bucket | {"project": project}, "inserted": True}}


def _create_run_files(received, variables):
    files = [{"name": name, "uploadUrl": f"{received.url}/storage/{name}"} for name in variables["files"]]
    return {"createRunFiles": {"runID": "run", "uploadHeaders": [], "files": files}}


def _create_artifact(received, variables):
    received.artifacts.append(variables["input"])
    identity = f"artifact{len(received.artifacts)}"
    artifact = {"id": identity, "state": "PENDING", "artifactSequence": {"id": "sequence", "latestArtifact": None}}
    return {"createArtifact": {"artifact": artifact}}


def _create_artifact_manifest(received, variables):
    file = _place(received, f"manifests/{variables['artifactID']}", name="wandb_manifest.json")
    return {"createArtifactManifest": {"artifactManifest": {"id": variables["artifactID"], "file": file}}}


def _create_artifact_files(received, variables):
    nodes = []
    for spec in variables["input"]["artifactFiles"]:
        place = _place(received, f"artifacts/{spec['artifactID']}/{spec['name']}", name=spec["name"])
        nodes.append({"node": place | {"storagePath": spec["name"], "artifact": {"id": spec["artifactID"]}}})
    return {"createArtifactFiles": {"files": {"edges": nodes}}}


def _place(received, path, name):
    url = f"{received.url}/storage/{path}"
    return {"id": path, "name": name, "displayName": name, "uploadUrl": url, "uploadHeaders": [], "uploadMultipartUrls": None}


def _commit_artifact(received, variables):
    received.committed.append(variables["artifactID"])
    return {"commitArtifact": {"artifact": {"id": variables["artifactID"], "digest": variables["artifactID"]}}}


def _upsert_view(received, variables):
    received.views.append(variables)
    return {"upsertView": {"view": {"id": "view", "name": variables["name"]}, "inserted": True}}


_ANSWERS = {
    "Viewer": _viewer,
    "UpsertBucket": _upsert_bucket,
    "CreateRunFiles": _create_run_files,
    "ArtifactType": lambda received, variables: {"project": {"artifact": None}},
    "ServerFeaturesQuery": lambda received, variables: {"serverInfo": {"features": []}},
    "CreateArtifact": _create_artifact,
    "CreateArtifactManifest": _create_artifact_manifest,
    "CreateArtifactFiles": _create_artifact_files,
    "CommitArtifact": _commit_artifact,
    "UpsertView2": _upsert_view,
    "OrganizationCoreWeaveOrganizationID": lambda received, variables: {"entity": None},
}

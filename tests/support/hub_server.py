"""A Hub on this machine: as much of its wire protocol as huggingface-hub speaks when models are pushed and pulled."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from support.file_server import drip

WRITER, READER, STRANGER = "hf_writer", "hf_reader", "hf_stranger"
"""Tokens: `me`'s with and without write access, and somebody else's."""

_USERS = {WRITER: "me", READER: "me", STRANGER: "you"}


@dataclass
class Repository:
    """Branches are lists of commits, a commit is a name and files."""

    private: bool = False
    gated: bool = False
    branches: dict[str, list[tuple[str, dict[str, bytes]]]] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes], deleted: list[str]) -> str:
        log = self.branches.setdefault(branch, list(self.branches.get("main", [])))
        before = {} if not log else log[-1][1]
        after = {path: data for path, data in {**before, **files}.items() if path not in deleted}
        name = hashlib.sha1(
            f"{len(log)}{branch}{sorted(after)}{deleted}".encode() + b"".join(after.values())
        ).hexdigest()
        log.append((name, after))
        return name

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if self.branches.get(revision):
            return self.branches[revision][-1]
        for log in self.branches.values():
            for commit in log:
                if commit[0] == revision:
                    return commit
        return None


@dataclass
class Fault:
    """What goes wrong with requests whose method and path match, so many times."""

    pattern: str
    status: int = 500
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    """Hang up after so many bytes of what is sent or received."""
    damage: bool = False
    """Send another last byte than there is."""
    drips: bool = False
    """Send a byte every tenth of a second."""
    kill: bool = False
    """Then the server is gone, with all its connections, until it is started again."""


class HubServer(ThreadingHTTPServer):
    """Start it with `with HubServer() as hub:`; it listens where HF_ENDPOINT says."""

    daemon_threads = True

    def __init__(self) -> None:
        self.url = os.environ["HF_ENDPOINT"]
        super().__init__(("127.0.0.1", int(self.url.rpartition(":")[2])), _Handler)
        self.connections: list[socket.socket] = []
        self.reset()

    def reset(self) -> None:
        """Nothing is there, and nothing goes wrong."""
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Gone, as if its process had been killed; what it had stored is there when it starts again."""
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def start(self) -> None:
        """After a kill."""
        self.socket = socket.socket(self.address_family, self.socket_type)
        self.server_bind()
        self.server_activate()
        self.__enter__()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def add(self, repo_id: str, files: dict[str, bytes], **kind: Any) -> Repository:
        repository = self.repositories.setdefault(repo_id, Repository(**kind))
        repository.commit("main", files, [])
        return repository


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_GET(self) -> None:
        self._route()

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, *_: object) -> None:
        pass

    # One request

    def _route(self) -> None:
        parts = urlsplit(self.path)
        path, self.query = unquote(parts.path), parse_qs(parts.query)
        line, self.fault = f"{self.command} {path}", Fault("")
        self.server.requests.append(line + (f" {self.headers['Range']}" if "Range" in self.headers else ""))
        for fault in self.server.faults:
            if fault.times > 0 and re.search(fault.pattern, line):
                fault.times -= 1
                if fault.damage or fault.drips or (fault.cut is not None and self.command == "GET"):
                    self.fault = fault
                    break
                if fault.cut is not None:
                    self.rfile.read(min(fault.cut, int(self.headers.get("Content-Length") or 0)))
                    if fault.kill:
                        self.server.kill()
                    self.close_connection = True
                    self.connection.close()
                    return
                self._body()
                return self._answer(fault.status, {"error": "as asked"}, fault.headers)
        routes: list[tuple[str, Callable[..., None]]] = [
            (r"POST /api/repos/create", self._create),
            (r"POST /api/validate-yaml", self._validate),
            (r"GET /api/whoami-v2", self._whoami),
            (r"GET /api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", self._info),
            (r"GET /api/models/([^/]+/[^/]+)/tree/([^/]+)(?:/.*)?", self._tree),
            (r"GET /api/models/([^/]+/[^/]+)/refs", self._refs),
            (r"POST /api/models/([^/]+/[^/]+)/branch/(.+)", self._branch),
            (r"POST /api/models/([^/]+/[^/]+)/preupload/([^/]+)", self._preupload),
            (r"POST /([^/]+/[^/]+)\.git/info/lfs/objects/batch", self._batch),
            (r"POST /api/models/([^/]+/[^/]+)/commit/([^/]+)", self._commit),
            (r"PUT /objects/([0-9a-f]{64})", self._upload),
            (r"(?:GET|HEAD) /([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._resolve),
        ]
        for pattern, handle in routes:
            if found := re.fullmatch(pattern, line):
                return handle(*found.groups())
        self._body()
        self._answer(404, {"error": f"no such thing: {line}"})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, content: Any = None, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        sent = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
        for key, value in sent.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            if self.fault.damage:
                data = data[:-1] + bytes([data[-1] ^ 1])
            if self.fault.drips:
                drip(self.wfile, data)
            else:
                self.wfile.write(data[: self.fault.cut])
        if self.fault.cut is not None:
            self.wfile.flush()
            self.close_connection = True

    @property
    def _token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def _repository(self, repo_id: str, write: bool = False) -> Repository | None:
        """The repository, if this token may; else answers as the Hub does."""
        token, found = self._token, self.server.repositories.get(repo_id)
        mine = _USERS.get(token or "") == repo_id.split("/")[0]
        if token is not None and token not in _USERS:
            self._answer(401, {"error": "Invalid username or password."})
        elif found is None or (found.private and not mine):
            status = 401 if token is None else 404
            self._answer(status, {"error": "Repository Not Found"}, {"X-Error-Code": "RepoNotFound"})
        elif found.gated and not mine:
            self._answer(403, {"error": "Access is restricted"}, {"X-Error-Code": "GatedRepo"})
        elif write and (not mine or token == READER):
            self._answer(403, {"error": "You don't have the rights"})
        else:
            return found
        return None

    def _at(self, repo_id: str, revision: str) -> tuple[Repository, str, dict[str, bytes]] | None:
        repository = self._repository(repo_id)
        if repository is None:
            return None
        commit = repository.at(revision)
        if commit is None:
            self._answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
            return None
        return repository, *commit

    # The Hub's verbs

    def _create(self) -> None:
        asked = json.loads(self._body())
        user = _USERS.get(self._token or "")
        if user is None:
            return self._answer(401, {"error": "Invalid username or password."})
        repo_id = f"{asked.get('organization') or user}/{asked['name']}"
        answer = {"url": f"{self.server.url}/{repo_id}", "name": repo_id}
        if repo_id in self.server.repositories:
            return self._answer(409, {**answer, "error": "You already created this model repo"})
        if repo_id.split("/")[0] != user or self._token == READER:
            return self._answer(403, {"error": "You don't have the rights to create a model under this namespace"})
        self.server.repositories[repo_id] = Repository(
            private=bool(asked.get("private")) or asked.get("visibility") == "private"
        )
        self.server.repositories[repo_id].commit("main", {".gitattributes": b""}, [])
        self._answer(200, answer)

    def _whoami(self) -> None:
        user = _USERS.get(self._token or "")
        self._answer(200 if user else 401, {"name": user} if user else {"error": "Invalid username or password."})

    def _validate(self) -> None:
        """The Hub's rules for the head of a card, those that ours could break."""
        content = json.loads(self._body())["content"]
        errors = []
        try:
            card = yaml.safe_load(content.split("---")[1])
        except (IndexError, yaml.YAMLError) as error:
            return self._answer(400, {"errors": [{"message": f"no metadata: {error}"}], "warnings": []})
        bases = card.get("base_model") or []
        for base in [bases] if isinstance(bases, str) else bases:
            if not re.fullmatch(r"[\w.-]+/[\w.-]+", base):
                errors.append(f'"base_model" {base!r} is not a model id')
        if card.get("base_model_relation") not in (None, "adapter", "finetune", "merge", "quantized"):
            errors.append('"base_model_relation" is not known')
        if card.get("license") == "other" and not card.get("license_name"):
            errors.append('"license_name" is required')
        for key in ("tags", "datasets"):
            if not all(isinstance(value, str) for value in card.get(key) or []):
                errors.append(f'"{key}" must be an array of strings')
        if card.get("pipeline_tag") not in (None, "image-to-image", "unconditional-image-generation"):
            errors.append('"pipeline_tag" is not known')
        status = 400 if errors else 200
        self._answer(status, {"errors": [{"message": error} for error in errors], "warnings": []})

    def _info(self, repo_id: str, revision: str | None) -> None:
        if found := self._at(repo_id, revision or "main"):
            repository, commit, files = found
            siblings = [{"rfilename": path} for path in files]
            answer = {"_id": "0", "id": repo_id, "modelId": repo_id, "private": repository.private, "sha": commit}
            answer |= {"siblings": siblings, "tags": [], "downloads": 0, "likes": 0, "gated": repository.gated}
            self._answer(200, answer)

    def _tree(self, repo_id: str, revision: str) -> None:
        if found := self._at(repo_id, revision):
            entries = []
            for path, data in found[2].items():
                entry = {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                if path.endswith(".safetensors"):
                    entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
                entries.append(entry)
            self._answer(200, entries)

    def _refs(self, repo_id: str) -> None:
        if repository := self._repository(repo_id):
            branches = [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": log[-1][0]}
                for name, log in repository.branches.items()
            ]
            self._answer(200, {"branches": branches, "converts": [], "tags": []})

    def _branch(self, repo_id: str, branch: str) -> None:
        self._body()
        if repository := self._repository(repo_id, write=True):
            if branch in repository.branches:
                return self._answer(409, {"error": "Reference already exists"})
            repository.branches[branch] = list(repository.branches["main"])
            self._answer(200, {})

    def _preupload(self, repo_id: str, revision: str) -> None:
        asked = json.loads(self._body())
        if self._repository(repo_id, write=True):
            self._answer(
                200,
                {
                    "files": [
                        {
                            "path": file["path"],
                            "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                            "shouldIgnore": False,
                            "oid": None,
                        }
                        for file in asked["files"]
                    ]
                },
            )

    def _batch(self, repo_id: str) -> None:
        asked = json.loads(self._body())
        if not self._repository(repo_id, write=True):
            return
        objects = []
        for entry in asked["objects"]:
            # What is there already needs no upload.
            if entry["oid"] not in self.server.objects:
                entry["actions"] = {"upload": {"href": f"{self.server.url}/objects/{entry['oid']}"}}
            objects.append(entry)
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _upload(self, oid: str) -> None:
        data = self._body()
        if hashlib.sha256(data).hexdigest() != oid:
            return self._answer(400, {"error": "not what was announced"})
        self.server.objects[oid] = data
        self._answer(200, {})

    def _commit(self, repo_id: str, revision: str) -> None:
        lines = [json.loads(line) for line in self._body().splitlines() if line]
        repository = self._repository(repo_id, write=True)
        if repository is None:
            return
        files, deleted = {}, []
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.server.objects:
                    return self._answer(400, {"error": f"object {value['oid']} was not uploaded"})
                files[value["path"]] = self.server.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                deleted.append(value["path"])
        request = "create_pr" in self.query
        branch = f"refs/pr/{len(repository.branches)}" if request else revision
        name = repository.commit(branch, files, deleted)
        answer = {"commitUrl": f"{self.server.url}/{repo_id}/commit/{name}", "commitOid": name}
        answer["pullRequestUrl"] = f"{self.server.url}/{repo_id}/discussions/1" if request else None  # type: ignore[assignment]
        self._answer(200, answer)

    def _resolve(self, repo_id: str, revision: str, path: str) -> None:
        found = self._at(repo_id, revision)
        if found is None:
            return
        _, commit, files = found
        if path not in files:
            return self._answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        data = files[path]
        kind = hashlib.sha256 if path.endswith(".safetensors") else hashlib.sha1
        headers = {"ETag": f'"{kind(data).hexdigest()}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        headers |= {"Content-Type": "application/octet-stream", "X-Linked-Size": str(len(data))}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted is None:
            return self._answer(200, data, headers)
        first, last = int(wanted[1]), int(wanted[2] or len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self._answer(206, data[first : last + 1], headers)


def files_of(hub: HubServer, repo: str, revision: str = "main") -> dict[str, bytes]:
    """What was pushed to a branch, or lies at a commit."""
    commit = hub.repositories[repo].at(revision)
    assert commit is not None
    return {path: data for path, data in commit[1].items() if path != ".gitattributes"}

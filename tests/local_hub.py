"""A stand-in for the hub's server on 127.0.0.1: what huggingface_hub sends to it lies in a folder.

It answers the requests that create a repository and commit to it, large files by Git LFS; no other.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

TOKEN = "hf_of_the_test"
_LARGE = (".safetensors", ".bin", ".pt", ".pth")


class LocalHub(ThreadingHTTPServer):
    """The server. ``commits`` has the repository, the message and the files of each commit."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root, self.lock = root, Lock()
        self.commits: list[tuple[str, str, dict[str, bytes]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def large_file(self, oid: str) -> Path:
        return self.root / "lfs" / oid

    def commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        files: dict[str, bytes] = {}
        message = ""
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.large_file(value["oid"]).read_bytes()
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        for path, content in files.items():
            target = self.root / repo / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        self.commits.append((repo, message, files))


class _Handler(BaseHTTPRequestHandler):
    server: LocalHub

    def do_POST(self) -> None:
        body = self._body()
        hub, path = self.server, self.path.split("?")[0]
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return self._answer({"error": "no token"}, 401)
        if path == "/api/repos/create":
            name = f"someone/{json.loads(body)['name']}"
            return self._answer({"url": f"{hub.url}/{name}", "name": name})
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            modes = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith(_LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(body)["files"]
            ]
            return self._answer({"files": modes})
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{hub.url}/lfs/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self._answer({"objects": objects, "transfer": "basic"})
        if found := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            with hub.lock:
                hub.commit(found[1], [json.loads(line) for line in body.splitlines()])
            oid = f"{len(hub.commits):040x}"
            return self._answer({"commitOid": oid, "commitUrl": f"{hub.url}/{found[1]}/commit/{oid}"})
        return self._refuse()

    def do_PUT(self) -> None:
        target = self.server.large_file(Path(self.path).name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self._body())
        self._answer({})

    def do_GET(self) -> None:
        self._refuse()

    def log_message(self, *_: Any) -> None:
        """Write nothing to the terminal."""

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _refuse(self) -> None:
        self._answer({"error": "unknown to the stand-in"}, 404)

    def _answer(self, value: dict[str, Any], code: int = 200) -> None:
        text = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@contextlib.contextmanager
def local_hub(root: Path) -> Iterator[LocalHub]:
    """Serve a stand-in, whose repositories lie in ``root``."""
    hub = LocalHub(root)
    thread = Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()

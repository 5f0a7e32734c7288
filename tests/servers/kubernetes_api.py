"""The part of Kubernetes' API server that a CronJob's pod talks to, with an operator that ends RayJobs when it is told to."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

TOKEN = "a-token-of-the-pod"


class KubernetesApi:
    """RayJobs of one namespace by name. `finish` gives a RayJob its end; `fail_next` refuses requests with these codes."""

    def __init__(self, folder: Path) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.fail_next: list[int] = []
        self.ends_as: list[str] = []
        """Statuses that new RayJobs get at once."""
        self.account = folder
        (folder / "token").write_text(f"{TOKEN}\n")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def finish(self, name: str, status: str) -> None:
        self.jobs[name]["status"] = {"jobDeploymentStatus": status}

    def __enter__(self) -> KubernetesApi:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, token: str | None, body: bytes) -> tuple[int, dict[str, Any]]:
        self.requests.append(f"{method} {path.rpartition('/')[2]}")
        if token != f"Bearer {TOKEN}":
            return 401, {"message": "Unauthorized"}
        if self.fail_next:
            return self.fail_next.pop(0), {"message": "as it was told"}
        name = path.partition("/rayjobs")[2].strip("/")
        if method == "POST":
            made = json.loads(body)
            name = made["metadata"]["name"]
            if name in self.jobs:
                return 409, {"message": f"rayjobs {name} already exists"}
            self.jobs[name] = made
            if self.ends_as:
                self.finish(name, self.ends_as.pop(0))
            return 201, made
        if name not in self.jobs:
            return 404, {"message": "not found"}
        return 200, self.jobs.pop(name) if method == "DELETE" else self.jobs[name]


def _handler(api: KubernetesApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, found = api.answer(self.command, self.path, self.headers.get("Authorization"), body)
            text = json.dumps(found).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = _respond

        def log_message(self, *_: object) -> None:
            pass

    return Handler

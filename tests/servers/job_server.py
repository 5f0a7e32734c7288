"""A job server on loopback that takes what Ray's does: packages, jobs with their logs, tokens; each job is a process here.

It answers within milliseconds, and can be of another version, be gone, or lose what it knew; tests/servers/ray_cluster.py is the
real one.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import ray


class LocalJobs:
    """A job server; started by `with`, gone after it with its jobs. `environment` is that of its nodes."""

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        ray_version: str = ray.__version__,
        token: str | None = None,
    ) -> None:
        self.environment, self.ray_version, self.token = dict(environment or {}), ray_version, token
        self._temporary = tempfile.TemporaryDirectory(prefix="jobs-")
        self.folder = Path(self._temporary.name)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.packages: dict[str, bytes] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.holds = False
        """While it holds, jobs stay pending."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> LocalJobs:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        for process in self.processes.values():
            process.kill()
            process.wait()
        self._temporary.cleanup()

    def submit(self, request: dict[str, Any]) -> tuple[int, object]:
        name = str(request["submission_id"])
        if name in self.jobs:
            return 500, f"Job with submission_id {name} already exists. Please use a different submission_id."
        self.jobs[name] = request
        if not self.holds:
            self._start(name, request)
        return 200, {"submission_id": name, "job_id": name}

    def _start(self, name: str, request: dict[str, Any]) -> None:
        folder = self.folder / name
        folder.mkdir()
        package = self.packages[str(request["runtime_env"]["working_dir"]).removeprefix("gcs://")]
        zipfile.ZipFile(io.BytesIO(package)).extractall(folder / "w")
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "AWS_", "PYTHONPATH"))
        }
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        given = {**inherited, **self.environment, **request["runtime_env"]["env_vars"], "PATH": path}
        with (folder / "log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                request["entrypoint"],
                shell=True,
                cwd=folder / "w",
                env=given,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def info(self, name: str) -> tuple[int, object]:
        if name not in self.jobs:
            return 404, f"Job {name} does not exist"
        process = self.processes.get(name)
        code = None if process is None else process.poll()
        begun = "RUNNING" if code is None else {0: "SUCCEEDED"}.get(code, "FAILED")
        status = "PENDING" if process is None else begun
        said = {
            "type": "SUBMISSION",
            "status": status,
            "entrypoint": self.jobs[name]["entrypoint"],
            "driver_exit_code": code,
        }
        return 200, {**said, "submission_id": name, "message": "", "metadata": self.jobs[name].get("metadata")}

    def log(self, name: str) -> str:
        with suppress(FileNotFoundError):
            return (self.folder / name / "log").read_text(errors="replace")
        return ""


def _handler(jobs: LocalJobs) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.strip("/").split("/")
            if self.path == "/api/version":
                self._answer(
                    200, {"version": "4", "ray_version": jobs.ray_version, "ray_commit": "", "session_name": ""}
                )
            elif parts[1] == "packages":
                self._answer(200 if parts[-1] in jobs.packages else 404, {})
            elif parts[-1] == "logs":
                self._answer(200, {"logs": jobs.log(parts[-2])})
            else:
                self._answer(*jobs.info(parts[-1]))

        def do_PUT(self) -> None:
            jobs.packages[self.path.rpartition("/")[2]] = self._body()
            self._answer(200, {})

        def do_POST(self) -> None:
            body = self._body()
            if self.path.endswith("/stop"):
                jobs.processes[self.path.split("/")[-2]].terminate()
                self._answer(200, {"stopped": True})
            else:
                self._answer(*jobs.submit(json.loads(body)))

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _answer(self, code: int, content: object) -> None:
            if jobs.token is not None and self.headers.get("Authorization") != f"Bearer {jobs.token}":
                code, content = 401, "Unauthorized: Missing authentication token"
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return Handler

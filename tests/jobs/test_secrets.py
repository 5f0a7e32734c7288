"""Canaries are put wherever a secret can stand; nothing that a run writes or prints holds one, in whatever form."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pyarrow.parquet as pq
import pytest

from tests.support import Ended, Home, Output, embed, home, job_file, pictures, pixelmill

CANARY = "Zx9Canary7Q"
SECRET_NAMES = (
    "access_token", "api_key", "key", "auth_token", "client_secret", "private_token", "jwt", "Policy", "Signature",
    "X-Amz-Signature", "X-Goog-Signature", "sig", "%73ig", "never_heard_of",
)  # fmt: skip


class Server(BaseHTTPRequestHandler):
    """A web server that redirects to signed addresses, and an S3 server that repeats what it was sent when it refuses."""

    picture = b""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        signed = f"?Policy={CANARY}&Signature={CANARY}&access_token={CANARY}"
        if path.startswith("/moved"):
            self._answer(302, b"", Location=f"/{path.removeprefix('/moved-')}{signed}")
        elif path.startswith("/elsewhere"):
            self._answer(302, b"", Location=f"http://user:{CANARY}@127.0.0.1:1/a.jpg{signed}")
        elif path.startswith("/good"):
            self._answer(200, self.picture)
        elif path.startswith("/page"):
            links = f'<a href="good-1.jpg">a</a> <a href="good-2.jpg?token={CANARY}">b</a>'
            self._answer(200, links.encode(), **{"Content-Type": "text/html"})
        elif path.startswith("/bucket"):
            words = f"<Error><Code>AccessDenied</Code><AWSAccessKeyId>{CANARY}</AWSAccessKeyId>"
            self._answer(403, f"{words}<StringToSign>{CANARY}\n{CANARY}</StringToSign></Error>".encode())
        else:
            status = path.strip("/").partition(".")[0]
            self._answer(int(status) if status.isdecimal() else 404, CANARY.encode())

    do_HEAD = do_GET

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Canaries:
    """A user with secrets in the environment, a source with secrets in its URIs, and everything that was printed."""

    user: Home
    at: str
    folder: Path
    printed: list[str] = field(default_factory=list)

    def do(self, *command: str) -> Ended:
        ended = pixelmill(self.user, *command)
        self.printed += [ended.stdout, ended.stderr]
        return ended


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    Server.picture = pictures(tmp_path_factory.mktemp("picture"), 1)[0].read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


@pytest.fixture(scope="module")
def canaries(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canaries]:
    secrets = {
        "AWS_ACCESS_KEY_ID": f"AKIA{CANARY}",
        "AWS_SECRET_ACCESS_KEY": CANARY,
        "AWS_SESSION_TOKEN": CANARY,
        "AWS_ENDPOINT_URL": server,
        "CANARY": CANARY,
    }
    with home(secrets) as user:
        yield Canaries(user, server, tmp_path_factory.mktemp("canaries"))


def uris(at: str) -> list[str]:
    host = at.removeprefix("http://")
    moved = [f"{at}/moved-{status}.jpg" for status in (403, 404, 410, 418, 500, 503)]
    signed = [f"{at}/good.jpg?w=3&{name}={CANARY}" for name in SECRET_NAMES]
    users = [
        f"http://user:{password}@{host}/good.jpg" for password in (CANARY, f"p@{CANARY}", f"{CANARY}/a", f"a {CANARY}")
    ]
    others = [f"{at}/good.jpg?{CANARY}", f"{at}/good.jpg#access_token={CANARY}", f"s3://key:{CANARY}@bucket/a.jpg"]
    wrong = [f"s3://bucket/a.jpg?X-Amz-Signature={CANARY}", "s3://bucket/a.jpg", f"beside.jpg?api_key={CANARY}"]
    return [f"{at}/good.jpg?w=3&v=2", f"{at}/elsewhere.jpg", *moved, *signed, *users, *others, *wrong]


def everything(folder: Path) -> Iterator[tuple[str, str]]:
    """What every file says, Parquet with all its values, its footer and its raw bytes; percent signs written out too."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            yield str(path), data.decode("utf-8", "replace") + unquote(data.decode("latin-1"))
            if path.suffix == ".parquet":
                table = pq.read_table(io.BytesIO(data))
                yield (
                    str(path),
                    json.dumps(table.to_pylist(), default=str) + str(table.schema) + str(table.schema.metadata),
                )


def assert_no_canary(canaries: Canaries, *folders: Path) -> None:
    for printed in canaries.printed:
        assert CANARY.casefold() not in printed.casefold()
    for folder in folders:
        for name, text in everything(folder):
            assert CANARY.casefold() not in text.casefold(), name


def test_no_secret_of_a_list_of_a_redirect_or_of_the_environment_is_written_or_printed(canaries: Canaries) -> None:
    out, listed = canaries.folder / "out", canaries.folder / "list.txt"
    listed.write_text("\n".join(uris(canaries.at)), encoding="utf-8")
    options = {"uri": str(listed), "retry_for_s": 0.1, "timeout_s": 3}
    job = job_file(
        canaries.folder / "job.yaml", options, str(out), [embed(column="${COLUMN:-vector}")], max_failed_fraction=1
    )
    done = canaries.do("run", job)
    assert done.code == 3, done.stderr
    failed = Output(str(out)).table("failed")
    types = dict(zip(failed["uri"].to_pylist(), failed["error_type"].to_pylist(), strict=True))
    refused = [uri for uri, kind in types.items() if kind == "SignedUrl"]
    assert all("***" in uri for uri in refused)
    assert failed["error_type"].to_pylist().count("SignedUrl") == len(SECRET_NAMES) + 9
    assert Output(str(out)).table("data")["uri"].to_pylist() == [f"{canaries.at}/good.jpg?w=3&v=2"]
    for command in (
        ["inspect", str(out)],
        ["inspect", str(out), "--json"],
        ["retry", str(out)],
    ):
        assert canaries.do(*command).code in {0, 3}
    assert_no_canary(canaries, out, canaries.user.folder)


MANY_COMMANDS = """
import json, sys
from pixelmill.jobs import cli
for command in json.load(sys.stdin):
    sys.argv = ["pixelmill", *command]
    try:
        cli.main()
    except SystemExit as end:
        print("code", end.code, flush=True)
"""


def test_no_secret_is_printed_by_what_is_refused_before_it_starts(canaries: Canaries) -> None:
    out, data = str(canaries.folder / "refused"), str(canaries.folder)
    sources = [*uris(canaries.at)[8:-2], "s3://bucket/folder", f"{canaries.at}/404/"]
    jobs = (
        "source.in_flight=${CANARY}",
        "stages.0.model=${CANARY}",
        "stages.0.model=torchvision:${CANARY}",
        "run.address=http://u:${CANARY}@127.0.0.1:1",
        "source.format=a${CANARY}",
        "run.actors=${CANARY}",
    )
    trainings = (
        "batch=${CANARY}",
        "run.workers=${CANARY}",
        "recipe=${CANARY}",
        "nothing=${CANARY}",
        "seed=[${CANARY}]",
    )
    commands = [["embed", source, out, "--set", "source.retry_for_s=0"] for source in sources]
    commands += [["embed", data, out, "--set", each] for each in jobs]
    commands += [["train", "vae", "--data", data, "--out", out, "--set", each] for each in trainings]
    ended = subprocess.run(
        [sys.executable, "-c", MANY_COMMANDS],
        env=canaries.user.environment,
        input=json.dumps(commands),
        capture_output=True,
        text=True,
    )
    assert set(ended.stdout.splitlines()) <= {"code 1", "code 2"}, ended.stdout
    assert ended.stdout.count("code") == len(commands) == ended.stderr.count("pixelmill: "), ended.stderr
    canaries.printed += [ended.stdout, ended.stderr]
    assert_no_canary(canaries, canaries.user.folder, Path(out))

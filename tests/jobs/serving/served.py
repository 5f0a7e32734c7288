"""A server of runs in a thread of the test, asked over HTTP as a browser asks it, and the runs that tests serve."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from pixelmill.jobs.serving.app import Site, app_of
from pixelmill.jobs.serving.server import Wanted, opened
from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.findings.explored import add_part, compressed, directions, noise, open_out


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    site: Site

    @property
    def port(self) -> int:
        return self.site.guard.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET", body: bytes | None = None
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, dict(headers or {}))
            found = connection.getresponse()
            return Reply(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        reply = self.get(path)
        assert reply.status == 200, reply.body
        return reply.json


@contextmanager
def served(folder: Path, *places: str, **options: Any) -> Iterator[Served]:
    """`folder` is for the tables of rows."""
    folder.mkdir(exist_ok=True)
    site, listening = opened(Wanted(places, **options), {}, folder)
    server = uvicorn.Server(uvicorn.Config(app_of(site), log_config=None, access_log=False, server_header=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.02)
        yield Served(site)
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
        site.close()


def explored_run(root: Path, each: int = 8, failed: int = 3) -> Folder:
    """Three directions of `each` rows with thumbnails; row 1 repeats row 0 as a worse JPEG; some inputs failed."""
    out = open_out(root)
    pictures = [noise(number) for number in range(3 * each)]
    pictures[1] = compressed(pictures[0])
    vectors = directions(3, each)
    vectors[1] = vectors[0]
    names = [f"{'abc'[number // each]}/{number:04d}" for number in range(3 * each)]
    add_part(
        out, names[: 2 * each], vectors[: 2 * each], pictures[: 2 * each], failed=[f"bad/{n}" for n in range(failed)]
    )
    add_part(out, names[2 * each :], vectors[2 * each :], pictures[2 * each :])
    return out


def numbers_in(reply: Reply) -> tuple[dict[str, Any], bytes]:
    """The head of a packed answer, and what follows it."""
    size = int.from_bytes(reply.body[:4], "little")
    return json.loads(reply.body[4 : 4 + size]), reply.body[4 + size + -size % 4 :]


def uint16(data: bytes, count: int, place: int = 0) -> np.ndarray:
    """One of several arrays of packed numbers, each padded to 4 bytes."""
    return np.frombuffer(data, "<u2", count, place * (2 * count + (2 * count) % 4))

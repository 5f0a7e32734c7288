"""The message at the end of a run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pixelmill.jobs.supervision.notifying import checked_url, notify, payload


@contextmanager
def listener(code: int = 200, location: str | None = None) -> Iterator[tuple[str, list[dict[str, object]]]]:
    taken: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(code)
            if location is not None:
                self.send_header("Location", location)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook/hunter2", taken
    finally:
        server.shutdown()
        server.server_close()


NEWS = payload("s3://b/out", "run", 3, 2, 61.23)


def test_one_message_says_how_the_run_ended() -> None:
    said: list[str] = []
    with listener() as (url, taken):
        notify(url, NEWS, said.append)
    assert taken == [
        {"out": "s3://b/out", "kind": "run", "state": "complete", "exit_code": 3, "attempts": 2, "seconds": 61.2}
    ]
    assert said == []


@pytest.mark.parametrize("code", [404, 500])
def test_a_listener_that_refuses_is_named_by_its_host_alone(code: int) -> None:
    said: list[str] = []
    with listener(code) as (url, taken):
        notify(url, NEWS, said.append)
    assert len(taken) == 1
    assert f"127.0.0.1 did not take the news ({code})" in said[0]
    assert "hunter2" not in said[0]


def test_a_redirect_is_not_followed() -> None:
    said: list[str] = []
    with listener() as (elsewhere, gone), listener(307, elsewhere) as (url, _):
        notify(url, NEWS, said.append)
    assert gone == []
    assert "did not take the news" in said[0]


def test_nobody_there_changes_nothing() -> None:
    said: list[str] = []
    notify("http://127.0.0.1:9/", NEWS, said.append)
    assert "the run is not affected" in said[0]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "hooks.example", "ftp://x/y", "http://"])
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no web address"):
        checked_url(url)

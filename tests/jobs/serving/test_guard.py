"""Who may ask the server: the right host, the page itself, and the token where others could reach it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixelmill.jobs.serving.app import ASSETS
from pixelmill.jobs.serving.guard import Guard, bound, guard_for, is_loopback
from pixelmill.jobs.serving.server import address_of
from pixelmill.workers.errors import JobError
from tests.jobs.serving.served import Served, explored_run, served

OURS = {"host": "127.0.0.1:8000"}


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("guarded")
    with served(root / "t", explored_run(root / "run").uri) as found:
        yield found


@pytest.fixture(scope="module")
def with_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("token")
    with served(root / "t", explored_run(root / "run").uri, asks_token=True) as found:
        yield found


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST:8000", "[::1]:8000"])
def test_the_printed_address_and_the_names_of_loopback_are_answered(host: str) -> None:
    assert Guard("127.0.0.1", 8000).judge("GET", "/api/runs", "", {"host": host}) == "pass"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8000",
        "127.0.0.1:8001",
        "127.0.0.1",
        "",
        "localhost.evil.example:8000",
        "10.0.0.5:8000",
        "0.0.0.0:8000",
    ],
)
def test_any_other_host_is_refused_as_after_dns_rebinding(at: Served, host: str) -> None:
    assert Guard("127.0.0.1", 8000).judge("GET", "/", "", {"host": host}) == "wrong host"
    reply = at.get("/api/runs", {"Host": host.replace("8000", str(at.port)) if "8001" not in host else "127.0.0.1:1"})
    assert (reply.status, b"run" in reply.body.partition(b"error")[0]) == (421, False)


def test_beyond_loopback_addresses_are_answered_and_names_of_others_are_not() -> None:
    guard = guard_for("0.0.0.0", 8000, asks_token=False)
    signed = {"cookie": guard.cookie.partition(";")[0]}
    assert guard.judge("GET", "/", "", {"host": "10.0.0.5:8000", **signed}) == "pass"
    assert guard.judge("GET", "/", "", {"host": "rebound.example:8000", **signed}) == "wrong host"


@pytest.mark.parametrize(
    ("method", "path", "headers", "verdict"),
    [
        ("GET", "/", {"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"}, "pass"),
        ("GET", "/", {"sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe"}, "other site"),
        ("GET", "/api/runs", {"sec-fetch-site": "cross-site"}, "other site"),
        ("GET", "/api/runs/0/rows/0/pictures/input", {"sec-fetch-site": "same-site"}, "other site"),
        ("GET", "/api/runs", {"sec-fetch-site": "same-origin"}, "pass"),
        ("POST", "/api/runs/0/search", {"origin": "http://evil.example"}, "other site"),
        ("POST", "/api/runs/0/search", {"origin": "null"}, "other site"),
        ("POST", "/api/runs/0/search", {"origin": "http://127.0.0.1:8000"}, "pass"),
    ],
)
def test_what_another_site_begins_is_refused(method: str, path: str, headers: dict[str, str], verdict: str) -> None:
    assert Guard("127.0.0.1", 8000).judge(method, path, "", OURS | headers) == verdict


def test_without_the_token_nothing_is_answered_and_the_cookie_is_not_the_token(with_token: Served) -> None:
    guard = with_token.site.guard
    assert guard.token is not None
    for path in ("/", "/api/runs", "/assets/app.js", "/?token=", "/?token=wrong", f"/api/runs?token={guard.token}"):
        assert with_token.get(path).status == 401, path
    signed = with_token.get(f"/?token={guard.token}")
    assert (signed.status, signed.headers["location"]) == (303, "/")
    cookie = signed.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert guard.token not in cookie
    held = cookie.partition(";")[0]
    assert with_token.get("/api/runs", {"Cookie": held}).status == 200
    assert with_token.get("/api/runs", {"Cookie": f"{held}x"}).status == 401
    assert with_token.get("/api/runs", {"Cookie": f"{held.partition('=')[0]}={guard.token}"}).status == 401


def test_only_beyond_loopback_a_token_is_asked_for_by_itself() -> None:
    assert guard_for("127.0.0.1", 1, asks_token=False).token is None
    assert guard_for("::1", 1, asks_token=False).token is None
    assert guard_for("127.0.0.1", 1, asks_token=True).token is not None
    for host in ("0.0.0.0", "10.0.0.5", "::", "example.org"):
        assert not is_loopback(host)
        token = guard_for(host, 1, asks_token=False).token
        assert token is not None
        assert len(token) >= 32
        assert token != guard_for(host, 1, asks_token=False).token


def test_the_address_holds_the_token() -> None:
    guard = guard_for("::1", 8000, asks_token=True)
    assert address_of(guard) == f"http://[::1]:8000/?token={guard.token}"


@pytest.mark.parametrize(
    "path", ["/", "/assets/app.js", "/api/runs", "/api/runs/9", "/nothing", "/api/runs/0/rows/0/pictures/input"]
)
def test_every_answer_has_the_policy_and_its_kin(at: Served, path: str) -> None:
    headers = at.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers


def test_refusals_have_them_too(at: Served) -> None:
    assert "default-src 'none'" in at.get("/", {"Host": "evil.example"}).headers["content-security-policy"]


def test_the_page_holds_no_script_and_no_style_of_its_own_and_names_nothing_elsewhere(at: Served) -> None:
    page = at.get("/").body.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert all(name.startswith(("/assets/", "#")) for name in named)
    for name in ASSETS:
        reply = at.get(f"/assets/{name}")
        assert reply.status == 200
        assert not re.search(
            rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", reply.body
        ), name
        assert not re.search(rb"https?://(?!www\.w3\.org/2000/svg)", reply.body), name


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_is_written_by_any_method(at: Served, method: str) -> None:
    assert at.get("/api/runs/0/rows", method=method, body=b"x").status in (404, 405)


def test_an_address_that_is_taken_is_a_plain_word(at: Served) -> None:
    taken = bound("127.0.0.1", 0)
    taken.listen()
    with pytest.raises(JobError, match="can't be listened on"):
        bound("127.0.0.1", taken.getsockname()[1])
    taken.close()
    with pytest.raises(JobError, match="--host no such host"):
        bound("no such host", 0)


def test_who_opens_the_address_before_it_is_served_waits_and_is_not_refused() -> None:
    listening = bound("127.0.0.1", 0)
    socket.create_connection(listening.getsockname(), timeout=5).close()
    listening.close()


def test_the_run_is_as_it_was_after_all_was_asked(tmp_path: Path) -> None:
    run = explored_run(tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in Path(run.uri).rglob("*")}
    with served(tmp_path / "t", run.uri) as found:
        for path in (
            "",
            "/rows",
            "/map",
            "/map/colours?by=width",
            "/failures",
            "/rows/0",
            "/rows/0/near",
            "/rows/0/pictures/input",
            "/log",
            "/groups",
        ):
            found.get(f"/api/runs/0{path}")
    assert {path: path.stat().st_mtime_ns for path in Path(run.uri).rglob("*")} == before

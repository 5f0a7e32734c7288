"""Who may ask: the host that is asked for, the page that asks, and the token where others could reach the server.

A page of the web can have a browser ask any address, and a name that its owner points to this machine makes it a page of this
server in the browser's eyes. So the Host header has to name an address that the server listens on, requests that another site
begins are refused, and where the server listens beyond loopback each one needs the cookie that the printed token buys.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Literal
from urllib.parse import parse_qs

from pixelmill.workers.errors import JobError

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS: dict[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer, whatever its status."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
Verdict = Literal["pass", "sign in", "wrong host", "other site", "no token"]
SAYS: dict[Verdict, tuple[int, str]] = {
    "wrong host": (421, "this server is not known by this name; use the address that it printed"),
    "other site": (403, "another site asked for this; open the printed address in a tab of its own"),
    "no token": (401, "open the address that pixelmill printed, which holds the token"),
}


@dataclass(frozen=True)
class Guard:
    """What a request must have. `token` None: nothing but the right host. `session` is what the cookie holds, never the token."""

    host: str
    port: int
    token: str | None = None
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def cookie_name(self) -> str:
        """Cookies of one host are shared by its ports."""
        return f"pixelmill-{self.port}"

    @property
    def cookie(self) -> str:
        return f"{self.cookie_name}={self.session}; Path=/; HttpOnly; SameSite=Strict"

    def judge(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Verdict:
        """`headers` by their names in small letters."""
        if not self._is_ours(headers.get("host", "")):
            return "wrong host"
        if self._is_of_another_site(method, path, headers):
            return "other site"
        if self.token is None or self._has_session(headers.get("cookie", "")):
            return "pass"
        given = parse_qs(query).get("token", [""])[0]
        if path == "/" and method == "GET" and secrets.compare_digest(given.encode(), self.token.encode()):
            return "sign in"
        return "no token"

    def _is_ours(self, stated: str) -> bool:
        name, port = _split(stated)
        if port not in (str(self.port), "" if self.port == 80 else str(self.port)):
            return False
        if name in LOOPBACK_NAMES or name == self.host.lower() or name == f"[{self.host.lower()}]":
            return True
        return not is_loopback(self.host) and (_is_address(name) or name == socket.gethostname().lower())

    def _is_of_another_site(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """A person may follow a link to the page itself; nothing else is for other sites, and none may post."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if origin is not None and origin.partition("://")[2] != headers.get("host", ""):
            return True
        is_visit = path == "/" and method == "GET" and headers.get("sec-fetch-dest", "document") == "document"
        return site in {"cross-site", "same-site"} and not is_visit

    def _has_session(self, cookie: str) -> bool:
        try:
            found = SimpleCookie(cookie).get(self.cookie_name)
        except CookieError:
            return False
        return found is not None and secrets.compare_digest(found.value.encode(), self.session.encode())


def _split(stated: str) -> tuple[str, str]:
    """Name and port of a Host header."""
    head, colon, port = stated.lower().rpartition(":")
    return (head, port) if colon and not port.endswith("]") else (stated.lower(), "")


def _is_address(name: str) -> bool:
    """An address can't be pointed elsewhere by whoever owns a name."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def guard_for(host: str, port: int, *, asks_token: bool) -> Guard:
    """With a new token where others can reach the server, or where one is asked for."""
    needs = asks_token or not is_loopback(host)
    return Guard(host, port, secrets.token_urlsafe(24) if needs else None)


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes a free one. JobError where it can't."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind)
    except OSError as error:
        raise _can_not_listen(host, port, error) from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)  # who opens the address at once waits, and is not refused
    except OSError as error:
        made.close()
        raise _can_not_listen(host, port, error) from error
    return made


def _can_not_listen(host: str, port: int, error: OSError) -> JobError:
    return JobError(f"--host {host} --port {port}: can't be listened on ({error}); choose others, or leave them out")

"""One JSON POST when a supervised run ends, for whoever waits for it elsewhere."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from urllib.parse import urlsplit

TIMEOUT_S = 10.0
STATES = {0: "complete", 3: "complete", 4: "interrupted", 75: "interrupted", 130: "interrupted"}


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would send the news to an address that nobody wrote."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def payload(out: str, kind: str, code: int, attempts: int, seconds: float) -> dict[str, object]:
    """What is sent: no credentials, and nothing of an input."""
    return {
        "out": out,
        "kind": kind,
        "state": STATES.get(code, "failed"),
        "exit_code": code,
        "attempts": attempts,
        "seconds": round(seconds, 1),
    }


def notify(url: str, content: dict[str, object], say: Callable[[str], None]) -> None:
    """POST it once. A failure is said, without the address, which may hold a secret, and changes nothing."""
    request = urllib.request.Request(
        url, json.dumps(content).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        urllib.request.build_opener(_NoRedirects).open(request, timeout=TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        reason = error.code if isinstance(error, urllib.error.HTTPError) else type(error).__name__
        say(f"run.notify: {urlsplit(url).hostname} did not take the news ({reason}); the run is not affected")


def checked_url(url: str) -> str:
    """Raises ValueError for what is no web address."""
    place = urlsplit(url)
    if place.scheme not in {"http", "https"} or not place.hostname:
        raise ValueError("is no web address; write https://..., or a reference to the environment as ${NOTIFY_URL}")
    return url

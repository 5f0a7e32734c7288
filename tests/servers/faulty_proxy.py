"""Stand between a client and an S3 server: count every request, and fail some of them as real stores do.

Requests pass unchanged, Host header included, so the client's signatures still verify at the server. Which tries fail
depends on the seed, the key and how often it was asked for, not on the order in which requests come in.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from tests.servers.gateway import Gateway

# Headers that belong to one connection, not to the message (RFC 9110, 7.6.1). This server answers Expect by itself.
_HOP_BY_HOP = frozenset(
    ["connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]
)
_WRITES = frozenset(["PUT", "POST", "DELETE"])

Fault = Literal["SlowDown", "AccessDenied", "XMinioStorageFull", "cut"]
_STATUS: dict[Fault, int] = {"SlowDown": 503, "AccessDenied": 403, "XMinioStorageFull": 507}


@dataclass(frozen=True)
class Faults:
    """What goes wrong now. Fractions are of all requests, in [0, 1]."""

    fail_503: float = 0.0
    cut: float = 0.0
    deny_puts: bool = False
    full: bool = False
    refuse_first: int = 0
    lose_first: bool = False

    def of(self, method: str, draw: float, attempt: int) -> Fault | None:
        """What happens to one request, given its `draw` in [0, 1) and how often it came, counted from 1."""
        if self.deny_puts and method in _WRITES:
            return "AccessDenied"
        if self.full and method in ("PUT", "POST"):
            return "XMinioStorageFull"
        if attempt <= self.refuse_first:
            return "SlowDown"
        if self.lose_first and method in _WRITES and attempt == 1:
            return "cut"
        if draw < self.fail_503:
            return "SlowDown"
        return "cut" if draw < self.fail_503 + self.cut else None


class FaultyProxy:
    """A reverse proxy before a `Gateway`, in a thread of its own; its counters may be read and cleared at any time.

    env       the gateway's, with the proxy's address
    requests  every request that came, as (method, "bucket/key"); the method of a listing is LIST
    gets      the GETs of objects among them, as "bucket/key", failed and partial ones too
    faults    what was injected, by kind
    """

    def __init__(self, gateway: Gateway, seed: int = 0, host: str = "127.0.0.1") -> None:
        self.env = dict(gateway.env)
        self.requests: Counter[tuple[str, str]] = Counter()
        self.gets: Counter[str] = Counter()
        self.faults: Counter[Fault] = Counter()
        self._upstream = gateway.env["AWS_ENDPOINT_URL"]
        self._seed, self._host = seed, host
        self._tries: Counter[tuple[str, str]] = Counter()
        self._now = Faults()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="faulty-proxy", daemon=True)

    def set(
        self,
        *,
        fail_503: float = 0.0,
        cut: float = 0.0,
        deny_puts: bool = False,
        full: bool = False,
        refuse_first: int = 0,
        lose_first: bool = False,
    ) -> None:
        """Say all that goes wrong from now on; `set()` heals the store.

        fail_503   this fraction of requests is answered 503 SlowDown
        cut        this fraction is carried out, but its connection breaks: half-way through the body of a GET, before
                   the answer of any other method
        deny_puts  the store is read-only: 403 AccessDenied to PUT, POST and DELETE
        full       the store is full: 507 XMinioStorageFull to PUT and POST

        Two faults without chance, by the method and the key of a request, and counted since the proxy began:

        refuse_first  so many tries of every request are answered 503 SlowDown
        lose_first    the first try of every write is carried out, but its answer is lost
        """
        if not 0 <= fail_503 + cut <= 1:
            raise ValueError(f"fail_503 {fail_503} + cut {cut} must be a fraction of all requests, 0 to 1")
        self._now = Faults(fail_503, cut, deny_puts, full, refuse_first, lose_first)

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        if not self._ready.wait(timeout=10):
            raise RuntimeError("the proxy did not start within 10 s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, self._host, 0)
        await site.start()
        self.env["AWS_ENDPOINT_URL"] = f"http://{self._host}:{runner.addresses[0][1]}"
        unlimited = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=unlimited, auto_decompress=False) as self._client:
            self._ready.set()
            await self._stop.wait()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        method, key = _operation(request)
        self.requests[method, key] += 1
        if method == "GET":
            self.gets[key] += 1
        self._tries[method, key] += 1
        attempt = self._tries[method, key]
        fault = self._now.of(request.method, self._draw(method, key, attempt), attempt)
        if fault:
            self.faults[fault] += 1
        if fault in _STATUS:
            await request.release()
            return _refusal(request, fault)
        try:
            return await self._forward(request, cut=fault == "cut")
        except aiohttp.ClientError:  # the server is down: the client sees what it would see without a proxy
            return _broken(request)

    def _draw(self, method: str, key: str, attempt: int) -> float:
        name = f"{self._seed} {method} {key} {attempt}"
        return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) / 2**64

    async def _forward(self, request: web.Request, cut: bool) -> web.StreamResponse:
        async with self._client.request(
            request.method,
            URL(self._upstream + request.raw_path, encoded=True),
            headers=_end_to_end(request.headers),
            skip_auto_headers=["Accept", "Accept-Encoding", "Content-Type", "User-Agent"],
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as upstream:
            return await _relay(request, upstream, cut)


async def _relay(request: web.Request, upstream: aiohttp.ClientResponse, cut: bool) -> web.StreamResponse:
    size_bytes = upstream.content_length
    if cut and (request.method != "GET" or not size_bytes):
        return _broken(request)
    response = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=_end_to_end(upstream.headers))
    await response.prepare(request)
    if cut and size_bytes:
        await response.write(await upstream.content.readexactly(size_bytes // 2))
        return _broken(request)
    async for chunk in upstream.content.iter_any():
        await response.write(chunk)
    return response


def _operation(request: web.Request) -> tuple[str, str]:
    """The method and "bucket/key" of a path-style request; LIST and "bucket" for a listing."""
    key = unquote(request.raw_path.partition("?")[0]).strip("/")
    return ("LIST" if request.method == "GET" and "/" not in key else request.method), key


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP)


def _refusal(request: web.Request, code: Fault) -> web.Response:
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>injected</Message></Error>"
    return web.Response(
        status=_STATUS[code], content_type="application/xml", text=None if request.method == "HEAD" else body
    )


def _broken(request: web.Request) -> web.Response:
    """Close the connection after what was sent; the answer that is returned reaches nobody."""
    if request.transport:
        request.transport.close()
    return web.Response()

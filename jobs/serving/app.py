"""The addresses of the server. Each names a run by its number and rows by theirs: no path of a file can be asked for.

/                                   the page; /assets/NAME its parts, a closed list
/api/runs                           the runs with their states
/api/runs/N                         overview; /state, /log
/api/runs/N/rows                    a page; /rows/R one row; /rows/R/near; /find; /column
/api/runs/N/rows/R/pictures/WHICH   a JPEG
/api/runs/N/map                     points; /map/colours, /map/shown, /map/points/P
/api/runs/N/search                  by words, or by the picture of a POST
/api/runs/N/groups, /failures, /series, /series/S/slices/K, /curve
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pixelmill.jobs.serving import answers, ct_pages, maps
from pixelmill.jobs.serving.catalogue import Catalogue
from pixelmill.jobs.serving.exchange import Answer, Asked, as_answer
from pixelmill.jobs.serving.guard import HEADERS, SAYS, Guard
from pixelmill.jobs.serving.live import LiveStates, log_tail
from pixelmill.jobs.serving.pictures import Pictures
from pixelmill.jobs.serving.served_run import ServedRun
from pixelmill.workers.errors import JobError, PixelmillError, RowError, StoreError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

MOST_BODY_BYTES = 64 << 20
KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
ASSETS: dict[str, str] = {
    "report.css": "pixelmill.jobs.reporting",
    "point_map.js": "pixelmill.jobs.reporting",
    **dict.fromkeys(
        (
            "app.css", "app.js", "dom.js", "duplicates.js", "failures.js", "filters.js", "grid.js", "icon.svg", "lightbox.js",
            "map_view.js", "overview.js", "search.js", "series.js", "tiles.js",
        ),
        "pixelmill.jobs.serving",
    ),
}  # fmt: skip
"""What the page may load: the package of each file."""
log = logging.getLogger("pixelmill.serve")

Asker = Callable[[ServedRun, Asked], Answer]
Message = MutableMapping[str, Any]
Carrier = Callable[..., Awaitable[None]]
"""An ASGI application."""


@dataclass(frozen=True)
class Site:
    """What is served, and by what rules."""

    catalogue: Catalogue
    guard: Guard
    states: LiveStates
    pictures: Pictures

    def close(self) -> None:
        self.states.close()
        self.catalogue.close()


def app_of(site: Site) -> Carrier:
    """The server as an ASGI application: the guard first, then the addresses."""
    return _guarded(_routed(site), site.guard)


# --------------------------------------------------------------------------------------------------------------- addresses


def askers_of(site: Site) -> dict[str, Asker]:
    """What each address of a run answers."""
    return {
        "": lambda run, asked: as_answer(answers.overview(run, site.states.of(run))),
        "/state": lambda run, asked: as_answer(answers.summary(run, site.states.of(run))),
        "/log": lambda run, asked: as_answer(log_tail(run)),
        "/rows": answers.rows,
        "/rows/{row}": answers.row,
        "/rows/{row}/near": answers.near,
        "/rows/{row}/pictures/{which}": site.pictures.answer,
        "/find": answers.find,
        "/column": answers.column,
        "/map": maps.answer_points,
        "/map/colours": maps.answer_colours,
        "/map/shown": maps.answer_shown,
        "/map/points/{point}": _point,
        "/search": answers.search,
        "/groups": lambda run, asked: answers.groups(run, asked, _others(site, run)),
        "/groups/ids": answers.group_ids,
        "/failures": answers.failures,
        "/series": lambda run, asked: ct_pages.series(run, asked, _others(site, run)),
        "/series/{series}/slices/{slice}": lambda run, asked: ct_pages.slice_answer(run, asked, site.pictures),
        "/curve": ct_pages.curve,
    }


def _others(site: Site, run: ServedRun) -> list[ServedRun]:
    return [other for other in site.catalogue.runs() if other is not run and other.kind == "job"]


def _point(run: ServedRun, asked: Asked) -> Answer:
    (row,) = run.table.rows_of([maps.row_of_point(run, asked.number("point"))])
    return as_answer(row)


def _listed(site: Site) -> Answer:
    """With many runs, those whose state is not known yet are looked at while the page asks again."""
    runs = site.catalogue.runs()
    wait_s = 1.0 if len(runs) <= 4 else 0.0
    return as_answer({"runs": [answers.summary(run, site.states.of(run, wait_s)) for run in runs]})


def _asset(name: str) -> Answer:
    package = ASSETS[name]
    folder = files(package) if package.endswith("reporting") else files(package) / "site"
    return Answer(
        (folder / name).read_bytes(), KINDS[PurePosixPath(name).suffix], headers={"Cache-Control": "no-cache"}
    )


def _page() -> Answer:
    return Answer((files("pixelmill.jobs.serving") / "site" / "index.html").read_bytes(), "text/html; charset=utf-8")


def _routed(site: Site) -> Starlette:
    from starlette.applications import Starlette
    from starlette.routing import Route

    routes = [
        Route("/", _endpoint(lambda asked: _page())),
        Route("/api/runs", _endpoint(lambda asked: _listed(site))),
        *(Route(f"/assets/{name}", _endpoint(lambda asked, name=name: _asset(name))) for name in ASSETS),
        *(
            Route(f"/api/runs/{{run}}{path}", _endpoint(_of_run(site, asker)))
            for path, asker in askers_of(site).items()
        ),
        Route("/api/runs/{run}/search", _endpoint(_of_run(site, answers.near_picture)), methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_found})


def _of_run(site: Site, asker: Asker) -> Callable[[Asked], Answer]:
    return lambda asked: asker(site.catalogue.run(asked.number("run")), asked)


async def _not_found(request: Request, error: Exception) -> Response:
    return _response(as_answer({"error": "there is nothing at this address"}, 404))


def _endpoint(answer: Callable[[Asked], Answer]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        body = await _body_of(request) if request.method == "POST" else b""
        if body is None:
            return _response(as_answer({"error": f"the picture is larger than {MOST_BODY_BYTES >> 20} MB"}, 413))
        asked = Asked(dict(request.path_params), dict(request.query_params), body)
        return _response(await run_in_threadpool(answered, answer, asked))

    return endpoint


def answered(answer: Callable[[Asked], Answer], asked: Asked) -> Answer:
    """Our own errors in words; of any other one the browser learns nothing, and the terminal what it was."""
    try:
        return answer(asked)
    except RowError as error:
        return as_answer({"error": str(error), "error_type": error.error_type}, 422)
    except StoreError as error:
        log.warning("%s", error)
        return as_answer(
            {"error": "the files of this run could not be read; the terminal of pixelmill serve says why"}, 502
        )
    except PixelmillError as error:
        return as_answer({"error": str(error)}, 404 if isinstance(error, JobError) else 500)
    except Exception:
        log.exception("a request failed")
        return as_answer({"error": "this could not be answered; the terminal of pixelmill serve says why"}, 500)


async def _body_of(request: Request) -> bytes | None:
    """None for a body that is too large, of which no more is read."""
    held = bytearray()
    async for piece in request.stream():
        held += piece
        if len(held) > MOST_BODY_BYTES:
            return None
    return bytes(held)


def _response(answer: Answer) -> Response:
    from starlette.responses import Response

    return Response(answer.body, answer.status, {**answer.headers}, answer.kind)


# ------------------------------------------------------------------------------------------------------------------- guard


def _guarded(inner: Carrier, guard: Guard) -> Carrier:
    async def guarded(scope: Message, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await inner(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {
                    **message,
                    "headers": [*message["headers"], *(each for each in added if each[0] not in given)],
                }
            await send(message)

        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        verdict = guard.judge(scope["method"], scope["path"], scope["query_string"].decode("latin-1"), headers)
        if verdict == "pass":
            await inner(scope, receive, send_with_headers)
        elif verdict == "sign in":
            signed_in = Answer(b"", "text/plain", 303, {"Location": "/", "Set-Cookie": guard.cookie})
            await _response(signed_in)(scope, receive, send_with_headers)
        else:
            status, text = SAYS[verdict]
            await _response(as_answer({"error": text}, status))(scope, receive, send_with_headers)

    return guarded

"""Metrics as Prometheus reads them, served on loopback by the driver: for a Ray of its own, which runs without Ray's agents."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pixelmill.jobs.metrics.measures import METRICS, Measure
from pixelmill.workers.errors import JobError

LOOPBACK = "127.0.0.1"


def text_of(measures: Iterable[Measure]) -> str:
    """The text format 0.0.4 of Prometheus."""
    found = list(measures)
    lines: list[str] = []
    for metric in METRICS:
        values = [each for each in found if each.metric == metric]
        if values:
            lines += [f"# HELP {metric.name} {metric.meaning}", f"# TYPE {metric.name} {metric.kind}"]
            lines += [f"{metric.name}{{{_labels(each)}}} {each.value:.17g}" for each in values]
    return "".join(f"{line}\n" for line in lines)


def _labels(measure: Measure) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in measure.labels.items())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@contextmanager
def served(port: int, measures: Callable[[], list[Measure]]) -> Generator[str]:
    """Serve http://127.0.0.1:PORT/metrics within the block; port 0 takes any. Raises JobError where the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_known = self.path.partition("?")[0] == "/metrics"
            text = text_of(measures()).encode() if is_known else b"see /metrics\n"
            self.send_response(200 if is_known else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    try:
        server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    except OSError as error:
        raise JobError(f"run.metrics_port {port}: can't be served ({error}); choose another port") from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_address[1]}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

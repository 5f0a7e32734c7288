"""A session over a folder as a command has it, without Ray and with a clock that stands."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.outcome import Stopwatch
from pixelmill.jobs.session.session import JobKind, Session, session
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.terminal.display import Terminal
from pixelmill.jobs.terminal.screen import Screen
from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.stores.folder import Folder

NOW_S = 86_400.0


def publish_log(out: Folder, claim: Claim, log: bytes) -> None:
    out.publish(f"{claim.folder}/log.txt", log)


@contextmanager
def held_session(out: Folder) -> Iterator[Session]:
    shown = io.StringIO()
    terminal = Terminal(shown, is_terminal=False)
    events = EventStream(terminal, "run", lambda: NOW_S)
    around = Surroundings({}, shown, is_terminal=False, cache_dir=None, started_s=NOW_S, now=lambda: NOW_S)
    kind = JobKind("run", lambda ending: {**ending, "own": 1}, publish_log, "Ray's {dead} died")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        log.write_text("said\n")
        stopwatch = Stopwatch(NOW_S, {}, lambda: NOW_S)
        with session(out, Screen(terminal, log, {}), events, around, stopwatch, kind) as held:
            yield held

"""Ray is started at most once, beside other work, and whatever was started is stopped; no Ray runs in these tests."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.host import scratch
from pixelmill.jobs.session import cluster, ray_api
from pixelmill.jobs.session.cluster import Machine
from pixelmill.jobs.session.ray_session import PrivateRay, RayPlace, RaySession, ray_session
from pixelmill.jobs.terminal.display import Terminal
from pixelmill.pipelines.events import PhaseBegan
from pixelmill.pipelines.placement import Node, WorkerPool
from pixelmill.workers.errors import JobError

OWN = PrivateRay(Machine(8, 0, 1 << 34), WorkerPool(3))


class Rays:
    """Stands in for Ray and its watchdog, and keeps what was asked of them, in order."""

    def __init__(self, folder: Path) -> None:
        self.asked = list[str]()
        self.folder = folder
        self.threads = set[int]()
        self.may_start = threading.Event()
        self.may_start.set()
        self.error: Exception | None = None
        self.options: dict[str, object] = {}
        self.events = EventStream(Terminal(io.StringIO(), is_terminal=False), "run", lambda: 0.0)

    def start(self) -> None:
        """As the watchdog's."""
        self.asked.append("watch")

    def start_local(self, pool: WorkerPool, machine: Machine, environment: object, **options: object) -> Path:
        self.options = options
        self.threads.add(threading.get_ident())
        assert self.may_start.wait(20)
        self.asked.append(f"start {pool.actors} of {machine.cores}")
        if self.error is not None:
            raise self.error
        return self.folder

    def connect(self, address: str) -> None:
        self.asked.append(f"connect {address}")
        if self.error is not None:
            raise self.error

    def stop(self, watchdog: object, folder: Path | None) -> None:
        assert watchdog is self
        self.asked.append(f"stop {folder}")

    @contextmanager
    def session(self, place: RayPlace = OWN) -> Iterator[RaySession]:
        with ray_session(place, cast("Any", self), {}, self.events) as ray:
            yield ray

    def phases(self) -> list[str]:
        return [event.phase for event in self.events.drained().events if isinstance(event, PhaseBegan)]


@pytest.fixture
def rays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rays:
    made = Rays(tmp_path)
    for name in ("start_local", "connect", "stop"):
        monkeypatch.setattr(cluster, name, getattr(made, name))
    monkeypatch.setattr(ray_api, "nodes", lambda: (Node({"CPU": 4.0}),))
    monkeypatch.setattr(scratch, "make", lambda: tmp_path)
    monkeypatch.setattr(scratch, "remove_stale", lambda: made.asked.append("remove stale"))
    return made


def test_what_was_not_started_is_not_stopped(rays: Rays) -> None:
    with rays.session():
        pass
    assert rays.asked == ["remove stale"]


def test_a_ray_of_our_own_is_watched_before_it_starts_once_and_stopped_with_its_folder(rays: Rays) -> None:
    with rays.session() as ray:
        ray.start()
        ray.start()
        assert ray.connect() == ray.connect()
        assert (ray.connect().nodes, ray.connect().folder) == ((Node({"CPU": 4.0}),), rays.folder)
    assert rays.asked == ["remove stale", "watch", "start 3 of 8", f"stop {rays.folder}"]
    assert threading.get_ident() not in rays.threads


@pytest.mark.parametrize("makes_environments", [False, True])
def test_whether_there_are_environments_reaches_the_start(rays: Rays, makes_environments: bool) -> None:
    with rays.session(replace(OWN, makes_environments=makes_environments)) as ray:
        ray.connect()
    assert rays.options == {"makes_environments": makes_environments}


def test_a_cluster_is_connected_to_and_not_watched(rays: Rays) -> None:
    with rays.session("head:6379") as ray:
        assert ray.connect().nodes == (Node({"CPU": 4.0}),)
    assert rays.asked == ["remove stale", "connect head:6379", f"stop {rays.folder}"]


def test_work_goes_on_while_it_starts_and_only_who_waits_for_it_says_so(rays: Rays) -> None:
    rays.may_start.clear()
    with rays.session() as ray:
        started = ray.start()
        assert not started.done()
        assert rays.phases() == []
        threading.Timer(0.05, rays.may_start.set).start()
        ray.connect()
        assert rays.phases() == ["starting Ray"]
    rays.events.phase("listing")
    with rays.session() as ray:
        ray.start().result()
        ray.connect()
    assert rays.phases() == ["listing"]


@pytest.mark.parametrize("place", [OWN, "head:6379"])
def test_what_keeps_it_from_starting_is_raised_to_who_connects_and_what_there_is_of_it_is_stopped(
    rays: Rays, place: RayPlace
) -> None:
    rays.error = JobError("no Ray cluster answers there")
    with rays.session(place) as ray:
        ray.start()
        with pytest.raises(JobError, match="no Ray cluster answers"):
            ray.connect()
    assert rays.asked[-1] == "stop None"


def test_an_interrupt_while_it_starts_waits_and_stops_it(rays: Rays) -> None:
    rays.may_start.clear()

    def interrupted() -> None:
        with rays.session() as ray:
            ray.start()
            threading.Timer(0.05, rays.may_start.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert rays.asked[-2:] == ["start 3 of 8", f"stop {rays.folder}"]

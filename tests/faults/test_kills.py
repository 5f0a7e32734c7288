"""Laws 1 to 3 after kill -9 of the driver, of an actor and of the raylet, at any moment, over S3."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable

import pytest

from pixelmill.pipelines.events import Status, parsed
from tests.faults.conftest import Mine, moments
from tests.support import SECONDS_TO_DIE, Run, assert_every_input_in_one_row

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

ROWS = 220
MANY = 900
"""So many that a run works about as long as it takes to start, and half of the moments find it at work."""
MOMENTS = 10


def assert_laws(mine: Mine, run: Run) -> None:
    """The run that is over completed the output: laws 1 to 3, and nothing left on the machine."""
    assert run.wait() == 0, run.stderr
    assert assert_every_input_in_one_row(mine.output, inputs=len(mine.uris)) == {}
    assert mine.fetched_again() == {}
    assert run.wait_until_gone() == []
    assert mine.home.left_behind() == []


def kill_driver(mine: Mine, run: Run) -> None:
    """After it no process of the run stays alive, though nobody is left to end them."""
    run.kill()
    assert run.wait_until_gone() == []
    mine.seal()


def kill_raylet(mine: Mine, run: Run) -> None:
    """After it the command ends by itself, says why in a sentence, and cleans up; unless it was done with Ray already."""
    (raylet,) = run.find("raylet")
    raylet.kill()
    killed_s = time.monotonic()
    if run.wait() == 0:
        assert_laws(mine, run)
        return
    assert run.wait() == 75
    assert time.monotonic() - killed_s < 60
    assert "Ray's raylet died" in run.stderr.splitlines()[-1], run.stderr
    assert "Traceback" not in run.stderr
    assert run.wait_until_gone() == []
    assert mine.home.left_behind() == []
    mine.seal()


def kill_actor(run: Run, draw: random.Random) -> None:
    actor = draw.choice(run.find("MillActor"))
    actor.send_signal(signal.SIGKILL)


def test_after_kill_9_of_driver_raylet_and_actor_each_input_is_in_one_row_and_none_was_fetched_again(
    mine: Mine,
) -> None:
    mine.fill(ROWS)
    with mine.start() as run:
        run.wait_until(lambda: mine.output.parts() >= 2, "two parts were published")
        for helper in ("StatsActor", "UsageCollection", "LocationTracker", "AutoscalingCoordinator"):
            assert run.find(helper) == []
        kill_driver(mine, run)
        after_driver = mine.seal()
        assert 0 < after_driver < ROWS
        assert_readable(mine, attempt=1, ended=None)
    with mine.start() as run:
        run.wait_until(lambda: len(mine.output.finished_uris()) > after_driver, "a part more was published")
        kill_raylet(mine, run)
        after_raylet = mine.seal()
        assert after_driver < after_raylet < ROWS
        assert run.wait() == 75
        assert_readable(mine, attempt=2, ended="RayLost")
    with mine.start() as run:
        run.wait_until(lambda: len(mine.output.finished_uris()) > after_raylet, "a part more was published")
        kill_actor(run, random.Random(0))
        assert_laws(mine, run)
        assert_readable(mine, attempt=3, ended="complete")


def assert_readable(mine: Mine, attempt: int, ended: str | None) -> None:
    """The status names this attempt and how it ended, and its events come to the same; those of earlier ones are there too."""
    status = Status.model_validate(json.loads(mine.output.read("_run/status.json")))
    assert (status.attempt, status.ended, status.rows.total) == (attempt, ended, ROWS)
    for epoch in range(1, attempt + 1):
        pieces = mine.output.files(f"_run/attempts/{epoch:04d}/events")
        events = parsed("".join(mine.output.read(name).decode() for name in pieces))
        assert {event.attempt for event in events} == {epoch}
        if epoch == attempt:
            assert Status().fold_all(events).ended == ended
            assert ended is None or Status().fold_all(events) == status


def duration_s(mine: Mine) -> float:
    """How long an undisturbed run takes here."""
    mine.new_output()
    with mine.start() as run:
        assert_laws(mine, run)
        return time.monotonic() - run.started_s


@pytest.mark.slow
@pytest.mark.parametrize(("process", "kill"), [("driver", kill_driver), ("raylet", kill_raylet)])
def test_kill_9_at_ten_random_moments_loses_and_repeats_no_row(
    mine: Mine, process: str, kill: Callable[[Mine, Run], None]
) -> None:
    mine.fill(MANY)
    finished: list[int] = []
    longest_s = duration_s(mine)
    mine.new_output()
    for moment_s in moments(process, MOMENTS, longest_s):
        with mine.start() as run:
            if process == "raylet":
                run.wait_until(lambda run=run: run.find("raylet"), "the raylet was there")
            if not ended_within(run, moment_s) and (process == "driver" or run.find("raylet")):
                kill(mine, run)
                finished.append(mine.seal())
                if process == "driver" or finished[-1] < MANY:
                    continue
            else:
                assert_laws(mine, run)
            mine.new_output()  # a run that has nothing left to do starts no raylet
    with mine.start() as run:
        assert_laws(mine, run)
    assert any(0 < rows < MANY for rows in finished), finished


@pytest.mark.slow
def test_kill_9_of_an_actor_at_ten_random_moments_is_survived_by_the_run(mine: Mine) -> None:
    mine.fill(ROWS)
    longest_s = duration_s(mine)
    draw, killed = random.Random("actor"), 0
    for number in range(3 * MOMENTS):  # a run may be over before the moment comes
        if killed >= MOMENTS:
            break
        mine.new_output()
        with mine.start() as run:
            run.wait_until(lambda run=run: run.find("MillActor"), "an actor was there")
            for moment_s in moments(f"actor {number}", 3, longest_s / 2):
                if ended_within(run, moment_s):
                    break
                if run.find("MillActor"):
                    kill_actor(run, draw)
                    killed += 1
            assert_laws(mine, run)
    assert killed >= MOMENTS


def ended_within(run: Run, seconds: float) -> bool:
    """Let the run go on for so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and run.process.poll() is None:
        time.sleep(0.02)
    return run.process.poll() is not None


def test_a_killed_driver_is_gone_with_all_it_started_while_ray_still_starts(mine: Mine) -> None:
    mine.fill(4)
    with mine.start() as run:
        run.wait_until(lambda: run.find("raylet"), "the raylet was there")
        run.kill()
        assert run.wait_until_gone(SECONDS_TO_DIE) == []

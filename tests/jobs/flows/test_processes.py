"""A step's command is begun, tried again by its exit code, and ended with the flow."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pixelmill.jobs.flows import processes
from pixelmill.jobs.flows.processes import StepProcess, cause_of_exit
from pixelmill.jobs.supervision import policy
from tests.waiting import comes

COUNTED = """
import pathlib, sys
folder, *codes = sys.argv[1:]
begun = len(list(pathlib.Path(folder).glob("begun-*")))
(pathlib.Path(folder) / f"begun-{begun}").touch()
sys.exit(int(codes[min(begun, len(codes) - 1)]))
"""


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "FIRST_PAUSE_S", 0.01)


def ended(folder: Path, *codes: int, retries: int = 2) -> tuple[int | None, int]:
    """The code of a step whose command ends with these, one after another, and how often it was begun."""
    words = (str(folder), *map(str, codes))
    step = StepProcess(words, {}, retries, lambda _: None, (sys.executable, "-c", COUNTED))

    def is_over() -> bool:
        step.poll()
        return step.code is not None

    assert comes(is_over)
    return step.code, len(list(folder.glob("begun-*")))


@pytest.mark.parametrize(("code", "begun"), [(0, 1), (3, 1), (2, 1), (4, 1), (1, 3)])
def test_a_step_is_begun_again_only_where_that_may_help(tmp_path: Path, code: int, begun: int) -> None:
    assert ended(tmp_path, code) == (code, begun)


def test_an_interrupted_step_is_begun_again_without_limit(tmp_path: Path) -> None:
    assert ended(tmp_path, 75, 75, 75, 130, 0, retries=0) == (0, 5)


def test_a_command_that_a_signal_ended_was_interrupted() -> None:
    assert {cause_of_exit(code) for code in (-9, -15, 137, 143)} == {"interruption"}


def test_a_step_that_is_at_work_ends_with_the_flow(tmp_path: Path) -> None:
    sleeps = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
    step = StepProcess((str(tmp_path / "begun"),), {}, 0, lambda _: None, (sys.executable, "-c", sleeps))
    assert comes((tmp_path / "begun").exists)
    step.end()
    step.poll()
    assert step.code is None
    step.end()  # a second time it has nothing to end


def test_a_command_that_does_not_end_when_asked_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE_S", 0.5)
    stays = "import pathlib, signal, sys, time; signal.signal(15, signal.SIG_IGN)"
    stays += "; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
    step = StepProcess((str(tmp_path / "begun"),), {}, 0, lambda _: None, (sys.executable, "-c", stays))
    assert comes((tmp_path / "begun").exists)
    step.end()  # returns, or the test is timed out

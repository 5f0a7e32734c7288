"""Options that several commands have are the same in all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from pixelmill.jobs.commands import bulk, networks, options, stages

RUNS = [bulk.run, bulk.retry, networks.train, stages.body_of("depth", stages.STAGE_COMMANDS["depth"])]


@pytest.mark.parametrize("command", RUNS)
def test_every_command_that_runs_something_logs_and_keeps_quiet_by_the_same_options(
    command: Callable[..., None],
) -> None:
    taken = inspect.signature(command, eval_str=True).parameters
    assert taken["quiet"].annotation == options.Quiet
    assert taken["log_level"].annotation == options.SetLogLevel
    assert taken["log_format"].annotation == options.SetLogFormat


def test_names_of_recipes_are_completed() -> None:
    assert options.recipe_names("segn") == ["segnet", "segnet-camvid"]
    assert "vae" in options.recipe_names("")

"""A function for each kind of stage makes the job that its command makes."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

import pixelmill
from pixelmill.jobs import api, stage_api
from pixelmill.jobs.child import Request
from pixelmill.jobs.commands.stages import STAGE_COMMANDS


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """What would be run."""
    asked: list[Request] = []

    def run(request: Request) -> str:
        asked.append(request)
        return "out"

    monkeypatch.setattr(api, "run_in_child", run)
    monkeypatch.setattr(api, "open_run", str)
    return asked


@pytest.mark.parametrize("kind", STAGE_COMMANDS)
def test_every_command_of_a_stage_is_a_function_that_takes_the_same(kind: str, requests: list[Request]) -> None:
    function: Any = getattr(pixelmill, kind)
    assert function is getattr(stage_api, kind)
    needed = {"model": "m"} if kind == "classify" else {}
    function(Path("in"), "out", quiet=True, overrides={"run.actors": 2}, **needed)
    (request,) = requests
    assert yaml.safe_load(request.text) == {"version": 1, "source": "in", "out": "out", "stages": [{kind: needed}]}
    assert (request.name, request.overrides, request.quiet) == (kind, ("run.actors=2\n...\n",), True)
    taken = set(inspect.signature(function).parameters) - {"source", "out", "overrides", "quiet"}
    assert taken <= {key.name for key in STAGE_COMMANDS[kind].keys}


def test_what_is_given_is_in_the_job(requests: list[Request]) -> None:
    pixelmill.upscale(["a", Path("b")], "out", scale=3, model="vdsr-t91")
    pixelmill.stylize("in", "out", style=Path("painting.jpg"), vgg="vgg.safetensors")
    pixelmill.synthesize("in", "out", palette={"wall": [1, 2, 3]})
    pixelmill.classify("in", "out", model="m", top=2)
    jobs = [yaml.safe_load(request.text) for request in requests]
    assert jobs[0]["source"] == ["a", "b"]
    assert [job["stages"] for job in jobs] == [
        [{"upscale": {"scale": 3, "model": "vdsr-t91"}}],
        [{"stylize": {"style": "painting.jpg", "vgg": "vgg.safetensors"}}],
        [{"synthesize": {"palette": {"wall": [1, 2, 3]}}}],
        [{"classify": {"model": "m", "top": 2}}],
    ]

"""The options of a network in a job file become pins; all but the precision are speed alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from pixelmill.workers.errors import ModelError
from pixelmill.workers.runtime.agreement import Cosine
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.network_options import NetworkStageConfig
from tests.small_networks import network, pictures


class Net(NetworkStageConfig):
    stage: ClassVar[str] = "net"


def settings(**options: Any) -> dict[str, object]:
    """How the stage's network runs its first batch, in a job too small to be probed."""
    context = StageContext(device="cpu", threads=1, job_images=1, cache_dir=None)
    tuned = Net.model_validate(options).tuned(network(), "key", context, Cosine())
    tuned(pictures(2))
    return tuned.settings


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ({"precision": "bfloat16"}, {"precision": "bfloat16"}),
        ({"batch": 3}, {"microbatch": 3}),
        ({"channels_last": False}, {"channels_last": False}),
        ({"channels_last": True}, {"channels_last": True}),
        ({"compile": False}, {"compile": False}),
    ],
    ids=str,
)
def test_an_option_that_is_given_is_pinned(option: dict[str, Any], setting: dict[str, object]) -> None:
    assert settings(**option).items() >= {**setting, "chosen": "pinned"}.items()


def test_what_is_auto_is_no_pin() -> None:
    automatic = dict.fromkeys(("precision", "batch", "channels_last", "compile"), "auto")
    assert settings(**automatic) == settings()
    assert settings()["chosen"] == "default"


def test_the_worker_says_where_and_with_how_much_it_runs() -> None:
    assert settings().items() >= {"device": "cpu", "threads": 1}.items()


def test_only_the_precision_is_part_of_what_a_stage_makes() -> None:
    options = {"precision": "float16", "batch": 3, "channels_last": True, "compile": False}
    assert Net.model_validate(options).output_options() == {"precision": "float16"}


@pytest.mark.parametrize("wrong", [{"precision": "int8"}, {"batch": 0}, {"batch": "all"}, {"threads": 2}], ids=str)
def test_an_option_that_no_network_has_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Net.model_validate(wrong)


def test_a_precision_that_its_model_does_not_compute_in_is_refused() -> None:
    context = StageContext(device="cpu", threads=1, job_images=1, cache_dir=None)
    only_float32 = replace(network(), precisions=("float32",))
    with pytest.raises(ModelError, match="net: its model does not compute in bfloat16; precision: float32 or auto"):
        Net.model_validate({"precision": "bfloat16"}).tuned(only_float32, "key", context, Cosine())
    for known in ("float32", "auto"):
        Net.model_validate({"precision": known}).tuned(only_float32, "key", context, Cosine())

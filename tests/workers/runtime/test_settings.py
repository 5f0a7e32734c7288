"""What a user fixed is used and the rest is left; a choice is the same when it is read back."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from pixelmill.workers.runtime.settings import Choice, Pins, Settings, Trial

FOUND = Settings(device="cuda", precision="bfloat16", microbatch=64, threads=3)


@pytest.mark.parametrize(
    "pinned",
    [{}, {"precision": "float32"}, {"channels_last": False}, {"microbatch": 1}, {"compile": True}, {"compile": False}],
    ids=str,
)
def test_what_is_pinned_replaces_what_was_found_and_nothing_else(pinned: dict[str, Any]) -> None:
    assert Pins(**pinned).applied_to(FOUND) == replace(FOUND, **pinned)


def test_whatever_can_be_pinned_is_a_setting() -> None:
    assert asdict(Pins()).keys() <= asdict(Settings()).keys()
    every = Pins(precision="float16", channels_last=False, microbatch=2, compile=True)
    assert every.applied_to(FOUND) == Settings("cuda", "float16", False, True, 2, 3, True)


@pytest.mark.parametrize("images_per_s", [None, 12.5])
def test_a_cached_choice_is_read_back_complete_and_marked_as_cached(images_per_s: float | None) -> None:
    choice = Choice(FOUND, "probed", images_per_s, (Trial(Settings(), 3.0, 0.9999), Trial(FOUND, 12.5, 0.99951)))
    assert Choice.from_json(choice.to_json(), "probed") == choice
    assert Choice.from_json(choice.to_json(), "cached") == replace(choice, source="cached")

"""What is asked and answered, without a server."""

from __future__ import annotations

import json

import pytest

from pixelmill.jobs.serving.exchange import Asked, as_answer, packed, shown
from pixelmill.workers.errors import JobError


def test_whole_numbers_that_a_browser_would_round_are_texts() -> None:
    """A perceptual hash of 64 bits was shown with its last digits as zeros."""
    phash = 7_107_466_180_499_663_123
    assert shown({"phash": phash, "rows": [2**53 - 1, -(2**53)]}) == {
        "phash": str(phash),
        "rows": [2**53 - 1, str(-(2**53))],
    }
    assert shown(True) is True


def test_numbers_that_are_none_are_null_and_texts_hold_no_credentials_and_hide_nothing() -> None:
    made = as_answer(
        {"a": float("nan"), "b": float("inf"), "c": 0.5, "uri": "s3://key:secret@bucket/x", "d": "a\u202eb"}
    )
    found = json.loads(made.body)
    assert (found["a"], found["b"], found["c"]) == (None, None, 0.5)
    assert "secret" not in found["uri"]
    assert "\u202e" not in found["d"]


@pytest.mark.parametrize("text", ["-1", "1.5", "x", "", "1" * 16, "\u0661"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(JobError, match="row: give a whole number"):
        Asked({"row": text}).number("row")


def test_a_head_and_numbers_begin_at_multiples_of_four_bytes() -> None:
    body = packed({"a": 1}, b"12345", b"6").body
    length = int.from_bytes(body[:4], "little")
    assert json.loads(body[4 : 4 + length]) == {"a": 1}
    start = 4 + length + -length % 4
    assert (body[start : start + 5], body[start + 8 : start + 9]) == (b"12345", b"6")

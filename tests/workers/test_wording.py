"""A number and its noun agree."""

from __future__ import annotations

import pytest

from pixelmill.workers.wording import counted


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 rows"), (1, "1 row"), (1_234_567, "1,234,567 rows"), (1.0, "1 row"), (0.5, "0.5 rows"), (2.0, "2 rows")],
)
def test_a_number_and_its_noun_agree(number: float, words: str) -> None:
    assert counted(number, "row") == words

"""No value of a header gets into an error by way of a library's exception."""

from __future__ import annotations

import traceback

import pytest

from pixelmill.workers.ct.discretion import without_values
from pixelmill.workers.errors import RowError


def test_the_text_of_a_library_is_withheld_and_its_type_is_kept() -> None:
    with pytest.raises(RowError) as caught, without_values("decode"):
        raise ValueError("MUELLER^ANNA is no number")
    assert (caught.value.stage, caught.value.error_type) == ("decode", "ValueError")
    assert "MUELLER" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("error", [RowError("decode", "Empty", "has no bytes"), MemoryError()])
def test_our_own_errors_and_those_of_memory_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, without_values("decode"):
        raise error
    assert caught.value is error

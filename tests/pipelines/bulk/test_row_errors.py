"""What an exception of a stage becomes: a row's reason without secrets or pixels, or the fault of a device."""

from __future__ import annotations

import pytest
import torch

from pixelmill.pipelines.bulk.row_errors import filed_under, row_error_of
from pixelmill.workers.errors import RowError
from pixelmill.workers.runtime.faults import DeviceFault


@pytest.mark.parametrize(
    ("error", "error_type", "text"),
    [
        (ValueError("first line\nsecond"), "ValueError", "first line"),
        (ValueError(), "ValueError", "no detail"),
        (ValueError("https://user:hunter2@host broke"), "ValueError", "broke"),
        (torch.OutOfMemoryError("CUDA out of memory"), "OutOfMemory", "even alone"),
        (MemoryError("none"), "OutOfMemory", "use a device with more"),
        (RowError("decode", "Corrupt", "is damaged"), "Corrupt", "is damaged"),
    ],
)
def test_an_error_of_a_row_has_a_type_and_a_sentence(error: Exception, error_type: str, text: str) -> None:
    found = row_error_of(error, "embed")
    assert found.error_type == error_type
    assert text in str(found)
    assert "hunter2" not in str(found)
    assert "second" not in str(found)
    assert found.stage == ("decode" if isinstance(error, RowError) else "embed")


@pytest.mark.parametrize(
    "error", [DeviceFault("gone"), torch.AcceleratorError("CUDA error: unspecified launch failure")]
)
def test_an_error_of_the_device_is_raised(error: Exception) -> None:
    with pytest.raises(DeviceFault, match="embed on"):
        row_error_of(error, "embed")


def test_an_error_that_is_filed_keeps_no_traceback() -> None:
    try:
        raise RowError("kind", "Odd", "is odd")
    except RowError as error:
        filed = filed_under("mine", error)
    assert (filed.stage, filed.error_type, str(filed)) == ("mine", "Odd", "is odd")
    assert filed.__traceback__ is None

"""Every decode error has a type of the closed set, the fact, and the next step."""

from __future__ import annotations

import pytest

from pixelmill.workers.codecs import decode_errors
from pixelmill.workers.errors import RowError


@pytest.mark.parametrize(
    ("error", "error_type", "words"),
    [
        (decode_errors.truncated("FACT"), "Truncated", ("(FACT)", "upload or fetch it again")),
        (decode_errors.corrupt("FACT"), "Corrupt", ("(FACT)", "restore it from its source")),
        (decode_errors.unsupported("FACT"), "UnsupportedFormat", ("FACT is not read here", "convert it to JPEG")),
        (decode_errors.needs_extra("FACT", "heif"), "UnsupportedFormat", ("FACT", "pip install 'pixelmill[heif]'")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_sentence_has_its_type_the_fact_and_the_next_step(
    error: RowError, error_type: str, words: tuple[str, str]
) -> None:
    assert (error.stage, error.error_type) == ("decode", error_type)
    assert error_type in decode_errors.DECODE_ERROR_TYPES
    assert all(part in str(error) for part in words)


def test_max_pixels_is_the_most_that_is_allowed() -> None:
    decode_errors.check_size(40, 30, 1200)
    with pytest.raises(
        RowError, match=r"says 40 x 30 = 1,200 pixels, over max_pixels = 1,199: raise max_pixels"
    ) as caught:
        decode_errors.check_size(40, 30, 1199)
    assert caught.value.error_type == "TooManyPixels"


@pytest.mark.parametrize(("width", "height"), [(0, 7), (7, 0), (0, 0)])
def test_a_picture_without_pixels_is_damaged_for_every_limit(width: int, height: int) -> None:
    for check in (decode_errors.check_has_pixels, lambda *size: decode_errors.check_size(*size, 10)):
        with pytest.raises(RowError, match=f"its header says {width} x {height} pixels") as caught:
            check(width, height)
        assert caught.value.error_type == "Corrupt"

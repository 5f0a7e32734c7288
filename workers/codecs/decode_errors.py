"""Why an input can't be decoded: a closed set of types, and one constructor for each kind of sentence."""

from __future__ import annotations

from typing import Literal, get_args

from pixelmill.workers.errors import RowError

DecodeErrorType = Literal[
    "Empty",  # no bytes at all
    "NotAnImage",  # something else: a web page, JSON, PDF, an archive, a video; the message says what it looks like
    "Truncated",  # an image whose end is missing
    "Corrupt",  # an image whose bytes contradict themselves
    "TooManyPixels",  # more than max_pixels, as the header states; no pixel was allocated
    "UnsupportedFormat",  # an image that is not read here: JPEG XL, camera RAW, SVG, float TIFF ...; it is intact
]
DECODE_ERROR_TYPES: tuple[str, ...] = get_args(DecodeErrorType)


def decode_error(error_type: DecodeErrorType, message: str) -> RowError:
    return RowError("decode", error_type, message)


def truncated(fact: str) -> RowError:
    return decode_error("Truncated", f"the end of the file is missing ({fact}): upload or fetch it again")


def corrupt(fact: str) -> RowError:
    return decode_error("Corrupt", f"the file is damaged ({fact}): restore it from its source")


def unsupported(name: str) -> RowError:
    return decode_error("UnsupportedFormat", f"{name} is not read here: convert it to JPEG, PNG or WebP first")


def needs_extra(name: str, extra: str) -> RowError:
    """An error for what an optional dependency of Pixelmill reads."""
    return decode_error(
        "UnsupportedFormat", f"{name} needs a decoder that is not installed: pip install 'pixelmill[{extra}]'"
    )


def check_has_pixels(width: int, height: int) -> None:
    if width * height == 0:
        raise corrupt(f"its header says {width} x {height} pixels")


def check_size(width: int, height: int, max_pixels: int) -> None:
    check_has_pixels(width, height)
    if width * height > max_pixels:
        raise decode_error(
            "TooManyPixels",
            f"its header says {width} x {height} = {width * height:,} pixels, over max_pixels = {max_pixels:,}: "
            "raise max_pixels if the picture is real, and mind the memory",
        )

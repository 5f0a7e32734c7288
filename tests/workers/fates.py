"""What becomes of an input of the corpus, for the tests of codecs."""

from __future__ import annotations

import torch

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.decode_errors import DECODE_ERROR_TYPES
from pixelmill.workers.errors import RowError
from tests.corpus import image_items

ITEMS = {item.name: item for item in image_items()}


def fate(data: bytes, **options: int) -> tuple[str, tuple[int, int] | None]:
    """What becomes of the data: ("good", (width, height)) or (error type, None)."""
    try:
        pixels_CHW = decode_picture(data, **options)
    except RowError as error:
        is_told = error.stage == "decode" and error.error_type in DECODE_ERROR_TYPES and str(error) != ""
        return error.error_type if is_told else f"not in the closed set: {error!r}", None
    assert pixels_CHW.dtype == torch.uint8
    assert pixels_CHW.permute(1, 2, 0).is_contiguous()
    assert pixels_CHW.shape[0] == 3
    return "good", (pixels_CHW.shape[2], pixels_CHW.shape[1])

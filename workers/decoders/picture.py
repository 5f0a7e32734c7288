"""One RGB picture of one file: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000, HEIC, as `codecs/decode.py` reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pixelmill.workers.codecs.footprint import decode_bytes
from pixelmill.workers.decoders import Decoded
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Kind, Picture

if TYPE_CHECKING:
    import pyarrow as pa

_STATED_PIXELS = re.compile(r" = ([\d,]+) pixels, over max_pixels")


class PictureDecoder:
    """The first frame or page of a file, upright, as rgb8."""

    fields: tuple[pa.Field[Any], ...] = ()
    makes_many = False
    takes_many = False
    rows_per_input = 1.0
    kind: Kind = "rgb8"

    def need_bytes(self, pieces: Sequence[bytes]) -> int:
        return decode_bytes(_only(pieces))

    def check(self, pieces: Sequence[bytes], *, max_pixels: int) -> None:
        from pixelmill.workers.codecs.decode import decode_picture

        try:
            decode_picture(_only(pieces), max_pixels=0)  # by its header alone: it has one pixel at least
        except RowError as error:
            stated = _STATED_PIXELS.search(str(error))
            if stated is None:
                raise
            if int(stated[1].replace(",", "")) > max_pixels:
                text = str(error).replace("max_pixels = 0", f"max_pixels = {max_pixels:,}")
                raise RowError(error.stage, error.error_type, text) from None

    def decode(self, pieces: Sequence[bytes], *, max_pixels: int) -> Sequence[Decoded]:
        from pixelmill.workers.codecs.decode import decode_picture

        return (Decoded(Picture(decode_picture(_only(pieces), max_pixels=max_pixels))),)

    def decode_reduced(self, pieces: Sequence[bytes], least_px: int, *, max_pixels: int) -> Sequence[Decoded]:
        from pixelmill.workers.codecs.decode import decode_reduced

        pixels_CHW, reduced = decode_reduced(_only(pieces), least_px, max_pixels=max_pixels)
        return (Decoded(Picture(pixels_CHW, reduced=reduced)),)


def _only(pieces: Sequence[bytes]) -> bytes:
    if len(pieces) != 1:
        raise RowError("decode", "UnsupportedFormat", f"has {len(pieces)} pieces, and a picture is in one file")
    return pieces[0]

"""Class ids of a mask or a layout: the grey levels or palette indices of a PNG, not its colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pixelmill.workers.codecs.footprint import decode_bytes
from pixelmill.workers.decoders import Decoded
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Kind, Picture

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ID = 255


class IdsDecoder:
    """Ids 0 to 255 of a file, upright, as ids8."""

    fields: tuple[pa.Field[Any], ...] = ()
    makes_many = False
    takes_many = False
    rows_per_input = 1.0
    kind: Kind = "ids8"

    def need_bytes(self, pieces: Sequence[bytes]) -> int:
        return decode_bytes(_only(pieces))

    def check(self, pieces: Sequence[bytes], *, max_pixels: int) -> None:
        from pixelmill.workers.codecs.id_png import check_ids

        check_ids(_only(pieces), max_pixels=max_pixels)

    def decode(self, pieces: Sequence[bytes], *, max_pixels: int) -> Sequence[Decoded]:
        from pixelmill.workers.codecs.id_png import decode_ids
        from pixelmill.workers.geometry.orientation import turn_upright
        from pixelmill.workers.typed_torch import from_numpy

        ids_HW, orientation = decode_ids(_only(pieces), max_pixels=max_pixels)
        if (largest := int(ids_HW.max())) > MOST_ID:
            raise RowError(
                "decode", "UnsupportedFormat", f"it holds the id {largest}, and the largest supported id is {MOST_ID}"
            )
        ids_1HW = from_numpy(ids_HW.astype("uint8"))[None]
        return (Decoded(Picture(turn_upright(ids_1HW, orientation), "ids8")),)


def _only(pieces: Sequence[bytes]) -> bytes:
    if len(pieces) != 1:
        raise RowError("decode", "UnsupportedFormat", f"has {len(pieces)} pieces, and a mask is in one file")
    return pieces[0]

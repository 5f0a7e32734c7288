"""A slice in Hounsfield units from a row of what `ct ingest` wrote: list<int16> with height and width beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pixelmill.workers.decoders import Decoded
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Kind, Picture

if TYPE_CHECKING:
    import pyarrow as pa


class HuDecoder:
    """One slice as hu16, 1HW, with the keyed ids of its row."""

    makes_many = False
    takes_many = False
    rows_per_input = 1.0
    kind: Kind = "hu16"
    meanings: Mapping[str, str] = {
        "series_id": "keyed id of the series of the slice",
        "slice_id": "keyed id of the slice",
        "patient_id": "keyed id of the patient",
    }

    @property
    def fields(self) -> tuple[pa.Field[Any], ...]:
        import pyarrow as pa

        return tuple(pa.field(name, pa.string()) for name in self.meanings)

    def need_bytes(self, pieces: Sequence[bytes]) -> int:
        return len(pieces[0])

    def check(self, pieces: Sequence[bytes], *, max_pixels: int) -> None:
        from pixelmill.workers.ct.hu_cells import shape_of

        slices, height, width = shape_of(pieces[0])
        if slices != 1:
            raise RowError(
                "decode", "UnsupportedFormat", f"is a block of {slices} slices; read it with decoder: hu-block"
            )
        if (pixels := height * width) > max_pixels:
            raise RowError("decode", "TooLarge", f"a slice has {pixels:,} pixels, over max_pixels = {max_pixels:,}")

    def decode(self, pieces: Sequence[bytes], *, max_pixels: int) -> Sequence[Decoded]:
        from pixelmill.workers.ct.hu_cells import ids_of, unpacked
        from pixelmill.workers.typed_torch import from_numpy

        self.check(pieces, max_pixels=max_pixels)
        ids = ids_of(pieces[0])
        columns = {name: ids.get(name) for name in self.meanings}
        return (Decoded(Picture(from_numpy(unpacked(pieces[0])), "hu16"), columns),)

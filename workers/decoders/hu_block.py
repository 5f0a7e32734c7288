"""A block of Hounsfield units from a row of what `ct ingest --volumes` wrote: list<int16> with depth, height and width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pixelmill.workers.decoders import Decoded
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Kind, Picture

if TYPE_CHECKING:
    import pyarrow as pa


class HuBlockDecoder:
    """One block as volume, D1HW, with the keyed ids of its row and its place in the volume."""

    makes_many = False
    takes_many = False
    rows_per_input = 1.0
    kind: Kind = "volume"
    meanings: Mapping[str, str] = {
        "series_id": "keyed id of the series of the block",
        "patient_id": "keyed id of the patient",
        "block": "the first voxel of the block in the resampled volume: slice, row, column",
    }

    @property
    def fields(self) -> tuple[pa.Field[Any], ...]:
        import pyarrow as pa

        texts = tuple(pa.field(name, pa.string()) for name in ("series_id", "patient_id"))
        return (*texts, pa.field("block", pa.list_(pa.int32())))

    def need_bytes(self, pieces: Sequence[bytes]) -> int:
        return len(pieces[0])

    def check(self, pieces: Sequence[bytes], *, max_pixels: int) -> None:
        from pixelmill.workers.ct.hu_cells import shape_of

        slices, height, width = shape_of(pieces[0])
        if slices == 1:
            raise RowError("decode", "UnsupportedFormat", "is a single slice, not a block; read it with decoder: hu")
        if (voxels := slices * height * width) > max_pixels:
            raise RowError("decode", "TooLarge", f"a block has {voxels:,} voxels, over max_pixels = {max_pixels:,}")

    def decode(self, pieces: Sequence[bytes], *, max_pixels: int) -> Sequence[Decoded]:
        from pixelmill.workers.ct.hu_cells import ids_of, unpacked
        from pixelmill.workers.typed_torch import from_numpy

        self.check(pieces, max_pixels=max_pixels)
        ids = ids_of(pieces[0])
        columns = {name: ids.get(name) for name in self.meanings}
        return (Decoded(Picture(from_numpy(unpacked(pieces[0]))[:, None], "volume"), columns),)

"""The header of an object of CT (DICOM, NIfTI, or a picture of a slice), read from as few bytes of its file as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pixelmill.workers.decoders import Decoded
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Kind, Picture

if TYPE_CHECKING:
    import pyarrow as pa


class DicomHeaderDecoder:
    """The bytes up to the pixel data, as a picture of kind header; a stage makes columns of them."""

    fields: tuple[pa.Field[Any], ...] = ()
    makes_many = False
    takes_many = False
    shown_name = "an object that failed/ names"
    """Folders and files of archives are called by patients and dates."""
    rows_per_input = 1.0
    kind: Kind = "header"

    @property
    def head_bytes(self) -> tuple[int, ...]:
        from pixelmill.workers.ct.header import PREFIXES_BYTES

        return PREFIXES_BYTES

    def is_enough(self, head: bytes, *, is_whole: bool) -> bool:
        """Whether the header ends within these bytes; an object that is refused needs no more of them."""
        from pixelmill.workers.ct.object_files import is_header

        try:
            return is_header(head, is_whole=is_whole)
        except RowError:
            return True

    def need_bytes(self, pieces: Sequence[bytes]) -> int:
        return len(_only(pieces))

    def check(self, pieces: Sequence[bytes], *, max_pixels: int) -> None:
        from pixelmill.workers.ct.object_files import is_header

        head = _only(pieces)
        if not is_header(head, is_whole=False):  # a prefix is handed on only if it holds the header
            is_header(head, is_whole=True)

    def decode(self, pieces: Sequence[bytes], *, max_pixels: int) -> Sequence[Decoded]:
        import torch

        self.check(pieces, max_pixels=max_pixels)
        data = bytearray(_only(pieces))
        return (Decoded(Picture(torch.frombuffer(data, dtype=torch.uint8)[None, None], "header"), has_size=False),)


def _only(pieces: Sequence[bytes]) -> bytes:
    if len(pieces) != 1:
        raise RowError("decode", "UnsupportedFormat", f"has {len(pieces)} pieces, and an object is in one file")
    if not pieces[0]:
        raise RowError("decode", "Empty", "has no bytes; copy it again")
    return pieces[0]

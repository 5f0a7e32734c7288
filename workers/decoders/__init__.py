"""One decoder per file: from the bytes of one input to its pictures and their columns.

To add a decoder: write `workers/decoders/NAME.py` with a class that follows `Decoder` and imports neither torch nor Pillow
before it decodes, and add a line to `DECODERS`. A job file names it as `source.decoder`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from pixelmill.workers.pictures import Kind, Picture

if TYPE_CHECKING:
    import pyarrow as pa

DECODERS: dict[str, str] = {
    "picture": "pixelmill.workers.decoders.picture:PictureDecoder",
    "ids": "pixelmill.workers.decoders.ids:IdsDecoder",
    "dicom-header": "pixelmill.workers.decoders.dicom_header:DicomHeaderDecoder",
    "ct-series": "pixelmill.workers.decoders.ct_series:CtSeriesDecoder",
    "ct-volume": "pixelmill.workers.decoders.ct_volume:CtVolumeDecoder",
    "hu": "pixelmill.workers.decoders.hu:HuDecoder",
    "hu-block": "pixelmill.workers.decoders.hu_block:HuBlockDecoder",
}
"""Every decoder that a job can name, with the import path of its class; each is imported on first use."""


class Decoded(NamedTuple):
    """One picture of an input, and a value for each of the decoder's fields."""

    picture: Picture
    columns: Mapping[str, object] = {}
    has_size: bool = True
    """Whether the size of the picture is that of the row; otherwise width and height of the row are null."""


class Decoder(Protocol):
    """Decodes the bytes of one input to its pictures, in a fixed order. Every method may run on many threads at once.

    Each raises RowError with stage "decode" for an input that can't be decoded.
    """

    @property
    def fields(self) -> tuple[pa.Field[Any], ...]:
        """The columns that the decoder adds beside width and height."""
        ...

    @property
    def makes_many(self) -> bool:
        """Whether an input may make several rows; each then has its `place`, an int32 from 0."""
        ...

    @property
    def takes_many(self) -> bool:
        """Whether an input may be several files, which `source.group` makes one; otherwise it has one piece."""
        ...

    @property
    def rows_per_input(self) -> float:
        """Estimated rows for each input, from which output files are sized."""
        ...

    @property
    def kind(self) -> Kind:
        """The kind of its pictures."""
        ...

    def need_bytes(self, pieces: Sequence[bytes]) -> int:
        """An upper bound, from the headers, of the memory of decoding without the pieces; includes all pictures."""
        ...

    def check(self, pieces: Sequence[bytes], *, max_pixels: int) -> None:
        """Raise the errors of `decode` that the headers reveal, without decoding."""
        ...

    def decode(self, pieces: Sequence[bytes], *, max_pixels: int) -> Iterator[Decoded] | Sequence[Decoded]:
        """The pictures of an input; one whose header states more than `max_pixels` pixels is refused before it is decoded."""
        ...


@runtime_checkable
class Reduces(Protocol):
    """A decoder that can decode a picture at a fraction of its size, which takes less time."""

    def decode_reduced(self, pieces: Sequence[bytes], least_px: int, *, max_pixels: int) -> Sequence[Decoded]:
        """As `decode`, with pictures that keep `least_px` pixels of their shorter side at least; or all, where they can't
        be reduced."""
        ...


@runtime_checkable
class ReadsHeads(Protocol):
    """A decoder that needs only the beginning of each input."""

    @property
    def head_bytes(self) -> tuple[int, ...]:
        """How much is read at first, then, ...; in the end all of the input is."""
        ...

    def is_enough(self, head: bytes, *, is_whole: bool) -> bool:
        """Whether `decode` can do with this beginning of an input; `is_whole`: it is all of it."""
        ...


@runtime_checkable
class WithholdsNames(Protocol):
    """A decoder whose inputs have names that identify people: logs, events and what is printed show `shown_name` in their
    place, and the output's own tables alone name them."""

    @property
    def shown_name(self) -> str: ...


@runtime_checkable
class ExplainsColumns(Protocol):
    """A decoder that says what its columns hold, for the card of an output."""

    @property
    def meanings(self) -> Mapping[str, str]:
        """What each of its fields holds, with its unit, by name."""
        ...


def decoder_of(name: str) -> Decoder:
    """The decoder with this name or import path (`module:Class`); workers get the path if the name is not built in."""
    module, _, attribute = DECODERS.get(name, name).partition(":")
    return getattr(import_module(module), attribute)()

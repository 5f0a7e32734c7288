"""One decoder per file: the bytes of one input become its pictures, with the columns that they bring.

To add a decoder: write `workers/decoders/NAME.py` with a class that follows `Decoder` and imports neither torch nor Pillow
before it decodes, and add a line to `DECODERS`. A job file names it as `source.decoder`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pixelmill.workers.pictures import Kind, Picture

if TYPE_CHECKING:
    import pyarrow as pa

DECODERS: dict[str, str] = {
    "picture": "pixelmill.workers.decoders.picture:PictureDecoder",
    "ids": "pixelmill.workers.decoders.ids:IdsDecoder",
}
"""Every decoder that a job can name, by the place of its class: each is imported when it is asked for."""


class Decoded(NamedTuple):
    """One picture of an input, and a value for each of the decoder's fields."""

    picture: Picture
    columns: Mapping[str, object] = {}


class Decoder(Protocol):
    """Bytes of one input to its pictures, in an order that never changes. Every method may run on many threads at once.

    Each raises RowError with stage "decode" for an input that can't be decoded.
    """

    @property
    def fields(self) -> tuple[pa.Field[Any], ...]:
        """The columns that it brings beside width and height."""
        ...

    @property
    def makes_many(self) -> bool:
        """Whether an input may make several rows; each then has its `place`, an int32 from 0."""
        ...

    @property
    def rows_per_input(self) -> float:
        """About how many rows an input makes, by which output files are sized."""
        ...

    @property
    def kind(self) -> Kind:
        """What its pictures are."""
        ...

    def need_bytes(self, pieces: Sequence[bytes]) -> int:
        """By the headers, an upper bound of what decoding takes beside the pieces, all its pictures included."""
        ...

    def check(self, pieces: Sequence[bytes], *, max_pixels: int) -> None:
        """Raise what `decode` would raise, as far as the headers show it; decode nothing."""
        ...

    def decode(self, pieces: Sequence[bytes], *, max_pixels: int) -> Iterator[Decoded] | Sequence[Decoded]:
        """Its pictures; one that states more than `max_pixels` pixels is refused before it is decoded."""
        ...


def decoder_of(name: str) -> Decoder:
    """The decoder of that name, or at that place (`module:Class`), which a worker that knows no such name is given."""
    module, _, attribute = DECODERS.get(name, name).partition(":")
    return getattr(import_module(module), attribute)()

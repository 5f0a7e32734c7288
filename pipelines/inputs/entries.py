"""What a listing takes and gives: a source, its files, and the entries that they become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from pixelmill.pipelines.inputs.names import suffix_of
from pixelmill.pipelines.stores.access import Access, scheme_of
from pixelmill.workers.ct.volume_options import VolumeOptions


class Grouping(Protocol):
    """Decides which entries are pieces of one input."""

    @property
    def most_pieces(self) -> int:
        """How many pieces an input may have; an input of more is filed with that as its reason."""
        ...

    @property
    def most_between(self) -> int:
        """How many entries of other inputs may be listed between two pieces of one, which bounds what is held."""
        ...

    def name_of(self, entry: Entry) -> tuple[str, str] | None:
        """Uri and member of the input that an entry is a piece of, from names alone; None for an input of its own.

        The id follows from them, so that an input keeps it when one of its pieces is replaced, added or removed.
        """
        ...

    def order_of(self, entry: Entry) -> tuple[int | str, ...]:
        """The sort key of the pieces of an input, so that its decoder knows which is which."""
        ...


Format = Literal["auto", "images", "webdataset", "parquet", "list", "dicom", "ct-index"]
Container = Literal["tar", "parquet", "zip", "deflate"]
"""Of members: ranges of a tar or a zip, deflated ranges of a zip, rows of a table."""


@dataclass(frozen=True)
class Source:
    """What to list. `uris` are folders, globs or files; `exclude` is a folder that is never listed."""

    uris: tuple[str, ...]
    format: Format = "auto"
    pattern: str | None = None
    column: str | None = None
    limit: int | None = None
    access: Access = field(default_factory=Access)
    exclude: str | None = None
    volumes: VolumeOptions | None = None
    """How series of an index become blocks of volumes; None: their slices are read."""
    grouping: Grouping | None = None
    """Which files and members of archives make one input together; None: each is an input of its own."""
    decodes_whole: bool = False
    """Whether every picture is decoded at its own size, also where no stage sees more than a fraction of it."""

    @property
    def most_members(self) -> int | None:
        """How many members of an archive can be inputs at most, so that no more of it is read; None for all of them.

        Inputs of several pieces are counted when they are together, which takes any number of members.
        """
        return self.limit if self.grouping is None else None


class Piece(NamedTuple):
    """One of several objects of an input, or with `offset` a range of bytes of an object."""

    uri: str
    offset: int | None = None
    size: int | None = None
    version: str | None = None


class Entry(NamedTuple):
    """One input: an object, a member of an archive, a row of a table, or several pieces that belong together.

    `offset` is the first byte of a member of a tar, and the number of a row of a Parquet file. `problem` says why an input
    that was found can't be read at all: "ErrorType: message".

    An input of several pieces (pipelines/inputs/grouping.py) names them in `pieces`, in the order in which its decoder
    takes them; its `uri` and `member` are the name that its grouping gave it, its `size` is their sum, and its `version`
    changes when a piece is replaced, added or removed. `source_id` is the id that an input of an earlier run had.
    """

    uri: str
    member: str | None = None
    container: Container | None = None
    offset: int | None = None
    size: int | None = None
    version: str | None = None
    problem: str | None = None
    pieces: tuple[Piece, ...] | None = None
    source_id: str | None = None


class Found(NamedTuple):
    """A file in a store."""

    uri: str
    size: int | None
    version: str | None


class Index(NamedTuple):
    """The content of an archive: its inputs, and counts of everything else by kind."""

    entries: Iterable[Entry]
    ignored: Mapping[str, int]


@dataclass
class Ignored:
    """Files of the source that are not inputs, counted by suffix or kind, so that nothing is left out in silence."""

    by_suffix: dict[str, int] = field(default_factory=dict)
    members: int = 0
    """How many of them are members of archives."""

    def add(self, uri: str) -> None:
        self.count(suffix_of(uri))

    def count(self, kind: str, times: int = 1) -> None:
        self.by_suffix[kind] = self.by_suffix.get(kind, 0) + times

    def says(self, most: int = 5) -> str:
        """As `3 .txt, 1 hidden`, the most common first."""
        kinds = sorted(self.by_suffix.items(), key=lambda kind: (-kind[1], kind[0]))
        shown = [f"{count:,} {kind}" for kind, count in kinds[:most]]
        others = sum(count for _, count in kinds[most:])
        return ", ".join([*shown, f"{others:,} others"] if others else shown)


def sequential(uri: str) -> dict[str, Any]:
    """How to open a file that is read from front to back."""
    return {} if scheme_of(uri) in {"file", "local"} else {"block_size": 8 << 20, "cache_type": "readahead"}

"""Join entries into inputs of several pieces while they are listed: streamed, with a bounded number of pieces held.

An input is given once `most_between` entries of other inputs were listed after its last piece, so that equal listings
give equal inputs in the same order. A piece that is listed later would make a second input of the same name: the
listing then stops with a JobError, since neither half is the input. To detect that, one number is kept for each input.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter

from pixelmill.pipelines.inputs.entries import Entry, Grouping, Piece
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError

Name = tuple[str, str]
Rank = tuple[int | str, ...]


@dataclass
class _Open:
    """An input while its pieces are listed."""

    last: int = 0
    """The number of the last entry that was a piece of it."""
    pieces: list[tuple[Rank, Piece]] = field(default_factory=list[tuple[Rank, Piece]])
    found: int = 0
    problem: str | None = None


def grouped(entries: Iterable[Entry], grouping: Grouping) -> Iterator[Entry]:
    """The entries as inputs. Raises JobError where pieces of one input lie further apart than the grouping allows."""
    is_open: OrderedDict[Name, _Open] = OrderedDict()  # in the order of their last pieces
    given: set[int] = set()
    for number, entry in enumerate(entries):
        name = grouping.name_of(entry)
        if name is None:
            yield entry
        else:
            _require_open(name, entry, is_open, given, grouping)
            _add(is_open.setdefault(name, _Open()), entry, number, grouping)
            is_open.move_to_end(name)
        while is_open and number - next(iter(is_open.values())).last > grouping.most_between:
            yield _given(*is_open.popitem(last=False), grouping, given)
    while is_open:
        yield _given(*is_open.popitem(last=False), grouping, given)


def _require_open(name: Name, entry: Entry, is_open: OrderedDict[Name, _Open], given: set[int], by: Grouping) -> None:
    if name not in is_open and hash(name) in given:
        raise JobError(
            f"{scrub(entry.uri)}: belongs to {name[1]}, of which other pieces were listed more than {by.most_between:,} "
            "entries before; put the pieces of an input beside each other"
        )


def _add(to: _Open, entry: Entry, number: int, grouping: Grouping) -> None:
    if entry.container == "parquet":
        raise JobError(
            f"{scrub(entry.uri)}: is a table, of which each row is an input; only files and members of tars join"
        )
    to.last = number
    to.found += 1
    to.problem = to.problem or entry.problem
    if to.found <= grouping.most_pieces:
        to.pieces.append((grouping.order_of(entry), Piece(entry.uri, entry.offset, entry.size, entry.version)))


def _given(name: Name, made: _Open, grouping: Grouping, given: set[int]) -> Entry:
    given.add(hash(name))
    pieces = tuple(piece for _, piece in sorted(made.pieces, key=itemgetter(0)))
    problem = made.problem
    if made.found > grouping.most_pieces:
        problem = (
            f"TooManyPieces: has {made.found:,} pieces, more than the {grouping.most_pieces:,} that one input may have"
        )
    return Entry(*name, None, None, size_of(pieces), version_of(pieces), problem, pieces)


def size_of(pieces: Iterable[Piece]) -> int | None:
    """The bytes of all pieces; None where the size of one is unknown."""
    sizes = [piece.size for piece in pieces]
    return None if None in sizes else sum(size or 0 for size in sizes)


def version_of(pieces: Iterable[Piece]) -> str:
    """A digest that changes when a piece is replaced, added or removed."""
    digest = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        digest.update(repr(tuple(piece)).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()

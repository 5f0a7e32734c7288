"""The listings that were kept, in their order, and the removal of those that can't count any more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NotRequired, TypedDict, cast

from pixelmill.pipelines.outputs.layout import FOLDER, LISTED, file_name
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.stores.folder import Folder


class SegmentDocument(TypedDict):
    """A segment as its JSON has it. What is not required was not written by every version."""

    number: int
    rows: int
    file_rows: list[int]
    part_rows: list[int]
    first_part: int
    ignored: dict[str, int]
    duplicates: int
    is_limited: bool
    writer: NotRequired[str]
    supersedes: NotRequired[bool]
    has_source_ids: NotRequired[bool]


@dataclass(frozen=True)
class Segment:
    """One listing that was kept: its rows, its files' sizes in rows, its parts, and what the listing left out."""

    number: int
    rows: int
    file_rows: tuple[int, ...]
    part_rows: tuple[int, ...]
    first_part: int
    ignored: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    is_limited: bool = False
    writer: str = ""
    """The attempt whose files these are; empty for those that were written before attempts had claims."""
    supersedes: bool = False
    """Whether its rows take the place of earlier ones of the same ids, once they are done."""
    has_source_ids: bool = False
    """Whether its inputs are rows of an earlier run, whose ids they carry."""

    def to_json(self) -> bytes:
        return json.dumps(vars(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Segment:
        raw = cast(SegmentDocument, json.loads(data))
        fields = {**raw, "file_rows": tuple(raw["file_rows"]), "part_rows": tuple(raw["part_rows"])}
        return cls(**fields)  # pyright: ignore[reportArgumentType]  # the fields of the document are those of the class

    def parts(self) -> Iterator[Part]:
        starts = accumulate(self.part_rows, initial=0)
        for index, (start, rows) in enumerate(zip(starts, self.part_rows, strict=False)):
            yield Part(self.first_part + index, self.number, start, rows, self.writer)


def read_segments(folder: Folder) -> list[Segment]:
    """The segments that were committed, in order; a listing that was killed half-way is not among them."""
    names = [name for name in folder.names(FOLDER) if re.fullmatch(r"\d{6}\.json", name)]
    return [Segment.from_json(folder.read(f"{FOLDER}/{name}") or b"{}") for name in names]


def remove_strays(folder: Folder, segments: list[Segment]) -> None:
    """Remove the files of listings that can't count any more: another attempt's segment has their number.

    Where a store can't refuse, such a listing may still land on the other one, and its files stay.
    """
    if not folder.is_fenced:
        return
    kept = {file_name(s.number, s.writer, file) for s in segments for file in range(len(s.file_rows))}
    for name in folder.names(FOLDER):
        is_decided = LISTED.fullmatch(name) is not None and int(name[:6]) < len(segments)
        if is_decided and f"{FOLDER}/{name}" not in kept:
            with suppress(FileNotFoundError):
                folder.remove(f"{FOLDER}/{name}")


def carries_source_ids(segments: Sequence[Segment]) -> bool:
    """Whether rows have the column `source_id`: the first listing decides, so that all files have one schema."""
    return bool(segments) and segments[0].has_source_ids

"""The committed listings, in order, and the removal of files of listings that can't count any more."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NotRequired, TypedDict, cast

from pixelmill.pipelines.outputs.layout import FOLDER, LISTED, file_name
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.stores.folder import Folder


class SegmentDocument(TypedDict):
    """A segment as JSON. Older versions did not write the keys that are not required."""

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
    digest: NotRequired[str]


@dataclass(frozen=True)
class Segment:
    """One committed listing: its rows, the rows of its files, its parts, and what the listing ignored."""

    number: int
    rows: int
    file_rows: tuple[int, ...]
    part_rows: tuple[int, ...]
    first_part: int
    ignored: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    is_limited: bool = False
    writer: str = ""
    """The attempt that wrote the files; empty in versions without claims."""
    supersedes: bool = False
    """Whether its rows replace earlier rows of the same ids once they are done."""
    has_source_ids: bool = False
    """Whether its inputs are rows of an earlier run, whose ids they carry."""
    digest: str = ""
    """A hash of the ids and the versions of its inputs, in their order; empty in older segments."""

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
    """The committed segments, in order; an interrupted listing is not among them."""
    names = [name for name in folder.names(FOLDER) if re.fullmatch(r"\d{6}\.json", name)]
    return [Segment.from_json(folder.read(f"{FOLDER}/{name}") or b"{}") for name in names]


def digest_of_inputs(segments: Sequence[Segment]) -> str | None:
    """A hash of all that was listed, and of its state then; None where an older version listed some of it."""
    digests = [segment.digest for segment in segments if segment.rows]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest() if all(digests) else None


def remove_strays(folder: Folder, segments: list[Segment]) -> None:
    """Remove the files of listings that can't count any more, since another attempt's segment has their number. In a
    store without a fence such a listing may still replace the other one, and its files are kept.
    """
    if not folder.is_fenced:
        return
    kept = {file_name(s.number, s.writer, file) for s in segments for file in range(len(s.file_rows))}
    for name in folder.names(FOLDER):
        is_decided = LISTED.fullmatch(name) is not None and int(name[:6]) < len(segments)
        if is_decided and f"{FOLDER}/{name}" not in kept:
            folder.remove(f"{FOLDER}/{name}")


def carries_source_ids(segments: Sequence[Segment]) -> bool:
    """Whether rows have the column `source_id`: the first listing decides, so that all files have one schema."""
    return bool(segments) and segments[0].has_source_ids

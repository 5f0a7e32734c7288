"""List sources into a manifest as a run does."""

from __future__ import annotations

from pathlib import Path

from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.listing import Listing, tables_of
from pixelmill.pipelines.outputs.parts import plan_parts
from pixelmill.pipelines.outputs.rows import read_files
from pixelmill.pipelines.outputs.segments import Segment, read_segments
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder

ACCESS = Access(retry_for_s=0.0)


def list_into(folder: Folder, source: Source) -> tuple[list[Segment], Known, Listing]:
    """What a run does before it mills: read what is known, list, commit what is new."""
    segments = read_segments(folder)
    known, listing = Known(folder, segments), Listing(folder, len(segments))
    listing.write(table for table in tables_of(source, listing, known) if table.num_rows)
    if listing.rows:
        first_part = sum(len(segment.part_rows) for segment in segments)
        parts = plan_parts(listing.rows, row_bytes=2048, file_bytes=128 << 20)
        segments = [*segments, listing.commit(parts, first_part)]
    return segments, known, listing


def make_files(below: Path, *names: str) -> None:
    for name in names:
        (below / name).parent.mkdir(parents=True, exist_ok=True)
        (below / name).write_bytes(name.encode())


def uris_of(folder: Folder, segments: list[Segment]) -> list[str]:
    return [uri for segment in segments for table in read_files(folder, segment) for uri in table["uri"].to_pylist()]

"""Export the rows of a run part by part: each is done once, also when the command is repeated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pixelmill.pipelines.export.destination import Destination
from pixelmill.pipelines.export.exporting import identity_of_part, require_same
from pixelmill.pipelines.stores.folder import Folder


@dataclass
class RowsExported:
    """The progress of an export of rows."""

    parts: int = 0
    parts_before: int = 0
    """Parts that an earlier call exported."""
    rows: int = 0
    rows_before: int = 0
    memory_bytes: int = 0
    file_bytes: int = 0
    """Of all parts, those of an earlier call included; memory_bytes too."""


@dataclass(frozen=True)
class WrittenPart:
    """What was written of a part."""

    rows: int
    memory_bytes: int
    file_bytes: int


def export_parts(
    run: Folder,
    destination: Destination,
    parts: Sequence[str],
    write: Callable[[str], WrittenPart],
    tally: RowsExported,
    report: Callable[[RowsExported], None],
) -> None:
    """Write every missing part. RunRefused if the destination has files of another run or from elsewhere."""
    finished = destination.finished_parts()
    for part in parts:
        name = part.removesuffix(".parquet")
        identity = identity_of_part(run, part)
        record = finished.get(name)
        if record is None:
            record = {"made_as": identity, **vars(write(part))}
            destination.finish_part(name, record, ())
            tally.parts += 1
            tally.rows += _number(record, "rows")
        else:
            require_same(record, identity, part, run, destination)
            tally.parts_before += 1
            tally.rows_before += _number(record, "rows")
        tally.memory_bytes += _number(record, "memory_bytes")
        tally.file_bytes += _number(record, "file_bytes")
        report(tally)


def _number(record: Mapping[str, object], name: str) -> int:
    found = record.get(name)
    return found if isinstance(found, int) else 0

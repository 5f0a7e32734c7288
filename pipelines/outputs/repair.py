"""Repair the files of interrupted attempts, and late writes to a store without a fence, from the metadata of data/.

Each data file records the listing that it was made from, and which rows of its part failed. So everything else can be rebuilt:
failed/ from the data files, the manifest from the copy of its attempt. A row that exists twice is dropped where it does not
belong, and a missing input is listed again and done by the run that found it missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import pyarrow as pa

from pixelmill.pipelines.arrow import rows_of, rows_where, strings_of
from pixelmill.pipelines.inputs.manifest_rows import SCHEMA
from pixelmill.pipelines.outputs.claims import ATTEMPTS
from pixelmill.pipelines.outputs.columns import DATA, FAILED, FAILED_SCHEMA, METADATA_KEYS, PLACE
from pixelmill.pipelines.outputs.contents import facts_of, old_retried_ids, progress, provenance_of, read_columns
from pixelmill.pipelines.outputs.encoding import encode
from pixelmill.pipelines.outputs.layout import segment_name
from pixelmill.pipelines.outputs.owners import Owners
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.outputs.rows import Rows
from pixelmill.pipelines.outputs.segments import Segment, read_segments
from pixelmill.pipelines.outputs.wholeness import inputs_in, whole_rows_of
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import declared_schema, open_parquet, read_rows


@dataclass
class Repaired:
    """The result of a repair: rows dropped from wrong places, failures filed again, and missing inputs."""

    dropped: int = 0
    filed: int = 0
    lost: dict[Part, list[str]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return self.dropped + self.filed + sum(map(len, self.lost.values()))


def restore_manifest(folder: Folder, before_write: Callable[[], None]) -> list[Segment]:
    """The segments; where a late write replaced one, the right one is restored: the one that data/ was made from, or
    else the newest attempt's. `before_write` is called before anything is written.
    """
    segments, made_from = read_segments(folder), _listings(folder)
    for number, kept in _copies(folder).items():
        there = next((segment for segment in segments if segment.number == number), None)
        if there is None:  # its attempt died before the segment counted
            continue
        best = max([*kept, there], key=lambda s: (_evidence(s, made_from), s == there and len(kept) < 2, s.writer))
        if best != there:
            before_write()
            folder.publish(segment_name(number), best.to_json())
    return read_segments(folder)


def _listings(folder: Folder) -> dict[str, str | None]:
    """The listing from which each data file was made, by the name of its part."""
    with ThreadPoolExecutor(8, "repair") as pool:
        names = sorted(progress(folder).data)
        found = pool.map(partial(_listing_of, folder), names)
        return dict(zip((name.removesuffix(".parquet") for name in names), found, strict=True))


def _listing_of(folder: Folder, name: str) -> str | None:
    return provenance_of(folder, name).get("listing")


def _copies(folder: Folder) -> dict[int, list[Segment]]:
    """Every segment that an attempt committed, or was about to commit, by number."""
    found: dict[int, list[Segment]] = {}
    for epoch in folder.folders(ATTEMPTS):
        for name in folder.names(f"{ATTEMPTS}/{epoch}"):
            if re.fullmatch(r"segment-\d{6}-[0-9a-f]{8}\.json", name):
                segment = Segment.from_json(folder.read(f"{ATTEMPTS}/{epoch}/{name}") or b"{}")
                found.setdefault(segment.number, []).append(segment)
    return found


def _evidence(segment: Segment, made_from: dict[str, str | None]) -> int:
    """The number of data files that were made from this segment."""
    return sum(made_from.get(part.name) == segment.writer for part in segment.parts())


def repair(folder: Folder, segments: list[Segment], before_write: Callable[[], None]) -> Repaired:
    """Compare every finished part with its listing and its own metadata, and rewrite what differs.

    `before_write` is called before anything is written.
    """
    held, found = progress(folder), Repaired()
    owners, rows = Owners(folder, segments, held), Rows(folder, segments)
    old = frozenset(old_retried_ids(folder, held))
    parts = iter([part for part in owners.parts if held.is_done(part)])
    with ThreadPoolExecutor(8, "repair") as pool:
        while batch := list(islice(parts, 32)):
            owned = [owners.own(part, strings_of(rows.of(part)["id"])) for part in batch]
            for check in list(pool.map(partial(_checked, folder, old), batch, owned)):
                found.dropped += _keep_only(folder, check, before_write) if check.strangers else 0
                found.filed += _file(folder, check, before_write) if check.is_misfiled else 0
                if check.lost:
                    found.lost[check.part] = check.lost
    return found


@dataclass(frozen=True)
class _Check:
    """Compares one part with what it should hold."""

    part: Part
    belongs: frozenset[str]
    strangers: int
    wanted: pa.Table
    is_misfiled: bool
    tag: str | None
    lost: list[str]

    @property
    def file(self) -> str:
        return f"{self.part.name}.parquet"


def _checked(folder: Folder, old: frozenset[str], part: Part, own: list[str]) -> _Check:
    name, belongs = f"{part.name}.parquet", frozenset(own)
    data = read_columns(folder, f"{DATA}/{name}", ["id", PLACE.name])
    keep = pa.array(whole_rows_of(data, belongs), pa.bool_())
    done = inputs_in(data.filter(keep)).ids | old
    recorded, filed = facts_of(folder, part.name).failures, folder.read_tagged(f"{FAILED}/{name}")
    there = FAILED_SCHEMA.empty_table() if filed is None else _failures(filed[0])
    wanted = there if recorded is None else recorded
    wanted = _first_of_each(rows_of(wanted, belongs - done))
    failed = frozenset(strings_of(wanted["id"]))
    return _Check(
        part,
        belongs,
        strangers=data.num_rows - keep.true_count,
        wanted=wanted,
        is_misfiled=sorted(failed) != sorted(strings_of(there["id"])),
        tag=None if filed is None else filed[1],
        lost=[identity for identity in own if identity not in done and identity not in failed],
    )


def _file(folder: Folder, check: _Check, before_write: Callable[[], None]) -> int:
    """Rewrite the failures of a part, unless another attempt has done so meanwhile."""
    before_write()
    name, encoded = f"{FAILED}/{check.file}", encode(check.wanted)
    written = folder.create(name, encoded) if check.tag is None else folder.replace(name, encoded, check.tag)
    return max(1, check.wanted.num_rows) if written else 0


def _keep_only(folder: Folder, check: _Check, before_write: Callable[[], None]) -> int:
    """Rewrite a data file without rows that don't belong there, and with each of the others once. An input of several
    rows that is not whole is dropped and listed again.
    """
    name = f"{DATA}/{check.file}"
    found = folder.read_tagged(name)
    if found is None:
        return 0
    before_write()
    parquet = open_parquet(pa.BufferReader(found[0]))
    schema = declared_schema(parquet).remove_metadata()
    metadata = {key: value for key, value in (parquet.schema_arrow.metadata or {}).items() if key in METADATA_KEYS}
    table = read_rows(parquet).replace_schema_metadata(None).cast(schema)
    kept = table.filter(pa.array(whole_rows_of(table, check.belongs), pa.bool_()))
    kept = kept.replace_schema_metadata(metadata)
    return table.num_rows - kept.num_rows if folder.replace(name, encode(kept), found[1]) else 0


def _failures(data: bytes) -> pa.Table:
    return read_rows(open_parquet(pa.BufferReader(data)), FAILED_SCHEMA.names).cast(FAILED_SCHEMA)


def _first_of_each(table: pa.Table) -> pa.Table:
    seen: set[str] = set()
    keep = [not (identity in seen or seen.add(identity)) for identity in strings_of(table["id"])]
    return rows_where(table, keep)


def listed_again(folder: Folder, segments: list[Segment], ids: dict[Part, list[str]]) -> Iterator[pa.Table]:
    """The manifest rows of some inputs of some parts, for a segment that supersedes them."""
    rows = Rows(folder, segments)
    for part, some in sorted(ids.items(), key=lambda item: item[0].number):
        table = rows.of(part)
        yield rows_of(table, some).select(SCHEMA.names)

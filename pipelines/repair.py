"""Put right what attempts left that were cut off, or that wrote late to a store which can't refuse: by what data/ says itself.

Each data file says from which listing it was made, and which of its part's rows failed. So everything else can be made
again: failed/ from the data files, the manifest from the copy that its attempt kept. A row that stands twice is dropped where
it does not belong, and a row that stands nowhere is listed again, to be done by the run that found it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import ledger
from pipelines.ledger import DATA, FAILED, FAILED_SCHEMA
from pipelines.manifest import SCHEMA, Part, Rows, Segment, copy_name, read_segments, segment_name, texts
from pipelines.stores import Folder


@dataclass
class Repaired:
    """What was found: rows dropped from where they did not belong, failures filed again, and inputs that stand nowhere."""

    dropped: int = 0
    filed: int = 0
    lost: dict[Part, list[str]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return self.dropped + self.filed + sum(map(len, self.lost.values()))


def restore_manifest(folder: Folder) -> list[Segment]:
    """The segments, each as the one that data/ was made from where a late write put another in its place."""
    segments, held = read_segments(folder), ledger.progress(folder)
    for segment in segments:
        done = next((part for part in segment.parts() if held.is_done(part)), None)
        listing = ledger.provenance_of(folder, f"{done.name}.parquet").get("listing") if done else None
        if not listing or listing == segment.writer:
            continue
        kept = folder.read(copy_name(segment.number, str(listing)))
        if kept is not None:
            folder.publish(segment_name(segment.number), kept)
    return read_segments(folder)


def repair(folder: Folder, segments: list[Segment]) -> Repaired:
    """Hold every finished part against its listing and its own record, and write again what does not agree."""
    held, found = ledger.progress(folder), Repaired()
    places, rows = ledger.Places(folder, segments, held), Rows(folder, segments)
    old = frozenset(ledger.old_retried_ids(folder, held))
    parts = iter([part for part in places.parts if held.is_done(part)])
    with ThreadPoolExecutor(8, "repair") as pool:
        while batch := list(islice(parts, 32)):
            owned = [places.own(part, texts(rows.of(part)["id"])) for part in batch]
            checked = pool.map(lambda pair: _check(folder, pair[0], pair[1], old), zip(batch, owned, strict=True))
            for part, (dropped, filed, lost) in zip(batch, checked, strict=True):
                found.dropped, found.filed = found.dropped + dropped, found.filed + filed
                if lost:
                    found.lost[part] = lost
    return found


def _check(folder: Folder, part: Part, own: list[str], old: frozenset[str]) -> tuple[int, int, list[str]]:
    """One part: rows dropped, failures filed again, and ids that stand nowhere."""
    name = f"{part.name}.parquet"
    data = texts(ledger.read_columns(folder, f"{DATA}/{name}", ["id"])["id"])
    belongs = frozenset(own)
    dropped = 0
    if len(data) != len(set(data)) or not belongs.issuperset(data):
        dropped = _keep_only(folder, f"{DATA}/{name}", belongs)
    done = belongs.intersection(data) | old
    recorded = ledger.facts_of(folder, part.name)[1]
    filed_now = folder.read_tagged(f"{FAILED}/{name}")
    there = FAILED_SCHEMA.empty_table() if filed_now is None else pq.read_table(pa.BufferReader(filed_now[0]))
    wanted = there if recorded is None else recorded
    wanted = _first_of_each(wanted.filter(pc.is_in(wanted["id"], pa.array(sorted(belongs - done), pa.string()))))
    filed = 0
    if wanted.num_rows != there.num_rows or set(texts(wanted["id"])) != set(texts(there["id"])):
        filed = max(1, abs(wanted.num_rows - there.num_rows))
        encoded = ledger.encode(wanted)
        if filed_now is None:
            folder.create(f"{FAILED}/{name}", encoded)
        else:
            folder.replace(f"{FAILED}/{name}", encoded, filed_now[1])
    return (
        dropped,
        filed,
        [identity for identity in own if identity not in done and identity not in set(texts(wanted["id"]))],
    )


def _keep_only(folder: Folder, name: str, ids: frozenset[str]) -> int:
    """Write a data file again without rows that don't belong there, and with each of the others once."""
    found = folder.read_tagged(name)
    if found is None:
        return 0
    table = pq.read_table(pa.BufferReader(found[0]))
    kept = _first_of_each(table.filter(pc.is_in(table["id"], pa.array(sorted(ids), pa.string()))))
    kept = kept.replace_schema_metadata(table.schema.metadata)
    return table.num_rows - kept.num_rows if folder.replace(name, ledger.encode(kept), found[1]) else 0


def _first_of_each(table: pa.Table) -> pa.Table:
    seen: set[str] = set()
    keep = [not (identity in seen or seen.add(identity)) for identity in texts(table["id"])]
    return table if all(keep) else table.filter(pa.array(keep, pa.bool_()))


def listed_again(folder: Folder, segments: list[Segment], ids: dict[Part, list[str]]) -> Iterator[pa.Table]:
    """The manifest rows of some inputs of some parts, for a segment that supersedes them."""
    rows = Rows(folder, segments)
    for part, some in sorted(ids.items(), key=lambda item: item[0].number):
        table = rows.of(part)
        yield table.filter(pc.is_in(table["id"], pa.array(some, pa.string()))).select(SCHEMA.names)

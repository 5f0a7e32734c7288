"""Make small outputs by hand: list inputs, make what a worker would make of them, publish it."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pixelmill.pipelines.inputs.manifest_rows import SCHEMA, input_id
from pixelmill.pipelines.outputs import publishing
from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.outputs.columns import ERROR_COLUMNS, input_fields
from pixelmill.pipelines.outputs.contents import failures
from pixelmill.pipelines.outputs.encoding import Compression, encode
from pixelmill.pipelines.outputs.listing import Listing
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.outputs.publishing import Written
from pixelmill.pipelines.outputs.rows import Rows
from pixelmill.pipelines.outputs.segments import Segment, read_segments
from pixelmill.pipelines.stores.folder import Folder

NAMES = [f"/p/{n}.jpg" for n in range(6)]
VECTOR = pa.list_(pa.float32(), 4)


def list_into(folder: Folder, number: int, names: list[str], parts: list[int], writer: str = "") -> Listing:
    """List these inputs as an attempt does, up to the write that makes the segment count, and with that one."""
    listing = Listing(folder, number, writer)
    listing.write([listed(names)])
    listing.commit(parts, 0)
    return listing


def list_again(folder: Folder, names: list[str]) -> list[Segment]:
    """What a retry does first: a segment of one part whose rows supersede those of these inputs."""
    segments = read_segments(folder)
    listing = Listing(folder, len(segments), supersedes=True)
    listing.write([listed(names)])
    listing.commit([len(names)], sum(len(segment.part_rows) for segment in segments))
    return read_segments(folder)


def listed(names: list[str]) -> pa.Table:
    return pa.Table.from_pylist([{"id": input_id(name, None), "uri": name} for name in names], SCHEMA)


def table(
    names: list[str],
    failed: tuple[str, ...] = (),
    error_type: str = "Corrupt",
    places: Mapping[str, list[int]] | None = None,
) -> pa.Table:
    """What a worker makes of these inputs: one row of each, or with `places` a row for each of those."""
    text = [pa.field(name, pa.string()) for name in ERROR_COLUMNS]
    fields = [*input_fields(makes_many=places is not None), pa.field("embedding", VECTOR), *text]
    rows = []
    for name in names:
        row = {"id": input_id(name, None), "uri": name}
        if name in failed:
            rows.append(row | {"stage": "decode", "error_type": error_type, "error": "broken"})
        else:
            done = [{}] if places is None else [{"place": place} for place in places[name]]
            rows += [row | {"embedding": [1.0] * 4} | place for place in done]
    return pa.Table.from_pylist(rows, pa.schema(fields))


def publish(
    folder: Folder,
    part: int,
    names: list[str],
    failed: tuple[str, ...] = (),
    error_type: str = "Corrupt",
    listing: str = "",
    places: Mapping[str, list[int]] | None = None,
) -> Written:
    stated = {"precision": "float32", "licence": "mit", "quantized": "int8"}
    settings = {"embed": stated, "other": {"precision": "float32"}}
    facts = {"listing": listing, "weights": {"0.embed": "abc"}, "settings": settings}
    made = table(names, failed, error_type, places)
    return publishing.publish(folder, f"part-{part:06d}", made, facts, Compression())


def put(folder: Folder, name: str, made: pa.Table) -> None:
    """A data file as a late or a faulty writer leaves it: nothing holds it against a law."""
    folder.publish(f"data/{name}.parquet", encode(made.drop_columns(list(ERROR_COLUMNS))))


def failed_uris(folder: Folder) -> list[str]:
    """What failed/ says, from its files alone."""
    return [uri for _, rows in failures(folder) for uri in rows["uri"].to_pylist()]  # type: ignore[misc]


def ids_of(folder: Folder, segments: list[Segment], part: Part) -> list[str]:
    return Rows(folder, segments).of(part)["id"].to_pylist()  # type: ignore[return-value]


class NoTime:
    """A clock that must not be needed: every holder here is provably gone."""

    def monotonic(self) -> float:
        raise AssertionError("nobody is waited for")

    def wait(self, seconds: float) -> None:
        raise AssertionError("nobody is waited for")


class Held:
    """The folder as the only living attempt holds it."""

    def __init__(self, epoch: int, *, is_fenced: bool = True) -> None:
        self.claim = Claim(epoch, f"{epoch:x}" * 32, is_fenced)

    def require(self) -> None:
        pass

    def follows_unknown(self, since: int) -> bool:
        return False

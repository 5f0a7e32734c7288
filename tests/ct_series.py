"""An index and an ingest of a folder within this process, without Ray: the same listing, reading, decoding and stages."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pixelmill.pipelines.ct.indexing import write_series
from pixelmill.pipelines.ct.naming import Naming
from pixelmill.pipelines.inputs.ct_series import SeriesIndex
from pixelmill.pipelines.inputs.entries import Entry, Ignored, Source
from pixelmill.pipelines.inputs.fetch import Fetched, Fetcher, FetchLimits
from pixelmill.pipelines.inputs.files import base_of
from pixelmill.pipelines.inputs.manifest_rows import SCHEMA, table_of
from pixelmill.pipelines.inputs.sources import entries
from pixelmill.pipelines.outputs.layout import file_name, segment_name
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.heads import Heads
from pixelmill.pipelines.stores.tables import write_parquet
from pixelmill.workers.ct.index_rows import FIELDS
from pixelmill.workers.ct.volume_options import VolumeOptions
from pixelmill.workers.decoders import Decoded, Decoder, decoder_of
from pixelmill.workers.errors import RowError
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.ct_index import CtIndexConfig

MAX_PIXELS = 1 << 24
_CONTEXT = StageContext(device="cpu", threads=1, job_images=4, cache_dir=None)
_ROWS = pa.schema([pa.field("id", pa.string()), pa.field("uri", pa.string()), pa.field("member", pa.string()), *FIELDS])


def index_of(archive: Path | str, folder: Path, **options: object) -> tuple[Folder, dict[str, RowError]]:
    """The index of an archive, with options of its stage, and the error of each object that has one, by its name and member."""
    config = CtIndexConfig.model_validate(options).with_assets({"key": {"key": b"a key for tests only"}})
    stage = config.build(_CONTEXT)
    index, decoder = Folder(str(folder), Access()), decoder_of("dicom-header")
    listed = list(entries(Source((str(archive),), format="dicom"), Ignored()))
    rows, errors = list[dict[str, Any]](), dict[str, RowError]()
    ids = table_of(listed)["id"].to_pylist() if listed else []
    for entry, one, (_, fetched) in zip(listed, ids, _fetched(listed, heads_of=decoder), strict=True):
        try:
            row = _row(stage, decoder, fetched)
        except RowError as error:
            errors[entry.member or entry.uri.removeprefix(f"{archive}/")] = error
        else:
            rows.append({"id": one, "uri": entry.uri, "member": entry.member, **row})
    _write(index, listed, rows)
    write_series(index, Naming(config.id_key(), base_of(str(archive), Access()), config.patient_pattern))
    return index, errors


def series_of(index: Folder) -> list[dict[str, Any]]:
    """The rows of INDEX/series."""
    names = [name for name in index.names("series") if name.endswith(".parquet")]
    return [row for name in names for row in pq.read_table(io.BytesIO(index.read(f"series/{name}") or b"")).to_pylist()]


def ingested(index: Folder, volumes: VolumeOptions | None = None) -> Iterator[tuple[Entry, list[Decoded] | RowError]]:
    """Every usable series of an index with its slices, or blocks, or with the reason why it has none."""
    source = Source((index.uri,), format="ct-index", volumes=volumes)
    listed, decoder = list(entries(source, Ignored())), decoder_of("ct-series" if volumes is None else "ct-volume")
    looked_up = SeriesIndex(index.uri, Access(), volumes)
    for entry, (_, fetched) in zip(listed, _fetched(listed, index=looked_up), strict=True):
        yield entry, _decoded(decoder, fetched)


def _fetched(listed: Sequence[Entry], heads_of: Any = None, index: SeriesIndex | None = None) -> Iterator[Fetched]:
    heads = Heads(heads_of.head_bytes, heads_of.is_enough) if heads_of else None
    fetcher: Fetcher[Fetched] = Fetcher(Access(), FetchLimits(), None, lambda fetched: fetched, heads, index)
    return fetcher.stream(table_of(list(listed))) if listed else iter(())


def _row(stage: Any, decoder: Decoder, fetched: tuple[bytes, ...] | RowError) -> dict[str, Any]:
    if isinstance(fetched, RowError):
        raise fetched
    (decoded,) = decoder.decode(fetched, max_pixels=MAX_PIXELS)
    columns = stage.run([stage.prepare(decoded.picture)]).columns
    return {name: column[0].as_py() for name, column in columns.items()}


def _decoded(decoder: Decoder, fetched: tuple[bytes, ...] | RowError) -> list[Decoded] | RowError:
    if isinstance(fetched, RowError):
        return fetched
    try:
        decoder.check(fetched, max_pixels=MAX_PIXELS)
        return list(decoder.decode(fetched, max_pixels=MAX_PIXELS))
    except RowError as error:
        return error


def _write(index: Folder, listed: list[Entry], rows: list[dict[str, Any]]) -> None:
    manifest = table_of(listed) if listed else SCHEMA.empty_table()
    count = manifest.num_rows
    index.publish(file_name(0, "w", 0), write_parquet(manifest))
    index.publish(segment_name(0), Segment(0, count, (count,), (count,), 0, writer="w").to_json())
    index.publish("data/part-000000.parquet", write_parquet(pa.Table.from_pylist(rows, _ROWS)))

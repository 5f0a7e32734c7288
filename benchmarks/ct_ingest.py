"""Ingest a CT archive in an S3 store beside a hand-written loop, and beside reading alone: slices a second.

    python -m benchmarks.ct_ingest [--series 6] [--slices 40] [--rounds 3]

All three are in one process, with one thread that decodes and 16 requests in flight, over the same index and objects. The bare
loop reads each object with obstore, decodes it with pydicom, scales it and writes Parquet with zstd; it does not check headers,
count clipped values, judge histograms, bound its memory, or key ids. `ratio` is Pixelmill over the slower of the other two.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom

from benchmarks.throughput import RESULTS
from pixelmill.pipelines.inputs.ct_series import SeriesIndex
from pixelmill.pipelines.inputs.entries import Ignored, Source
from pixelmill.pipelines.inputs.fetch import Fetched, Fetcher, FetchLimits
from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.sources import entries
from pixelmill.pipelines.outputs.encoding import encode
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.obstore_clients import s3_store
from pixelmill.workers.ct.phantom_archive import phantom_series, saved
from pixelmill.workers.decoders import decoder_of
from pixelmill.workers.errors import RowError
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.hu import HuConfig
from tests.ct_series import index_of, series_of
from tests.servers.gateway import Gateway

SIDE_PX, BUCKET, IN_FLIGHT = 512, "archive", 16
MAX_PIXELS = 1 << 28
CONTEXT = StageContext(device="cpu", threads=1, job_images=4, cache_dir=None)


def fetched(index: Folder) -> Iterator[Fetched]:
    """Every series with the bytes of its objects."""
    listed = table_of(list(entries(Source((index.uri,), format="ct-index"), Ignored())))
    found = SeriesIndex(index.uri, Access())
    fetcher: Fetcher[Fetched] = Fetcher(
        Access(), FetchLimits(in_flight=IN_FLIGHT, max_bytes=4 << 30), None, lambda each: each, None, found
    )
    yield from fetcher.stream(listed)


def ours(index: Folder) -> int:
    """As a worker does it, up to the bytes of the file."""
    decoder, stage, count = decoder_of("ct-series"), HuConfig.model_validate({}).build(CONTEXT), 0
    for _, pieces in fetched(index):
        if isinstance(pieces, RowError):
            raise pieces
        decoder.need_bytes(pieces)
        slices = list(decoder.decode(pieces, max_pixels=MAX_PIXELS))
        columns: dict[str, Any] = {**stage.run([stage.prepare(each.picture) for each in slices]).columns}
        made: dict[str, Any] = {
            field.name: pa.array([each.columns[field.name] for each in slices], field.type) for field in decoder.fields
        }
        encode(pa.table(made | columns))
        count += len(slices)
    return count


def bare(index: Folder) -> int:
    """The loop that a user would write by hand."""
    store, count = s3_store(BUCKET, Access()), 0
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        for row in series_of(index):
            keys = [member["uri"].removeprefix(f"s3://{BUCKET}/") for member in row["members"]]
            values: list[np.ndarray] = []
            for data in pool.map(lambda key: bytes(obstore.get(store, key).bytes()), keys):
                dataset: Any = pydicom.dcmread(io.BytesIO(data))
                hu_HW = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
                values.append(np.clip(np.rint(hu_HW), -32768, 32767).astype(np.int16).ravel())
            offsets = pa.array(np.cumsum([0, *map(len, values)], dtype=np.int32))
            lists: Any = pa.ListArray
            table = pa.table({"hu": lists.from_arrays(offsets, pa.array(np.concatenate(values)))})
            write: Any = pq.write_table  # its stubs leave out lists of columns
            write(
                table, io.BytesIO(), compression="zstd", use_dictionary=False, use_byte_stream_split=["hu.list.element"]
            )
            count += len(values)
    return count


def reading(index: Folder) -> int:
    """Read the bytes of every object and drop them."""
    return sum(len(pieces) - 1 for _, pieces in fetched(index) if not isinstance(pieces, RowError))


def rate(work: Callable[[Folder], int], index: Folder) -> float:
    began_s = time.perf_counter()
    return work(index) / (time.perf_counter() - began_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=6)
    parser.add_argument("--slices", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with Gateway() as gateway, tempfile.TemporaryDirectory(prefix="pmc-") as folder:
        os.environ.update(gateway.env)
        gateway.make_bucket(BUCKET)
        for number in range(options.series):
            made = phantom_series(number, options.slices, SIDE_PX)
            for place, dataset in enumerate(made.objects):
                gateway.put(BUCKET, f"{number}/{place:04d}", saved(dataset))
        index, _ = index_of(f"s3://{BUCKET}", Path(folder, "index"))
        contenders = {"pixelmill": ours, "bare loop": bare, "reading": reading}
        rates = [{name: rate(work, index) for name, work in contenders.items()} for _ in range(options.rounds + 1)][1:]
    figures: dict[str, float] = {name: statistics.median(each[name] for each in rates) for name in contenders}
    figures["ratio"] = statistics.median(each["pixelmill"] / min(each["bare loop"], each["reading"]) for each in rates)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ct_ingest.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

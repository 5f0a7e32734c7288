"""Time the reading of slices from a table by the size of its row groups, for draws at random and in a row.

    python -m benchmarks.slice_groups                       from an S3 server on this machine
    python -m benchmarks.slice_groups --local --groups-kb 16384 4096

A row of a Parquet file costs its row group from the beginning to that row. A training that draws slices at random pays this for
each, a mill that reads them in a row does not; smaller groups cost requests and a larger footer. Slices are 512x512 of a phantom
with noise, and are read and decoded as by a task of a training, --draw of --slices at a time. Times are of one slice, medians of
the rounds: by the clock, of this process's processor, and of the server's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import torch

from benchmarks.training_cases import lists_of
from pixelmill.pipelines.outputs.encoding import Compression, encode
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.decoding import decode_window
from pixelmill.pipelines.training.layouts.registry import find
from pixelmill.workers.ct.phantom_volume import phantom_volume
from pixelmill.workers.recipes.ct_autoencoder import CtAutoencoderSettings
from pixelmill.workers.recipes.registry import recipe_type
from tests.servers.gateway import Gateway

SIDE_PX = 512
SERIES_SLICES = 64


def table_of(slices: int) -> pa.Table:
    """Slices as `ct ingest` writes them."""
    generator = np.random.default_rng(0)
    hu_DHW = phantom_volume(SERIES_SLICES, SIDE_PX, 0).hu_DHW.astype(np.int16)
    noise = [generator.integers(-8, 8, (SIDE_PX, SIDE_PX)).astype(np.int16) for _ in range(slices)]
    shown = [np.roll(hu_DHW[number % SERIES_SLICES], number, 1) + noise[number] for number in range(slices)]
    series = [number // SERIES_SLICES for number in range(slices)]
    return pa.table(
        {
            "id": [str(number) for number in range(slices)],
            "patient_id": [f"p{number}" for number in series],
            "series_id": [f"s{number}" for number in series],
            "position_mm": [2.0 * number for number in range(slices)],
            **{name: pa.array([SIDE_PX] * slices, pa.int32()) for name in ("height", "width")},
            "hu": lists_of([pa.array(each.ravel()) for each in shown]),
        }
    )


def timed(data: DataSet, draws: list[list[int]], *, of_server: bool) -> str:
    """Milliseconds of a slice: by the clock, of this process, of the server."""
    recipe = recipe_type("ct-autoencoder")(CtAutoencoderSettings(drop_air=False), {})
    rows = list[tuple[float, float, float]]()
    for indices in draws:
        began = time.perf_counter(), time.process_time(), _spent_s(of_server=of_server)
        decode_window(data, recipe, indices, [], substitutes=False)
        ended = time.perf_counter(), time.process_time(), _spent_s(of_server=of_server)
        wall_ms, own_ms, its_ms = (1000 * (b - a) / len(indices) for a, b in zip(began, ended, strict=True))
        rows.append((wall_ms, own_ms, its_ms))
    return "".join(f"{statistics.median(column):10.1f}" for column in zip(*rows, strict=True))


def _spent_s(*, of_server: bool) -> float:
    """Of the processes that this one started: the server is the only one."""
    processes = psutil.Process().children(recursive=True) if of_server else []
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--local", action="store_true", help="from a file of this machine")
    parser.add_argument("--groups-kb", type=int, nargs="+", default=[16384, 8192, 4096, 2048])
    parser.add_argument("--slices", type=int, default=512)
    parser.add_argument("--draw", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(1)
    drawn = [generator.permutation(options.slices)[: options.draw].tolist() for _ in range(options.rounds)]
    in_a_row = [
        list(range(start, start + options.draw)) for start in range(0, options.rounds * options.draw, options.draw)
    ]
    table = table_of(options.slices)
    print(f"{'groups of':>10s}{'file, MB':>10s}{'drawn: ms':>10s}{'process':>10s}{'server':>10s}{'in a row':>10s}")
    with ExitStack() as stack:
        gateway = None if options.local else stack.enter_context(Gateway())
        os.environ.update(gateway.env if gateway else {})
        for group_kb in options.groups_kb:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pms-")))
            encoded = encode(table, Compression(row_group_bytes=group_kb << 10, slice_group_bytes=group_kb << 10))
            (folder / "part-000000.parquet").write_bytes(encoded)
            place = str(folder)
            if gateway is not None:
                gateway.make_bucket(f"slices{group_kb}")
                gateway.put_folder(f"slices{group_kb}", "", folder)
                place = f"s3://slices{group_kb}"
            data = find(recipe_type("ct-autoencoder").ROLES, [place], Access())
            timed(data, drawn[:1], of_server=False)
            figures = [timed(data, draws, of_server=gateway is not None) for draws in (drawn, in_a_row)]
            print(f"{group_kb:>7d} KB{len(encoded) / 1e6:10.1f}{''.join(figures)}", flush=True)


if __name__ == "__main__":
    main()

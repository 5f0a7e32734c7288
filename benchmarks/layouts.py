"""The same JPEGs behind the S3 gateway as objects, in tar shards and in Parquet: images a second, and what is read of the store.

    python -m benchmarks.layouts [--images 4000] [--rounds 3]

One run of `pixelmill embed` each, in turns. `of objects` is the ratio of the rates within a round. `read` is what crosses the
loopback while the job runs, as a multiple of the JPEGs: of a tar all is read once more to list it, and a page of a row group is
read again by every worker that has rows behind it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.throughput import GATEWAY_CACHES, GATEWAY_THRIFT, RESULTS
from tests.jpegs import make_jpegs
from tests.servers.gateway import Gateway

FILE_IMAGES = 1000
"""Images of a shard and of a table."""
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LAYOUTS = {
    "objects": "s3://objects",
    "tar shards": "s3://tar/*.tar",
    "Parquet, row groups of 100": "s3://groups-100/*.parquet",
    "Parquet, row groups of 1,000": "s3://groups-1000/*.parquet",
}


def write_layouts(folder: Path, images: int) -> int:
    """A folder for each bucket; returns the bytes of the JPEGs."""
    names = make_jpegs(folder / "objects", images)
    for name in ("tar", "groups-100", "groups-1000"):
        (folder / name).mkdir()
    for number, start in enumerate(range(0, images, FILE_IMAGES)):
        some = names[start : start + FILE_IMAGES]
        data = [(folder / "objects" / name).read_bytes() for name in some]
        with tarfile.open(folder / f"tar/{number:04d}.tar", "w") as shard:
            for name, each in zip(some, data, strict=True):
                member = tarfile.TarInfo(name)
                member.size = len(each)
                shard.addfile(member, io.BytesIO(each))
        cells = [{"bytes": each, "path": name} for name, each in zip(some, data, strict=True)]
        table = pa.table({"image": pa.array(cells, IMAGE)})
        for rows in (100, 1000):
            pq.write_table(table, folder / f"groups-{rows}/{number:04d}.parquet", row_group_size=rows)
    return sum(path.stat().st_size for path in (folder / "objects").rglob("*.jpg"))


def measured(source: str, folder: Path, images: int, environment: dict[str, str]) -> tuple[float, int]:
    """Images a second, and the bytes that crossed the loopback."""
    out, result = folder / "out", folder / "result.json"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.baselines.pixelmill_job", "--source", source, "--out", str(out)]
    before = _loopback_bytes()
    done = subprocess.run(
        [*command, "--images", str(images), "--json", str(result)], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{source}: {done.stderr[-2000:]}")
    figures = json.loads(result.read_text())
    assert figures["images"] == images
    return figures["steady_images_per_s"], _loopback_bytes() - before


def _loopback_bytes() -> int:
    return psutil.net_io_counters(pernic=True)["lo"].bytes_recv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="pml-") as name,
        Gateway(options=GATEWAY_CACHES, environment=GATEWAY_THRIFT) as gateway,
    ):
        folder = Path(name)
        size = write_layouts(folder / "in", options.images)
        for bucket in sorted(each.name for each in (folder / "in").iterdir()):
            gateway.make_bucket(bucket)
            gateway.put_folder(bucket, "", folder / "in" / bucket)
        environment = os.environ | dict(gateway.env) | {"XDG_CACHE_HOME": str(folder / "cache")}
        measured(LAYOUTS["objects"], folder, options.images, environment)  # chooses the settings
        rounds = [
            {label: measured(source, folder, options.images, environment) for label, source in LAYOUTS.items()}
            for _ in range(options.rounds)
        ]
    shown = Table("", "images/s", "of objects", "read")
    for label in LAYOUTS:
        ratios = [each[label][0] / each["objects"][0] for each in rounds]
        rate = statistics.median(each[label][0] for each in rounds)
        read = statistics.median(each[label][1] for each in rounds) / size
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        shown.add_row(label, f"{rate:.1f}", spread, f"{read:.2f}")
    Console(width=100).print(shown)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "layouts.json").write_text(json.dumps({"bytes": size, "rounds": rounds}, indent=1))


if __name__ == "__main__":
    main()

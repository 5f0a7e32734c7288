"""Define the task, the speed and the memory that are measured alike for every approach to embedding an archive."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import fsspec
import psutil
import pyarrow.dataset as ds

SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Task:
    """Embed all images below `source`, a folder or s3://bucket/prefix that holds `images` of them, as Parquet in `out`.

    Credentials and endpoint of s3:// come from the AWS_* environment.
    """

    source: str
    out: Path
    images: int
    json: Path
    memory: bool = False


def task_from_command_line(description: str | None) -> Task:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, help="a folder or s3://bucket/prefix")
    parser.add_argument("--out", required=True, type=Path, help="folder for the Parquet files, new or empty")
    parser.add_argument("--images", required=True, type=int, help="how many images the source holds")
    parser.add_argument("--json", required=True, type=Path, help="file for the figures")
    parser.add_argument("--memory", action="store_true", help="measure memory too, which takes from the speed")
    task = Task(**vars(parser.parse_args()))
    if task.out.exists() and any(task.out.iterdir()):
        parser.error(f"--out {task.out} is not empty")
    return task


def list_images(task: Task) -> list[str]:
    """The URIs to embed, sorted. Raises SystemExit if their number differs from that of the task."""
    filesystem, root = fsspec.core.url_to_fs(task.source)
    found = sorted(path for path in filesystem.find(root) if path.lower().endswith(SUFFIXES))
    if len(found) != task.images:
        raise SystemExit(f"{task.source} holds {len(found)} images, --images says {task.images}")
    return ["s3://" + path if task.source.startswith("s3://") else path for path in found]


@dataclass(frozen=True)
class FinishLog:
    """The times at which images were finished: one line per batch, appended by any process of this machine.

    An image is finished when its embedding is in the memory of the process that computed it.
    """

    path: Path

    def add(self, images: int) -> None:
        with self.path.open("a") as log:  # a short line appended in one write is never torn
            log.write(f"{time.time()} {images}\n")

    def read(self) -> list[tuple[float, int]]:
        """(unix time in s, images finished since the line before), in order of time."""
        lines = (line.split() for line in self.path.read_text().splitlines())
        return sorted((float(time_s), int(images)) for time_s, images in lines)


def steady_images_per_s(finished: Sequence[tuple[float, int]]) -> float | None:
    """Images finished after the first 10 %, divided by the time that they took.

    The clock starts with the batch that completes the first 10 %, and stops with the last batch. None if no batch is later than
    the one that starts it.
    """
    total, done = sum(images for _, images in finished), 0
    for start_s, images in finished:
        done += images
        if done >= total / 10:
            elapsed_s = finished[-1][0] - start_s
            return (total - done) / elapsed_s if elapsed_s > 0 else None
    return None


class PeakMemory:
    """The highest sum of memory over a process and all its descendants, sampled every `interval_s`.

    rss_bytes counts a page shared by n processes n times, pss_bytes (Linux) once; None if it can't be read. A sample takes about
    5 ms per process and may block that process meanwhile, so do not sample while timing to the percent.
    """

    def __init__(self, pid: int | None = None, interval_s: float = 2.0) -> None:
        self.rss_bytes = 0
        self.pss_bytes: int | None = None
        self._root = psutil.Process(pid or os.getpid())
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="peak-memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        self._sample()
        while not self._stop.wait(self._interval_s):
            self._sample()

    def _sample(self) -> None:
        try:
            processes = [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:  # it ended before it was read
            return
        memory = [_memory(process) for process in processes]
        self.rss_bytes = max(self.rss_bytes, sum(rss for rss, _ in memory))
        self.pss_bytes = max(self.pss_bytes or 0, sum(pss for _, pss in memory)) or None


def _memory(process: psutil.Process) -> tuple[int, int]:
    """RSS and PSS in bytes; 0 if they can't be read, as for a process that has just ended."""
    rss_bytes = pss_bytes = 0
    with contextlib.suppress(psutil.Error):
        rss_bytes = process.memory_info().rss
    with contextlib.suppress(OSError, IndexError):
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        pss_bytes = int(rollup.partition("\nPss:")[2].split()[0]) * 1024
    return rss_bytes, pss_bytes


class Measurement:
    """Measure a script from the start of its process to the end of the `with` block, and write the figures as JSON.

    total_s              process start (interpreter and imports included) to the end of the block
    first_result_s       process start to the first finished batch
    steady_images_per_s  see `steady_images_per_s`

    Raises SystemExit unless the output has one row for each image.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        task.json.parent.mkdir(parents=True, exist_ok=True)
        task.out.mkdir(parents=True, exist_ok=True)
        self.finish_log = FinishLog(task.json.with_suffix(".finished").absolute())
        self.finish_log.path.write_text("")

    def __enter__(self) -> Measurement:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end_s = time.time()
        if error is None:
            self._write(end_s)

    def _write(self, end_s: float) -> None:
        rows = ds.dataset(self.task.out, format="parquet").count_rows()
        if rows != self.task.images:
            raise SystemExit(f"{self.task.out} holds {rows} rows for {self.task.images} images")
        start_s, finished = psutil.Process().create_time(), self.finish_log.read()
        figures = {
            "images": rows,
            "total_s": end_s - start_s,
            "first_result_s": finished[0][0] - start_s,
            "steady_images_per_s": steady_images_per_s(finished),
        }
        self.task.json.write_text(json.dumps(figures, indent=2) + "\n")
        self.finish_log.path.unlink()

"""Compare Pixelmill with the limit and with hand-written alternatives, in one run on the same JPEGs.

    python -m benchmarks.throughput                       the contenders of README.md's table: 4,000 images, 3 rounds
    python -m benchmarks.throughput --scaling             four times the images: time and memory
    python -m benchmarks.throughput --start               where the seconds of a short job go
    python -m benchmarks.throughput --shares              whose processes the cores belong to meanwhile

Every figure is a median over the rounds; within a round the contenders run one after the other, so that drift of the machine
affects all of them. Ratios are computed within a round; the median of the rounds is shown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from tests.jpegs import make_jpegs
from tests.servers.gateway import Gateway

# The server should use little of the cores that it shares with the contenders: 0.5 instead of 0.7 ms per object, and because
# fewer of its threads wake up for each object, the reader takes 0.17 instead of 0.36 ms.
GATEWAY_THRIFT = {"GOMAXPROCS": "1", "GOGC": "400"}
GATEWAY_CACHES = [word for name in ("attr", "entry", "dir-entry", "open") for word in (f"--{name}-cache", "60s")]

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Contender:
    """One approach to embedding the archive: a module of benchmarks.baselines, and its source."""

    label: str
    module: str
    from_s3: bool = False
    full_size: bool = False
    """Whether it runs over all images; slow contenders run over a part, because only their rate is compared."""


CONTENDERS = (
    Contender("limit: decode + forward, no engine", "limit", full_size=True),
    Contender("limit with fetching, no engine, S3", "limit", from_s3=True, full_size=True),
    Contender("Pixelmill, local disk", "pixelmill_job", full_size=True),
    Contender("Pixelmill, S3", "pixelmill_job", from_s3=True, full_size=True),
    Contender("DataLoader loop, local disk", "dataloader"),
    Contender("DataLoader loop, S3", "dataloader", from_s3=True),
    Contender("Daft, local disk", "daft_udf"),
    Contender("Daft, S3", "daft_udf", from_s3=True),
    Contender("Ray documentation's example, local disk", "ray_example"),
    Contender("Ray documentation's example, S3", "ray_example", from_s3=True),
)


OWNERS = {
    "MapWorker": "workers",
    "bin/pixelmill": "driver",
    "gcs_server": "GCS",
    "raylet/raylet": "raylet",
    "ray::": "Ray's other actors and agents",
}
"""The owner of a process by a text in its command line; the first match counts."""

OURS = next(contender for contender in CONTENDERS if contender.module == "pixelmill_job")


@dataclass
class Bench:
    """A folder with the images, a gateway that serves them, and the environment of the contenders."""

    folder: Path
    images: int
    part: int
    environment: dict[str, str] = field(default_factory=dict)

    def prepare(self, gateway: Gateway) -> None:
        for name, count in (("all", self.images), ("part", self.part)):
            make_jpegs(self.folder / name, count)
            gateway.make_bucket(name)
            gateway.put_folder(name, "", self.folder / name)
        cache = self.folder / "cache"
        self.environment = os.environ | dict(gateway.env)
        self.environment |= {
            "XDG_CACHE_HOME": str(cache),
            "PIXELMILL_BENCHMARK_CACHE": str(cache / "pixelmill/settings"),
        }

    def measure(self, contender: Contender, *words: str) -> dict[str, Any]:
        name, count = ("all", self.images) if contender.full_size else ("part", self.part)
        source = f"s3://{name}" if contender.from_s3 else str(self.folder / name)
        out, result = self.folder / "out", self.folder / "result.json"
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, "-m", f"benchmarks.baselines.{contender.module}"]
        command += ["--source", source, "--out", str(out), "--images", str(count), "--json", str(result), *words]
        _run(command, self.environment)
        return json.loads(result.read_text())


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def table(bench: Bench, rounds: int, only: list[str], console: Console) -> dict[str, Any]:
    """Run every contender `rounds` times and tabulate medians."""
    contenders = [c for c in CONTENDERS if not only or c.module in only or c.module == "limit"]
    if any(each.module == "daft_udf" for each in contenders) and find_spec("daft") is None:
        raise SystemExit("Daft is not installed here: pip install 'pixelmill[benchmarks]'")
    bench.measure(OURS)  # fills the cache of settings, which the limit also uses
    measured: dict[str, list[dict[str, Any]]] = {c.label: [] for c in contenders}
    for number in range(rounds):
        for contender in contenders:
            figures = bench.measure(contender)
            measured[contender.label].append(figures)
            console.print(f"round {number + 1}, {contender.label}: {figures['steady_images_per_s']:.1f} images/s")
    return {c.label: _medians(measured[c.label], measured, c.from_s3) for c in contenders}


def _medians(rows: list[dict[str, Any]], measured: dict[str, list[dict[str, Any]]], from_s3: bool) -> dict[str, Any]:
    """Medians over the rounds; the ratio is relative to the limit from the same kind of source, round by round."""
    limit = measured[CONTENDERS[1 if from_s3 else 0].label]
    ratios = [r["steady_images_per_s"] / base["steady_images_per_s"] for r, base in zip(rows, limit, strict=True)]
    keys = ("images", "steady_images_per_s", "first_result_s", "total_s")
    medians = {key: statistics.median(row[key] for row in rows) for key in keys}
    return medians | {"of_limit": statistics.median(ratios), "rounds": rows}


def print_table(figures: dict[str, Any], console: Console) -> None:
    ours = {False: figures.get("Pixelmill, local disk"), True: figures.get("Pixelmill, S3")}
    shown = Table("", "images/s, steady", "of the limit", "Pixelmill is", "first result", "all of it")
    for label, row in figures.items():
        mine = ours["S3" in label]
        times = (
            "" if mine is None or "Pixelmill" in label or label.startswith("limit") else f"{_times(mine, row):.1f} x"
        )
        shown.add_row(
            label, f"{row['steady_images_per_s']:.1f}", f"{row['of_limit']:.2f}", times,
            f"{row['first_result_s']:.1f} s", f"{row['total_s']:.0f} s / {row['images']:,.0f}",
        )  # fmt: skip
    console.print(shown)


def _times(mine: dict[str, Any], other: dict[str, Any]) -> float:
    pairs = zip(mine["rounds"], other["rounds"], strict=True)
    return statistics.median(a["steady_images_per_s"] / b["steady_images_per_s"] for a, b in pairs)


def scaling(bench: Bench, console: Console) -> dict[str, Any]:
    """The job on a quarter of the images and on all of them."""
    job = OURS
    bench.measure(Contender("", job.module))
    small, large = bench.measure(Contender("", job.module), "--memory"), bench.measure(job, "--memory")
    figures = {
        "images": [small["images"], large["images"]],
        "time_ratio": large["total_s"] / small["total_s"],
        "peak_pss_ratio": large["peak_pss_bytes"] / small["peak_pss_bytes"],
        "runs": [small, large],
    }
    console.print(
        f"{small['images']:,} -> {large['images']:,} images: {small['total_s']:.0f} -> {large['total_s']:.0f} s "
        f"({figures['time_ratio']:.2f} x), {small['peak_pss_bytes'] / 1e9:.2f} -> {large['peak_pss_bytes'] / 1e9:.2f} GB "
        f"({figures['peak_pss_ratio']:.2f} x)"
    )
    return figures


def start(bench: Bench, rounds: int, console: Console) -> dict[str, Any]:
    """A job of few images, several times: the parts of its time from the command to the end."""
    runs = [bench.measure(Contender("", "pixelmill_job")) for _ in range(rounds)]
    for run in runs:
        seconds = ", ".join(f"{name} {value:.1f}" for name, value in run["seconds"].items())
        console.print(f"first row {run['first_result_s']:.1f} s, all {run['total_s']:.1f} s: {seconds}")
    medians = {key: statistics.median(run[key] for run in runs) for key in ("first_result_s", "total_s")}
    console.print(f"{bench.part} images, median of {rounds}: {medians}")
    return medians | {"runs": runs}


def shares(bench: Bench, console: Console) -> dict[str, Any]:
    """The shares of the machine's processor time by owner, in the middle of a run."""
    samples: list[tuple[float, dict[int, tuple[str, float]]]] = []
    over = threading.Event()

    def follow() -> None:
        while not over.wait(1.0):
            samples.append((time.monotonic(), dict(_processor_times())))

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        run = bench.measure(OURS)
    finally:
        over.set()
        thread.join()
    (began_s, before), (ended_s, after) = samples[len(samples) * 2 // 5], samples[len(samples) * 17 // 20]
    taken_s: defaultdict[str, float] = defaultdict(float)
    for pid, (owner, seconds) in after.items():
        taken_s[owner] += seconds - before.get(pid, ("", 0.0))[1]
    whole_s = (ended_s - began_s) * (os.cpu_count() or 1)
    figures = {owner: seconds / whole_s for owner, seconds in sorted(taken_s.items(), key=lambda item: -item[1])}
    console.print(", ".join(f"{owner} {share:.1%}" for owner, share in figures.items()))
    return {"shares": figures, "run": run}


def _processor_times() -> Iterator[tuple[int, tuple[str, float]]]:
    """Each process that runs for a job: its owner, and its processor time in seconds."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words, times = " ".join(process.cmdline()), process.cpu_times()
            owner = next((owner for mark, owner in OWNERS.items() if mark in words), None)
            if owner is not None:
                yield process.pid, (owner, times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--part", type=int, default=1000, help="images for those that are slow")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="modules of benchmarks.baselines")
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--start", action="store_true")
    parser.add_argument("--shares", action="store_true")
    options = parser.parse_args()
    if options.scaling:
        options.images, options.part = 16_000, 4000
    if options.start:
        options.images = options.part = 64
    console, began_s = Console(width=150), time.time()
    with (
        tempfile.TemporaryDirectory(prefix="pmb-") as folder,
        Gateway(options=GATEWAY_CACHES, environment=GATEWAY_THRIFT) as gateway,
    ):
        bench = Bench(Path(folder), options.images, options.part)
        bench.prepare(gateway)
        if options.scaling:
            name, figures = "scaling", scaling(bench, console)
        elif options.start:
            name, figures = "start", start(bench, options.rounds, console)
        elif options.shares:
            name, figures = "shares", shares(bench, console)
        else:
            name, figures = "throughput", table(bench, options.rounds, options.only, console)
            print_table(figures, console)
    RESULTS.mkdir(exist_ok=True)
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    text = json.dumps({"took_s": time.time() - began_s, "machine": machine, "figures": figures}, indent=1)
    (RESULTS / f"{name}.json").write_text(text)
    console.print(f"written to {RESULTS / name}.json")


if __name__ == "__main__":
    main()

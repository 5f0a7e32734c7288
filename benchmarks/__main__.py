"""The README's whole table in one command, with the machine, the versions and the spread over the rounds.

python -m benchmarks                       8,000 images, 500 for slow contenders, 3 rounds: about 20 minutes on two cores
python -m benchmarks --quick               400 images, one round: whether it works; its figures mean little
python -m benchmarks --record --note TEXT  add a line to history.jsonl; then: python -m benchmarks.history --write
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from benchmarks import history, throughput
from pixelmill.jobs.versions import versions
from tests.servers.gateway import Gateway


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--note", default="", help="what a reader must know of the machine, such as other work on it")
    options = parser.parse_args()
    images, part, rounds = (400, 100, 1) if options.quick else (8000, 500, 3)
    console, machine = Console(width=150), this_machine()
    with (
        tempfile.TemporaryDirectory(prefix="pmb-") as folder,
        Gateway(options=throughput.GATEWAY_CACHES, environment=throughput.GATEWAY_THRIFT) as gateway,
    ):
        bench = throughput.Bench(Path(folder), images, part)
        bench.prepare(gateway)
        found = throughput.table(bench, rounds, [], console)
    measured = history.Measured(
        version=version("pixelmill"),
        measured_on=datetime.now(UTC).date().isoformat(),
        command=" ".join(["python -m benchmarks", *(["--quick"] if options.quick else [])]),
        note=options.note or f"{machine.load:.1f} processes ran or waited when it began.",
        machine=machine,
        versions=versions(),
        figures={label: figures_of(found, label) for label in found},
    )
    print(history.readme_table(measured))
    print(", ".join(f"{name} {number}" for name, number in measured.versions.items()), file=sys.stderr)
    if options.record:
        history.add(measured)


def this_machine() -> history.Machine:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory_gib = round(psutil.virtual_memory().total / (1 << 30), 1)
    cores = len(os.sched_getaffinity(0))
    return history.Machine(processor=[*models, "?"][0], cores=cores, memory_gib=memory_gib, load=os.getloadavg()[0])


def figures_of(found: dict[str, Any], label: str) -> history.Figures:
    """A contender's rounds, with ratios to the limit and to Pixelmill from the same kind of source, within each round."""
    kind = "S3" if "S3" in label else "local disk"
    rates = _rates(found, label)
    limit = next(each for each in found if each.startswith(history.LIMIT) and ("S3" in each) == (kind == "S3"))
    return history.Figures(
        images=found[label]["images"],
        images_per_s=rates,
        of_limit=_ratios(rates, _rates(found, limit)),
        pixelmill_is=_ratios(_rates(found, f"{history.OURS}, {kind}"), rates),
        first_result_s=[row["first_result_s"] for row in found[label]["rounds"]],
        total_s=[row["total_s"] for row in found[label]["rounds"]],
    )


def _rates(found: dict[str, Any], label: str) -> list[float]:
    return [row["steady_images_per_s"] for row in found[label]["rounds"]]


def _ratios(rates: Sequence[float], others: Sequence[float]) -> list[float]:
    return [rate / other for rate, other in zip(rates, others, strict=True)]


if __name__ == "__main__":
    main()

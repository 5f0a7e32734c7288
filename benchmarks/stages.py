"""Compare each kind of stage with a bare loop over the same network, and a chain of three stages with one loop over all three.

    python -m benchmarks.stages [--pictures 96] [--rounds 3] [--only NAME ...]

One worker with one thread. Stage and loop take the same decoded pictures, run the network in the settings that the stage chose,
and encode outputs with the same encoders. A stage's time is that of a job's worker over local files, without fetching and
decoding; the chain and its loop include both. Settings are probed once for each network: the chain and the runs of one stage
share them. Stage and loop alternate, and ratios are computed within a turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.bare_loops import Loop, bare_loop
from pixelmill.pipelines.bulk.mill import Mill, MillConfig
from pixelmill.pipelines.bulk.orders import Order
from pixelmill.pipelines.inputs.fetch import FetchLimits
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.listing import Listing, tables_of
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.encode import encode_png_tensor
from pixelmill.workers.drawn_classes import FACADES
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.runtime.memory import keep_freed_memory
from pixelmill.workers.stages import StageConfig, StageContext, config_class
from tests.jpegs import make_jpegs

PROBED_IMAGES = 1 << 20
"""The stated size of the job, large enough that settings are probed. No network is compiled, since the loops do not compile."""


@dataclass(frozen=True)
class Kind:
    """One kind of stage: its task and options in a job file, and the model of its loop."""

    task: Task
    model: str
    options: dict[str, Any]
    takes_layouts: bool = False

    def inputs(self, folder: Path, count: int) -> Path:
        """The files that it is measured on, made where they are not there yet: photographs, or drawn layouts."""
        place = folder / ("layouts" if self.takes_layouts else "photographs") / "in"
        if not place.exists():
            (make_layouts if self.takes_layouts else make_jpegs)(place, count)
        return place

    @property
    def config(self) -> StageConfig:
        return config_class(self.task).model_validate(self.options | {"compile": False, "backend": "torch"})


KINDS: dict[str, Kind] = {
    "embed": Kind("embed", "torchvision:resnet18/random", {"model": "torchvision:resnet18/random"}),
    "classify": Kind("classify", "torchvision:resnet18/random", {"model": "torchvision:resnet18/random", "top": 5}),
    "segment": Kind("segment", "segnet-camvid", {}),
    "depth": Kind("depth", "monodepth-kitti", {}),
    "upscale": Kind("upscale", "vdsr-t91", {"scale": 2}),
    "stylize": Kind("stylize", "faststyle-wave", {"style": "wave"}),
    "reconstruct": Kind("reconstruct", "autoencoder-photos", {}),
    "encode": Kind("encode", "autoencoder-photos", {}),
    "synthesize": Kind("synthesize", "crn-facades", {}, takes_layouts=True),
}
CHAIN = ("embed", "segment", "depth")


class Worker:
    """A job's worker with these stages, over every picture of a folder."""

    def __init__(self, kinds: Sequence[Kind], pictures: Path) -> None:
        self._out = Folder(str(pictures.with_name("out")), Access())
        self._settings = pictures.with_name("settings")
        self._segment = self._listed(pictures)
        self._mill = self._built([kind.config for kind in kinds])
        self._milled()  # the settings are chosen

    def _listed(self, pictures: Path) -> Segment:
        listing = Listing(self._out, 0)
        listing.write(tables_of(Source((str(pictures),)), listing, Known(self._out, [])))
        return listing.segment([listing.rows], 0)

    def _built(self, stages: Sequence[StageConfig]) -> Mill:
        context = StageContext("cpu", 1, PROBED_IMAGES, self._settings)
        config = MillConfig(
            out=self._out.uri, out_access=Access(), source_access=Access(), column=None, segments=(self._segment,),
            stages=tuple(stages), context=context, fetch=FetchLimits(), max_pixels=100_000_000, decode_threads=0,
            weights=None, memory_bytes=8 << 30,
        )  # fmt: skip
        return Mill(config, lambda tally: None)

    def _milled(self) -> Any:
        (part,) = self._segment.parts()
        return self._mill(json.loads(Order(part.name, (part,)).to_json()))

    @property
    def settings(self) -> list[dict[str, Any]]:
        """The settings of each stage."""
        return [dict(stage.settings) for stage in self._mill.stages]

    def run(self) -> None:
        """One pass over all pictures."""
        table = self._milled()
        failed = table.filter(table["error"].is_valid()).num_rows
        if failed:
            raise SystemExit(f"{failed} pictures failed: {set(table['error'].drop_null().to_pylist())}")


def timed(work: Callable[[], object]) -> float:
    """The processor time of this thread in seconds."""
    start_s = time.thread_time()
    work()
    return time.thread_time() - start_s


def decoded_files(pictures: Path) -> list[torch.Tensor]:
    return [decode_picture(path.read_bytes()) for path in sorted(pictures.rglob("*.*"))]


def make_layouts(folder: Path, count: int) -> None:
    """Write `count` PNGs of 500x375: twenty rectangles each, in the colours of the facades' classes."""
    folder.mkdir(parents=True)
    colours = np.array(list(FACADES.values()), np.uint8)
    for number in range(count):
        random = np.random.default_rng(number)
        drawn_HW3 = np.broadcast_to(colours[0], (375, 500, 3)).copy()
        for colour in random.integers(0, len(colours), 20):
            top, left = random.integers(0, 340), random.integers(0, 460)
            drawn_HW3[top : top + random.integers(20, 150), left : left + random.integers(20, 150)] = colours[colour]
        (folder / f"{number:05d}.png").write_bytes(encode_png_tensor(torch.from_numpy(drawn_HW3).permute(2, 0, 1)))


def in_turns(first: Callable[[], object], second: Callable[[], object], turn: int) -> tuple[float, float]:
    """The seconds of both, in turns; the second one runs first in every other turn."""
    if turn % 2:
        second_s = timed(second)
        return timed(first), second_s
    return timed(first), timed(second)


def stage_ratios(kind: Kind, pictures: Path, rounds: int) -> tuple[list[float], float]:
    """The loop's seconds divided by the stage's, turn by turn, and the stage's pictures per second."""
    worker = Worker([kind], pictures)
    decoded = decoded_files(pictures)
    loop = bare_loop(kind.task, kind.model, worker.settings[0], kind.options)
    loop(decoded)
    ratios: list[float] = []
    fastest_s = float("inf")
    for turn in range(rounds):
        bare_s, whole_s = in_turns(lambda: loop(decoded), worker.run, turn)
        mine_s = whole_s - timed(lambda: decoded_files(pictures))
        ratios.append(bare_s / mine_s)
        fastest_s = min(fastest_s, mine_s)
    return ratios, len(decoded) / fastest_s


def chain_ratios(pictures: Path, rounds: int) -> tuple[list[float], list[float], float]:
    """Ratios to a loop that decodes once and runs all three, gains over three separate runs, and the chain's pictures/s."""
    kinds = [KINDS[name] for name in CHAIN]
    chain = Worker(kinds, pictures)
    alone = [Worker([kind], pictures) for kind in kinds]
    loops: list[Loop] = [
        bare_loop(kind.task, kind.model, settings, kind.options)
        for kind, settings in zip(kinds, chain.settings, strict=True)
    ]

    def bare() -> None:
        decoded = decoded_files(pictures)
        for loop in loops:
            loop(decoded)

    bare()
    ratios: list[float] = []
    gains: list[float] = []
    fastest_s = float("inf")
    for turn in range(rounds):
        bare_s, mine_s = in_turns(bare, chain.run, turn)
        ratios.append(bare_s / mine_s)
        gains.append(sum(timed(worker.run) for worker in alone) / mine_s)
        fastest_s = min(fastest_s, mine_s)
    return ratios, gains, len(decoded_files(pictures)) / fastest_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=96, help="JPEGs of about 500x375")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[*KINDS, "chain"], default=[*KINDS, "chain"])
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    table = Table("", "pictures/s", "of the bare loop, median", "each round")
    with tempfile.TemporaryDirectory(prefix="stages-") as folder:
        for name in options.only:
            kind = KINDS[CHAIN[0] if name == "chain" else name]
            pictures = kind.inputs(Path(folder), options.pictures)
            if name == "chain":
                ratios, gains, rate = chain_ratios(pictures, options.rounds)
                label = f"{' + '.join(CHAIN)}; {statistics.median(gains):.2f} times as fast as three runs"
            else:
                (ratios, rate), label = stage_ratios(kind, pictures, options.rounds), name
            each = " ".join(f"{ratio:.3f}" for ratio in ratios)
            table.add_row(label, f"{rate:.2f}", f"{statistics.median(ratios):.3f}", each)
            print(json.dumps({"stage": label, "rate": round(rate, 3), "ratios": [round(r, 4) for r in ratios]}))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()

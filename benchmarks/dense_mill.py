"""Run a stage that makes maps, on one device and without Ray, beside its bare network, and compare its maps with the CPU's.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from benchmarks.in_process_mill import FolderMill, MilledFolder
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.prediction.labels import Labels
from pixelmill.workers.prediction.trial_pictures import probe_size
from pixelmill.workers.runtime.execution import folded
from pixelmill.workers.stages import config_class

DenseStage = Literal["segment", "depth"]
MODELS: dict[DenseStage, str] = {"segment": "unet-camvid", "depth": "monodepth-kitti"}
COLUMNS: dict[DenseStage, str] = {"segment": "mask", "depth": "disparity_px"}
LEAST_EQUAL, MOST_ERROR = 0.99, 0.02
"""Twice what the stages allow between their settings and float32: these are maps as stored, unclear pixels among them."""
MOST_BARE_PX = 1 << 20


@dataclass(frozen=True)
class MapAgreement:
    """The worst of the compared pictures: the share of equal ids, or the error of the disparity relative to its mean."""

    measure: str
    figure: float
    agrees: bool


class DenseMill(FolderMill):
    """The stage `segment` or `depth`, by a network that ships."""

    def __init__(self, stage: DenseStage, pictures: Path, device: str, *, decode_threads: int) -> None:
        super().__init__(pictures, device, decode_threads=decode_threads, out=pictures.with_name(f"out-{stage}"))
        self._stage: DenseStage = stage

    def all_maps(self) -> MilledFolder:
        return self.milled(config_class(self._stage).model_validate({"model": MODELS[self._stage]}))

    def agreement(self, made: MilledFolder, count: int) -> MapAgreement:
        """How the maps of the first `count` pictures agree with those of the CPU in float32; a missing one is infinitely off."""
        options = {"model": MODELS[self._stage], "precision": "float32", "backend": "torch"}
        truth = self._maps(self.on_the_cpu(config_class(self._stage).model_validate(options), count))
        mine = self._maps(made.tables[0])
        if not truth or not truth.keys() <= mine.keys():
            return MapAgreement("missing", math.inf, agrees=False)
        pairs = [(mine[name], true) for name, true in truth.items()]
        if self._stage == "segment":
            equal = min(float((one == other).mean()) for one, other in pairs)
            return MapAgreement("equal ids", equal, equal >= LEAST_EQUAL)
        error = max(float(np.abs(one - other).mean() / np.abs(other).mean()) for one, other in pairs)
        return MapAgreement("relative error", error, error <= MOST_ERROR)

    def _maps(self, table: pa.Table) -> dict[str, np.ndarray]:
        """The stored maps HW by the name of the picture."""
        column = COLUMNS[self._stage]
        done = table.filter(table["error"].is_null()).to_pylist()
        scales = [row.get(f"{column}_scale") or 1.0 for row in done]
        return {
            str(row["uri"]): np.asarray(Image.open(io.BytesIO(row[column]["bytes"]))) * scale
            for row, scale in zip(done, scales, strict=True)
        }


@torch.inference_mode()
def bare_forward(
    stage: DenseStage,
    settings: dict[str, Any],
    size_wh: tuple[int, int],
    device: str,
    seconds: float,
    *,
    compiles: bool,
) -> float:
    """Pictures a second of the network alone, on one normalised batch in the device's memory, of the size that it sees.

    Of pictures above a megapixel it gets a part, and the rate is divided by the parts.
    """
    loaded = load_model(resolve(MODELS[stage], stage), stage)
    loaded = replace(loaded, module=Labels(loaded.module)) if stage == "segment" else loaded
    height, width = probe_size(loaded.size) if loaded.size.resize_px is not None else (size_wh[1], size_wh[0])
    parts = 1
    while height * width > MOST_BARE_PX:
        height, width, parts = height // 2, width // 2, parts * 4
    multiple = loaded.size.multiple_px
    shape = [settings["microbatch"], 3, *(-(-side // multiple) * multiple for side in (height, width))]
    layout = torch.channels_last if settings["channels_last"] else torch.contiguous_format
    dtype = getattr(torch, settings["precision"])
    module = folded(loaded.network.module.eval()).to(device, dtype).to(memory_format=layout)
    module = torch.compile(module) if compiles else module
    images_BCHW = torch.randn(shape).to(device, dtype).to(memory_format=layout)
    wait: Callable[[], object] = torch.cuda.synchronize if device == "cuda" else int
    for _ in range(2):
        module(images_BCHW)
    wait()
    began_s, batches = time.perf_counter(), 0
    while time.perf_counter() - began_s < seconds:
        for _ in range(2):  # a wait after each would leave the device idle in between
            module(images_BCHW)
        wait()
        batches += 2
    return batches * len(images_BCHW) / (time.perf_counter() - began_s) / parts

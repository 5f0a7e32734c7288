"""Classify over slices in Hounsfield units for the contracts of stages: a network of CT."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import torch

from pixelmill.workers.pictures import Picture
from tests.contracts.examples import classify
from tests.ct_networks import save_finetuned

STAGE = "classify"
PLACE = Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, PLACE)
save_finetuned(PLACE / "m", head="classify", names=("a", "b", "c"))
QUICK: dict[str, object] = {"name": "classify-hu", "model": str(PLACE / "m")}
CHANGED: dict[str, object] = {**classify.CHANGED}


def pictures() -> list[Picture]:
    generator = torch.Generator().manual_seed(0)
    sizes = ((1, 1), (5000, 1), (37, 501), (256, 256), (37, 501))
    values = [torch.randint(-1200, 1800, (1, *size), generator=generator).to(torch.int16) for size in sizes]
    return [Picture(values_1HW, "hu16") for values_1HW in values]

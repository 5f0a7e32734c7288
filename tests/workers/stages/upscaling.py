"""Upscale one large picture in a process of its own, and print the most memory that it took, in bytes.

python -m tests.workers.stages.upscaling MODEL HEIGHT WIDTH FORMAT
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch.nn import functional

from pixelmill.workers.pictures import Picture
from pixelmill.workers.runtime.memory import keep_freed_memory
from pixelmill.workers.stages import Deferred, StageContext
from pixelmill.workers.stages.upscale import UpscaleConfig


def textured(height: int, width: int) -> torch.Tensor:
    """uint8 3HW as a decoder gives it, smooth with some noise as a photograph is; a strip at a time."""
    pixels_HWC = torch.empty(height, width, 3, dtype=torch.uint8)
    for rows_RWC in pixels_HWC.split(256):
        coarse_13hw = torch.rand(1, 3, 32, width // 8) * 240
        smooth_3RW = functional.interpolate(coarse_13hw, rows_RWC.shape[:2], mode="bilinear")[0]
        rows_RWC.copy_((smooth_3RW + torch.rand(smooth_3RW.shape) * 8).permute(1, 2, 0))
    return pixels_HWC.permute(2, 0, 1)


def peak_bytes() -> int:
    """Of this process since it began its program."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def main(model: str, height: int, width: int, file_format: str) -> None:
    keep_freed_memory()  # as workers do
    config = UpscaleConfig.model_validate({"model": model, "format": file_format})
    stage = config.build(StageContext("cpu", 1, 1, None))
    milled = stage.run([stage.prepare(Picture(textured(height, width)))])
    column = milled.columns["upscaled"]
    assert isinstance(column, Deferred)
    row = column.jobs[0]()
    assert isinstance(row, dict)
    sys.stdout.write(f"{peak_bytes()} {len(row['bytes'])}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])

"""Write JPEGs of a camera's size from random numbers alone, for machines without an archive."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

SIZE_WH = (500, 375)


def write_jpegs(folder: Path, count: int, size_wh: tuple[int, int] = SIZE_WH) -> Path:
    """Write `count` distinct JPEGs to `folder`, of 30 to 60 KB at 500x375; each picture depends on its number alone."""
    folder.mkdir(parents=True)
    with ThreadPoolExecutor() as pool:  # Pillow releases the interpreter lock while it resizes and encodes
        list(pool.map(lambda number: _write(folder / f"{number:05d}.jpg", number, size_wh), range(count)))
    return folder


def _write(path: Path, number: int, size_wh: tuple[int, int]) -> None:
    random = np.random.default_rng(number)
    coarse_HWC = random.integers(0, 256, (15, 20, 3), np.uint8)
    smooth_HWC = np.asarray(Image.fromarray(coarse_HWC).resize(size_wh, Image.Resampling.BICUBIC), np.int16)
    grain_HW1 = random.integers(-9, 10, (*smooth_HWC.shape[:2], 1), np.int16)
    Image.fromarray((smooth_HWC + grain_HW1).clip(0, 255).astype(np.uint8)).save(path, quality=88)

"""Make an archive of distinct photographs of about 500x375 pixels, to measure throughput on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import skimage.data
from PIL import Image, ImageEnhance

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
SIZES_WH = ((500, 375), (500, 375), (500, 375), (375, 500))


def make_jpegs(folder: Path, count: int, seed: int = 0) -> list[str]:
    """Write `count` JPEGs of 30 to 65 KB below `folder`; returns their names, `photos/00/00017.jpg`.

    Each is a crop of one of scikit-image's bundled photographs, flipped and re-coloured by chance. A picture depends on
    `seed` and its own number alone, so a longer archive begins with the shorter one.
    """
    names = [f"photos/{number // 100:02d}/{number:05d}.jpg" for number in range(count)]
    for shard in {Path(name).parent for name in names}:
        (folder / shard).mkdir(parents=True, exist_ok=True)

    def write(number: int) -> None:
        picture = _picture(np.random.default_rng((seed, number)))
        picture.save(folder / names[number], quality=88)

    with ThreadPoolExecutor(2) as pool:  # Pillow resizes and encodes outside the interpreter lock
        list(pool.map(write, range(count)))
    return names


@cache
def _photograph(name: str) -> Image.Image:
    return Image.open(Path(skimage.data.data_dir) / name).convert("RGB")


def _picture(rng: np.random.Generator) -> Image.Image:
    photograph = _photograph(PHOTOGRAPHS[rng.integers(len(PHOTOGRAPHS))])
    width, height = SIZES_WH[rng.integers(len(SIZES_WH))]
    scale = rng.uniform(0.6, 1.0) * min(photograph.width / width, photograph.height / height)
    left = rng.uniform(0, photograph.width - scale * width)
    top = rng.uniform(0, photograph.height - scale * height)
    box = (left, top, left + scale * width, top + scale * height)
    picture = photograph.resize((width, height), Image.Resampling.BILINEAR, box=box)
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _with_grain(ImageEnhance.Color(picture).enhance(rng.uniform(0.7, 1.3)), rng)


@cache
def _grain() -> npt.NDArray[np.int16]:
    return np.random.default_rng(0).integers(-5, 6, (1024, 1024, 1), dtype=np.int16)


def _with_grain(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Brightness changed a little, and the noise that an enlarged crop lacks: the files get a camera's size."""
    top, left = rng.integers(0, 1024 - 500, 2)
    grain_HW1 = _grain()[top : top + picture.height, left : left + picture.width] + np.int16(rng.integers(-20, 21))
    pixels_HWC = np.asarray(picture) + grain_HW1
    return Image.fromarray(pixels_HWC.clip(0, 255).astype(np.uint8))

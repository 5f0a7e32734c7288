"""Measure the time and size of encoded pictures: the encoders of codecs/encode.py and settings that were rejected.

    python -m benchmarks.encoding PHOTOS [--masks FOLDER] [--depth FOLDER] [--size 1024x768]

Contenders take turns picture by picture, and the best round of each counts, so that a busy machine slows all of them equally. The
last column is the share of its time in which an encoder blocks other Python threads.
"""

from __future__ import annotations

import argparse
import io
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from pixelmill.workers.codecs import encode

Encoder = Callable[[np.ndarray], bytes]
PALETTE = [(value, value, value) for value in range(256)]
Z_RLE = 3


def main() -> None:
    parser = argparse.ArgumentParser(description="Time encoders, and weigh what they make.")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--masks", type=Path, help="pictures of class ids")
    parser.add_argument("--depth", type=Path, help="pictures of depth or disparity")
    parser.add_argument("--size", help="WIDTHxHEIGHT to scale to; their own size when left out")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    size = None if given.size is None else (int(given.size.split("x")[0]), int(given.size.split("x")[1]))
    photos = [
        np.asarray(picture.convert("RGB"))
        for picture in _read(given.photos, given.count, size, Image.Resampling.BICUBIC)
    ]
    _compare("photographs", photos, PHOTOGRAPHS, given.rounds)
    if given.masks:
        masks = [np.asarray(picture) for picture in _read(given.masks, given.count, size, Image.Resampling.NEAREST)]
        _compare("masks", masks, MASKS, given.rounds)
    if given.depth:
        maps = [_as_map(picture) for picture in _read(given.depth, given.count, size, Image.Resampling.BICUBIC)]
        _compare("depth", maps, MAPS, given.rounds)


def _read(folder: Path, count: int, size: tuple[int, int] | None, way: Image.Resampling) -> list[Image.Image]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png", ".jpeg", ".bmp"))
    step = max(1, len(paths) // count)
    pictures: list[Image.Image] = [Image.open(path) for path in paths[::step][:count]]
    return pictures if size is None else [picture.resize(size, way) for picture in pictures]


def _as_map(picture: Image.Image) -> np.ndarray:
    """A map like those of networks, smooth and with many values: averaged to half the size and interpolated back."""
    values = torch.from_numpy(np.asarray(picture.convert("F")).copy())[None, None]
    coarse = torch.nn.functional.avg_pool2d(values, 2)
    smooth = torch.nn.functional.interpolate(coarse, size=values.shape[-2:], mode="bilinear")[0, 0].clamp(min=0)
    return (smooth / smooth.max() * 65_535).numpy().astype(np.uint16)


def _pillow(file_format: str, **options: int) -> Encoder:
    def made(pixels: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, file_format, **options)
        return file.getvalue()

    return made


def _pillow_palette(**options: int) -> Encoder:
    def made(ids_HW: np.ndarray) -> bytes:
        picture = Image.frombytes("P", (ids_HW.shape[1], ids_HW.shape[0]), ids_HW.tobytes())
        picture.putpalette([value for colour in PALETTE for value in colour])
        file = io.BytesIO()
        picture.save(file, "PNG", **options)
        return file.getvalue()

    return made


def _chw(pixels_HWC: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels_HWC.copy()).permute(2, 0, 1)


PILLOW_PNG: dict[str, Encoder] = {
    "Pillow PNG, level 1": _pillow("PNG", compress_level=1),
    "Pillow PNG, level 1, runs": _pillow("PNG", compress_level=1, compress_type=Z_RLE),
    "Pillow PNG, level 3": _pillow("PNG", compress_level=3),
    "Pillow PNG, level 6": _pillow("PNG", compress_level=6),
}
PHOTOGRAPHS: dict[str, Encoder] = {
    "encode_png": encode.encode_png,
    "encode_png, level 3": lambda pixels: encode.encode_png(pixels, 3),
    **PILLOW_PNG,
    "encode_jpeg, quality 95": lambda pixels: encode.encode_jpeg(_chw(pixels), 95),
    "Pillow JPEG, quality 95, 4:4:4": _pillow("JPEG", quality=95, subsampling=0),
    "encode_webp, quality 90": lambda pixels: encode.encode_webp(_chw(pixels)),
    "Pillow WebP, quality 90": _pillow("WEBP", quality=90),
    "encode_webp, lossless": lambda pixels: encode.encode_webp(_chw(pixels), lossless=True),
    "Pillow WebP, lossless, method 1": _pillow("WEBP", lossless=True, quality=0, method=1),
}
MASKS: dict[str, Encoder] = {
    "encode_png_palette": lambda ids: encode.encode_png_palette(ids, PALETTE),
    "Pillow palette, level 1, runs": _pillow_palette(compress_level=1, compress_type=Z_RLE),
    "Pillow palette, level 6": _pillow_palette(compress_level=6),
}
MAPS: dict[str, Encoder] = {"encode_png16": encode.encode_png16, **PILLOW_PNG}


def _compare(name: str, pictures: Sequence[np.ndarray], contenders: dict[str, Encoder], rounds: int) -> None:
    best_s = {contender: [float("inf")] * len(pictures) for contender in contenders}
    sizes = dict.fromkeys(contenders, 0)
    for _ in range(rounds):
        for index, pixels in enumerate(pictures):
            for contender, encoder in contenders.items():
                start_s = time.perf_counter()
                made = encoder(pixels)
                best_s[contender][index] = min(best_s[contender][index], time.perf_counter() - start_s)
                sizes[contender] += len(made)
    height, width = pictures[0].shape[:2]
    table = Table("encoder", "ms", "KB", "alone", title=f"{len(pictures)} {name}, the first {width}x{height}")
    for contender, encoder in contenders.items():
        mean_ms = 1000 * sum(best_s[contender]) / len(pictures)
        size_kb = sizes[contender] / rounds / len(pictures) / 1024
        table.add_row(contender, f"{mean_ms:.2f}", f"{size_kb:,.1f}", f"{_held(encoder, pictures[0]):.0%}")
    Console(width=100).print(table)


def _held(encoder: Encoder, pixels: np.ndarray) -> float:
    """The share of an encoder's time in which another Python thread was blocked; near 0 if it releases the interpreter lock."""
    before_s, longest_s = sys.getswitchinterval(), float("inf")
    sys.setswitchinterval(1e-4)
    alone_s = min(_timed(encoder, pixels) for _ in range(3))
    for _ in range(9):
        thread = threading.Thread(target=encoder, args=(pixels,))
        gap_s, last_s = 0.0, time.perf_counter()
        thread.start()  # returns when the thread lets others run
        while thread.is_alive():
            now_s = time.perf_counter()
            gap_s, last_s = max(gap_s, now_s - last_s), now_s
        longest_s = min(longest_s, max(gap_s, time.perf_counter() - last_s))
    sys.setswitchinterval(before_s)
    return min(1.0, longest_s / alone_s)


def _timed(encoder: Encoder, pixels: np.ndarray) -> float:
    start_s = time.perf_counter()
    encoder(pixels)
    return time.perf_counter() - start_s


if __name__ == "__main__":
    main()

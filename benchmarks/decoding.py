"""Decode JPEGs at the size that a network sees, beside decoding them whole, by libjpeg-turbo and by Pillow: the time, and the
difference of the pixels.

    python -m benchmarks.decoding [--pictures 24] [--seen 256]

Photographs of 2 to 24 megapixels are mosaics of scikit-image's, with a camera's grain, so that they have detail at every
scale; sides are as cameras have them, or odd. Processor time of one thread, with the resize and the crop.
"""

from __future__ import annotations

import argparse
import io
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from pixelmill.workers.codecs import turbo_jpeg
from pixelmill.workers.codecs.decode import decode_picture, decode_reduced
from pixelmill.workers.geometry.reduced import LEAST_FACTOR
from pixelmill.workers.models.backbones import load_backbone
from pixelmill.workers.models.libraries import resolve
from pixelmill.workers.models.preprocess import Preprocess
from tests.corpus import photo

SIZES = {
    "500x375": (500, 375),
    "2 MP": (1620, 1215),
    "2 MP, odd": (1601, 1201),
    "12 MP": (4032, 3024),
    "12 MP, odd": (4001, 2999),
    "24 MP": (6000, 4000),
}
SUBJECTS = ("astronaut", "chelsea", "coffee", "rocket")
TILE_PX = 600


def camera_jpeg(size: tuple[int, int], number: int) -> bytes:
    random = np.random.default_rng(number)
    whole = Image.new("RGB", size)
    for top in range(0, size[1], TILE_PX):
        for left in range(0, size[0], TILE_PX):
            subject = photo(SUBJECTS[random.integers(len(SUBJECTS))], TILE_PX, TILE_PX)
            whole.paste(subject.rotate(90 * int(random.integers(4))), (left, top))
    noisy = np.asarray(whole, np.int16) + random.integers(-6, 7, (size[1], size[0], 1), np.int16)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(
        file, "JPEG", quality=90, subsampling=int(2 * (number % 2))
    )
    return file.getvalue()


def timed(work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
    start_s = time.thread_time()
    made = work()
    return made, (time.thread_time() - start_s) * 1e3


@contextmanager
def pillow_alone() -> Iterator[None]:
    turbo, turbo_jpeg.simplejpeg = turbo_jpeg.simplejpeg, None
    try:
        yield
    finally:
        turbo_jpeg.simplejpeg = turbo


def decibels(first: torch.Tensor, second: torch.Tensor) -> float:
    error = float((first.float() - second.float()).square().mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=24, help="of each size")
    parser.add_argument("--seen", type=int, default=256, help="the side to which the shorter side is resized")
    parser.add_argument("--model", default="torchvision:resnet18/random", help="whose embeddings are compared")
    options = parser.parse_args()
    torch.set_num_threads(1)
    backbone = load_backbone(resolve(options.model))
    seen = Preprocess(
        options.seen, options.seen * 7 // 8, "bilinear", backbone.preprocess.mean, backbone.preprocess.std
    )

    def reduced(data: bytes) -> torch.Tensor:
        pixels_CHW, fraction = decode_reduced(data, LEAST_FACTOR * options.seen)
        return seen.applied_to(pixels_CHW, fraction)

    def misplaced(data: bytes) -> torch.Tensor:
        return seen.applied_to(decode_reduced(data, LEAST_FACTOR * options.seen)[0])

    @torch.inference_mode()
    def embedding(pixels_CHW: torch.Tensor) -> torch.Tensor:
        mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (seen.mean, seen.std))
        return backbone.network.module(((pixels_CHW / 255 - mean) / std)[None])[0].flatten()

    table = Table(
        "",
        "whole by Pillow, ms",
        "whole, ms",
        "at size, ms",
        "dB, median",
        "dB, worst",
        "as if whole, dB",
        "cosine, worst",
    )
    for name, size in SIZES.items():
        found: list[tuple[float, ...]] = []
        for number in range(options.pictures):
            data = camera_jpeg(size, number)
            with pillow_alone():
                by_pillow, pillow_ms = timed(lambda data=data: seen.applied_to(decode_picture(data)))
            whole, whole_ms = timed(lambda data=data: seen.applied_to(decode_picture(data)))
            part, part_ms = timed(lambda data=data: reduced(data))
            assert torch.equal(whole, by_pillow)
            cosine = float(torch.cosine_similarity(embedding(whole), embedding(part), dim=0))
            found.append(
                (pillow_ms, whole_ms, part_ms, decibels(whole, part), decibels(whole, misplaced(data)), cosine)
            )
        pillow_ms, whole_ms, part_ms, db, misplaced_db, cosine = zip(*found, strict=True)
        figures = [
            *map(statistics.median, (pillow_ms, whole_ms, part_ms, db)),
            min(db),
            statistics.median(misplaced_db),
        ]
        table.add_row(name, *(f"{figure:.1f}" for figure in figures), f"{min(cosine):.5f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()

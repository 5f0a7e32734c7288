"""A toy of inputs of several pieces and many rows: a scan is three multi-page TIFFs, one a colour, and makes one row a page.

folder/a.r.tif, folder/a.g.tif, folder/a.b.tif   ->   rows (id of folder and a, place 0), (id, place 1), ...
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image, ImageSequence

from pixelmill.pipelines.inputs.entries import Entry
from pixelmill.workers.decoders import Decoded
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Kind, Picture

COLOURS = ("r", "g", "b")


@dataclass(frozen=True)
class ByColour:
    """The three files of a scan are named alike but for the colour before their suffix."""

    most_pieces: int = 3
    most_between: int = 16

    def name_of(self, entry: Entry) -> tuple[str, str] | None:
        folder, _, name = (entry.member or entry.uri).rpartition("/")
        stem, _, colour = name.removesuffix(".tif").rpartition(".")
        if not stem or colour not in COLOURS:
            return None
        return (entry.uri, f"{folder}/{stem}") if entry.member else (folder, stem)

    def order_of(self, entry: Entry) -> tuple[int | str, ...]:
        return (COLOURS.index((entry.member or entry.uri).removesuffix(".tif")[-1]),)


def pages_of(number: int, pages: int, size: int = 16) -> np.ndarray:
    """The pixels of a scan, decided by its number; PHWC."""
    return np.random.default_rng(number).integers(0, 256, (pages, size, size, 3), np.uint8)


def tiff_of(pages_PHW: np.ndarray) -> bytes:
    first, *others = (Image.fromarray(page_HW) for page_HW in pages_PHW)
    sink = io.BytesIO()
    first.save(sink, "TIFF", save_all=True, append_images=others)
    return sink.getvalue()


def write_scan(folder: Path, name: str, pages_PHWC: np.ndarray) -> list[Path]:
    """The three files of a scan."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{colour}.tif" for colour in COLOURS]
    for channel, path in enumerate(paths):
        path.write_bytes(tiff_of(pages_PHWC[..., channel]))
    return paths


class ScanDecoder:
    """Three files to one rgb8 picture a page."""

    fields: tuple[pa.Field, ...] = (pa.field("page", pa.int32()),)
    makes_many = True
    takes_many = True
    rows_per_input = 3.0
    kind: Kind = "rgb8"

    def need_bytes(self, pieces: Sequence[bytes]) -> int:
        frames, height, width = self._shape(pieces)
        return 3 * len(pieces) * frames * height * width

    def check(self, pieces: Sequence[bytes], *, max_pixels: int) -> None:
        _, height, width = self._shape(pieces)
        if height * width > max_pixels:
            raise RowError("decode", "TooLarge", f"{height * width:,} pixels, over max_pixels = {max_pixels:,}")

    def decode(self, pieces: Sequence[bytes], *, max_pixels: int) -> Iterator[Decoded]:
        self.check(pieces, max_pixels=max_pixels)
        images = [_opened(piece) for piece in pieces]
        for number, frames in enumerate(zip(*map(ImageSequence.Iterator, images), strict=True)):
            pixels_CHW = np.stack([np.asarray(frame) for frame in frames])
            yield Decoded(Picture(torch.from_numpy(pixels_CHW)), {"page": number + 1})

    def _shape(self, pieces: Sequence[bytes]) -> tuple[int, int, int]:
        if len(pieces) != len(COLOURS):
            raise RowError("decode", "Incomplete", f"has {len(pieces)} files, and a scan is {len(COLOURS)}")
        shapes = {(image.n_frames, image.height, image.width) for image in map(_opened, pieces)}
        if len(shapes) != 1:
            raise RowError("decode", "Corrupt", "the files do not have pages of the same number and size")
        return shapes.pop()


def _opened(data: bytes) -> Any:
    try:
        return Image.open(io.BytesIO(data))
    except OSError as error:
        raise RowError("decode", "Corrupt", f"not a TIFF ({error})") from None

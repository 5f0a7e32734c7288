"""A toy of inputs of several pieces and many rows: a scan is three multi-page TIFFs, one a colour, and makes one row a page.

folder/a.r.tif, folder/a.g.tif, folder/a.b.tif   ->   rows (id of folder and a, place 0), (id, place 1), ...
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from pixelmill.pipelines.inputs.entries import Entry, Piece

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

    def order_of(self, piece: Piece) -> tuple[int | str, ...]:
        return next((COLOURS.index(c) for c in COLOURS if piece.uri.endswith(f".{c}.tif")), 0), piece.offset or 0


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


def pages_in(pieces: Sequence[bytes]) -> np.ndarray:
    """The pixels that three files hold together; PHWC. ValueError when they don't agree."""
    if len(pieces) != len(COLOURS):
        raise ValueError(f"a scan is {len(COLOURS)} files, and {len(pieces)} are there")
    channels = [
        np.stack([np.asarray(page) for page in ImageSequence.Iterator(Image.open(io.BytesIO(p)))]) for p in pieces
    ]
    return np.stack(channels, axis=-1)

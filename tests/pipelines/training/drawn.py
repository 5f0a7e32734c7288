"""Folders of small pictures for the tests of data sets."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from pixelmill.pipelines.stores.access import Access

ACCESS = Access(retry_for_s=0.0)


def draw(folder: Path, *names: str) -> str:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 4), number).save(path)
    return str(folder)


def masks(folder: Path, *names: str) -> Path:
    draw(folder, *(f"{kind}/{name}.png" for kind in ("images", "labels") for name in names))
    return folder

"""Names of styles, and the size of stylized pictures. Imports no torch."""

from __future__ import annotations

from pathlib import PurePosixPath

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.libraries import resolve
from pixelmill.workers.models.model_names import ModelName, did_you_mean
from pixelmill.workers.models.zoo import zoo_names, zoo_path

PAINTINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".jp2"})
"""File suffixes of paintings."""
SHIPPED = "faststyle-"
"""Prefix of the names of the styles that ship; users may leave it out."""
MOST_ASPECT = 8
"""Largest aspect ratio when the shorter side is set; longer pictures are squeezed to it."""


def is_painting(style: str) -> bool:
    """Whether a style is a painting, judged by its suffix, and not a network."""
    return PurePosixPath(style).suffix.lower() in PAINTINGS


def network_of(style: str) -> ModelName:
    """The network of a style that is not a painting: one that ships, or a checkpoint. ModelError if there is none."""
    if zoo_path(f"{SHIPPED}{style}") is not None:
        return resolve(f"{SHIPPED}{style}", "stylize")
    try:
        return resolve(style, "stylize")
    except ModelError as error:
        if "unknown" not in str(error):
            raise
        ours = [name.removeprefix(SHIPPED) for name in zoo_names() if name.startswith(SHIPPED)]
        raise ModelError(
            f"style {style}: unknown{did_you_mean(style, ours)}; write one of ours ({', '.join(ours)}), FILE.safetensors, or a "
            "painting's file with its ending, as starry_night.jpg"
        ) from error


def size_with_shorter_side(height: int, width: int, shorter_px: int) -> tuple[int, int]:
    """Height and width of about the same aspect whose shorter side is `shorter_px`."""
    longer_px = round(shorter_px * min(max(height, width) / min(height, width), MOST_ASPECT))
    return (shorter_px, longer_px) if height <= width else (longer_px, shorter_px)

"""Cut, scale, mirror and brighten a picture and its label on one grid.

Pixels outside of a picture are filled with its mirror image, and with void in the label.

Legend: C channels, H height, W width, D random draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from torch import Tensor

from pixelmill.workers.errors import DataError
from pixelmill.workers.geometry.resize import stretch
from pixelmill.workers.geometry.window import window_of
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.segmentation.labels import VOID
from pixelmill.workers.recipes.segmentation.settings import LabelledSettings
from pixelmill.workers.typed_torch import from_numpy

DRAWS = 5  # random numbers for each sample: mirror, scale, row, column, brightness


def augment(
    sample: Sample, settings: LabelledSettings, kept_HW: tuple[int, int], margin_px: int, draws_D: np.ndarray
) -> tuple[Tensor, np.ndarray, float]:
    """The picture with a margin, uint8 CHW, its label without the margin, HW, and the factor of its brightness."""
    mirror, scale, row, column, brightness = draws_D.tolist()
    low, high = map(math.log, settings.scales)
    image_CHW, label_HW = cut_window(sample, kept_HW, margin_px, math.exp(low + scale * (high - low)), (row, column))
    if settings.flip and mirror < 0.5:
        image_CHW, label_HW = image_CHW.flip(2), label_HW[:, ::-1]
    return image_CHW, label_HW, 1 + settings.brightness * (2 * brightness - 1)


def brightened(images_BCHW: Tensor, factors_B: Tensor) -> Tensor:
    """From uint8 to floats in [0, 1], times the factors and clipped at 1, in the same memory format."""
    return to_floats(images_BCHW).mul_(factors_B[:, None, None, None]).clamp_(max=1)


def to_floats(images_BCHW: Tensor) -> Tensor:
    """From uint8 to floats in [0, 1], in the same memory format."""
    return images_BCHW.float().div_(255)


def window(side_px: int, kept_px: int, scale: float, margin_px: int, draw: float) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis, the pixels of a randomly placed window and which of them are inside: `draw` in [0, 1) places it.

    After scaling, the window has `kept_px` pixels and a margin on both sides. Outside of the picture is its mirror image.
    """
    length, margin = max(round(kept_px / scale), 1), round(margin_px / scale)
    slack = side_px - length
    start = int(draw * (abs(slack) + 1)) + min(slack, 0)
    places = np.arange(start - margin, start + length + margin)
    folded = np.abs(places) % max(2 * side_px - 2, 1)
    return np.minimum(folded, 2 * side_px - 2 - folded) if side_px > 1 else 0 * places, (places >= 0) & (
        places < side_px
    )


def nearest_places(length: int, kept: int) -> np.ndarray:
    """The index of the cell, of `length` cells, at the centre of each of `kept` cells that cover the same range."""
    return ((np.arange(kept) + 0.5) * length / kept).astype(int)


def cut_window(
    sample: Sample, kept_HW: tuple[int, int], margin_px: int, scale: float, draws: tuple[float, float]
) -> tuple[Tensor, np.ndarray]:
    """A window of picture (uint8 CHW, with the margin) and label (HW, without), on the same grid."""
    rows, rows_inside = window(sample["label"].shape[0], kept_HW[0], scale, margin_px, draws[0])
    columns, columns_inside = window(sample["label"].shape[1], kept_HW[1], scale, margin_px, draws[1])
    image_CHW = from_numpy(window_of(sample["image"], rows, columns)).permute(2, 0, 1)
    height, width = (kept + 2 * margin_px for kept in kept_HW)
    if (len(rows), len(columns)) != (height, width):
        image_CHW = stretch(image_CHW, (height, width))
    label_rows, label_columns = (
        nearest_places(len(places), kept + 2 * margin_px)[margin_px : margin_px + kept]
        for places, kept in zip((rows, columns), kept_HW, strict=True)
    )
    label_HW = sample["label"].take(rows[label_rows], 0).take(columns[label_columns], 1)
    label_HW[~rows_inside[label_rows]] = VOID
    label_HW[:, ~columns_inside[label_columns]] = VOID
    return image_CHW, label_HW


def unequal_sizes(sizes: Iterable[tuple[int, ...]]) -> DataError:
    several = ", ".join(sorted("x".join(map(str, reversed(size))) for size in sizes))
    return DataError(f"pictures of {several} px don't fit into one batch; set crop_px or size_px, or take batch 1")

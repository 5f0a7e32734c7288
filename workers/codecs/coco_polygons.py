"""Draw COCO's polygons and run lengths as masks, pixel for pixel as its own tools do (cocoapi, maskApi.c).

Legend: H height, W width, N edge points or pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FINER = 5
"""Edges are drawn on a grid that is finer by this factor, and then sampled."""


def polygon_mask(corners_xy: Sequence[float], height: int, width: int) -> np.ndarray:
    """Whether each pixel is inside of a polygon, bool HW. Corners are x, y, x, y, ... in pixels, in order.

    ValueError if there are fewer than three corners, or half a corner.
    """
    if len(corners_xy) < 6 or len(corners_xy) % 2:
        raise ValueError(f"a polygon has {len(corners_xy)} numbers; it needs x and y of three corners or more")
    x_N, y_N = _edge_points((FINER * np.asarray(corners_xy, np.float64) + 0.5).astype(np.int64).reshape(-1, 2))
    turns_N = x_N[1:] != x_N[:-1]
    column_N = (np.where(x_N[1:] < x_N[:-1], x_N[1:], x_N[1:] - 1) + 0.5) / FINER - 0.5
    row_N = (np.minimum(y_N[1:], y_N[:-1]) + 0.5) / FINER - 0.5
    kept_N = turns_N & (np.floor(column_N) == column_N) & (column_N >= 0) & (column_N <= width - 1)
    rows_N = np.ceil(row_N[kept_N].clip(0, height)).astype(np.int64)
    borders_N = column_N[kept_N].astype(np.int64) * height + rows_N
    # Down the columns, every border that is passed changes between outside and inside.
    crossings_N = np.bincount(borders_N, minlength=height * width + 1)[: height * width]
    return (np.cumsum(crossings_N) % 2 == 1).reshape(width, height).T


def _edge_points(corners_N2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points x, y of all edges of a closed polygon on the finer grid, in order."""
    edges = [_edge(start, stop) for start, stop in zip(corners_N2, np.roll(corners_N2, -1, axis=0), strict=True)]
    points_N2 = np.concatenate(edges)
    return points_N2[:, 0], points_N2[:, 1]


def _edge(start_2: np.ndarray, stop_2: np.ndarray) -> np.ndarray:
    """The points of one edge: one for each step along its longer axis, rounded along the other."""
    long = 0 if abs(stop_2[0] - start_2[0]) >= abs(stop_2[1] - start_2[1]) else 1
    is_backward = start_2[long] > stop_2[long]
    low_2, high_2 = (stop_2, start_2) if is_backward else (start_2, stop_2)
    length = int(high_2[long] - low_2[long])
    steps_N = np.arange(length + 1)
    slope = float(high_2[1 - long] - low_2[1 - long]) / max(1, length)
    points_N2 = np.empty((len(steps_N), 2), np.int64)
    points_N2[:, long] = low_2[long] + steps_N
    points_N2[:, 1 - long] = (low_2[1 - long] + slope * steps_N + 0.5).astype(np.int64)
    return points_N2[::-1] if is_backward else points_N2

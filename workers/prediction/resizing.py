"""Resize the inputs and outputs of a network: pictures before it, and maps of floats or ids after it, strip by strip.

Legend: C channels, H height, W width of a picture or map; R rows of a strip; N positions along a side.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from pixelmill.workers.geometry.resize import stretch
from pixelmill.workers.prediction.sizes import Size
from pixelmill.workers.runtime.outputs import Outputs, mapped, tensors_of

STRIP_BYTES = 64 << 20


def resized_pixels(pixels_CHW: Tensor, size: Size, *, are_ids: bool) -> Tensor:
    """uint8 pixels in another size: bilinear with antialiasing, in integers; class ids by nearest neighbour."""
    if are_ids or pixels_CHW.shape[1:] == size:
        return resized_map(pixels_CHW, size)
    return stretch(pixels_CHW, size)


def resized_map(map_CHW: Tensor, size: Size) -> Tensor:
    """A map in another size; `strips_of` returns the same in strips."""
    if map_CHW.shape[1:] == size:
        return map_CHW
    return _strip(_no_higher(map_CHW, size[0]), torch.arange(size[0]), size)


def strips_of(outputs: Outputs, size: Size) -> Iterator[tuple[int, Outputs]]:
    """Maps in another size, in strips of a bounded size: the index of the first row, and the strips CRW.

    Floats are interpolated bilinearly, with antialiasing when the map shrinks; integers by nearest neighbour.
    """
    height, width = size
    outputs = mapped(partial(_no_higher, height=height), outputs)
    row_bytes = sum(map_CHW.shape[0] * width * map_CHW.element_size() for map_CHW in tensors_of(outputs))
    rows = max(1, STRIP_BYTES // row_bytes)
    for top in range(0, height, rows):
        places_N = torch.arange(top, min(height, top + rows))
        yield top, mapped(partial(_strip, places_N=places_N, size=size), outputs)


def _no_higher(map_CHW: Tensor, height: int) -> Tensor:
    """Floats with at most `height` rows: antialiasing reads more rows than a strip would have."""
    if height >= map_CHW.shape[1] or not map_CHW.is_floating_point():
        return map_CHW
    return _interpolated(map_CHW, (height, map_CHW.shape[2]))


def _strip(map_CHW: Tensor, places_N: Tensor, size: Size) -> Tensor:
    """The rows N of the map in another size."""
    height, width = size
    if not map_CHW.is_floating_point():
        rows_CRW = map_CHW.index_select(1, _nearest_places(places_N, map_CHW.shape[1], height))
        return rows_CRW.index_select(2, _nearest_places(torch.arange(width), map_CHW.shape[2], width))
    rows_CRW = _interpolated_rows(map_CHW, places_N, height)
    return _interpolated(rows_CRW, (len(places_N), width))


def _interpolated_rows(map_CHW: Tensor, places_N: Tensor, height: int) -> Tensor:
    """The rows N of the map after interpolation to `height` rows."""
    given = map_CHW.shape[1]
    place_N = ((places_N.double() + 0.5) * given / height - 0.5).clamp(0, given - 1)
    above_N = place_N.long()
    weight_N1 = (place_N - above_N).to(map_CHW.dtype)[:, None]
    below_CRW = map_CHW.index_select(1, (above_N + 1).clamp_max(given - 1))
    return torch.lerp(map_CHW.index_select(1, above_N), below_CRW, weight_N1)


def _interpolated(map_CHW: Tensor, size: Size) -> Tensor:
    if map_CHW.shape[1:] == size:
        return map_CHW
    is_smaller = size[0] < map_CHW.shape[1] or size[1] < map_CHW.shape[2]
    return functional.interpolate(map_CHW[None], size, mode="bilinear", antialias=is_smaller, align_corners=False)[0]


def _nearest_places(places_N: Tensor, given: int, side: int) -> Tensor:
    return (places_N * 2 + 1) * given // (2 * side)

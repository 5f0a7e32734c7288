"""Assemble the outputs of a network for one picture, window by window, in the picture's own size and in bounded memory.

Legend: C channels, H height, W width; R unfinished rows; N positions along a side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from pixelmill.workers.prediction.resizing import resized_map, strips_of
from pixelmill.workers.prediction.sizes import Plan, Size, Window
from pixelmill.workers.runtime.outputs import Outputs, mapped, tensors_of

PerPixel = Callable[[Outputs], Outputs]
"""A function of a network's output at each pixel alone: from maps CHW to maps of equal height and width."""


def as_it_is(outputs: Outputs) -> Outputs:
    return outputs


class Assembly:
    """Call `add` with the outputs for every window of a plan; then `result` has maps of the size `native` times the scale.

    Add blended windows row by row, other windows in any order. `per_pixel` is applied piece by piece, so that only its result
    needs memory for the whole picture, and the floats of the network do not. An output that is not a map, such as a vector, is
    returned unchanged for a picture in one window, and is an error for a picture in tiles.
    """

    def __init__(self, plan: Plan, native: Size, scale: int, per_pixel: PerPixel) -> None:
        self._plan, self._native, self._scale = plan, _times(native, scale), scale
        self._content = _times(plan.content, scale)
        self._per_pixel = per_pixel
        self._maps: Outputs = None
        self._fading: Fading | None = None

    @property
    def result(self) -> Outputs:
        return self._maps

    def add(self, rows: Window, columns: Window, outputs: Outputs) -> None:
        outputs = mapped(partial(_covering, size=_times((rows.length, columns.length), self._scale)), outputs)
        if self._plan.is_whole:
            self._keep_whole(mapped(partial(_cropped, size=self._content), outputs))
        elif self._plan.ramp_px and all(output.is_floating_point() for output in tensors_of(outputs)):
            self._fading = self._fading or Fading(self._plan, self._scale)
            for top, strip in self._fading.add(rows, columns, outputs):
                self._write(top, 0, strip)
        else:
            top, left = rows.first * self._scale, columns.first * self._scale
            self._write(top, left, mapped(partial(_core, rows=rows, columns=columns, scale=self._scale), outputs))

    def _keep_whole(self, outputs: Outputs) -> None:
        if self._content == self._native or not any(output.dim() == 3 for output in tensors_of(outputs)):
            self._maps = self._per_pixel(outputs)
            return
        for top, strip in strips_of(outputs, self._native):
            self._write(top, 0, strip)

    def _write(self, top: int, left: int, piece: Outputs) -> None:
        """Apply `per_pixel` to a piece and store the result, cropped to the picture."""
        inside = self._native[0] - top, self._native[1] - left
        if min(inside) <= 0:
            return
        made = self._per_pixel(mapped(partial(_cropped, size=inside), piece))
        if self._maps is None:
            self._maps = mapped(self._canvas, made)
        for canvas_CHW, piece_CHW in zip(tensors_of(self._maps), tensors_of(made), strict=True):
            canvas_CHW[:, top : top + piece_CHW.shape[1], left : left + piece_CHW.shape[2]] = piece_CHW

    def _canvas(self, piece_CHW: Tensor) -> Tensor:
        """Allocate the whole map; 8-bit pictures have the memory order of encoders, HWC."""
        channels = piece_CHW.shape[0]
        if piece_CHW.dtype == torch.uint8:
            return torch.empty(*self._native, channels, dtype=torch.uint8).permute(2, 0, 1)
        return torch.empty(channels, *self._native, dtype=piece_CHW.dtype)


class Fading:
    """Blend overlapping windows of floats; returns each strip once no later window overlaps it."""

    def __init__(self, plan: Plan, scale: int) -> None:
        self._padded, self._scale = _times(plan.padded, scale), scale
        self._ramp = plan.ramp_px * scale
        self._sums: Outputs = None
        self._carried: Outputs = None

    def add(self, rows: Window, columns: Window, outputs: Outputs) -> Iterator[tuple[int, Outputs]]:
        """The strips that this window completes: the index of the first row, and the maps."""
        (top, bottom), (left, right) = self._span(rows, self._padded[0]), self._span(columns, self._padded[1])
        if columns.first == 0:
            self._begin(bottom - top, outputs)
        weights_HW = self._weights(rows, self._padded[0])[:, None] * self._weights(columns, self._padded[1])
        inside = (slice(top - rows.start * self._scale, bottom - rows.start * self._scale),)
        inside += (slice(left - columns.start * self._scale, right - columns.start * self._scale),)
        for sum_CRW, output_CHW in zip(tensors_of(self._sums), tensors_of(outputs), strict=True):
            sum_CRW[:, :, left:right] += output_CHW[:, *inside] * weights_HW
        if right < self._padded[1]:
            return
        finished = bottom - top if bottom == self._padded[0] else bottom - top - self._ramp
        self._carried = mapped(partial(_rows, rows=slice(finished, None)), self._sums)
        yield top, mapped(partial(_rows, rows=slice(finished)), self._sums)

    def _begin(self, rows: int, outputs: Outputs) -> None:
        """Begin a row of windows: its sums start with the rows that it shares with the row of windows above."""
        self._sums = mapped(partial(_zeros, rows=rows, width=self._padded[1]), outputs)
        if self._carried is not None:
            for sum_CRW, carried_CRW in zip(tensors_of(self._sums), tensors_of(self._carried), strict=True):
                sum_CRW[:, : carried_CRW.shape[1]] = carried_CRW

    def _span(self, window: Window, side: int) -> tuple[int, int]:
        """The stretch of a side to which a window contributes, in pixels of the output."""
        first, last = window.first * self._scale, window.last * self._scale
        return max(0, first - self._ramp // 2 * (first > 0)), min(side, last + self._ramp // 2 * (last < side))

    def _weights(self, window: Window, side: int) -> Tensor:
        """The weights N of a window along its stretch; the weights of two neighbours sum to 1."""
        start, stop = self._span(window, side)
        places_N = torch.arange(start, stop) + 0.5
        rising_N = (places_N - start) / self._ramp if start > 0 else torch.ones(stop - start)
        falling_N = (stop - places_N) / self._ramp if stop < side else torch.ones(stop - start)
        return rising_N.clamp_max(1) * falling_N.clamp_max(1)


def _times(size: Size, scale: int) -> Size:
    return size[0] * scale, size[1] * scale


def _core(output_CHW: Tensor, rows: Window, columns: Window, scale: int) -> Tensor:
    """The part of the output for a window that is used."""
    height, width = (
        slice((window.first - window.start) * scale, (window.last - window.start) * scale) for window in (rows, columns)
    )
    return output_CHW[:, height, width]


def _cropped(output: Tensor, size: Size) -> Tensor:
    return output[:, : size[0], : size[1]] if output.dim() == 3 else output


def _rows(sum_CRW: Tensor, rows: slice) -> Tensor:
    return sum_CRW[:, rows]


def _zeros(output_CHW: Tensor, rows: int, width: int) -> Tensor:
    return torch.zeros(len(output_CHW), rows, width, dtype=output_CHW.dtype)


def _covering(output: Tensor, size: Size) -> Tensor:
    """The map resized to the window's own size if the network's output is coarser or finer; other tensors unchanged."""
    return resized_map(output, size) if output.dim() == 3 else output

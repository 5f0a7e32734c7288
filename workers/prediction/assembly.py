"""Put the outputs of a network for one picture together, window by window, in the picture's own size, in bounded memory.

Legend: C channels, H height, W width; R rows that are not finished yet; N places along a side.
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
"""What becomes of a network's output at each pixel, whatever lies around it: from maps CHW to maps as high and wide."""


def as_it_is(outputs: Outputs) -> Outputs:
    return outputs


class Assembly:
    """`add` the outputs for every window of a plan; then `result` has maps of the size `native` times the scale.

    Windows that fade into each other come row by row, others in any order. `per_pixel` is applied to pieces, so that there has
    to be room for what it makes of the whole picture, and not for the floats. What is no map, such as a vector, is kept of a
    picture in one window, and is an error of tiles.
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
        """Keep what becomes of a piece, without what lies outside of the picture."""
        inside = self._native[0] - top, self._native[1] - left
        if min(inside) <= 0:
            return
        made = self._per_pixel(mapped(partial(_cropped, size=inside), piece))
        if self._maps is None:
            self._maps = mapped(self._canvas, made)
        for canvas_CHW, piece_CHW in zip(tensors_of(self._maps), tensors_of(made), strict=True):
            canvas_CHW[:, top : top + piece_CHW.shape[1], left : left + piece_CHW.shape[2]] = piece_CHW

    def _canvas(self, piece_CHW: Tensor) -> Tensor:
        """Room for the whole; 8-bit pictures lie in memory as encoders want them, channels side by side."""
        channels = piece_CHW.shape[0]
        if piece_CHW.dtype == torch.uint8:
            return torch.empty(*self._native, channels, dtype=torch.uint8).permute(2, 0, 1)
        return torch.empty(channels, *self._native, dtype=piece_CHW.dtype)


class Fading:
    """Windows of floats that fade into each other where they meet; gives strips as soon as no other window reaches them."""

    def __init__(self, plan: Plan, scale: int) -> None:
        self._padded, self._scale = _times(plan.padded, scale), scale
        self._ramp = plan.ramp_px * scale
        self._sums: Outputs = None
        self._carried: Outputs = None

    def add(self, rows: Window, columns: Window, outputs: Outputs) -> Iterator[tuple[int, Outputs]]:
        """The strips that are finished with this window: the number of the first row, and the maps."""
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
        """A row of windows: its sums begin with what the row above left of those that both reach."""
        self._sums = mapped(partial(_zeros, rows=rows, width=self._padded[1]), outputs)
        if self._carried is not None:
            for sum_CRW, carried_CRW in zip(tensors_of(self._sums), tensors_of(self._carried), strict=True):
                sum_CRW[:, : carried_CRW.shape[1]] = carried_CRW

    def _span(self, window: Window, side: int) -> tuple[int, int]:
        """The stretch that a window has a share in, in pixels of the output."""
        first, last = window.first * self._scale, window.last * self._scale
        return max(0, first - self._ramp // 2 * (first > 0)), min(side, last + self._ramp // 2 * (last < side))

    def _weights(self, window: Window, side: int) -> Tensor:
        """Its share N at each place of the stretch; those of two neighbours are 1 together."""
        start, stop = self._span(window, side)
        places_N = torch.arange(start, stop) + 0.5
        rising_N = (places_N - start) / self._ramp if start > 0 else torch.ones(stop - start)
        falling_N = (stop - places_N) / self._ramp if stop < side else torch.ones(stop - start)
        return rising_N.clamp_max(1) * falling_N.clamp_max(1)


def _times(size: Size, scale: int) -> Size:
    return size[0] * scale, size[1] * scale


def _core(output_CHW: Tensor, rows: Window, columns: Window, scale: int) -> Tensor:
    """What is used of the output for a window."""
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
    """A map of the window's own size; one that the network gives coarser or finer is resized. Other tensors as they are."""
    return resized_map(output, size) if output.dim() == 3 else output

"""Run a network over pictures of any size: padded or resized to valid sizes, batched by size, and large ones in tiles.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Literal, NamedTuple

from torch import Tensor

from pixelmill.workers.errors import RowError
from pixelmill.workers.models.picture_model import PictureModel, SizeFacts
from pixelmill.workers.prediction.assembly import Assembly, PerPixel, as_it_is
from pixelmill.workers.prediction.padding import batch_of
from pixelmill.workers.prediction.resizing import resized_pixels
from pixelmill.workers.prediction.sizes import Plan, Size, Window, area, padded_size, plan_of, seen_size
from pixelmill.workers.prediction.trial_pictures import probe_size, samples
from pixelmill.workers.runtime import stall_watchdog
from pixelmill.workers.runtime.activations import Activations
from pixelmill.workers.runtime.faults import free_cached_memory, is_out_of_memory
from pixelmill.workers.runtime.outputs import Outputs, joined, mapped
from pixelmill.workers.runtime.tuned import TunedNetwork

MOST_SMALLER = 16
"""Largest factor by which a batch of small pictures exceeds the batch size that was chosen on the larger trial pictures."""


class Sized(NamedTuple):
    """A picture resized for the network and not yet padded, and its original height and width."""

    pixels_CHW: Tensor
    native: Size


class _Piece(NamedTuple):
    """One window of one picture, and the assembly that collects its output."""

    pixels_CHW: Tensor
    rows: Window
    columns: Window
    assembly: Assembly

    @property
    def size(self) -> Size:
        return self.rows.length, self.columns.length


class DensePrediction:
    """`run([prepare(pixels_CHW), ...])` returns the outputs of a model for each picture, in the picture's size times the scale.

    A picture with more than `most_pixels` passes through the network in tiles. If the model does not allow tiles, the picture is
    reduced and the output enlarged, or with `too_large="file"` it raises RowError. `per_pixel` is applied to the outputs, CHW,
    piece by piece: only its result for a large picture has to fit into memory, not the floats of the network.
    `tuned` is the model's network; its microbatch counts pictures of the size that its settings were tried on.
    """

    def __init__(
        self,
        model: PictureModel,
        tuned: TunedNetwork,
        *,
        most_pixels: int,
        per_pixel: PerPixel = as_it_is,
        too_large: Literal["shrink", "file"] = "shrink",
    ) -> None:
        self._model, self._facts, self._tuned = model, model.size, tuned
        self._too_large: Literal["shrink", "file"] = too_large
        self._activations = _measured(model.size, tuned)
        self._most_pixels = most_pixels
        if self._activations is not None and model.size.tiling == "exact" and model.size.resize_px is None:
            # Where tiles are not exact, their size decides the output, which must not depend on a machine's memory.
            self._most_pixels = min(most_pixels, self._activations.most_pixels(self._batch_bytes))
        self._per_pixel = per_pixel
        self._are_ids = model.task == "synthesize"
        self._probe_size = probe_size(model.size)
        self._memory_pixels: int | None = None

    @property
    def batch(self) -> int:
        """How many of the smallest pictures `run` takes at once."""
        return self._tuned.pinned_batch or self._tuned.batch * MOST_SMALLER

    @property
    def batch_pixels(self) -> int | None:
        """How many pixels one pass of the network takes."""
        pixels = None if self._tuned.pinned_batch else self._tuned.batch * area(self._probe_size)
        fitting = self._activations and max(1, int(self._batch_bytes / self._activations.linear))
        known = [each for each in (pixels, self._memory_pixels, fitting) if each is not None]
        return min(known, default=None)

    @property
    def _batch_bytes(self) -> int:
        return self._tuned.batch_bytes or 0

    @property
    def settings(self) -> dict[str, object]:
        return self._tuned.settings

    def prepare(self, pixels_CHW: Tensor) -> Sized:
        """uint8 pixels of any size, ready for `run`. RowError if the picture is too large and `too_large` is "file"."""
        native = (pixels_CHW.shape[1], pixels_CHW.shape[2])
        size = seen_size(native, self._facts, self._most_pixels)
        if size != native and self._facts.resize_px is None and self._too_large == "file":
            raise self._refusal(native)
        return Sized(resized_pixels(pixels_CHW, size, are_ids=self._are_ids), native)

    def bucket_of(self, sized: Sized) -> Hashable:
        """The size of the network's input: pictures of one size, or cut into tiles of one size, share a pass."""
        return self._plan(sized).window

    def run(self, sized: Sequence[Sized]) -> list[Outputs]:
        """One entry for each picture, on the CPU: maps CHW in its own size times the scale; other tensors unchanged."""
        self._choose_settings(sized)
        plans = [self._plan(each) for each in sized]
        assemblies = [
            Assembly(plan, each.native, self._facts.scale, self._per_pixel)
            for plan, each in zip(plans, sized, strict=True)
        ]
        by_size: dict[Size, list[_Piece]] = {}
        for piece in _pieces(zip(sized, plans, assemblies, strict=True)):
            by_size.setdefault(piece.size, []).append(piece)
        for size, pieces in by_size.items():
            waiting = iter(pieces)
            while group := list(islice(waiting, self._at_once(size))):
                self._run_pieces(group)
        return [assembly.result for assembly in assemblies]

    def _run_pieces(self, pieces: Sequence[_Piece]) -> None:
        """Run pieces of one size in one pass, or in several if the device is short of memory."""
        outputs = self._outputs(batch_of([piece[:3] for piece in pieces]))
        stall_watchdog.progress()
        for place, piece in enumerate(pieces):
            piece.assembly.add(piece.rows, piece.columns, mapped(itemgetter(place), outputs))

    def _outputs(self, images_BCHW: Tensor) -> Outputs:
        try:
            return self._tuned.in_one_pass(images_BCHW)
        except (RuntimeError, MemoryError) as error:
            if len(images_BCHW) == 1 or not is_out_of_memory(error):
                raise
        # Outside of the except block the exception is released, and with it the tensors that its traceback holds.
        free_cached_memory()
        half = len(images_BCHW) // 2
        self._memory_pixels = half * images_BCHW.shape[2] * images_BCHW.shape[3]
        starts = range(0, len(images_BCHW), half)
        return joined([self._outputs(images_BCHW[start : start + half]) for start in starts])

    def _at_once(self, window: Size) -> int:
        """How many windows of this size share one pass."""
        wanted = self.batch
        if self._activations is not None:
            wanted = max(1, min(wanted, int(self._batch_bytes / self._activations.bytes_at(area(window)))))
        return wanted if self.batch_pixels is None else max(1, min(wanted, self.batch_pixels // area(window)))

    def _plan(self, sized: Sized) -> Plan:
        return plan_of((sized.pixels_CHW.shape[1], sized.pixels_CHW.shape[2]), self._facts, self._most_pixels)

    def _choose_settings(self, sized: Sequence[Sized]) -> None:
        """Choose settings before the first pass, on samples of a fixed size, because other runs reuse the choice."""
        if self._tuned.choice is not None:
            return
        work = max(1, max(area(self._plan(each).padded) for each in sized) // area(self._probe_size))
        pictures = [each.pixels_CHW for each in sized]
        self._tuned.choose(samples(pictures, self._probe_size, are_ids=self._are_ids), pictures_each=work)

    def _refusal(self, native: Size) -> RowError:
        height, width = native
        return RowError(
            self._model.task,
            "TooLarge",
            f"has {width} x {height} pixels, and this model takes {self._most_pixels:,} at once and can't work in tiles: "
            "scale it down, or choose a model that can",
        )


MEASURED_PX = (64, 128)
"""Sides of the pictures at which activations are measured: two, since those of attention grow with the square of the pixels."""


def _measured(facts: SizeFacts, tuned: TunedNetwork) -> Activations | None:
    """What the activations of a picture take; None if the user fixed the batch, or the memory is unknown."""
    if tuned.batch_bytes is None or tuned.pinned_batch is not None:
        return None
    sides = [padded_size(seen_size((side, side), facts, sys.maxsize), facts) for side in MEASURED_PX]
    return tuned.activations(sorted(set(sides), key=area))


def _pieces(pictures: Iterable[tuple[Sized, Plan, Assembly]]) -> Iterator[_Piece]:
    """Every window of each picture, row by row."""
    for sized, plan, assembly in pictures:
        for rows in plan.rows:
            for columns in plan.columns:
                yield _Piece(sized.pixels_CHW, rows, columns, assembly)

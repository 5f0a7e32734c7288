"""Compute the sizes of pictures on their way through a network, and the windows of large ones, without touching pixels.

A size is height and width. Every result depends on the picture's own size and the network's facts alone, never on the other
pictures in a batch, so that the output for a picture is the same in every batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from pixelmill.workers.models.picture_model import SizeFacts

Size = tuple[int, int]

MOST_ASPECT = 8
"""Largest aspect ratio when the shorter side is resized; longer pictures are squeezed: 1 x 5,000 would become 384 x 1,920,000."""
BLENDED_SHARE = 4
"""Blended tiles overlap by one part in so many of their side; half of the overlap is a ramp from one tile to the next."""
REACHES = 4
"""The side of an exact tile is at least so many times the network's reach; in smaller tiles most of the work is overlap."""


@dataclass(frozen=True)
class Window:
    """One stretch of a side: the network takes [start, stop), and its output is used for [first, last)."""

    start: int
    stop: int
    first: int
    last: int

    @property
    def length(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Plan:
    """The path of one picture through a network: padded to `padded`, in one window or in rows and columns of windows.

    Two neighbouring windows are blended linearly over `ramp_px` (an even number) around the border between them.
    """

    content: Size
    padded: Size
    rows: tuple[Window, ...]
    columns: tuple[Window, ...]
    ramp_px: int = 0

    @property
    def is_whole(self) -> bool:
        return len(self.rows) == len(self.columns) == 1

    @property
    def window(self) -> Size:
        """The size of one window; windows at the lower and right border may be a little smaller."""
        return self.rows[0].length, self.columns[0].length


def area(size: Size) -> int:
    return size[0] * size[1]


def padded_size(size: Size, facts: SizeFacts) -> Size:
    """The smallest size that the network takes and that contains the picture."""
    height, width = (_up(max(side, facts.least_px), facts.multiple_px) for side in size)
    return height, width


def seen_size(size: Size, facts: SizeFacts, most_pixels: int) -> Size:
    """The size to which a picture is resized before it enters the network; its own size if it is not resized."""
    if isinstance(facts.resize_px, tuple):
        return facts.resize_px
    if facts.resize_px is not None:
        shorter_px: float = facts.resize_px
        if facts.longest_px is not None:
            shorter_px = max(1, min(shorter_px, facts.longest_px * min(size) / max(size)))
        return _shorter_side(size, shorter_px, facts.multiple_px, most_pixels)
    if facts.tiling == "refused" and area(padded_size(size, facts)) > most_pixels:
        return _fitting(size, facts, most_pixels)
    return size


def _shorter_side(size: Size, shorter_px: float, multiple_px: int, most_pixels: int) -> Size:
    """The size with the shorter side `shorter_px` and the same aspect, both sides rounded to the nearest multiple."""
    aspect = min(max(size) / min(size), MOST_ASPECT)
    shorter = _nearest(shorter_px, multiple_px)
    longest = max(shorter, _down(most_pixels // shorter, multiple_px))
    longer = min(_nearest(shorter_px * aspect, multiple_px), longest)
    return (shorter, longer) if size[0] <= size[1] else (longer, shorter)


def _fitting(size: Size, facts: SizeFacts, most_pixels: int) -> Size:
    """A smaller size of about the same aspect which, padded, has at most `most_pixels`, or as few as the network takes."""
    factor = math.sqrt(most_pixels / area(size))
    height, width = (max(1, min(side, _down(int(side * factor), facts.multiple_px))) for side in size)
    padded = padded_size((height, width), facts)
    longest = max(facts.multiple_px, _down(most_pixels // min(padded), facts.multiple_px))
    return (height, min(width, longest)) if height <= width else (min(height, longest), width)


def plan_of(content: Size, facts: SizeFacts, most_pixels: int) -> Plan:
    """The windows of a picture that enters the network in this size."""
    padded = padded_size(content, facts)
    if area(padded) <= most_pixels or facts.resize_px is not None or facts.tiling == "refused":
        whole = tuple((Window(0, side, 0, side),) for side in padded)
        return Plan(content, padded, whole[0], whole[1])
    reach_px = facts.reach_px if facts.tiling == "exact" and facts.reach_px is not None else None
    align_px = facts.multiple_px if reach_px is None else math.lcm(facts.multiple_px, facts.stride_px)
    side_px = _tile_side(facts.least_px, align_px, most_pixels, reach_px)
    overlap_px = side_px // BLENDED_SHARE if reach_px is None else 2 * _up(reach_px, align_px)
    rows, columns = (
        windows(side, tile, overlap_px, align_px)
        for side, tile in zip(padded, _tile_size(padded, side_px, align_px, most_pixels), strict=True)
    )
    return Plan(content, padded, rows, columns, overlap_px // 4 * 2 if reach_px is None else 0)


def _tile_side(least_px: int, align_px: int, most_pixels: int, reach_px: int | None) -> int:
    """The side of a square tile. It may have more than `most_pixels` if the network's reach makes smaller tiles useless."""
    least = max(least_px, REACHES * (reach_px or 0), 2 * BLENDED_SHARE * align_px)
    return max(_up(least, align_px), _down(math.isqrt(most_pixels), align_px))


def _tile_size(padded: Size, side_px: int, align_px: int, most_pixels: int) -> Size:
    """The size of a tile: a square, or a longer rectangle along a picture that is narrower than the square."""
    shorter = min(side_px, *padded)
    longer = max(side_px, _down(most_pixels // shorter, align_px))
    return (shorter, min(longer, padded[1])) if padded[0] <= padded[1] else (min(longer, padded[0]), shorter)


def windows(side: int, tile: int, overlap_px: int, align_px: int) -> tuple[Window, ...]:
    """Windows of `tile` pixels over a side, which overlap by `overlap_px` or more and begin at multiples of `align_px`.

    If the side is not such a multiple, the last window ends at the end of the side and is smaller than the others.
    """
    if tile >= side:
        return (Window(0, side, 0, side),)
    last_start = _up(side - tile, align_px)
    count = 1 + math.ceil(last_start / _down(tile - overlap_px, align_px))
    starts = [_down(number * last_start // (count - 1), align_px) for number in range(count)]
    borders = [(left + tile + right) // 2 for left, right in pairwise(starts)]
    return tuple(
        Window(start, min(start + tile, side), first, last)
        for start, first, last in zip(starts, [0, *borders], [*borders, side], strict=True)
    )


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _down(value: int, multiple: int) -> int:
    return value // multiple * multiple


def _nearest(value: float, multiple: int) -> int:
    return max(1, round(value / multiple)) * multiple

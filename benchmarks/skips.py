"""Measure the effect of each level's skip: the same small network trained with all, one, some and none of them.

    python -m benchmarks.skips CAMVID --steps 600 --seeds 3
    python -m benchmarks.skips STEREO --depth --steps 300 --seeds 3

Level 1 is the finest. Masks are of a U-Net, depth of Monodepth on STEREO (left, right, depth, calib.json), whose last frames
by name are judged. See benchmarks/upsampling.py for how they are compared. A network without a skip has fewer weights, those
that would have looked at it.
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.upsampling import MASKS, compare, parser_of, settings

MASK_LEVELS = ((1, 2, 3, 4), (2, 3, 4), (3, 4), (4,), (1,), (1, 2), ())
DEPTH_LEVELS = ((1, 2, 3, 4, 5, 6), (3, 4, 5, 6), (5, 6), (1, 2), ())
DEPTH_FRAMES = 20.0
"""Judged: with those before them they are one drive, so that this compares networks and is no figure of depth elsewhere."""


def main() -> None:
    parser = parser_of("Train the same network with skips at every choice of levels, and compare.")
    parser.add_argument("--depth", action="store_true", help="Monodepth on stereo pairs in place of a U-Net on masks")
    arguments = parser.parse_args()
    if arguments.depth:
        contenders = {named(skips): depth_settings(arguments, skips) for skips in DEPTH_LEVELS}
        compare(arguments, "skips at levels", "monodepth", ("abs_rel", "photometric"), contenders, DEPTH_FRAMES)
    else:
        contenders = {named(skips): settings(arguments, skips=skips) for skips in MASK_LEVELS}
        compare(arguments, "skips at levels", "unet", MASKS, contenders)


def named(skips: tuple[int, ...]) -> str:
    return ", ".join(map(str, skips)) or "none"


def depth_settings(arguments: argparse.Namespace, skips: tuple[int, ...]) -> dict[str, Any]:
    """A slim Monodepth at 64 x 128."""
    return {
        "steps": arguments.steps,
        "batch": arguments.batch,
        "width": max(2, arguments.base // 2),
        "height_px": 64,
        "width_px": 128,
        "first_disparity": 0.02,
        "learning_rate": 1e-3,
        "precision": "bfloat16",
        "skips": skips,
        "evaluate_every_steps": arguments.steps,
    }


if __name__ == "__main__":
    main()

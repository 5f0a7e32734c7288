"""Measure the effect of each level's skip: the same small U-Net trained with all, one, some and none of them.

    python -m benchmarks.skips CAMVID --steps 600

Level 1 is the finest. See benchmarks/upsampling.py for the data and how they are compared. A network without a skip has
fewer weights, those that would have looked at it.
"""

from __future__ import annotations

from benchmarks.upsampling import compare, parse_arguments, settings

CHOICES = ((1, 2, 3, 4), (2, 3, 4), (3, 4), (4,), (1,), (1, 2), ())


def main() -> None:
    arguments = parse_arguments("Train the same U-Net with skips at every choice of levels, and compare.")
    contenders = {", ".join(map(str, skips)) or "none": settings(arguments, skips=skips) for skips in CHOICES}
    compare(arguments, "skips at levels", contenders)


if __name__ == "__main__":
    main()

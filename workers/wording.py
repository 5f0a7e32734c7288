"""Numbers in sentences that a person reads."""

from __future__ import annotations


def counted(number: float, noun: str) -> str:
    """`1 row`, `1,200 rows`, `0.5 GPUs`, of a noun whose plural ends with s."""
    figure = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{figure} {noun}{'' if number == 1 else 's'}"

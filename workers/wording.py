"""Numbers in sentences that a person reads."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 row`, `2 rows`, `1,200 rows`, of a noun whose plural ends with s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

"""Split by patient: a patient is in one part for ever, whoever else is added to the archive, and no part shares a patient."""

from __future__ import annotations

import hashlib
from typing import Literal

Part = Literal["train", "val", "test"]
VAL_SHARE = TEST_SHARE = 0.1
_STEPS = 1 << 32


def part_of(patient_id: str, *, val: float = VAL_SHARE, test: float = TEST_SHARE, seed: int = 0) -> Part:
    """The part of a patient by a hash of its keyed id. `val` and `test` are shares in [0, 1] of all patients; raising one moves
    patients out of train alone. Raises ValueError where the shares exceed 1 together."""
    if not (0 <= val <= 1 and 0 <= test <= 1 and val + test <= 1):
        raise ValueError(f"val = {val:g} and test = {test:g} are shares of 1")
    digest = hashlib.blake2b(f"{seed}\0{patient_id}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest[:4], "big") / _STEPS
    if place < test:
        return "test"
    return "val" if place >= 1 - val else "train"

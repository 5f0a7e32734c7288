"""Reconstruction kernels by a closed set of classes: names of vendors are free text, which no output copies."""

from __future__ import annotations

import re
from typing import Literal

KernelClass = Literal["smooth", "medium", "sharp"]

_NUMBERED = re.compile(r"[A-Z][A-Z]?(\d\d)[A-Z]?(?:[\\/ ].*)?")
_TOSHIBA = re.compile(r"FC(\d\d).*")
_SHARP_FROM, _MEDIUM_FROM = 50, 36
_BY_NAME: dict[str, KernelClass] = {
    "SOFT": "smooth", "SMOOTH": "smooth", "STANDARD": "medium", "STND": "medium", "DETAIL": "medium", "CHEST": "medium",
    "LUNG": "sharp", "BONE": "sharp", "BONEPLUS": "sharp", "EDGE": "sharp", "ULTRA": "sharp", "A": "smooth", "B": "smooth",
    "C": "medium", "D": "sharp", "E": "sharp", "L": "sharp", "YA": "sharp", "YB": "sharp", "UB": "smooth", "UC": "medium",
}  # fmt: skip


def kernel_class(name: str) -> KernelClass | None:
    """The class of a kernel of Siemens (B30f, Br40d: the number), GE and Philips (words and letters) and Canon (FC: lungs and
    bones from 50, and 30 to 39); None for any other."""
    plain = name.strip().upper()
    if toshiba := _TOSHIBA.fullmatch(plain):
        number = int(toshiba[1])
        if number >= _SHARP_FROM or 30 <= number < 40:
            return "sharp"
        return "smooth" if number < 10 else "medium"
    if numbered := _NUMBERED.fullmatch(plain):
        number = int(numbered[1])
        if number >= _SHARP_FROM:
            return "sharp"
        return "medium" if number >= _MEDIUM_FROM else "smooth"
    return _BY_NAME.get(plain.partition(" ")[0])

"""Kernels of four vendors have a class, and any other text has none and is copied nowhere."""

from __future__ import annotations

import pytest

from pixelmill.workers.ct.kernels import kernel_class


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("B30f", "smooth"), ("Br40d\\3", "medium"), ("B60s", "sharp"), ("I26f", "smooth"), ("STANDARD", "medium"),
        ("SOFT", "smooth"), ("BONEPLUS", "sharp"), ("FC08", "smooth"), ("FC51", "sharp"), ("FC18", "medium"),
        ("UB", "smooth"), ("L", "sharp"), ("", None), ("KANARIENVOGEL", None), ("1.2.3", None),
    ],
)  # fmt: skip
def test_the_class_of_a_kernel(name: str, kind: str | None) -> None:
    assert kernel_class(name) == kind

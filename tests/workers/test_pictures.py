"""A picture knows its size, how many pixels it has, and that nobody changes it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch

from pixelmill.workers.pictures import Picture, pixel_count


def test_size_and_pixels_of_flat_pictures_and_of_volumes() -> None:
    flat = Picture(torch.zeros(3, 4, 5, dtype=torch.uint8))
    assert (flat.height, flat.width, flat.pixel_count, flat.nbytes) == (4, 5, 20, 60)
    volume = Picture(torch.zeros(7, 1, 4, 5, dtype=torch.int16), "volume", (2.5, 0.7, 0.7))
    assert (volume.height, volume.width, volume.pixel_count, volume.nbytes) == (4, 5, 140, 280)
    assert pixel_count(torch.zeros(9)) == 1


def test_a_picture_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Picture(torch.zeros(1, 1, 1)).kind = "ids8"  # type: ignore[misc]

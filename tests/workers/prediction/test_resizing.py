"""Maps are resized in strips as they would be at once."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pixelmill.workers.prediction import resizing

SIZES = [(40, 90), (130, 20), (7, 5), (1, 1), (300, 50), (50, 301)]


def maps() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 40, 50, generator=generator), torch.randint(0, 200, (1, 40, 50), generator=generator)


@pytest.mark.parametrize("size", SIZES)
def test_strips_are_those_of_the_whole(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    floats_CHW, ids_1HW = maps()
    monkeypatch.setattr(resizing, "STRIP_BYTES", 3000)
    strips = list(resizing.strips_of((floats_CHW, ids_1HW), size))
    assert len(strips) > 1 or size[0] == 1 or size[0] * size[1] < 100
    assert [top for top, _ in strips] == [
        sum(each[0].shape[1] for _, each in strips[:place]) for place in range(len(strips))
    ]
    for place, whole in enumerate((floats_CHW, ids_1HW)):
        together = torch.cat([strip[place] for _, strip in strips], dim=1)
        assert together.shape[1:] == size
        torch.testing.assert_close(together, resizing.resized_map(whole, size))


@pytest.mark.parametrize("size", [(90, 120), (41, 50), (40, 301), (200, 51)])
def test_a_map_is_enlarged_as_torch_does(size: tuple[int, int]) -> None:
    floats_CHW, _ = maps()
    expected = functional.interpolate(floats_CHW[None], size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(resizing.resized_map(floats_CHW, size), expected)


def test_a_map_that_becomes_smaller_is_averaged() -> None:
    floats_CHW, _ = maps()
    expected = functional.interpolate(floats_CHW[None], (10, 10), mode="bilinear", antialias=True)[0]
    torch.testing.assert_close(resizing.resized_map(floats_CHW, (10, 10)), expected)


def test_ids_are_those_that_were_there() -> None:
    _, ids_1HW = maps()
    for size in SIZES:
        assert set(resizing.resized_map(ids_1HW, size).unique().tolist()) <= set(ids_1HW.unique().tolist())
    doubled = resizing.resized_map(ids_1HW, (80, 100))
    assert torch.equal(doubled, ids_1HW.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_pixels_of_the_right_size_are_not_copied() -> None:
    pixels_CHW = torch.zeros(3, 5, 6, dtype=torch.uint8)
    for are_ids in (True, False):
        assert resizing.resized_pixels(pixels_CHW, (5, 6), are_ids=are_ids).data_ptr() == pixels_CHW.data_ptr()

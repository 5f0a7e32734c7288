"""Pixels are normalized as a whole batch would be, to the last bit, strip by strip and in any memory order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pixelmill.workers.geometry.memory_order import interleaved
from pixelmill.workers.runtime import normalizing
from pixelmill.workers.runtime.normalizing import Normalizer

MEAN, STD = (0.5, 0.25, 0.125), (0.3, 0.2, 0.1)
ORDERS = [torch.channels_last, torch.contiguous_format]


def pictures(channels: int = 3) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, channels, 37, 29), dtype=torch.uint8, generator=random)


def whole(images_BCHW: Tensor, dtype: torch.dtype) -> Tensor:
    """All at once."""
    mean, std = (torch.tensor(values[: images_BCHW.shape[1]]).view(1, -1, 1, 1) for values in (MEAN, STD))
    return torch.addcmul(-mean / std, images_BCHW.float(), 1 / (255 * std)).to(dtype)


def normalizer(dtype: torch.dtype, order: torch.memory_format, channels: int = 3) -> Normalizer:
    return Normalizer(MEAN[:channels], STD[:channels], "cpu", dtype, order)


@pytest.mark.parametrize("rows", [1, 5, 37, 100])
@pytest.mark.parametrize("given", ORDERS, ids=str)
@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_batch_is_the_same_in_strips_of_any_size(
    dtype: torch.dtype,
    order: torch.memory_format,
    given: torch.memory_format,
    rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(normalizing, "STRIP_NUMBERS", rows * 3 * 29)
    images_BCHW = pictures().contiguous(memory_format=given)
    made_BCHW = normalizer(dtype, order)(images_BCHW)
    assert made_BCHW.dtype == dtype
    assert made_BCHW.is_contiguous(memory_format=order)
    assert torch.equal(made_BCHW, whole(images_BCHW, dtype))


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_views_and_pictures_of_one_channel_are_normalized_too(order: torch.memory_format) -> None:
    crops_BCHW = torch.stack([interleaved(each) for each in pictures()])[:, :, 3:20, 4:11]
    assert torch.equal(normalizer(torch.float32, order)(crops_BCHW), whole(crops_BCHW, torch.float32))
    grey_BCHW = pictures(1)
    assert torch.equal(normalizer(torch.float32, order, 1)(grey_BCHW), whole(grey_BCHW, torch.float32))


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_one_mean_and_deviation_hold_for_every_channel(order: torch.memory_format) -> None:
    images_BCHW = pictures().contiguous(memory_format=order)
    expected_BCHW = torch.addcmul(torch.tensor(-0.5 / 0.3), images_BCHW.float(), torch.tensor(1 / (255 * 0.3)))
    made_BCHW = Normalizer(MEAN[:1], STD[:1], "cpu", torch.float32, order)(images_BCHW)
    assert torch.allclose(made_BCHW, expected_BCHW, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.float32, torch.uint8, torch.int16], ids=str)
def test_numbers_of_any_type_stay_as_they_were(kind: torch.dtype) -> None:
    images_BCHW = pictures().to(kind)
    kept_BCHW = images_BCHW.clone()
    assert torch.equal(normalizer(torch.float32, torch.channels_last)(images_BCHW), whole(kept_BCHW, torch.float32))
    assert torch.equal(images_BCHW, kept_BCHW)


def test_an_empty_batch_has_the_shape_of_its_pictures() -> None:
    assert normalizer(torch.bfloat16, torch.channels_last)(pictures()[:0]).shape == (0, 3, 37, 29)

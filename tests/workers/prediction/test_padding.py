"""Windows of pictures go into one batch, with mirrored pixels beyond their borders."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pixelmill.workers.prediction.padding import batch_of, mirrored, window_of
from pixelmill.workers.prediction.sizes import Window


@pytest.mark.parametrize(("side", "padded"), [(5, 5), (5, 8), (5, 9), (1, 1), (2, 3)])
def test_mirroring_is_that_of_numpy(side: int, padded: int) -> None:
    assert mirrored(side, padded).tolist() == np.pad(np.arange(side), (0, padded - side), mode="reflect").tolist()


@pytest.mark.parametrize(("side", "padded"), [(5, 10), (1, 7), (2, 100)])
def test_the_last_pixel_is_repeated_where_there_are_too_few_to_mirror(side: int, padded: int) -> None:
    assert mirrored(side, padded).tolist() == np.pad(np.arange(side), (0, padded - side), mode="edge").tolist()


def test_a_window_is_that_of_the_padded_picture() -> None:
    pixels_CHW = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    padded_CHW = np.pad(pixels_CHW.numpy(), ((0, 0), (0, 12), (0, 2)), mode="reflect")
    rows, columns = Window(16, 32, 0, 0), Window(8, 32, 0, 0)
    assert window_of(pixels_CHW, rows, columns).tolist() == padded_CHW[:, 16:32, 8:32].tolist()


def test_a_batch_has_its_channels_side_by_side_in_memory() -> None:
    pictures = [torch.full((3, 9, 7), level, dtype=torch.uint8) for level in (1, 2)]
    images_BCHW = batch_of([(each, Window(0, 12, 0, 0), Window(1, 5, 0, 0)) for each in pictures])
    assert images_BCHW.shape == (2, 3, 12, 4)
    assert images_BCHW.is_contiguous(memory_format=torch.channels_last)
    assert images_BCHW.amin(dim=(1, 2, 3)).tolist() == images_BCHW.amax(dim=(1, 2, 3)).tolist() == [1, 2]

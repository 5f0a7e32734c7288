"""Pictures that need no network: the mean colours of classes, and a photograph without its detail."""

from __future__ import annotations

import numpy as np
import torch

from pixelmill.workers.recipes.layout_baselines import BLUR_PX, blurred, mean_colours, painted


def sample(ids_HW: np.ndarray, photo_HWC: np.ndarray) -> dict[str, np.ndarray]:
    return {"layout": ids_HW.astype(np.uint8), "photo": photo_HWC.astype(np.uint8)}


def test_a_class_has_its_mean_colour_over_all_photographs_and_void_has_none() -> None:
    ids_HW = np.array([[0, 0], [1, 255]])
    first, second = np.full((2, 2, 3), 51), np.full((2, 2, 3), 153)
    first[1, 1] = 255
    colours_KC = mean_colours([sample(ids_HW, first), sample(ids_HW, second)], 3)
    torch.testing.assert_close(colours_KC, torch.tensor([[0.4] * 3, [0.4] * 3, [0.0] * 3]))
    made_BOCHW = painted(torch.from_numpy(ids_HW[None].astype(np.uint8)), colours_KC)
    assert made_BOCHW.shape == (1, 1, 3, 2, 2)
    torch.testing.assert_close(made_BOCHW[0, 0, 0], torch.tensor([[0.4, 0.4], [0.4, 0.0]]))


def test_a_blur_keeps_what_is_even_and_spreads_a_point_by_its_width() -> None:
    even_BCHW = torch.full((1, 3, 32, 32), 0.25)
    torch.testing.assert_close(blurred(even_BCHW)[:, 0], even_BCHW)
    point_BCHW = torch.zeros(1, 3, 33, 33)
    point_BCHW[..., 16, 16] = 1
    spread_HW = blurred(point_BCHW)[0, 0, 0]
    columns_W = torch.arange(33) - 16.0
    variance = (spread_HW.sum(0) * columns_W**2).sum().item()
    assert abs(spread_HW.sum().item() - 1) < 1e-5
    assert abs(variance**0.5 - BLUR_PX) < 0.1

"""Averages over mirror images, sizes and windows are those of the definitions, and none of them changes a simple network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pixelmill.workers.prediction.averaging import Averaging, LogShares, mean_shares, window_starts


def images(height: int = 24, width: int = 40) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def network(side: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, side, padding=side // 2).eval()


def test_a_flip_is_the_mean_of_the_probabilities_of_both() -> None:
    convolution, images_BCHW = network(), images()
    with torch.no_grad():
        plain_BKHW = convolution(images_BCHW).softmax(1)
        mirrored_BKHW = convolution(images_BCHW.flip(-1)).softmax(1).flip(-1)
        averaged_BKHW = mean_shares(convolution, images_BCHW, Averaging(flip=True))
    torch.testing.assert_close(averaged_BKHW, (plain_BKHW + mirrored_BKHW) / 2)
    assert not torch.allclose(averaged_BKHW, plain_BKHW)


def test_sizes_are_seen_as_said_and_averaged_in_the_size_of_the_picture() -> None:
    seen: list[tuple[int, ...]] = []

    def logits(images_BCHW: Tensor) -> Tensor:
        seen.append(tuple(images_BCHW.shape[2:]))
        return images_BCHW * 5

    images_BCHW = images(24, 48)
    shares_BKHW = mean_shares(logits, images_BCHW, Averaging(scales=(0.5, 1.0, 1.25)), multiple_px=8, least_px=10)
    assert seen == [(16, 24), (24, 48), (32, 64)]  # 12 is rounded to a multiple of 8, and 8 would be too small
    small_BKHW = functional.interpolate(images_BCHW, (16, 24), mode="bilinear", antialias=True)
    large_BKHW = functional.interpolate(images_BCHW, (32, 64), mode="bilinear")
    expected = [
        functional.interpolate((5 * small_BKHW).softmax(1), (24, 48), mode="bilinear"),
        (5 * images_BCHW).softmax(1),
        functional.interpolate((5 * large_BKHW).softmax(1), (24, 48), mode="bilinear", antialias=True),
    ]
    torch.testing.assert_close(shares_BKHW, torch.stack(expected).mean(0))


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
@pytest.mark.parametrize("size", [(24, 40), (17, 41), (9, 64)])
def test_windows_of_a_network_that_sees_single_pixels_change_nothing(size: tuple[int, int], overlap: float) -> None:
    pointwise = network(1)
    with torch.no_grad():
        whole_BKHW = pointwise(images(*size)).softmax(1)
        windows_BKHW = mean_shares(pointwise, images(*size), Averaging(window_px=16, overlap=overlap))
    torch.testing.assert_close(windows_BKHW, whole_BKHW)


def test_a_network_sees_windows_of_one_size_and_small_pictures_whole() -> None:
    seen: list[tuple[int, ...]] = []

    def logits(images_BCHW: Tensor) -> Tensor:
        seen.append(tuple(images_BCHW.shape[2:]))
        return images_BCHW

    mean_shares(logits, images(24, 40), Averaging(window_px=16))
    assert set(seen) == {(16, 16)}
    assert len(seen) == 2 * 4
    seen.clear()
    mean_shares(logits, images(12, 16), Averaging(window_px=16, flip=True))
    assert seen == [(12, 16), (12, 16)]


def test_windows_cover_a_side_and_overlap_enough() -> None:
    for side in (1, 16, 17, 50, 333):
        for overlap in (0, 0.5, 0.9):
            starts = window_starts(side, 16, overlap)
            assert starts[0] == 0
            assert starts[-1] == max(0, side - 16)
            assert all(0 < later - start <= max(1, 16 * (1 - overlap)) for start, later in zip(starts, starts[1:]))  # noqa: B905, RUF007


def test_seams_are_blended() -> None:
    """Each window tells its own number everywhere; the average changes by little from pixel to pixel."""
    count = 0

    def logits(images_BCHW: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return torch.stack([torch.zeros(1, 16, 16), torch.full((1, 16, 16), 3.0 * (-1) ** count)], 1)

    shares_BKHW = mean_shares(logits, torch.zeros(1, 3, 16, 80), Averaging(window_px=16, overlap=0.5))
    assert float(shares_BKHW.diff(dim=-1).abs().max()) < 0.15
    count = 0
    hard_BKHW = mean_shares(logits, torch.zeros(1, 3, 16, 80), Averaging(window_px=16, overlap=0))
    assert float(hard_BKHW.diff(dim=-1).abs().max()) > 0.8


def test_the_softmax_of_log_shares_is_the_average_and_no_number_stays_none() -> None:
    averaging = Averaging(flip=True, scales=(1.0, 2.0))
    images_BCHW = images()
    with torch.no_grad():
        logits_BKHW = LogShares(network(), averaging)(images_BCHW)
        torch.testing.assert_close(logits_BKHW.softmax(1), mean_shares(network(), images_BCHW, averaging))
        images_BCHW[0, 0, 3, 4] = torch.nan
        assert LogShares(network(1), Averaging(flip=True))(images_BCHW)[0, :, 3, 4].isnan().all()

"""Square samples: grey stays grey, padding is black and does not count, and no crop leaves its picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import squares
from tests import corpus

GREY_HW = np.arange(28 * 28, dtype=np.int64).reshape(28, 28) % 256


def png(pixels: np.ndarray) -> bytes:
    return corpus.encode(Image.fromarray(pixels.astype(np.uint8)), "PNG")


def ramp(height: int, width: int) -> np.ndarray:
    """Pixels HWC that grow to the right in red and downwards in green."""
    rows_HW, columns_HW = np.mgrid[:height, :width]
    return np.stack([columns_HW * 255 // width, rows_HW * 255 // height, rows_HW * 0], 2).astype(np.uint8)


def test_a_grey_picture_keeps_every_grey_level() -> None:
    every_HW = np.arange(256, dtype=np.uint8).reshape(16, 16)
    sample = squares.decode({"image": png(every_HW)}, 1, squares.whole(16))
    assert np.array_equal(sample["pixels"], every_HW[..., None])


@pytest.mark.parametrize(("files", "label"), [({}, None), ({"label": b"7"}, 7), ({"label": b" -1 "}, -1)])
def test_a_sample_has_a_label_where_its_files_have_one(files: dict[str, bytes], label: int | None) -> None:
    sample = squares.decode({"image": png(GREY_HW), **files}, 1, squares.whole(28))
    assert (None if "label" not in sample else int(sample["label"])) == label


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"image": b""}, "0 bytes"),
        ({"image": b"<html>"}, "looks like"),
        ({"image": png(GREY_HW), "label": b"seven"}, "seven.*integer"),
    ],
)
def test_bytes_that_hold_no_sample_are_a_data_error_that_says_why(files: dict[str, bytes], said: str) -> None:
    with pytest.raises(DataError, match=said):
        squares.decode(files, 3, squares.central(32))


@pytest.mark.parametrize(
    ("fit", "shape"),
    [
        (squares.central(32), (32, 32, 3)),
        (squares.whole(32), (16, 32, 3)),
        (squares.whole(200), (60, 120, 3)),
        (squares.roomy(32), (40, 80, 3)),
    ],
)
def test_each_fit_keeps_what_it_says(fit: squares.Fit, shape: tuple[int, ...]) -> None:
    assert squares.decode({"image": png(ramp(60, 120))}, 3, fit)["pixels"].shape == shape


def test_room_for_crops_ends_at_twice_the_shorter_side() -> None:
    kept = squares.decode({"image": png(ramp(20, 400))}, 3, squares.roomy(32))["pixels"]
    assert kept.shape == (40, 80, 3)
    assert abs(float(kept[..., 0].mean()) - 127) < 2  # of the middle


def test_a_small_picture_is_laid_in_the_middle_of_black() -> None:
    square_SSC = squares.center(np.full((28, 27, 1), 255, np.uint8), 32)
    assert square_SSC[2:30, 2:29].min() == 255
    assert square_SSC.sum() == 255 * 28 * 27


def test_a_large_picture_loses_its_ends_and_nothing_else() -> None:
    square_SSC = squares.center(ramp(64, 128), 32)
    assert square_SSC.shape == (32, 32, 3)
    assert 60 < square_SSC[:, 0, 0].mean() < 70
    assert 185 < square_SSC[:, -1, 0].mean() < 195
    assert square_SSC[0, :, 1].mean() < 5


def test_a_batch_is_floats_in_the_order_of_the_samples() -> None:
    samples = [{"pixels": np.full((8, 8, 3), value, np.uint8)} for value in (0, 51, 255)]
    images_BCSS = squares.stack(samples, 8)
    assert images_BCSS.dtype == torch.float32
    assert images_BCSS.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(images_BCSS[:, 0, 0, 0], torch.tensor([0.0, 0.2, 1.0]))


def test_a_sample_that_may_not_be_written_to_is_no_obstacle() -> None:
    pixels_HWC = ramp(64, 64)
    pixels_HWC.setflags(write=False)
    assert squares.cut(pixels_HWC, 0, 0, 64, 32).shape == (32, 32, 3)
    assert squares.stack([{"pixels": pixels_HWC}], 64).shape == (1, 3, 64, 64)


def test_only_the_pixels_of_the_picture_count_in_its_error() -> None:
    samples = [{"pixels": np.zeros((4, 4, 3), np.uint8)}, {"pixels": np.zeros((8, 8, 3), np.uint8)}]
    images_BCSS, areas_B1SS = squares.stack(samples, 8), squares.areas(samples, 8)
    made_BCSS = torch.zeros(2, 3, 8, 8)
    made_BCSS[:, :, 0] = 1  # a row of padding for the first, a row of the picture for the second
    assert squares.squared_errors(made_BCSS, images_BCSS, areas_B1SS).tolist() == [0, 1 / 8]
    made_BCSS[:, :, 4] = 3  # beyond white, which is shown as white
    assert squares.squared_errors(made_BCSS, images_BCSS, areas_B1SS).tolist() == [1 / 4, 2 / 8]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_chunks_hold_every_sample_once_and_in_order(count: int) -> None:
    samples = [{"pixels": np.array(index)} for index in range(count)]
    chunks = list(squares.chunks(iter(samples), 3))
    assert [sample for chunk in chunks for sample in chunk] == samples
    assert all(len(chunk) == 3 for chunk in chunks[:-1])


def test_rows_lie_one_under_the_other() -> None:
    picture_CHW = squares.in_rows(torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8))
    assert picture_CHW.dtype == torch.uint8
    assert picture_CHW.shape == (3, 22, 22)
    assert picture_CHW[:, :10].max() == 0
    assert picture_CHW[:, 12:20, 2:10].min() == 255

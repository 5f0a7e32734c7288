"""Square samples and batches of pictures, shared by the recipes of the autoencoders.

Legend: B batch, N samples, C channels (1 grey, 3 red, green, blue), H height, W width, S side of the network's input.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from pixelmill.workers.errors import DataError
from pixelmill.workers.geometry.grey import to_grey
from pixelmill.workers.geometry.resize import center_crop, resize_shorter_side, shrink_to_fit, stretch
from pixelmill.workers.models import vision
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.sample_pixels import sample_pixels
from pixelmill.workers.typed_torch import from_numpy

LONGEST = 2  # largest aspect ratio of a picture that is stored for crops

Fit = Callable[[Tensor], Tensor]
"""From uint8 pixels_CHW of any size to the pixels that a sample stores."""


# ------------------------------------------------------------------------------------------------- bytes -> samples


def decode(files: Mapping[str, bytes], channels: int, fit: Fit) -> Sample:
    """{"pixels": uint8 HWC, optionally "label": int64}; DataError if the bytes are not a picture."""
    pixels_CHW = sample_pixels(files["image"])
    fitted_CHW = fit(to_grey(pixels_CHW) if channels == 1 else pixels_CHW)
    sample: Sample = {"pixels": np.ascontiguousarray(fitted_CHW.permute(1, 2, 0).numpy())}
    if "label" in files:
        sample["label"] = np.asarray(_integer(files["label"]), np.int64)
    return sample


def _integer(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise DataError(f"its label is {text[:40]!r}; give an integer, or leave the labels out") from None


def central(size_px: int) -> Fit:
    """The central square, resized to S."""
    return lambda pixels_CHW: center_crop(resize_shorter_side(pixels_CHW, size_px, exact=False), size_px)


def whole(size_px: int) -> Fit:
    """The whole picture, at its own size if it fits into S x S, otherwise with its longer side resized to S."""
    return lambda pixels_CHW: shrink_to_fit(pixels_CHW, size_px)


def roomy(size_px: int) -> Fit:
    """The source of crops: a quarter larger than S and not square, so that most crops need no enlarging."""
    kept_px = size_px + size_px // 4

    def fit(pixels_CHW: Tensor) -> Tensor:
        resized_CHW = resize_shorter_side(pixels_CHW, kept_px, exact=False)
        height, width = (min(side, LONGEST * kept_px) for side in resized_CHW.shape[1:])
        top, left = (resized_CHW.shape[1] - height) // 2, (resized_CHW.shape[2] - width) // 2
        return resized_CHW[:, top : top + height, left : left + width]

    return fit


# ------------------------------------------------------------------------------------------------ samples -> tensors


def stack(samples: Sequence[Sample], size_px: int) -> Tensor:
    """The network's input for samples without augmentation: floats BCSS in [0, 1], channels last."""
    return to_floats(centers([sample["pixels"] for sample in samples], size_px))


def to_floats(squares_BSSC: np.ndarray) -> Tensor:
    """From 8 bits to [0, 1]; BCSS in channels_last memory format."""
    return from_numpy(squares_BSSC).permute(0, 3, 1, 2).float().div_(255)


def scaled(pixels_BCHW: Tensor) -> Tensor:
    """uint8 tensors to [0, 1], channels last."""
    return (pixels_BCHW.float() / 255).contiguous(memory_format=torch.channels_last)


def centers(pictures_HWC: Sequence[np.ndarray], size_px: int) -> np.ndarray:
    """`center` of each picture, BSSC; small pictures of one size, such as digits, are processed together for speed."""
    shape, *others = {picture_HWC.shape for picture_HWC in pictures_HWC}
    if others or max(shape[:2]) > size_px:
        return np.stack([center(picture_HWC, size_px) for picture_HWC in pictures_HWC])
    squares_BSSC = np.zeros((len(pictures_HWC), size_px, size_px, shape[2]), np.uint8)
    squares_BSSC[:, *_area(pictures_HWC[0], size_px)] = pictures_HWC
    return squares_BSSC


def center(pixels_HWC: np.ndarray, size_px: int) -> np.ndarray:
    """The central square resized to S; a picture that fits into S x S is centred on black instead."""
    height, width, channels = pixels_HWC.shape
    if max(height, width) > size_px:
        side = min(height, width)
        return cut(pixels_HWC, (height - side) // 2, (width - side) // 2, side, size_px)
    square_SSC = np.zeros((size_px, size_px, channels), np.uint8)
    square_SSC[_area(pixels_HWC, size_px)] = pixels_HWC
    return square_SSC


def _area(pixels_HWC: np.ndarray, size_px: int) -> tuple[slice, slice]:
    """The rows and columns of the S x S square that `center` fills with the picture."""
    height, width = pixels_HWC.shape[:2]
    if max(height, width) > size_px:
        return slice(size_px), slice(size_px)
    top, left = (size_px - height) // 2, (size_px - width) // 2
    return slice(top, top + height), slice(left, left + width)


def cut(pixels_HWC: np.ndarray, top: int, left: int, side: int, size_px: int) -> np.ndarray:
    """A square of the picture, resized to S with antialiasing, in 8 bits."""
    crop_HWC = np.array(pixels_HWC[top : top + side, left : left + side])  # a copy: torch warns of read-only arrays
    if side == size_px:
        return crop_HWC
    resized_CSS = stretch(from_numpy(crop_HWC).permute(2, 0, 1), (size_px, size_px))
    return resized_CSS.permute(1, 2, 0).numpy()


def areas(samples: Sequence[Sample], size_px: int) -> Tensor:
    """True at pixels of the picture, False at padding: B1SS."""
    areas_B1SS = torch.zeros(len(samples), 1, size_px, size_px, dtype=torch.bool)
    for area_1SS, sample in zip(areas_B1SS, samples, strict=True):
        rows, columns = _area(sample["pixels"], size_px)
        area_1SS[:, rows, columns] = True
    return areas_B1SS


def squared_errors(made_BCSS: Tensor, images_BCSS: Tensor, areas_B1SS: Tensor) -> Tensor:
    """Mean squared error B of each picture over its own pixels; reconstructions are clamped to [0, 1]."""
    squares_BCSS = (made_BCSS.float().clamp(0, 1) - images_BCSS).square() * areas_B1SS
    return squares_BCSS.sum((1, 2, 3)) / (areas_B1SS.sum((1, 2, 3)) * images_BCSS.shape[1])


def chunks(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    """The samples in order, in groups of this size."""
    remaining = iter(samples)
    while chunk := list(islice(remaining, size)):
        yield chunk


def generator_of(sample: Sample) -> np.random.Generator:
    """Random numbers that depend on the sample's pixels alone: for evaluations that draw, in whatever parts."""
    return np.random.default_rng(zlib.crc32(sample["pixels"].tobytes()))


def in_rows(*rows_BCHW: Tensor) -> Tensor:
    """Rows of equally many images in [0, 1], stacked into one uint8 picture CHW."""
    vision.lighten()
    from torchvision.utils import make_grid  # pyright: ignore[reportMissingTypeStubs]

    images_BCHW = torch.cat([row_BCHW.float().cpu() for row_BCHW in rows_BCHW]).clamp(0, 1)
    return (make_grid(images_BCHW, nrow=len(rows_BCHW[0])) * 255).round().byte()

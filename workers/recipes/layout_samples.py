"""Samples and batches of a photograph and its layout of class ids: resized, cropped and mirrored together.

Legend: B batch, K classes, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from pixelmill.workers.geometry.mirroring import mirrored
from pixelmill.workers.geometry.resize import stretch
from pixelmill.workers.recipes import Batch, Sample
from pixelmill.workers.typed_torch import from_numpy


def resized(sample: Sample, size_px: tuple[int, int]) -> Sample:
    """Resize the photograph with antialiasing and the class ids by nearest neighbour; both are copies."""
    photo_HWC, ids_HW = np.array(sample["photo"]), np.array(sample["layout"])
    if ids_HW.shape != size_px:
        photo_CHW = stretch(from_numpy(photo_HWC).permute(2, 0, 1), size_px)
        photo_HWC = np.ascontiguousarray(photo_CHW.permute(1, 2, 0).numpy())
        ids_HW = F.interpolate(from_numpy(ids_HW)[None, None], size_px, mode="nearest-exact")[0, 0].numpy()
    return {"photo": photo_HWC, "layout": ids_HW}


def augment(sample: Sample, random: np.random.Generator, *, flip: bool, smallest_crop: float) -> Sample:
    """Photo and layout, cropped and mirrored alike; draws four numbers for any settings."""
    share, down, right, mirror = random.random(4)
    height, width = sample["layout"].shape
    kept = 1 - share * (1 - smallest_crop)
    rows, columns = _span(height, kept, down), _span(width, kept, right)
    cropped = {name: sample[name][rows, columns] for name in ("photo", "layout")}
    if flip and mirror < 0.5:
        cropped = {"photo": mirrored(cropped["photo"]), "layout": cropped["layout"][:, ::-1]}
    return resized(cropped, (height, width))


def _span(side_px: int, kept: float, place: float) -> slice:
    length = max(1, round(side_px * kept))
    start = int(place * (side_px - length + 1))
    return slice(start, start + length)


def stacked(samples: Sequence[Sample]) -> Batch:
    """{"photos": uint8 BCHW, "layouts": uint8 BHW}."""
    layouts_BHW = from_numpy(np.stack([sample["layout"] for sample in samples]))
    return {"photos": channels_first([sample["photo"] for sample in samples]), "layouts": layouts_BHW}


def channels_first(photos_HWC: Sequence[np.ndarray]) -> Tensor:
    return from_numpy(np.stack(photos_HWC)).permute(0, 3, 1, 2)

"""Give OpenVINO pictures as they lie in memory: its kernels want HWC, and planes would be rearranged in every call.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np


def is_interleaved(images_BCHW: np.ndarray) -> bool:
    """HWC in memory, and not planes as well, as pictures of one channel are."""
    return images_BCHW.transpose(0, 2, 3, 1).flags.c_contiguous and not images_BCHW.flags.c_contiguous


def as_given(images_BCHW: np.ndarray) -> np.ndarray:
    """The pictures as OpenVINO is given them, BHWC where that is their memory order, otherwise BCHW."""
    return np.ascontiguousarray(_turned(images_BCHW))


def given_shape(images_BCHW: np.ndarray) -> tuple[int, ...]:
    """The shape of `as_given`, without the copy of pictures that lie in neither order."""
    return _turned(images_BCHW).shape


def _turned(images_BCHW: np.ndarray) -> np.ndarray:
    return images_BCHW.transpose(0, 2, 3, 1) if is_interleaved(images_BCHW) else images_BCHW


def taking_interleaved(model: Any) -> Any:
    """The model with an input BHWC, which it need not rearrange for its kernels."""
    layout = import_module("openvino").Layout
    steps = import_module("openvino.preprocess").PrePostProcessor(model)
    steps.input().tensor().set_layout(layout("NHWC"))
    steps.input().model().set_layout(layout("NCHW"))
    return steps.build()

"""OpenVINO is given pictures in the memory order that they have."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.workers.runtime.openvino_inputs import as_given, given_shape, is_interleaved, taking_interleaved


def planes(channels: int = 3) -> np.ndarray:
    return np.arange(2 * channels * 4 * 5, dtype=np.float32).reshape(2, channels, 4, 5)


def interleaved(images_BCHW: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images_BCHW.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("images_BCHW", "expected", "shape"),
    [
        (planes(), False, (2, 3, 4, 5)),
        (interleaved(planes()), True, (2, 4, 5, 3)),
        (planes(1), False, (2, 1, 4, 5)),
        (planes()[..., ::-1], False, (2, 3, 4, 5)),
        (interleaved(planes())[:, :, 1:], False, (2, 3, 3, 5)),
    ],
    ids=["planes", "interleaved", "one channel", "mirrored", "rows of interleaved ones"],
)
def test_pictures_are_given_as_they_lie_where_nothing_lies_between_them(
    images_BCHW: np.ndarray, expected: bool, shape: tuple[int, ...]
) -> None:
    assert is_interleaved(images_BCHW) is expected
    given = as_given(images_BCHW)
    assert given.shape == given_shape(images_BCHW) == shape
    assert given.flags.c_contiguous
    assert np.shares_memory(given, images_BCHW) is (expected or images_BCHW.flags.c_contiguous)
    assert np.array_equal(given.transpose(0, 3, 1, 2) if expected else given, images_BCHW)


def test_a_model_that_takes_interleaved_pictures_computes_the_same() -> None:
    openvino = pytest.importorskip("openvino")
    operators = pytest.importorskip("openvino.opset13")
    pictures = operators.parameter([2, 3, 4, 5], openvino.Type.f32)
    model = openvino.Model([operators.reduce_mean(pictures, [2, 3])], [pictures])
    compiled = openvino.Core().compile_model(taking_interleaved(model), "CPU")
    made = compiled(as_given(interleaved(planes())))[0]
    assert np.allclose(made, planes().mean((2, 3)))

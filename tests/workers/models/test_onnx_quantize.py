"""A network in ONNX is quantized by the ranges of its batches, the same way every time, or refused by name.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import logging

import numpy as np
import onnx
import onnxruntime
import pytest

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.onnx_quantize import quantized
from tests.workers.onnx_files import convolution


def batches(count: int = 3, scale: float = 1.0) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [scale * random.standard_normal((2, 3, 16, 16)).astype(np.float32) for _ in range(count)]


def output(data: bytes, images_BCHW: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (made,) = session.run(None, {session.get_inputs()[0].name: images_BCHW})
    return np.asarray(made)


def test_weights_are_of_8_bits_and_outputs_near_those_of_float32() -> None:
    data = convolution().SerializeToString()
    made = quantized("m", data, batches())
    graph = onnx.load_model_from_string(made).graph
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in graph.node}
    assert any(each.data_type == onnx.TensorProto.INT8 and each.dims for each in graph.initializer)
    (images_BCHW, *_) = batches()
    expected, found = output(data, images_BCHW), output(made, images_BCHW)
    assert not np.array_equal(found, expected)
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_ranges_are_those_of_the_batches() -> None:
    data = convolution().SerializeToString()
    narrow, wide = quantized("m", data, batches()), quantized("m", data, batches(scale=10))
    assert narrow == quantized("m", data, batches())
    (images_BCHW, *_) = batches(scale=10)
    expected = output(data, images_BCHW)
    errors = [float(np.abs(output(made, images_BCHW) - expected).mean()) for made in (narrow, wide)]
    assert errors[1] < errors[0] / 5  # of what lies beyond the ranges everything is cut off


def test_what_is_no_network_is_refused_by_its_name() -> None:
    with pytest.raises(ModelError, match=r"model m: can't be quantized .*; take another network"):
        quantized("m", b"no network", batches())


def test_the_log_of_the_caller_stays_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    quantized("m", convolution().SerializeToString(), batches())
    assert caplog.text == ""
    assert logging.root.manager.disable == logging.NOTSET

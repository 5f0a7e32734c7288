"""Quantize a network in ONNX to int8: weights per channel, activations by the ranges that pictures give.

The file that is made says so itself: what is quantized stands between operators that round to 8 bits and back (QDQ), which any
library may run in float32, and one with kernels of int8 in int8.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from pixelmill.workers.errors import ModelError
from pixelmill.workers.runtime.quiet_log import without_warnings

OPERATORS = (
    *("Conv", "ConvTranspose", "Gemm", "MatMul"),
    *("Add", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Resize"),
)
"""What is quantized: what takes nearly all of the time, and what stands between two of these. The rest stays in float32: a square
root or a softmax of 8 bits would cost agreement and save nothing."""


def quantized(model: str, data: bytes, batches_BCHW: Iterable[np.ndarray]) -> bytes:
    """The file of the quantized network. `batches_BCHW` are the network's input in float32, and are taken once, in their order.

    The same file and batches give the same bytes. ModelError where it can't be quantized.
    """
    onnx: Any = import_module("onnx")
    tools: Any = import_module("onnxruntime.quantization")
    import_module("onnxruntime").disable_telemetry_events()
    with tempfile.TemporaryDirectory(prefix="pixelmill-quantize-") as folder, without_warnings():
        prepared, made = Path(folder) / "prepared.onnx", Path(folder) / "quantized.onnx"
        try:
            loaded = onnx.load_model_from_string(data)
            (name,) = [each.name for each in loaded.graph.input]
            _prepare(loaded, prepared)
            tools.quantize_static(
                prepared,
                made,
                _Batches(name, iter(batches_BCHW)),
                op_types_to_quantize=list(OPERATORS),
                quant_format=tools.QuantFormat.QDQ,
                per_channel=True,
                weight_type=tools.QuantType.QInt8,
                activation_type=tools.QuantType.QUInt8,
                calibrate_method=tools.CalibrationMethod.MinMax,
            )
        except ModelError:
            raise
        except Exception as error:  # it raises many kinds for what it does not support
            fact = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ModelError(f"model {model}: can't be quantized ({fact}); take another network") from error
        return made.read_bytes()


def _prepare(loaded: Any, place: Path) -> None:
    """What follows from constants is computed, so that every bias is a constant, and every tensor has a shape."""
    prepare: Any = import_module("onnxruntime.quantization.shape_inference").quant_pre_process
    prepare(loaded, place, skip_symbolic_shape=True)


class _Batches:
    """What the library asks for its batches: a dict of one input, and None at the end."""

    def __init__(self, name: str, batches_BCHW: Iterator[np.ndarray]) -> None:
        self._name, self._batches = name, batches_BCHW

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch_BCHW = next(self._batches, None)
        return None if batch_BCHW is None else {self._name: batch_BCHW}

    def __iter__(self) -> _Batches:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        if (batch := self.get_next()) is None:
            raise StopIteration
        return batch

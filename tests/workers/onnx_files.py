"""Small networks in ONNX, written with the library of ONNX, and their cards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str]
CARD: dict[str, Any] = {
    "task": "segment",
    "input": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    "output": {"meaning": "logits"},
    "classes": ["a", "b", "c", "d"],
}


def weights(outputs: int = 4, inputs: int = 3) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((outputs, inputs, 3, 3)).astype(np.float32)


def model_of(nodes: list[Any], shape: Shape, made: Shape, initializers: list[Any] | None = None, **model: Any) -> Any:
    """A model with the input x and the output y, both float32."""
    taken, given = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(each)) for name, each in (("x", shape), ("y", made))
    )
    graph = helper.make_graph(nodes, "g", [taken], [given], initializers or [])
    opsets = model.pop("opset_imports", [helper.make_opsetid("", 17)])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **model)


def convolution(shape: Shape = ("b", 3, "h", "w"), outputs: int = 4) -> Any:
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    made = (shape[0], outputs, *shape[2:])
    return model_of([node], shape, made, [numpy_helper.from_array(weights(outputs), "w")])


def saved(folder: Path, model: Any, **changes: Any) -> Path:
    """FILE.onnx with its card beside it."""
    onnx.save(model, folder / "net.onnx")
    (folder / "net.json").write_text(json.dumps({**CARD, **changes}))
    return folder / "net.onnx"

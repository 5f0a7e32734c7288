"""The laws of networks in ONNX as modules: batches of any size, copies of their own, each meaning in its unit, faults by name.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from onnx import helper
from torch import Tensor
from torch.nn import functional

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.onnx_card import OnnxCard
from pixelmill.workers.models.onnx_network import OnnxNetwork, check_network
from tests.workers.onnx_files import CARD, convolution, model_of, weights


def network(model: Any, **changes: Any) -> OnnxNetwork:
    return OnnxNetwork("onnx:net.onnx", model.SerializeToString(), OnnxCard.model_validate({**CARD, **changes}))


def noise(count: int, height: int = 6, width: int = 8) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def convolved(images_BCHW: Tensor) -> Tensor:
    return functional.conv2d(images_BCHW, torch.from_numpy(weights()), padding=1)


def test_a_network_gives_what_torch_gives_for_batches_of_any_size() -> None:
    found = network(convolution())
    for count in (1, 3):
        assert torch.allclose(found(noise(count)), convolved(noise(count)), atol=1e-4)


def test_one_that_was_exported_for_a_batch_of_two_takes_five() -> None:
    found = network(convolution((2, 3, 6, 8)), input=CARD["input"] | {"size_px": [6, 8]})
    assert torch.allclose(found(noise(5)), convolved(noise(5)), atol=1e-4)


def test_a_copy_has_sessions_of_its_own_and_gives_the_same() -> None:
    found = network(convolution())
    found(noise(1))
    twin = copy.deepcopy(found)
    assert twin.sessions == {}
    assert twin.data is found.data
    assert torch.equal(twin(noise(2)), found(noise(2)))


def test_pixels_of_any_memory_format_and_precision_are_taken() -> None:
    found = network(convolution())
    expected = found(noise(2))
    assert torch.equal(found(noise(2).to(memory_format=torch.channels_last)), expected)
    half = found(noise(2).bfloat16())
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.float(), expected, atol=0.3)


def identity(operator: str = "Identity", channels: int = 3, **attributes: Any) -> Any:
    shape = ("b", channels, "h", "w")
    return model_of([helper.make_node(operator, ["x"], ["y"], **attributes)], shape, shape)


@pytest.mark.parametrize(
    ("task", "meaning", "expected"),
    [
        ("upscale", "unit", lambda x: x.clamp(0, 1)),
        ("stylize", "bytes", lambda x: (x / 255).clamp(0, 1)),
        ("reconstruct", "signed", lambda x: ((x + 1) / 2).clamp(0, 1)),
        ("segment", "logits", lambda x: x),
        ("segment", "probabilities", lambda x: x.clamp_min(1e-6).log()),
    ],
)
def test_each_meaning_comes_in_the_unit_of_its_task(task: str, meaning: str, expected: Any) -> None:
    found = network(identity(), task=task, output={"meaning": meaning}, classes=None)
    images_BCHW = noise(2) * 4 - 1
    assert torch.allclose(found(images_BCHW), expected(images_BCHW), atol=1e-6)
    check_network(found)


def test_a_map_without_channels_is_depth_and_a_coarse_one_is_enlarged() -> None:
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0)
    flat = model_of([node], ("b", 3, "h", "w"), ("b", "h", "w"))
    found = network(flat, task="depth", output={"meaning": "metres"}, classes=None)
    assert torch.allclose(found(noise(2)), noise(2).mean(1, keepdim=True), atol=1e-6)
    coarse = identity("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    pooled_BCHW = functional.avg_pool2d(noise(2), 2)
    expected = functional.interpolate(pooled_BCHW, (6, 8), mode="bilinear", align_corners=False)
    assert torch.allclose(network(coarse, classes=None)(noise(2)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "changes", "words"),
    [
        (
            convolution(),
            {"input": CARD["input"] | {"name": "image"}},
            "input.name of its card is image; the network has x",
        ),
        (
            convolution(),
            {"output": {"meaning": "logits", "name": "z"}},
            "output.name of its card is z; the network has y",
        ),
        (
            convolution(),
            {"input": {"mean": [0], "std": [1]}},
            "its input x has 3 channels, and input of its card says 1",
        ),
        (
            convolution(("b", 3, 6, 8)),
            {},
            "its input x has 6 height, and input of its card says nothing; state size_px",
        ),
        (
            convolution(("b", 3, 6, 8)),
            {"input": CARD["input"] | {"size_px": 8}},
            "has 6 height, and input of its card says 8",
        ),
        (convolution(("b", "c", "h")), {}, "can't open it|and not float32 of four axes"),
        (convolution(), {"classes": ["a", "b"]}, "gives 4 classes, and its card names 2"),
        (
            convolution(),
            {"task": "depth", "output": {"meaning": "metres"}},
            "has 4 channels, and to estimate depth it has 1",
        ),
        (identity(), {"task": "upscale", "scale": 2, "output": {"meaning": "unit"}}, "is not scale 2 of its card"),
        (identity("Flatten"), {}, r"which is nothing that can segment|can't open it"),
        (identity("NoSuchOperator"), {}, "onnxruntime .* can't open it"),
    ],
)
def test_the_error_of_a_card_that_does_not_fit_its_network_names_the_difference(
    model: Any, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        check_network(network(model, **changes))


def test_no_half_of_a_network_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="can't open it"):
        OnnxNetwork("onnx:net.onnx", convolution().SerializeToString()[:-40], OnnxCard.model_validate(CARD))


def test_pictures_of_any_size_leave_nothing_in_an_arena_and_one_size_has_one() -> None:
    free, fixed = network(convolution()), network(convolution(), input=CARD["input"] | {"size_px": 8})
    for found, has_arena in ((free, False), (fixed, True)):
        options = found.sessions["cpu"].get_session_options()
        assert (options.enable_cpu_mem_arena, options.enable_mem_pattern) == (has_arena, has_arena)


@pytest.mark.parametrize("words", ["Failed to allocate memory for requested buffer", "std::bad_alloc"])
def test_too_little_memory_is_an_error_that_halves_a_batch(words: str) -> None:
    class Full:
        def run(self, *_: object) -> None:
            raise RuntimeError(f"[ONNXRuntimeError] : 6 : {words}")

    found = network(convolution())
    found.sessions["cpu"] = Full()
    with pytest.raises(torch.OutOfMemoryError):
        found(noise(2))

"""A network of any size is converted for the sizes that repay it, and every other size is PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.pictures import Picture
from pixelmill.workers.runtime import openvino_sizes
from pixelmill.workers.runtime.agreement import Decibels
from pixelmill.workers.runtime.execution import Executor, PixelNetwork
from pixelmill.workers.runtime.openvino_sizes import OpenVinoBySize, SizeRules
from pixelmill.workers.runtime.settings import Settings
from pixelmill.workers.stages import StageContext, config_class

pytest.importorskip("openvino")

BY_OPENVINO = Settings(backend="openvino", precision="float32")


class Counted:
    """A network as PyTorch runs it, with the batches that came to it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.batches: list[int] = []

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        self.batches.append(len(images_BCHW))
        return self.module(images_BCHW)


def convolution() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()).eval().requires_grad_(False)


def by_size(rules: SizeRules, module: nn.Module | None = None) -> tuple[OpenVinoBySize, Counted]:
    module = module or convolution()
    by_torch = Counted(module)
    return OpenVinoBySize(module, by_torch, "float32", 1, rules), by_torch


def test_pictures_of_every_size_and_batch_are_what_pytorch_makes_of_them() -> None:
    network, by_torch = by_size(SizeRules())
    for count, height, width in ((1, 8, 8), (3, 8, 8), (2, 16, 9)):
        images_BCHW = torch.rand(count, 3, height, width)
        with torch.inference_mode():
            made = network(images_BCHW)
        torch.testing.assert_close(made, by_torch.module(images_BCHW), atol=1e-5, rtol=1e-4)
    assert network.sizes == {(3, 8, 8), (3, 16, 9)}
    assert by_torch.batches == []


def test_a_size_is_converted_once_it_has_taken_as_long_as_that_repays(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(float(tick) for tick in range(100))  # two looks at the clock a pass: each pass takes a second
    monkeypatch.setattr(openvino_sizes.time, "perf_counter", lambda: next(ticks))
    network, by_torch = by_size(SizeRules(repays_after_s=3))
    for _ in range(5):
        network(torch.rand(2, 3, 8, 8))
    network(torch.rand(2, 3, 8, 9))
    assert by_torch.batches == [2, 2, 2, 2]  # three of the first size, and one of the other
    assert network.sizes == {(3, 8, 8)}


def test_no_more_sizes_are_converted_than_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_sizes, "MOST_SIZES", 2)
    network, by_torch = by_size(SizeRules())
    for height in (4, 5, 6, 7):
        network(torch.rand(1, 3, height, 8))
    assert network.sizes == {(3, 4, 8), (3, 5, 8)}
    assert by_torch.batches == [1, 1]
    monkeypatch.setattr(openvino_sizes, "WEIGHTS_BYTES", 1)
    network, _ = by_size(SizeRules())
    for height in (4, 5):
        network(torch.rand(1, 3, height, 8))
    assert len(network.sizes) == 1


class Loud(nn.Module):
    """Can't be traced, as what it does depends on values."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW if float(images_BCHW.sum()) >= 0 else -images_BCHW


def test_a_size_that_cannot_be_converted_is_left_to_pytorch_and_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Tensor] = []
    real = openvino_sizes.OpenVinoNetwork.__call__

    def counting(network: openvino_sizes.OpenVinoNetwork, images: Tensor) -> object:
        tried.append(images)
        return real(network, images)

    monkeypatch.setattr(openvino_sizes.OpenVinoNetwork, "__call__", counting)
    network, by_torch = by_size(SizeRules(repays_after_s=1e-9), Loud())
    for _ in range(4):
        network(torch.rand(1, 3, 4, 4))
    assert len(by_torch.batches) == 4
    assert len(tried) == 1
    with pytest.raises(RuntimeError, match="OpenVINO can't run this network"):
        by_size(SizeRules(), Loud())[0](torch.rand(1, 3, 4, 4))


def test_a_size_whose_outputs_do_not_agree_is_left_to_pytorch() -> None:
    network, by_torch = by_size(SizeRules(0.0, Decibels(bound=1000.0)))
    network(torch.rand(2, 3, 8, 8))
    network(torch.rand(2, 3, 8, 8))
    assert network.sizes == frozenset()
    assert by_torch.batches == [2, 2]


def test_an_executor_needs_no_full_batch_of_a_network_of_any_size() -> None:
    anything = PixelNetwork(convolution(), (0.5,) * 3, (0.2,) * 3, None)
    made, eager = Executor(anything, BY_OPENVINO), Executor(anything, Settings())
    for shape in ((5, 3, 8, 8), (1, 3, 12, 10)):
        images_BCHW = torch.randint(0, 256, shape, dtype=torch.uint8)
        torch.testing.assert_close(made(images_BCHW), eager(images_BCHW), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("stage", "options", "column"),
    [
        ("depth", {}, "disparity_px_near"),
        ("segment", {"model": "fcn8s-camvid"}, "mask_confidence"),
        ("stylize", {"style": "wave"}, None),
    ],
)
def test_dense_stages_make_the_same_by_openvino(stage: str, options: dict[str, object], column: str | None) -> None:
    pixels = torch.rand(3, 12, 16)[None]
    shown = (torch.nn.functional.interpolate(pixels, (96, 128), mode="bicubic")[0].clamp(0, 1) * 255).byte()
    made: list[object] = []
    for backend in ("torch", "openvino"):
        config = config_class(stage).model_validate({**options, "backend": backend, "precision": "float32"})
        built = config.build(StageContext("cpu", 1, 10, None))
        milled = built.run([built.prepare(Picture(shown))] * 2)
        assert built.settings["backend"] == backend
        assert not milled.errors
        made.append(milled.columns[column].to_pylist() if column else milled.pictures[0].pixels.float())  # pyright: ignore
    if column:
        assert made[1] == pytest.approx(made[0], rel=1e-3)
    else:
        assert (made[0] - made[1]).abs().max() <= 1  # pyright: ignore

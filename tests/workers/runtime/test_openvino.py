"""OpenVINO computes what PyTorch does, and tells nobody."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.pictures import Picture
from pixelmill.workers.runtime.execution import Executor, PixelNetwork
from pixelmill.workers.runtime.openvino import OpenVinoNetwork
from pixelmill.workers.runtime.settings import Settings
from pixelmill.workers.stages import StageContext, config_class
from tests.small_networks import network, pictures

pytest.importorskip("openvino")

BY_OPENVINO = Settings(backend="openvino", channels_last=False, microbatch=5)


class Several(nn.Module):
    """Two outputs in a structure."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)

    def forward(self, images_BCHW: Tensor) -> dict[str, Any]:
        maps_BCHW = self.first(images_BCHW).relu()
        return {"maps": maps_BCHW, "means": (self.second(maps_BCHW).mean((2, 3)),)}


def test_what_it_computes_is_what_pytorch_computes_whatever_the_batch() -> None:
    truth = Executor(network(), Settings(channels_last=False, fold_batchnorm=False))(pictures())
    made = Executor(network(), BY_OPENVINO)(pictures())
    assert made.shape == truth.shape
    assert torch.allclose(made, truth, atol=1e-4)


def test_the_structure_of_outputs_stays() -> None:
    module, images = Several().eval(), torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        made, truth = OpenVinoNetwork(module, "float32", 1)(images), module(images)
    assert made.keys() == truth.keys()
    assert torch.allclose(made["maps"], truth["maps"], atol=1e-5)
    assert torch.allclose(made["means"][0], truth["means"][0], atol=1e-5)


def test_nothing_is_reported_to_its_vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = pytest.importorskip("openvino_telemetry")

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("usage data would be sent")

    monkeypatch.setattr(telemetry.Telemetry, "__init__", refused)
    OpenVinoNetwork(Several().eval(), "float32", 1)(torch.zeros(1, 3, 8, 8))


def test_vectors_are_those_of_pytorch() -> None:
    vectors: list[Tensor] = []
    shown = torch.randint(0, 256, (6, 3, 90, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for backend in ("torch", "openvino"):
        options = {
            "model": "torchvision:resnet18/random",
            "backend": backend,
            "precision": "float32",
            "batch": 4,
        }
        stage = config_class("embed").model_validate(options).build(StageContext("cpu", 1, 10, None))
        samples = [stage.prepare(Picture(pixels)) for pixels in shown]
        column = stage.run(samples).columns["embedding"]
        vectors.append(torch.tensor(column.to_pylist()))  # pyright: ignore
        assert stage.settings["backend"] == backend
    by_torch, by_openvino = vectors
    assert torch.cosine_similarity(by_torch, by_openvino).min() > 0.99999


def test_a_pixel_network_of_grey_pictures_keeps_its_one_channel() -> None:
    grey = PixelNetwork(nn.Flatten(), (0.0,), (1.0,), 4)
    images = torch.randint(0, 256, (3, 1, 4, 4), dtype=torch.uint8)
    assert torch.allclose(Executor(grey, BY_OPENVINO)(images), images.flatten(1) / 255, atol=1e-5)


def test_pictures_are_taken_in_the_memory_order_of_the_first_ones() -> None:
    module, images = Several().eval(), torch.randn(2, 3, 8, 6)
    truth = module(images)["maps"]
    for order in (torch.channels_last, torch.contiguous_format):
        run = OpenVinoNetwork(module, "float32", 1)
        for given in (images.contiguous(memory_format=order), images, images.to(memory_format=torch.channels_last)):
            assert torch.allclose(run(given)["maps"], truth, atol=1e-5)

"""Networks that are exported to ONNX: a card that says what a stage needs, and an error for what a card can't say.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.depth_facts import DepthFacts
from pixelmill.workers.models.onnx_card import OnnxCard
from pixelmill.workers.models.onnx_export import card_of_encoder, card_of_model, exported
from pixelmill.workers.models.onnx_network import OnnxNetwork
from pixelmill.workers.models.picture_model import Classes, PictureModel, SizeFacts
from pixelmill.workers.models.preprocess import Preprocess
from pixelmill.workers.runtime.execution import Float32Input
from tests.workers.onnx_files import CARD, convolution

SEEN = Preprocess(40, 32, "bicubic", (0.5,) * 3, (0.25,) * 3)
MODEL = PictureModel("segment", nn.Identity(), (0.5,) * 3, (0.25,) * 3, SizeFacts(), "0" * 64, licence="mit")


class Decomposed(nn.Module):
    """ONNX has no operator for it."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return torch.linalg.svdvals(images_BCHW)


def test_the_card_of_an_encoder_has_its_preprocessing() -> None:
    card = card_of_encoder("m", SEEN, "mit")
    stated = card.input
    assert (card.task, card.output.meaning, card.licence) == ("embed", "vectors", "mit")
    assert (stated.size_px, stated.resize_px, stated.interpolation, stated.mean) == (32, 40, "bicubic", (0.5,) * 3)
    stretched = card_of_encoder("m", replace(SEEN, fit="stretch", crop_px=(32, 64)), None).input
    assert (stretched.size_px, stretched.resize_px) == ((32, 64), None)


def test_the_card_of_another_network_has_its_facts() -> None:
    facts = SizeFacts(multiple_px=8, least_px=16, reach_px=5, tiling="exact")
    card = card_of_model("m", replace(MODEL, size=facts, classes=Classes(("a",), ((1, 2, 3),))))
    assert (card.classes, card.colours, card.reach_px, card.tiling) == (("a",), ((1, 2, 3),), 5, "exact")
    assert (card.input.multiple_px, card.input.least_px, card.input.size_px) == (8, 16, None)
    strided = card_of_model("m", replace(MODEL, size=replace(facts, stride_px=16)))
    assert strided.tiling == "blended"  # a card can't say where tiles begin
    depth = replace(MODEL, task="depth", depth=DepthFacts("disparity", 0.5), size=SizeFacts(resize_px=(8, 16)))
    card = card_of_model("m", depth)
    assert (card.output.meaning, card.baseline_m, card.input.size_px) == ("disparity", 0.5, (8, 16))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (replace(MODEL, task="synthesize"), "a network in ONNX can't synthesize here"),
        (replace(MODEL, module=Float32Input()), "numbers that must not be rounded"),
        (replace(MODEL, size=SizeFacts(resize_px=512)), "resizes pictures by their shorter side"),
        (replace(MODEL, task="classify", preprocess=replace(SEEN, fit="pad")), "fits pictures by pad"),
    ],
)
def test_what_a_card_can_not_say_is_refused(model: PictureModel, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        card_of_model("m", model)


def test_a_network_of_any_size_is_exported_for_any_batch_and_size() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()).eval()
    data = exported("m", module, torch.zeros(2, 3, 8, 8), of_any_size=True)
    card = OnnxCard.model_validate(CARD | {"output": {"meaning": "logits", "name": "output"}})
    for shape in ((1, 3, 8, 8), (3, 3, 6, 10)):
        images_BCHW = torch.rand(shape, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            made, truth = OnnxNetwork("m", data, card)(images_BCHW), module(images_BCHW)
        torch.testing.assert_close(made, truth, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Decomposed(), "can't be exported to ONNX"),
        (nn.Conv3d(1, 1, 1), "is a network of volumes"),
        (
            OnnxNetwork("m", convolution().SerializeToString(), OnnxCard.model_validate(CARD)),
            "is a network in ONNX already",
        ),
    ],
)
def test_what_can_not_be_exported_is_an_error_that_says_so(module: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        exported("m", module, torch.zeros(2, 3, 8, 8), of_any_size=False)

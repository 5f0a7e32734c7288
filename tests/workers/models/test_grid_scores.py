"""Enlarged scores of the network's grid equal torchvision's output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch.nn import functional

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.grid_scores import GridScores
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.libraries.torchvision import torchvision_models
from pixelmill.workers.models.palette import class_colours
from pixelmill.workers.runtime.folding import folded


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"])
def test_scores_on_the_grid_are_those_that_torchvision_enlarges(name: str) -> None:
    torch.manual_seed(0)
    network: Any = torchvision.models.get_model(name, weights=None, weights_backbone=None).eval()
    images_BCHW = torch.rand(1, 3, 96, 128)
    with torch.inference_mode():
        scores_BKHW = GridScores(network)(images_BCHW)
        enlarged_BKHW = functional.interpolate(scores_BKHW, (96, 128), mode="bilinear", align_corners=False)
        assert torch.equal(enlarged_BKHW, network(images_BCHW)["out"])
    assert scores_BKHW.shape[3] in (8, 16)


def test_batch_normalisation_can_be_folded() -> None:
    model = load_model(resolve("torchvision:lraspp_mobilenet_v3_large/random", "segment"), "segment")
    fast = folded(model.module)
    assert not any(isinstance(each, torch.nn.BatchNorm2d) for each in fast.modules())


def test_what_torchvision_offers_to_segment_is_read_from_its_source() -> None:
    offered = torchvision.models.list_models(module=torchvision.models.segmentation)
    assert sorted(offered) == sorted(torchvision_models("segmentation"))
    for name in offered:
        published = torchvision.models.get_model_weights(name)
        assert {key: published[key].name for key in published.__members__} == torchvision_models("segmentation")[name]


def test_a_model_brings_classes_and_preprocessing_as_published() -> None:
    model = load_model(resolve("torchvision:lraspp_mobilenet_v3_large/random", "segment"), "segment")
    published = torchvision.models.segmentation.LRASPP_MobileNet_V3_Large_Weights.DEFAULT
    assert model.classes is not None
    assert list(model.classes.names) == published.meta["categories"]
    assert class_colours(model.classes.names)[0] == (0, 0, 0)  # the background
    preset = published.transforms()
    assert (model.size.resize_px, list(model.mean), list(model.std)) == (preset.resize_size[0], preset.mean, preset.std)


def test_published_weights_segment_with_the_classes_that_they_were_trained_on(torch_home: Path) -> None:
    published = torchvision.models.segmentation.LRASPP_MobileNet_V3_Large_Weights.DEFAULT
    torch.manual_seed(3)
    trained: Any = torchvision.models.get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None).eval()
    torch.save(trained.state_dict(), torch_home / published.url.rpartition("/")[2])
    model = load_model(resolve("torchvision:lraspp_mobilenet_v3_large", "segment"), "segment")
    images_BCHW = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        made_BKHW = functional.interpolate(model.module(images_BCHW), (64, 96), mode="bilinear", align_corners=False)
        assert torch.equal(made_BKHW, trained(images_BCHW)["out"])
    assert resolve("torchvision:lraspp_mobilenet_v3_large", "segment").weights == "COCO_WITH_VOC_LABELS_V1"


def test_weights_to_segment_that_can_not_be_fetched_say_what_ships(torch_home: Path) -> None:
    assert torch_home.is_dir()
    with pytest.raises(
        ModelError, match=r"could not be fetched from https://.*\.pth .*a model that ships: segnet-camvid"
    ):
        load_model(resolve("torchvision:lraspp_mobilenet_v3_large", "segment"), "segment")

"""Weights of VGG are told from those of other networks by their names alone."""

from __future__ import annotations

from typing import Literal

import pytest

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.vgg_names import depth_of, is_published, naming_of, require_layers, require_vgg
from pixelmill.workers.networks.vgg import layer_names


def test_whose_names_tensors_have() -> None:
    assert naming_of("x", {"features.0.weight", "classifier.0.bias"}) == "torchvision"
    assert naming_of("x", {"block1_conv1.weight"}) == "caffe"


@pytest.mark.parametrize(
    ("names", "fact"),
    [
        ({"layer1.0.conv1.weight"}, r"no VGG's tensors are called layer1\.0\.conv1\.weight; rename"),
        ({"features.0.weight", "features.1.running_mean"}, "batch normalisation; take the weights of one without"),
    ],
)
def test_another_network_is_refused(names: set[str], fact: str) -> None:
    with pytest.raises(ModelError, match=f"FILE: .*{fact}"):
        naming_of("FILE", names)


def test_torchvision_has_to_be_asked_for_a_vgg() -> None:
    assert is_published("torchvision:VGG16_Weights.IMAGENET1K_V1")
    assert not is_published("vgg.safetensors")
    require_vgg("torchvision:VGG19_Weights.IMAGENET1K_V1")
    with pytest.raises(ModelError, match=r"ResNet18_Weights\.DEFAULT is of another network; take torchvision:VGG16"):
        require_vgg("torchvision:ResNet18_Weights.DEFAULT")


def test_the_depth_is_that_of_the_names() -> None:
    assert depth_of({"features.34.weight"}) == depth_of({"block3_conv4.weight"}) == 19
    assert depth_of({"features.28.weight"}) == depth_of({"block3_conv3.weight"}) == 16


@pytest.mark.parametrize("depth", [16, 19])
def test_the_layers_that_are_let_pass_are_those_that_the_network_has(depth: Literal[16, 19]) -> None:
    for block in range(1, 6):
        for layer in [
            f"pool{block}",
            *(f"{kind}{block}_{number}" for kind in ("conv", "relu") for number in range(1, 5)),
        ]:
            if layer in layer_names(depth):
                require_layers("FILE", depth, [layer])
            else:
                with pytest.raises(
                    ModelError, match=f"FILE: VGG-{depth} has no layer {layer}; block {block} ends with"
                ):
                    require_layers("FILE", depth, ["conv1_1", layer])

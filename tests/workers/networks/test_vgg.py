"""VGG: the layers of the paper, each set of weights with its own preprocessing, and weights that can't load in silence.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.vgg_weights import load_vgg, read_vgg
from pixelmill.workers.networks.vgg import (
    CONVENTIONS,
    ConventionName,
    Vgg,
    VggConfig,
    convolution_names,
    fill,
    layer_names,
)
from tests.learning import assert_seeded
from tests.workers.vgg_files import WIDTH, Write, caffe_state, slim_torchvision, torchvision_state, writing

STATISTICS = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
CAFFE_MEAN_BGR = torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)


def pictures(height: int = 40, width: int = 48) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writing(tmp_path)


def parameter_count(config: VggConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Vgg(config).parameters())


def test_the_published_networks_have_the_published_number_of_parameters() -> None:
    counts = {depth: parameter_count(VggConfig(depth)) for depth in (16, 19)}
    assert counts == {16: 14_714_688, 19: 20_024_384}
    assert all(f"{count:,}" in (Vgg.__doc__ or "") for count in counts.values())


def test_layers_are_named_as_caffe_names_them() -> None:
    names = layer_names(16)
    assert names[:5] == ("conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1")
    assert names[-3:] == ("conv5_3", "relu5_3", "pool5")
    assert [len(convolution_names(depth)) for depth in (16, 19)] == [13, 16]
    assert "relu5_4" in layer_names(19)


@pytest.mark.parametrize("depth", [16, 19])
def test_every_layer_is_torchvisions_with_the_same_weights(depth: Literal[16, 19], write: Write) -> None:
    features, images_BCHW = slim_torchvision(depth), pictures()
    network = load_vgg(write(torchvision_state(depth)))
    assert (network.config.depth, network.config.width, network.config.convention) == (depth, WIDTH, "torchvision")
    maps_BCHW = (images_BCHW - STATISTICS[0]) / STATISTICS[1]
    found = network(images_BCHW, layer_names(depth))
    for layer, (name, found_BCHW) in zip(features, found.items(), strict=True):
        maps_BCHW = layer(maps_BCHW.clone())  # torchvision's ReLU works in place
        torch.testing.assert_close(found_BCHW, maps_BCHW, msg=lambda text, name=name: f"{name}: {text}")


def test_weights_of_caffes_convention_see_blue_first_from_0_to_255_less_the_mean(write: Write) -> None:
    features, images_BCHW = slim_torchvision(), pictures()
    network = load_vgg(write(caffe_state()))
    assert network.config.convention == "caffe"
    expected_BCHW = features[0](255 * images_BCHW[:, [2, 1, 0]] - CAFFE_MEAN_BGR)
    torch.testing.assert_close(network(images_BCHW, ["conv1_1"])["conv1_1"], expected_BCHW)


def test_the_mean_colour_is_zero_in_every_convention() -> None:
    for name, convention in CONVENTIONS.items():
        mean_C = torch.tensor(convention.mean) / convention.scale
        mean_colour = mean_C.flip(0) if convention.order == "bgr" else mean_C
        images_BCHW = mean_colour.view(1, 3, 1, 1).expand(1, 3, 4, 4)
        assert Vgg(VggConfig(width=1, convention=name)).preprocessing(images_BCHW).abs().max() < 1e-3
        assert mean_colour[0] > mean_colour[1] > mean_colour[2]  # ImageNet is reddish, whatever the order is called


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_preprocessing_folded_into_the_first_convolution_would_be_wrong_along_the_border(
    convention: ConventionName,
) -> None:
    torch.manual_seed(0)
    network, images_BCHW = Vgg(VggConfig(width=WIDTH, convention=convention)), pictures()
    folded = fold_preprocessing(network)
    found_BCHW, folded_BCHW = network(images_BCHW, ["conv1_1"])["conv1_1"], folded(images_BCHW)
    inside = slice(1, -1)
    scale = found_BCHW.abs().max()
    assert (found_BCHW - folded_BCHW)[..., inside, inside].abs().max() < 1e-4 * scale
    assert (found_BCHW - folded_BCHW)[..., 0, :].abs().max() > 0.1 * scale
    explicit_BCHW = functional.conv2d(
        functional.pad(network.preprocessing(images_BCHW), [1] * 4), *network.convolutions["conv1_1"].parameters()
    )
    torch.testing.assert_close(found_BCHW, explicit_BCHW)


def fold_preprocessing(network: Vgg) -> nn.Conv2d:
    """The first convolution with the preprocessing in its weights: what this project does not do."""
    convention, first = network.preprocessing.convention, network.convolutions["conv1_1"]
    scale_C = convention.scale / torch.tensor(convention.std)
    shift_C = -torch.tensor(convention.mean) / torch.tensor(convention.std)
    folded = nn.Conv2d(3, WIDTH, 3, padding=1)
    weight_OCHW = first.get_parameter("weight").detach()
    bias_O = first.get_parameter("bias").detach() + torch.einsum("ochw,c->o", weight_OCHW, shift_C)
    weight_OCHW = weight_OCHW * scale_C.view(1, 3, 1, 1)
    folded.weight = nn.Parameter(weight_OCHW.flip(1) if convention.order == "bgr" else weight_OCHW)
    folded.bias = nn.Parameter(bias_O)
    return folded


def test_nothing_behind_the_deepest_layer_asked_for_is_computed_and_nothing_else_is_kept() -> None:
    network, ran = Vgg(VggConfig(width=1)), list[str]()
    for name, layer in network.convolutions.items():
        layer.register_forward_hook(lambda *_, name=name: ran.append(name))
    found = network(pictures(), ["pool2", "relu1_1"])
    assert list(found) == ["pool2", "relu1_1"]
    assert ran == ["conv1_1", "conv1_2", "conv2_1", "conv2_2"]
    assert network(pictures(), []) == {}


def test_a_map_before_its_relu_is_not_changed_by_it() -> None:
    found = Vgg(VggConfig(width=2))(pictures(), ["conv1_1", "relu1_1"])
    assert found["conv1_1"].min() < 0
    assert torch.equal(found["relu1_1"], functional.relu(found["conv1_1"]))


def test_a_layer_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ModelError, match=r"no layer relu4_4; it has conv1_1, .*pool5"):
        Vgg(VggConfig(width=1))(pictures(), ["relu4_4", "relu1_1"])


@pytest.mark.parametrize("wrong", [{"depth": 11}, {"width": 0}, {"convention": "keras"}, {"pooling": "sum"}])
def test_a_network_that_cannot_be_built_is_refused_by_name(wrong: dict[str, int]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        VggConfig(**wrong)  # pyright: ignore[reportArgumentType]


def test_pools_take_the_maximum_or_the_average_and_keep_odd_rows_on_request() -> None:
    torch.manual_seed(0)
    found = {
        (pooling, ceil): Vgg(VggConfig(width=2, pooling=pooling, ceil_pooling=ceil))
        for pooling in ("max", "average")
        for ceil in (False, True)
    }
    for (pooling, ceil), network in found.items():
        maps = network(pictures(9, 11), ["relu1_2", "pool1"])
        windows_BCHW = maps["relu1_2"][:, :, :2, :2]
        assert maps["pool1"].shape[2:] == ((5, 6) if ceil else (4, 5))
        expected = windows_BCHW.amax((2, 3)) if pooling == "max" else windows_BCHW.mean((2, 3))
        torch.testing.assert_close(maps["pool1"][:, :, 0, 0], expected)


def test_a_border_is_laid_around_the_preprocessed_picture() -> None:
    torch.manual_seed(0)
    network = Vgg(VggConfig(width=2, convention="caffe"))
    plain_BCHW = network(pictures(8, 8), ["conv1_1"])["conv1_1"]
    wide_BCHW = network(pictures(8, 8), ["conv1_1"], border_px=3)["conv1_1"]
    assert wide_BCHW.shape[2:] == (14, 14)
    torch.testing.assert_close(wide_BCHW[..., 3:-3, 3:-3], plain_BCHW, atol=1e-3, rtol=1e-5)


def test_a_loaded_network_is_frozen_lets_gradients_through_and_leaves_the_random_numbers_alone(write: Write) -> None:
    path, images_BCHW = write(caffe_state()), pictures().requires_grad_()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    network = load_vgg(path)
    assert torch.equal(torch.rand(2), expected)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    network(images_BCHW, ["relu2_2"])["relu2_2"].sum().backward()
    assert images_BCHW.grad is not None
    assert images_BCHW.grad.any()


def test_the_same_seed_gives_the_same_weights() -> None:
    assert_seeded(lambda: Vgg(VggConfig(width=2)))


# Weights that do not fit


def test_a_file_of_half_precision_gives_a_network_of_single_precision(write: Write) -> None:
    path = write({name: tensor.half() for name, tensor in caffe_state().items()})
    assert {parameter.dtype for parameter in load_vgg(path).parameters()} == {torch.float32}


def test_a_report_lists_matching_and_remaining_weights(write: Write) -> None:
    state = torchvision_state() | {"classifier.0.weight": torch.zeros(2, 2), "classifier.6.bias": torch.zeros(2)}
    report = fill(Vgg(VggConfig(width=WIDTH)).convolutions, read_vgg(write(state)))
    assert report.share == 1
    assert str(report).startswith("weights.safetensors: 26 of 26 tensors matched; not used classifier.0.weight")


def test_a_trunk_starts_with_a_tensor_missing_but_not_with_two_and_a_loss_network_with_none(write: Write) -> None:
    state = torchvision_state()
    del state["features.28.bias"]
    trunk = Vgg(VggConfig(width=WIDTH)).convolutions
    assert fill(trunk, read_vgg(write(state))).missing == ("conv5_3.bias",)
    with pytest.raises(ModelError, match=r"25 of 26 tensors matched; missing conv5_3\.bias"):
        load_vgg(write(state))
    del state["features.26.bias"]
    with pytest.raises(ModelError, match=r"24 of 26 .* under 95% is refused"):
        fill(trunk, read_vgg(write(state)))


def test_a_slim_trunk_is_not_started_from_wide_weights_and_stays_as_it_was(write: Write) -> None:
    trunk = Vgg(VggConfig(width=2)).convolutions
    before = [parameter.clone() for parameter in trunk.parameters()]
    with pytest.raises(
        ModelError, match=r"0 of 26 .*of another shape conv1_1\.weight \(4, 3, 3, 3\) for \(2, 3, 3, 3\)"
    ):
        fill(trunk, read_vgg(write(torchvision_state())))
    assert all(torch.equal(*pair) for pair in zip(before, trunk.parameters(), strict=True))


def test_weights_of_the_deeper_network_do_not_fill_the_shallower(write: Write) -> None:
    with pytest.raises(ModelError, match=r"is a VGG-19 with conv3_4\.bias"):
        fill(Vgg(VggConfig(width=WIDTH)).convolutions, read_vgg(write(torchvision_state(19))))


def test_values_that_are_no_numbers_are_refused(write: Write) -> None:
    state = torchvision_state()
    state["features.5.weight"] = state["features.5.weight"] * float("nan")
    with pytest.raises(ModelError, match=r"conv2_1\.weight hold values that are no numbers"):
        load_vgg(write(state))

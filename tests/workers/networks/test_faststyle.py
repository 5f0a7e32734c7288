"""The transform network of fast style."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.faststyle import Doubling, FastStyleConfig, FastStyleUpsampling, TransformNetwork
from tests.tolerances import network_tolerance
from tests.workers.painters import SLIM, built


def random_images(batch: int = 2, height: int = 24, width: int = 24, seed: int = 0) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
def test_it_has_the_papers_size(upsampling: FastStyleUpsampling) -> None:
    with torch.device("meta"):
        network = TransformNetwork(FastStyleConfig(upsampling=upsampling))
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 1_677_635
    assert f"{count:,} parameters" in (TransformNetwork.__doc__ or "")
    assert round(count / 1e6, 2) == 1.68


def test_its_layers_are_c9_d64_d128_five_blocks_u64_u32_c9() -> None:
    with torch.device("meta"):
        layers = TransformNetwork(FastStyleConfig()).modules()
        plan = [
            (layer.kernel_size[0], layer.stride[0], layer.out_channels, layer.padding_mode)
            for layer in layers
            if isinstance(layer, nn.Conv2d)
        ]
    blocks = [(3, 1, 128, "reflect")] * 10
    assert plan == [
        (9, 1, 32, "reflect"),
        (3, 2, 64, "reflect"),
        (3, 2, 128, "reflect"),
        *blocks,
        (3, 1, 64, "reflect"),
        (3, 1, 32, "reflect"),
        (9, 1, 3, "reflect"),
    ]


@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
@pytest.mark.parametrize(("height", "width"), [(24, 24), (25, 38), (7, 5), (1, 1), (9, 64)])
def test_a_picture_of_any_size_comes_out_at_that_size(upsampling: FastStyleUpsampling, height: int, width: int) -> None:
    network = built(FastStyleConfig(width=4, blocks=1, upsampling=upsampling))
    painted_BCHW = network(random_images(2, height, width))
    assert painted_BCHW.shape == (2, 3, height, width)
    assert painted_BCHW.min() > -0.1
    assert painted_BCHW.max() < 1.1


def test_black_and_white_are_within_reach() -> None:
    network = built(SLIM)
    last = network.layers[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    nn.init.zeros_(last.weight)
    for level, bias in ((0.0, -1.3), (1.0, 1.3)):
        nn.init.constant_(last.bias, bias)
        assert abs(network(random_images()).mean().item() - level) < 0.02


def test_a_flat_picture_stays_flat_up_to_its_border() -> None:
    assert built(SLIM)(torch.full((1, 3, 32, 32), 0.3)).std((2, 3)).max() < 1e-6


def test_doubling_paints_no_checkerboard_and_a_transposed_convolution_does() -> None:
    flat_BCHW = torch.ones(1, 4, 8, 8)
    assert Doubling(4, 4, "nearest")(flat_BCHW).std() < 1e-3
    assert Doubling(4, 4, "transposed")(flat_BCHW).std() > 0.5


@pytest.mark.parametrize("training", [True, False])
def test_a_picture_is_painted_the_same_alone_and_in_company(training: bool) -> None:
    network, images_BCHW = built(SLIM).train(training), random_images(3)
    painted_BCHW = network(images_BCHW)
    tolerance = network_tolerance(network, painted_BCHW)
    torch.testing.assert_close(painted_BCHW[1:2], network(images_BCHW[1:2]), atol=tolerance, rtol=0)


@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
def test_every_parameter_gets_a_gradient_but_the_published_offsets_that_the_next_norm_cancels(
    upsampling: FastStyleUpsampling,
) -> None:
    network = built(FastStyleConfig(width=4, blocks=2, upsampling=upsampling))
    (network(random_images()) - random_images(seed=1)).square().mean().backward()
    silent = {
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() < 1e-6
    }
    offsets_after_the_branch = {f"layers.{index}.branch.2.1.bias" for index in (6, 7)}
    assert silent == (offsets_after_the_branch if upsampling == "nearest" else set())


@pytest.mark.parametrize("wrong", [{"width": 0}, {"blocks": -1}, {"upsampling": "bicubic"}])
def test_a_shape_that_cannot_be_built_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        FastStyleConfig(**wrong)  # pyright: ignore[reportArgumentType]


def test_the_config_rebuilds_the_network() -> None:
    network = built(SLIM)
    again = TransformNetwork(FastStyleConfig(**asdict(network.config)))
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(random_images()), network(random_images()))

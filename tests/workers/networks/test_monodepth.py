"""The network of Monodepth."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from torch import nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.monodepth import Monodepth, MonodepthConfig, MonodepthUp
from tests.workers.pairs import recipe, seeded_network


def test_the_docstring_states_the_number_of_parameters_which_is_the_papers() -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in Monodepth(MonodepthConfig()).parameters())
    assert round(count / 1e6, 1) == 31.6
    assert f"{count:,} parameters" in (Monodepth.__doc__ or "")


def test_four_scales_of_two_disparities_come_out_finest_first() -> None:
    disparities = seeded_network()(torch.rand(2, 3, 128, 256))
    assert [tuple(each.shape) for each in disparities] == [(2, 2, 128 >> scale, 256 >> scale) for scale in range(4)]
    assert all(each.min() >= 0 and each.max() <= 0.3 for each in disparities)


@pytest.mark.parametrize("size_px", [(80, 256), (37, 101), (8, 8)])
def test_any_size_goes_through_without_padding(size_px: tuple[int, int]) -> None:
    disparities = seeded_network()(torch.rand(1, 3, *size_px))
    expected = [tuple(-(-side // 2**scale) for side in size_px) for scale in range(4)]
    assert [tuple(each.shape[-2:]) for each in disparities] == expected


def test_disparity_reaches_three_tenths_of_the_width_and_no_further() -> None:
    network = seeded_network()
    for name, parameter in network.named_parameters():
        if "disparity" in name:
            nn.init.constant_(parameter, 1e3 if name.endswith("bias") else 0)
    assert all((each == 0.3).all() for each in network(torch.rand(1, 3, 64, 128)))


@pytest.mark.parametrize("disparity", [0.15, 0.02])
def test_a_new_network_begins_near_the_disparity_that_is_asked_for(disparity: float) -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        disparities = recipe(first_disparity=disparity).network()(torch.zeros(1, 3, 64, 128))
    assert all(each.mean().item() == pytest.approx(disparity, rel=0.3) for each in disparities)


def test_nothing_is_normalised_by_the_batch() -> None:
    network, images_BCHW = seeded_network(), torch.rand(2, 3, 64, 128)
    together, alone = network(images_BCHW), network(images_BCHW[:1])
    assert not any(True for _ in network.buffers())
    torch.testing.assert_close(together[0][:1], alone[0])


def test_every_parameter_gets_a_gradient() -> None:
    network = seeded_network()
    sum(each.square().mean() for each in network(torch.rand(1, 3, 128, 128))).backward()  # pyright: ignore[reportAttributeAccessIssue]
    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


def test_skips_are_joined_at_the_levels_that_are_asked_for() -> None:
    def joined(*skips: int) -> list[int]:
        network = Monodepth(MonodepthConfig(width=4, skips=skips))
        convolutions = [up.joined for up in network.decoder if isinstance(up, MonodepthUp)]
        return [convolution.in_channels - convolution.out_channels for convolution in convolutions]

    assert joined() == [0, 0, 0, 0, 2, 2, 2]
    assert joined(1, 6) == [64, 0, 0, 0, 2, 2 + 4, 2]
    assert joined(1, 2, 3, 4, 5, 6) == [64, 64, 32, 16, 2 + 8, 2 + 4, 2]


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"width": 3}, {"skips": (0,)}, {"skips": (7,)}, {"skips": (1, 1)}, {"size_px": (4, 128)}]
)
def test_a_shape_that_cannot_be_built_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        MonodepthConfig(**wrong)  # pyright: ignore[reportArgumentType]


def test_a_config_survives_json() -> None:
    config = recipe(skips=(1, 2)).network().config
    assert MonodepthConfig(**json.loads(json.dumps(asdict(config)))) == config  # pyright: ignore[reportArgumentType, reportCallIssue]


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_network_in_fewer_bits_still_gives_its_disparities_in_float32(dtype: torch.dtype) -> None:
    network, images_BCHW = seeded_network().eval(), torch.rand(1, 3, 64, 128)
    (truth_B2HW, *_) = network(images_BCHW)
    (short_B2HW, *_) = network.to(dtype)(images_BCHW.to(dtype))
    assert short_B2HW.dtype == torch.float32
    assert ((short_B2HW - truth_B2HW).abs().mean() / truth_B2HW.mean()).item() < 0.01

"""The cascaded refinement network."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.crn import CascadedRefinement, CrnConfig, layout_pyramid, one_hot
from tests.workers.facades import built, random_ids, seeded

SLIM = CrnConfig(classes=12, start_px=(2, 4), widths=(8, 8, 4))


@pytest.mark.parametrize(
    ("config", "count", "size_px"),
    [
        (CrnConfig(), 97_420_803, (256, 512)),
        (CrnConfig(classes=20, widths=(*[1024] * 5, 512, 512, 128, 32)), 98_674_531, (1024, 2048)),
    ],
)
def test_it_has_the_reference_codes_size(config: CrnConfig, count: int, size_px: tuple[int, int]) -> None:
    with torch.device("meta"):
        network = CascadedRefinement(config)
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    assert f"{count:,}" in (CascadedRefinement.__doc__ or "")
    assert config.size_px == size_px


@pytest.mark.parametrize(("start_px", "outputs"), [((4, 8), 1), ((2, 4), 9), ((3, 3), 2)])
def test_pictures_have_the_size_of_the_layout_and_are_as_many_as_asked_for(
    start_px: tuple[int, int], outputs: int
) -> None:
    config = CrnConfig(classes=5, start_px=start_px, widths=(8, 8, 4), outputs=outputs)
    height, width = config.size_px
    layouts_BKHW = torch.rand(2, 5, height, width, generator=seeded())
    assert (height, width) == (start_px[0] * 4, start_px[1] * 4)
    assert built(config)(layouts_BKHW).shape == (2, outputs, 3, height, width)


def test_an_id_beyond_the_classes_is_of_no_class() -> None:
    layouts_BKHW = one_hot(torch.tensor([[[0, 2, 3, 255]]], dtype=torch.uint8), 3)
    assert layouts_BKHW[0, :, 0].T.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_each_grid_sees_the_layout_averaged_over_its_cells() -> None:
    layouts_BKHW = one_hot(random_ids(), 12)
    coarse, middle, fine = layout_pyramid(layouts_BKHW, 3)
    assert torch.equal(fine, layouts_BKHW)
    torch.testing.assert_close(middle, F.interpolate(layouts_BKHW, scale_factor=0.5, mode="area"))
    torch.testing.assert_close(coarse, F.interpolate(layouts_BKHW, scale_factor=0.25, mode="area"))
    torch.testing.assert_close(coarse.sum(1), torch.ones(2, 2, 4))


def test_modules_see_the_upsampled_features_beside_the_layout() -> None:
    seen: list[tuple[int, ...]] = []
    network = built(SLIM)
    for module in [network.coarsest, *network.finer]:
        module.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    network(one_hot(random_ids(), 12))
    assert seen == [(2, 12, 2, 4), (2, 8 + 12, 4, 8), (2, 8 + 12, 8, 16)]


def test_features_are_doubled_bilinearly_and_lie_over_their_piece_of_the_layout() -> None:
    network, kept = built(SLIM), list[Tensor]()
    network.coarsest.register_forward_hook(lambda _, inputs, made: kept.append(made))
    network.finer[0].register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    layouts_BKHW = one_hot(random_ids(), 12)
    network(layouts_BKHW)
    coarse_BCHW, seen_BCHW = kept
    doubled_BCHW = F.interpolate(coarse_BCHW, (4, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(seen_BCHW[:, :8], doubled_BCHW)
    torch.testing.assert_close(seen_BCHW[:, 8:], layout_pyramid(layouts_BKHW, 3)[1])


def test_a_module_normalises_each_picture_over_channels_and_positions() -> None:
    convolution, norm, slope = list(built(SLIM).coarsest)[:3]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.GroupNorm)
    assert isinstance(slope, nn.LeakyReLU)
    assert slope.negative_slope == 0.2
    maps_BCHW = norm(convolution(torch.rand(3, 12, 4, 8, generator=seeded())))
    torch.testing.assert_close(maps_BCHW.mean((1, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(maps_BCHW.var((1, 2, 3), correction=0), torch.ones(3), atol=1e-2, rtol=0)
    assert maps_BCHW.mean((2, 3)).abs().max() > 0.05  # it is no instance norm


def test_every_parameter_gets_a_gradient() -> None:
    network = built(SLIM)
    (network(one_hot(random_ids(), 12)) - 0.3).square().mean().backward()
    sizes = {name: float(p.grad.abs().max()) for name, p in network.named_parameters() if p.grad is not None}
    assert sizes.keys() == dict(network.named_parameters()).keys()
    assert min(sizes.values()) > 1e-7


@pytest.mark.parametrize(
    "wrong",
    [{"start_px": (0, 8)}, {"start_px": (4,)}, {"widths": ()}, {"widths": (8, 0)}, {"classes": 0}, {"outputs": 0}],
)
def test_a_shape_that_cannot_be_built_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        CrnConfig(**wrong)  # pyright: ignore[reportArgumentType]


def test_a_layout_of_another_size_is_refused() -> None:
    with pytest.raises(ModelError, match=r"\(8, 8\)"):
        built(SLIM)(torch.rand(1, 12, 8, 8))


def test_the_config_survives_json_and_rebuilds_the_network() -> None:
    config = CrnConfig(**json.loads(json.dumps(asdict(SLIM))))
    assert config == SLIM
    network, again = built(SLIM), CascadedRefinement(config)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(one_hot(random_ids(), 12)), network(one_hot(random_ids(), 12)))

"""FCN: the paper's size, scores that are summed where they belong, and any size in, the same size out.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.vgg_weights import read_vgg
from pixelmill.workers.networks.fcn import Fcn, FcnConfig, FcnUp, FcnUpsampling
from pixelmill.workers.networks.upsample import bilinear_kernel
from pixelmill.workers.networks.vgg import Vgg, VggConfig, layer_names
from tests.learning import assert_seeded, descend

SLIM: dict[str, Any] = {"classes": 3, "width": 4, "fc_width": 12, "dropout": 0.0}


def pictures(height: int, width: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def count(config: FcnConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Fcn(config).parameters())


def scored(network: Fcn, *names: str) -> Fcn:
    """The network with ones in these scoring layers and zeros in the others."""
    for name, score in network.scores.items():
        nn.init.constant_(score.get_parameter("weight"), float(name in names))
    return network


@pytest.mark.parametrize(
    ("skips", "upsampling", "expected"),
    [
        ((), "fixed", 134_346_581),
        ((4,), "fixed", 134_357_354),
        ((3, 4), "fixed", 134_362_751),
        ((3, 4), "learned", 134_489_759),
    ],
)
def test_the_papers_networks_have_the_papers_number_of_parameters(
    skips: tuple[int, ...], upsampling: FcnUpsampling, expected: int
) -> None:
    assert count(FcnConfig(classes=21, skips=skips, upsampling=upsampling)) == expected
    assert f"{134_362_751:,}" in (Fcn.__doc__ or "")


@pytest.mark.parametrize("size_HW", [(1, 5), (32, 32), (33, 47), (61, 90)])
@pytest.mark.parametrize("padding", ["same", "caffe"])
def test_logits_have_the_size_of_the_picture(size_HW: tuple[int, int], padding: str) -> None:
    for length in range(3):
        for skips in combinations((2, 3, 4), length):
            network = Fcn(FcnConfig(**SLIM | {"width": 1, "fc_width": 1}, skips=skips, padding=cast(Any, padding)))
            assert network(pictures(*size_HW)).shape == (1, 3, *size_HW)


@pytest.mark.parametrize("upsampling", ["fixed", "learned", "nearest", "bilinear", "bicubic"])
def test_every_upsampling_gives_the_size_of_the_picture(upsampling: FcnUpsampling) -> None:
    assert Fcn(FcnConfig(**SLIM, upsampling=upsampling))(pictures(37, 50)).shape == (1, 3, 37, 50)


def test_training_starts_from_equal_odds() -> None:
    assert not Fcn(FcnConfig(**SLIM))(pictures(40, 40)).any()


def test_the_scores_of_the_levels_are_summed() -> None:
    torch.manual_seed(0)
    network, images_BCHW = Fcn(FcnConfig(**SLIM)).eval(), pictures(50, 70)
    levels = ("fc7", "pool4", "pool3")
    alone = [scored(network, name)(images_BCHW) for name in levels]
    together = scored(network, *levels)(images_BCHW)
    assert all(logits_BKHW.std() > 0 for logits_BKHW in alone)
    torch.testing.assert_close(together, sum(alone), rtol=1e-4, atol=1e-4)


def test_pools_are_scaled_as_in_the_reference_code_where_pixels_go_to_255() -> None:
    assert FcnConfig().skip_scales == (1, 1)
    assert FcnConfig(convention="caffe").skip_scales == (1e-4, 1e-2)
    assert FcnConfig(skips=(4,), convention="caffe").skip_scales == (1e-2,)
    torch.manual_seed(0)
    network, images_BCHW = scored(Fcn(FcnConfig(**SLIM)), "pool3"), pictures(40, 40)
    half = scored(Fcn(FcnConfig(**SLIM, skip_scales=(0.5, 1.0))), "pool3")
    half.load_state_dict(network.state_dict())
    torch.testing.assert_close(half(images_BCHW), network(images_BCHW) / 2)


class Places(nn.Module):
    """Stands for the trunk: every cell of a pool holds where it lies in the picture, across and down, in px."""

    def forward(self, images_BCHW: Tensor, names: list[str], border_px: int = 0) -> dict[str, Tensor]:
        rows, columns = (torch.arange(-border_px, side + border_px).float() for side in images_BCHW.shape[2:])
        maps_1CHW = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]
        pools: dict[str, Tensor] = {}
        for level in range(1, 6):
            maps_1CHW = functional.avg_pool2d(maps_1CHW, 2, ceil_mode=True)
            pools[f"pool{level}"] = maps_1CHW
        return {name: pools[name] for name in names}


class PassThrough(nn.Module):
    """Stands for fc6: loses what an unpadded 7x7 convolution loses."""

    def __init__(self, lost: int) -> None:
        super().__init__()
        self.lost = lost

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        height, width = maps_BCHW.shape[2:]
        return maps_BCHW[:, :, self.lost : height - self.lost, self.lost : width - self.lost]


@pytest.mark.parametrize("skips", [(), (4,), (3, 4), (2, 3), (1, 2, 3, 4)])
@pytest.mark.parametrize(
    ("padding", "upsampling"), [("same", "fixed"), ("same", "learned"), ("same", "bilinear"), ("caffe", "fixed")]
)
def test_every_level_is_scored_where_it_lies(skips: tuple[int, ...], padding: str, upsampling: str) -> None:
    network = Fcn(
        FcnConfig(2, skips, padding=cast(Any, padding), upsampling=cast(Any, upsampling), width=1, fc_width=2)
    )
    network.trunk = cast(Any, Places())
    network.fc6, network.fc7 = cast(Any, PassThrough(3 if padding == "caffe" else 0)), cast(Any, nn.Identity())
    network.dropout = cast(Any, nn.Identity())
    for level in network.scores:
        for name in network.scores:
            network.scores[name] = nn.Identity() if name == level else Zero()
        logits_BKHW = without_relu(network, torch.zeros(1, 3, 131, 203))
        rows, columns = (torch.arange(side).float() for side in logits_BKHW.shape[2:])
        inner = slice(48, -48)  # the border fades, and a pool's last cell may be cut
        torch.testing.assert_close(
            logits_BKHW[0, 0, inner, inner].mean(1),
            rows[inner],
            rtol=0,
            atol=1e-2,
            msg=lambda m, at=level: f"{at}: {m}",
        )
        torch.testing.assert_close(logits_BKHW[0, 1, inner, inner].mean(0), columns[inner], rtol=0, atol=1e-2)


class Zero(nn.Module):
    def forward(self, maps_BCHW: Tensor) -> Tensor:
        return torch.zeros_like(maps_BCHW)


def without_relu(network: Fcn, images_BCHW: Tensor) -> Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pixelmill.workers.networks.fcn.F.relu", lambda maps_BCHW: maps_BCHW)
        return network(images_BCHW)


@pytest.mark.parametrize(("skips", "crops_px"), [((), [19]), ((4,), [5, 27]), ((3, 4), [5, 9, 31])])
def test_caffes_padding_is_cropped_as_in_the_reference_code(skips: tuple[int, ...], crops_px: list[int]) -> None:
    network, offset, found_px = Fcn(FcnConfig(**SLIM, skips=skips, padding="caffe")), 3, list[int]()
    for up in network.ups:
        _, offset = up(torch.zeros(1, 3, 4, 4), offset)
        found_px.append(offset)
    assert [*found_px[:-1], 99 - found_px[-1]] == crops_px


def test_the_kernels_are_bilinear_of_the_papers_sizes_and_stay_as_they_are() -> None:
    torch.manual_seed(0)
    network, images_BCHW = Fcn(FcnConfig(**SLIM)), pictures(40, 40)
    ups = [cast(FcnUp, up) for up in network.ups]
    kernels = [torch.as_tensor(up.weight_KJHW).clone() for up in ups]
    assert [(up.stride, kernel.shape[-1]) for up, kernel in zip(ups, kernels, strict=True)] == [(2, 4), (2, 4), (8, 16)]
    assert all(torch.equal(kernel[2, 0], bilinear_kernel(up.stride)) for up, kernel in zip(ups, kernels, strict=True))
    learn(network, images_BCHW, torch.zeros(1, 40, 40, dtype=torch.long), steps=2)
    assert all(torch.equal(torch.as_tensor(up.weight_KJHW), kernel) for up, kernel in zip(ups, kernels, strict=True))
    assert not [name for name in network.state_dict() if name.startswith("ups")]


def test_learned_kernels_start_as_the_fixed_ones() -> None:
    torch.manual_seed(0)
    fixed, learned = (scored(Fcn(FcnConfig(**SLIM, upsampling=way)), "fc7", "pool3") for way in ("fixed", "learned"))
    learned.load_state_dict(fixed.state_dict(), strict=False)
    torch.testing.assert_close(learned.eval()(pictures(40, 48)), fixed.eval()(pictures(40, 48)))


def learn(network: Fcn, images_BCHW: Tensor, labels_BHW: Tensor, steps: int) -> list[float]:
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    return descend(optimizer, lambda: functional.cross_entropy(network(images_BCHW), labels_BHW), steps)


@pytest.mark.parametrize("upsampling", ["fixed", "learned"])
def test_every_parameter_gets_a_gradient_once_the_scores_have_left_zero(upsampling: FcnUpsampling) -> None:
    torch.manual_seed(0)
    network, images_BCHW = Fcn(FcnConfig(**SLIM, upsampling=upsampling)), pictures(64, 64)
    learn(network, images_BCHW, (images_BCHW[:, 0] * 3).long(), steps=2)
    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


def test_one_batch_is_learned_by_heart() -> None:
    torch.manual_seed(0)
    labels_BHW = torch.zeros(2, 48, 48, dtype=torch.long)
    labels_BHW[0, 10:30, 5:40], labels_BHW[1, 20:, 24:] = 1, 2
    images_BCHW = functional.one_hot(labels_BHW, 3).permute(0, 3, 1, 2) * 0.5 + 0.2
    losses = learn(Fcn(FcnConfig(**SLIM | {"width": 8})), images_BCHW, labels_BHW, steps=60)
    assert losses[-1] < losses[0] / 5


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    assert_seeded(lambda: Fcn(FcnConfig(**SLIM)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": 0},
        {"skips": (3, 3)},
        {"skips": (5,)},
        {"skips": (0,)},
        {"skips": (4, 3)},
        {"skip_scales": (1.0,)},
        {"skip_scales": (1.0, 0.0)},
        {"dropout": 1.0},
        {"padding": "valid"},
        {"upsampling": "unpool"},
        {"upsampling": "bilinear", "padding": "caffe"},
        {"convention": "keras"},
    ],
)
def test_a_network_that_cannot_be_built_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        FcnConfig(**wrong)


def test_a_config_that_comes_from_a_card_is_the_same() -> None:
    assert FcnConfig(skips=cast(Any, [3, 4]), skip_scales=cast(Any, [1.0, 1.0])) == FcnConfig(skips=(3, 4))


def test_the_trunk_and_the_classifier_start_from_published_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vgg, names = Vgg(VggConfig(width=4)), layer_names(16)
    state = {
        f"features.{names.index(name)}.{kind}": layer.get_parameter(kind).detach().clone()
        for name, layer in vgg.convolutions.items()
        for kind in ("weight", "bias")
    }
    sizes = {"classifier.0.weight": (12, 32 * 49), "classifier.0.bias": (12,)}
    sizes |= {"classifier.3.weight": (12, 12), "classifier.3.bias": (12,)}
    state |= {name: torch.rand(size) for name, size in sizes.items()}
    save_file(state, tmp_path / "vgg16.safetensors")
    network = Fcn(FcnConfig(**SLIM))
    report = network.load_trunk(read_vgg(tmp_path / "vgg16.safetensors", classifier=True))
    assert len(report.matched) == 30
    assert torch.equal(network.fc6.weight.flatten(1), state["classifier.0.weight"])
    found, expected = (trunk(pictures(64, 64), ["pool5"])["pool5"] for trunk in (network.trunk, vgg))
    torch.testing.assert_close(found, expected)

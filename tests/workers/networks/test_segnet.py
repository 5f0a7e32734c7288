"""SegNet: the paper's size, switches that go back to the level that they came from, odd sizes that come back.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.vgg_weights import read_vgg
from pixelmill.workers.networks import segnet
from pixelmill.workers.networks.segnet import SegNet, SegNetConfig
from pixelmill.workers.networks.upsample import UPSAMPLINGS
from pixelmill.workers.networks.vgg import Vgg, VggConfig
from tests.learning import assert_seeded, descend

SLIM: dict[str, Any] = {"classes": 3, "width": 4}


def pictures(height: int, width: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("variant", "expected"), [("vgg16", 29_449_355), ("basic", 1_416_075)])
def test_the_papers_networks_have_the_papers_number_of_parameters(variant: Any, expected: int) -> None:
    with torch.device("meta"):
        network = SegNet(SegNetConfig(variant=variant))
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
    assert f"{expected:,}" in (SegNet.__doc__ or "")


@pytest.mark.parametrize(("variant", "count"), [("vgg16", 25), ("basic", 8)])
def test_every_convolution_but_the_last_is_normalised(variant: Any, count: int) -> None:
    modules = list(SegNet(SegNetConfig(**SLIM, variant=variant)).modules())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in modules) == count
    assert sum(isinstance(module, nn.Conv2d) for module in modules) == count + 1


def test_the_basic_decoder_has_no_relu_and_its_convolutions_no_bias() -> None:
    network = SegNet(SegNetConfig(**SLIM, variant="basic"))
    assert not [module for module in network.decoder.modules() if isinstance(module, nn.ReLU)]
    assert [name for name, _ in network.named_parameters() if name.endswith("bias") and "decoder" in name] == [
        "decoder.0.1.bias",  # of batch normalisation
        "decoder.0.2.bias",  # of the scores
        "decoder.1.1.bias",
        "decoder.2.1.bias",
        "decoder.3.1.bias",
    ]


@pytest.mark.parametrize("size_HW", [(32, 32), (33, 63), (45, 60), (90, 121)])
@pytest.mark.parametrize("variant", ["vgg16", "basic"])
def test_logits_have_the_size_of_the_picture(size_HW: tuple[int, int], variant: Any) -> None:
    for upsampling in UPSAMPLINGS:
        network = SegNet(SegNetConfig(**SLIM | {"width": 1}, variant=variant, upsampling=upsampling)).eval()
        assert network(pictures(*size_HW)).shape == (1, 3, *size_HW)


def test_odd_sizes_come_back_on_the_way_up() -> None:
    network, sizes = SegNet(SegNetConfig(**SLIM)).eval(), list[tuple[int, ...]]()
    for level in network.decoder:
        level.register_forward_pre_hook(lambda _, given: sizes.append(tuple(given[0].shape[2:])))
    network(pictures(360, 480))
    assert sizes == [(22, 30), (45, 60), (90, 120), (180, 240), (360, 480)]


@pytest.mark.parametrize("variant", ["vgg16", "basic"])
def test_each_level_is_unpooled_with_the_switches_of_its_own_pool(
    variant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, used = list[Tensor](), list[Tensor]()

    def recording(maps_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        pooled_BCHW, switches_BCHW = functional.max_pool2d(maps_BCHW, 2, return_indices=True)
        made.append(switches_BCHW)
        return pooled_BCHW, switches_BCHW

    monkeypatch.setattr(segnet, "pool_with_switches", recording)
    network = SegNet(SegNetConfig(**SLIM, variant=variant)).eval()
    for up in network.ups:
        up.register_forward_pre_hook(lambda _, given: used.append(given[2]))
    network(pictures(64, 96))
    assert len(made) == len(network.config.blocks)
    assert all(theirs is own for theirs, own in zip(reversed(used), made, strict=True))


def test_the_finest_decoder_sees_values_only_where_the_finest_encoder_had_its_maxima() -> None:
    torch.manual_seed(0)
    network, seen = SegNet(SegNetConfig(**SLIM)), dict[str, Tensor]()
    network.norms["conv1_2"].register_forward_hook(lambda *given: seen.update(fine=given[2]))
    network.decoder[0].register_forward_pre_hook(lambda _, given: seen.update(unpooled=given[0]))
    network(pictures(64, 64, count=2))
    maxima_BCHW = functional.interpolate(functional.max_pool2d(seen["fine"].relu(), 2), scale_factor=2)
    is_maximum_BCHW = seen["fine"].relu() == maxima_BCHW
    assert seen["unpooled"].any()
    assert not seen["unpooled"][~is_maximum_BCHW].any()


@pytest.mark.parametrize("variant", ["vgg16", "basic"])
def test_every_parameter_gets_a_gradient(variant: Any) -> None:
    torch.manual_seed(0)
    network, images_BCHW = SegNet(SegNetConfig(**SLIM, variant=variant)), pictures(64, 64, count=2)
    functional.cross_entropy(network(images_BCHW), (images_BCHW[:, 0] * 3).long()).backward()
    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


@pytest.mark.parametrize("variant", ["vgg16", "basic"])
def test_one_batch_is_learned_by_heart(variant: Any) -> None:
    torch.manual_seed(0)
    labels_BHW = torch.zeros(2, 48, 48, dtype=torch.long)
    labels_BHW[0, 10:30, 5:40], labels_BHW[1, 20:, 24:] = 1, 2
    images_BCHW = functional.one_hot(labels_BHW, 3).permute(0, 3, 1, 2) * 0.5 + 0.2
    network = SegNet(SegNetConfig(**SLIM | {"width": 8}, variant=variant))
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    losses = descend(optimizer, lambda: functional.cross_entropy(network(images_BCHW), labels_BHW), steps=40)
    assert losses[-1] < losses[0] / 5


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    assert_seeded(lambda: SegNet(SegNetConfig(**SLIM)))


@pytest.mark.parametrize(
    "wrong", [{"classes": 0}, {"variant": "vgg19"}, {"decoder": "none"}, {"upsampling": "x"}, {"convention": "x"}]
)
def test_a_network_that_cannot_be_built_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        SegNetConfig(**wrong)


def test_a_picture_of_which_a_pool_would_leave_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match="31x64; take 32 px or more"):
        SegNet(SegNetConfig(**SLIM))(pictures(31, 64))


def test_a_single_convolution_a_level_leaves_the_encoder_as_it_is() -> None:
    mirror, single = (SegNet(SegNetConfig(**SLIM, decoder=decoder)) for decoder in ("mirror", "single"))
    assert [tuple(value.shape) for value in single.encoder.parameters()] == [
        tuple(value.shape) for value in mirror.encoder.parameters()
    ]
    assert sum(isinstance(module, nn.Conv2d) for module in single.decoder.modules()) == 5
    assert single(pictures(45, 60, count=2)).shape == (2, 3, 45, 60)


def test_the_encoder_starts_from_published_weights_and_the_basic_one_cannot(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vgg = Vgg(VggConfig(width=4))
    state: dict[str, Tensor] = {}
    for name, layer in vgg.convolutions.items():
        block, number = name.removeprefix("conv").split("_")
        state |= {f"block{block}_conv{number}.{kind}": value.detach() for kind, value in layer.named_parameters()}
    save_file(state, tmp_path / "vgg16.safetensors")
    weights = read_vgg(tmp_path / "vgg16.safetensors")
    network = SegNet(SegNetConfig(**SLIM, convention=weights.convention))
    assert len(network.load_trunk(weights).matched) == 26
    assert torch.equal(network.encoder["conv5_3"].get_parameter("weight"), state["block5_conv3.weight"])
    with pytest.raises(ModelError, match="basic variant is no VGG"):
        SegNet(SegNetConfig(**SLIM, variant="basic")).load_trunk(weights)

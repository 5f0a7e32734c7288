"""The network of VDSR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.vdsr import Vdsr, VdsrConfig, from_reference
from tests.learning import assert_seeded
from tests.workers.sharpeners import SLIM, layers, seeded_network


def test_the_docstring_states_the_number_of_parameters_which_is_the_papers() -> None:
    count = sum(parameter.numel() for parameter in Vdsr(VdsrConfig()).parameters())
    assert count == 665_921
    assert f"{count:,} parameters" in (Vdsr.__doc__ or "")


def test_a_pixel_depends_on_41_by_41_pixels() -> None:
    config = VdsrConfig(width=2)
    network = Vdsr(config)
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)  # nothing cancels, and no ReLU is off
    image_11HW = torch.ones(1, 1, 61, 61, dtype=torch.float64, requires_grad=True)
    network.double()(image_11HW)[0, 0, 30, 30].backward()
    assert image_11HW.grad is not None
    seen = image_11HW.grad[0, 0].nonzero()
    assert config.receptive_field_px == 41
    assert seen.amin(0).tolist() == [10, 10]
    assert seen.amax(0).tolist() == [50, 50]


def test_what_is_learned_is_the_residual() -> None:
    network, image_11HW = seeded_network(0), torch.rand(1, 1, 20, 30)
    nn.init.zeros_(layers(network)[-1].weight)
    assert torch.equal(network(image_11HW), image_11HW)


def test_every_parameter_gets_a_gradient() -> None:
    network = seeded_network(0)
    network(torch.rand(2, 1, 16, 16)).square().mean().backward()
    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


@pytest.mark.parametrize("wrong", [{"depth": 1}, {"width": 0}])
def test_a_shape_that_cannot_be_built_is_refused_by_name(wrong: dict[str, int]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        VdsrConfig(**wrong)


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    assert_seeded(lambda: Vdsr(SLIM))


def test_a_config_rebuilds_the_network() -> None:
    assert VdsrConfig(**asdict(seeded_network(0).config)) == SLIM


def reference_state(depth: int = 4, width: int = 8) -> dict[str, Tensor]:
    between = {f"residual_layer.{number}.conv.weight": torch.rand(width, width, 3, 3) for number in range(depth - 2)}
    return {"input.weight": torch.rand(width, 1, 3, 3), **between, "output.weight": torch.rand(1, width, 3, 3)}


def test_a_reference_state_is_loaded_layer_for_layer_with_biases_of_0() -> None:
    state = reference_state()
    network = from_reference(state)
    assert network.config == SLIM
    assert torch.equal(layers(network)[2].weight, state["residual_layer.1.conv.weight"])
    assert not any(layer.bias.any() for layer in layers(network) if layer.bias is not None)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda state: state.pop("residual_layer.0.conv.weight"), id="missing"),
        pytest.param(lambda state: state.update({"extra.weight": torch.zeros(1)}), id="left over"),
        pytest.param(lambda state: state.update({"output.weight": torch.zeros(1, 7, 3, 3)}), id="another shape"),
        pytest.param(lambda state: state.clear(), id="empty"),
    ],
)
def test_a_reference_state_that_does_not_fit_is_refused(spoil: Callable[[dict[str, Tensor]], object]) -> None:
    state = reference_state()
    spoil(state)
    with pytest.raises(ModelError, match="vdsr"):
        from_reference(state)

"""An encoder of another network is taken whole, or refused with what did not match."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.finetuned import ENCODERS, Finetuned, FinetunedConfig, load_encoder
from pixelmill.workers.networks.registry import network_types
from tests.workers.encoders import SLIM, base_of


@pytest.mark.parametrize("head", ["classifier", "dense"])
@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_encoder_takes_its_weights_and_a_gradient_reaches_all_of_it(name: str, head: Any) -> None:
    base = base_of(name)
    network = Finetuned(FinetunedConfig(name, SLIM[name], head, classes=5, width=8))
    report = load_encoder(network, base.state_dict(), name)
    assert not report.missing
    assert not report.misshapen
    own = network.encoder.state_dict()
    assert all(torch.equal(own[key], base.state_dict()[key]) for key in own)
    # of a map of one pixel, a normalisation of single channels leaves 0, whose gradient is what rounding makes of it
    side = 256 if name == "monodepth" else 64
    logits = network(torch.rand(2, 3, side, side))
    assert logits.shape == ((2, 5) if head == "classifier" else (2, 5, side, side))
    logits.square().sum().backward()
    unreached = [key for key, each in network.named_parameters() if each.grad is None or not each.grad.any()]
    allowed = ("trunk.convolutions.conv", "encoder.encoder.6") if head == "classifier" else ()
    assert [key for key in unreached if not key.startswith(allowed or "-")] == []


def test_weights_of_another_network_are_refused_with_the_mismatches() -> None:
    network = Finetuned(FinetunedConfig("autoencoder", SLIM["autoencoder"]))
    with pytest.raises(ModelError, match=r"only 0% of the encoder's numbers .* encoder\.0\.bias"):
        load_encoder(network, base_of("monodepth").state_dict(), "depth")
    wider = network_types("autoencoder")
    with pytest.raises(ModelError, match="all have to be"):
        load_encoder(network, wider[1](wider[0](**{**SLIM["autoencoder"], "width": 16})).state_dict(), "wider")


def test_a_network_without_an_encoder_is_refused() -> None:
    with pytest.raises(ModelError, match="vdsr has no encoder"):
        FinetunedConfig("vdsr")

"""The layers of a network are those that a picture passes, in that order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.networks.layers import depths_of, layers_of
from pixelmill.workers.networks.registry import NETWORKS, network_types

UNET = {"base": 4, "levels": 2, "padding": "same", "skips": (1, 2), "batch_norm": True, "upsampling": "transposed_k2"}
SMALL: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "autoencoder": ({"size_px": 32, "width": 4, "code_channels": 4}, (1, 3, 32, 32)),
    "vae": ({"size_px": 16, "architecture": "convolutional", "hidden": 8}, (1, 1, 16, 16)),
    "fcn": ({"classes": 3, "width": 4, "fc_width": 8, "upsampling": "learned"}, (1, 3, 64, 64)),
    "segnet": ({"classes": 3, "width": 4}, (1, 3, 64, 64)),
    "unet": (UNET, (1, 3, 32, 32)),
    "monodepth": ({"width": 4, "size_px": (128, 128)}, (1, 3, 128, 128)),
    "vdsr": ({"depth": 3, "width": 4}, (1, 1, 16, 16)),
    "faststyle": ({"width": 4, "blocks": 1}, (1, 3, 32, 32)),
    "crn": ({"classes": 3, "start_px": (4, 4), "widths": (8, 8)}, (1, 3, 8, 8)),
    "ct-autoencoder": ({"widths": (4, 8), "size_px": 32}, (1, 1, 32, 32)),
    "ct-finetuned": ({"widths": (4, 8), "size_px": 32}, (1, 1, 32, 32)),
    "finetuned": ({"encoder": "unet", "encoder_config": UNET, "head": "dense", "width": 8}, (1, 3, 32, 32)),
}


def built(name: str, **changes: Any) -> nn.Module:
    config, network = network_types(name)
    return network(config(**{**SMALL[name][0], **changes})).eval()


def passed(network: nn.Module, images: Tensor) -> list[str]:
    """The modules with parameters, in the order of their first use."""
    seen: list[str] = []

    def noted(name: str) -> Callable[..., None]:
        return lambda *_: seen.append(name)

    for name, module in network.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            module.register_forward_pre_hook(noted(name))
    with torch.inference_mode():
        network(images)
    return list(dict.fromkeys(seen))


ENCODERS = [("finetuned", {"encoder": name, "encoder_config": SMALL[name][0]}) for name in ("segnet", "fcn", "vae")]


@pytest.mark.parametrize(("name", "changes"), [*((name, {}) for name in NETWORKS), *ENCODERS])
def test_a_layer_is_never_passed_before_one_that_is_counted_as_shallower(name: str, changes: dict[str, Any]) -> None:
    network = built(name, **changes)
    shape = SMALL[changes.get("encoder", name)][1]
    depths = depths_of(network)
    assert depths.keys() == dict(network.named_parameters()).keys()
    assert set(depths.values()) == set(range(len(layers_of(network))))
    of_modules = {parameter.rpartition(".")[0]: depth for parameter, depth in depths.items()}
    order = [of_modules[module] for module in passed(network, torch.rand(shape))]
    assert order == sorted(order)


def test_a_normalisation_belongs_to_the_layer_before_it() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    assert layers_of(network) == [("0", "1"), ("3",)]


def test_parameters_of_the_network_itself_are_a_layer_of_their_own() -> None:
    assert depths_of(nn.Linear(2, 2)) == {"weight": 0, "bias": 0}

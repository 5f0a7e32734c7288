"""What published weights of VGG are called, by which a plan finds those of another network. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pixelmill.workers.errors import ModelError


def is_published(source: str) -> bool:
    """Whether torchvision fetches these weights."""
    return source.startswith("torchvision:")


def require_vgg(source: str) -> None:
    """ModelError where what torchvision is asked for are not weights of a VGG, by their name."""
    name = source.removeprefix("torchvision:")
    if not name.startswith(("VGG16_Weights.", "VGG19_Weights.")):
        raise ModelError(
            f"{source}: {name} is of another network; take torchvision:VGG16_Weights.IMAGENET1K_V1 or another VGG's"
        )


def naming_of(source: str, names: Collection[str]) -> Literal["torchvision", "caffe"]:
    """Whose names the tensors of a VGG have. ModelError where they are not a VGG's, or of one with batch normalisation."""
    if any(name.endswith("running_mean") for name in names):
        raise ModelError(f"{source}: holds a VGG with batch normalisation; take the weights of one without")
    if any(name.startswith("block1_conv") for name in names):
        return "caffe"
    if any(name.startswith("features.") for name in names):
        return "torchvision"
    first = ", ".join(sorted(names)[:3])
    raise ModelError(
        f"{source}: no VGG's tensors are called {first}; rename them as torchvision does: features.0.weight"
    )


def depth_of(names: Collection[str]) -> Literal[16, 19]:
    """Whether the tensors are those of VGG-19, which has a fourth convolution in the last three blocks."""
    return 19 if not {"features.34.weight", "block3_conv4.weight"}.isdisjoint(names) else 16


def require_layers(source: str, depth: Literal[16, 19], layers: Collection[str]) -> None:
    """ModelError where a layer, as conv3_4, relu3_4 or pool3, is not one of VGG-16 or VGG-19."""
    for layer in layers:
        block, _, number = layer[4:].partition("_")
        last = {16: 3, 19: 4}[depth] if block not in {"1", "2"} else 2
        if number and int(number) > last:
            raise ModelError(
                f"{source}: VGG-{depth} has no layer {layer}; block {block} ends with {layer[:4]}{block}_{last}"
            )

"""Published weights of VGG-16 and VGG-19: torchvision's, or a safetensors file with torchvision's or Keras's names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models import vision
from pixelmill.workers.models.vgg_names import depth_of, is_published, naming_of, require_vgg
from pixelmill.workers.models.weight_files import open_weights, refuse_pickle
from pixelmill.workers.networks.vgg import (
    ConventionName,
    Vgg,
    VggConfig,
    VggWeights,
    convolution_names,
    fill,
    fitting,
    layer_names,
)


def load_vgg(
    source: Path | str, *, convention: ConventionName | None = None, pooling: Literal["max", "average"] = "max"
) -> Vgg:
    """A frozen Vgg in eval mode with a complete set of published weights, and the preprocessing of their training.

    `source` is as in `read_vgg`. The caller's random state is unchanged. ModelError if a tensor is missing.
    """
    weights = read_vgg(source, convention=convention)
    config = VggConfig(weights.depth, max(weights.width, 1), weights.convention, pooling)
    with torch.device("meta"):
        fitting(Vgg(config).convolutions, weights, at_least=1.0)  # before anything is allocated
    with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        network = Vgg(config)
    fill(network.convolutions, weights, at_least=1.0)
    return network.eval().requires_grad_(False)


def read_vgg(source: Path | str, *, classifier: bool = False, convention: ConventionName | None = None) -> VggWeights:
    """Published weights, recognised by their tensor names: torchvision's features.0.weight or Keras's block1_conv1.

    `source` is a safetensors file or "torchvision:VGG16_Weights.IMAGENET1K_V1". `convention` is for a file with
    torchvision's names and Caffe's values. `classifier` includes fc6 and fc7. ModelError if the weights can't be found, and
    for every kind of pickle.
    """
    text = str(source)
    if is_published(text):
        state, named = _from_torchvision(text)
        return _renamed(text, state, classifier, convention or named)
    path = Path(source)
    refuse_pickle(str(path))
    return _renamed(path.name, _from_safetensors(path, classifier), classifier, convention)


def _from_safetensors(path: Path, classifier: bool) -> dict[str, Tensor | None]:
    """Tensors by the file's own names; None for a tensor of the classifier that is not read (they are most of a file)."""
    try:
        with open_weights(path) as file:
            return {
                name: None if name.startswith("classifier.") and not classifier else file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118 - it can't be iterated over
            }
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ModelError(f"{path}: no such file; give a safetensors file of VGG-16 or VGG-19 weights") from error
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a whole safetensors file ({error}); fetch or convert it again") from error


def find_published(text: str) -> Any:
    """torchvision's entry for weights, without fetching them; ModelError if there is none, or if it is not for a VGG."""
    vision.lighten()
    from torchvision import models  # pyright: ignore[reportMissingTypeStubs]

    require_vgg(text)
    name = text.removeprefix("torchvision:")
    try:
        return models.get_weight(name)
    except (ValueError, KeyError, AttributeError) as error:
        fact = "torchvision has no such weights" if isinstance(error, KeyError) else error
        raise ModelError(f"{text}: {fact}; take torchvision:VGG16_Weights.IMAGENET1K_V1 or another VGG's") from error


def _from_torchvision(text: str) -> tuple[dict[str, Tensor | None], ConventionName]:
    weights = find_published(text)
    try:
        state = weights.get_state_dict(progress=False, weights_only=True)
    except OSError as error:
        raise ModelError(
            f"{text}: its weights could not be fetched from {weights.url} ({error}); "
            f"put the file into {vision.downloads()}, or give a safetensors file"
        ) from error
    except Exception as error:  # a truncated file, or one that would run code: a different type for each
        first_line = str(error).partition("\n")[0]
        raise ModelError(
            f"{text}: {weights.url.rpartition('/')[2]} in {vision.downloads()} does not hold its weights "
            f"({type(error).__name__}: {first_line}); remove it, so that it is fetched again"
        ) from error
    return state, "torchvision_features" if text.endswith("_FEATURES") else "torchvision"


def _renamed(
    source: str, state: Mapping[str, Tensor | None], classifier: bool, convention: ConventionName | None
) -> VggWeights:
    style = naming_of(source, state)
    depth = depth_of(state)
    theirs = {name: _CALLED[style](name, depth) for name in convolution_names(depth)}
    if classifier:
        theirs |= {"fc6": "classifier.0", "fc7": "classifier.3"}
    names = {f"{their}.{kind}": f"{our}.{kind}" for our, their in theirs.items() for kind in ("weight", "bias")}
    tensors = {
        names[name]: _as_convolution(names[name], tensor.float())
        for name, tensor in state.items()
        if name in names and tensor is not None
    }
    unused = tuple(sorted(name for name in state if name not in names))
    return VggWeights(source, depth, convention or style, tensors, unused)


def _as_convolution(name: str, tensor: Tensor) -> Tensor:
    """The classifier's matrices as equivalent convolution kernels: 7x7 for fc6, 1x1 for fc7 (Long et al. 2015)."""
    side_px = {"fc6.weight": 7, "fc7.weight": 1}.get(name)
    return tensor if side_px is None else tensor.view(len(tensor), -1, side_px, side_px)


def _torchvision_name(layer: str, depth: int) -> str:
    return f"features.{layer_names(depth).index(layer)}"


def _caffe_name(layer: str, _: int) -> str:
    block, number = layer.removeprefix("conv").split("_")
    return f"block{block}_conv{number}"


_CALLED = {"torchvision": _torchvision_name, "caffe": _caffe_name}

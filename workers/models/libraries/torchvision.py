"""Models of torchvision. The list of models is read from torchvision's source, where every model is a decorated function and
every set of weights a class."""

from __future__ import annotations

import ast
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.model_names import ModelName, did_you_mean
from pixelmill.workers.models.tasks import Task, verb
from pixelmill.workers.models.vision import downloads

if TYPE_CHECKING:
    from torch import nn

    from pixelmill.workers.models.picture_model import PictureModel
    from pixelmill.workers.models.preprocess import Pooling, Preprocess


FOLDERS: dict[Task, str] = {"embed": ".", "classify": ".", "segment": "segmentation"}
"""The module below torchvision.models that has the models of a task."""
KINDS: dict[Task, str] = {"embed": "classification", "classify": "classification", "segment": "segmentation"}
SHIPS: dict[Task, str] = {
    "embed": ", or use a model that ships: autoencoder-photos",
    "segment": ", or use a model that ships: segnet-camvid",
}
"""The alternative to suggest if weights can't be fetched."""
LISTED = 12
"""How many names a message lists."""


def resolve(model: str, rest: str, task: Task) -> ModelName:
    if task not in FOLDERS:
        raise ModelError(
            f"model {model}: torchvision's models can't {verb(task)} here; they can {', '.join(map(verb, FOLDERS))}"
        )
    name, _, weights = rest.partition("/")
    offered = torchvision_models(FOLDERS[task])
    if name not in offered:
        there = f"; it has {', '.join(offered)}" if len(offered) <= LISTED else did_you_mean(name, offered)
        raise ModelError(f"model {model}: torchvision has no {KINDS[task]} model {name}{there}")
    published = offered[name]
    if weights == "random":
        return ModelName("torchvision", name, "random")
    chosen = published.get(weights or "DEFAULT", weights)
    if chosen not in published.values():
        offers = sorted(set(published.values()))
        raise ModelError(f"model {model}: {name} has no weights {weights}; it has {', '.join([*offers, 'random'])}")
    return ModelName("torchvision", name, chosen)


def load(name: ModelName, task: Task) -> PictureModel:
    """A classifier or a segmentation network, with the names of its classes and its preprocessing.

    Both preprocess pictures as torchvision publishes it: for segmentation, the shorter side is resized to 520 pixels; the network
    computes scores on a grid of 8 or 16 pixels, which are enlarged directly to the size of the picture.
    """
    from pixelmill.workers.models.features import hash_weights
    from pixelmill.workers.models.grid_scores import GridScores
    from pixelmill.workers.models.picture_model import Classes, PictureModel, SizeFacts

    module, published = _built(name, task)
    preset = published.transforms()
    names = tuple(str(each) for each in published.meta["categories"])
    is_dense = task == "segment"
    return PictureModel(
        task=task,
        module=GridScores(module) if is_dense else module,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        size=SizeFacts(resize_px=preset.resize_size[0]) if is_dense else SizeFacts(),
        weights_sha256=hash_weights(module),
        licence=published.meta.get("license"),
        classes=Classes(names),
        preprocess=None if is_dense else _preset(preset),
    )


def encoder(name: ModelName, layer: str | None, pooling: Pooling) -> tuple[nn.Module, Preprocess]:
    from pixelmill.workers.models.features import cut_at

    module, published = _built(name, "embed")
    return cut_at(module, layer, name), _preset(published.transforms())


def _built(name: ModelName, task: Task) -> tuple[nn.Module, Any]:
    """The network in eval mode with its weights, and torchvision's entry for them, or for the default ones if it is untrained."""
    import torch

    from pixelmill.workers.models import vision

    vision.lighten()
    from torchvision import models as untyped  # pyright: ignore[reportMissingTypeStubs]

    models: Any = untyped
    published: Any = models.get_model_weights(name.name)
    if name.weights != "random":
        return _trained(models, published[str(name.weights)], name, task), published[str(name.weights)]
    others = {"weights_backbone": None} if task == "segment" else extra_arguments(name.name)
    with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
        return models.get_model(name.name, weights=None, **others).eval(), published.DEFAULT


def _trained(models: Any, weights: Any, name: ModelName, task: Task) -> nn.Module:
    from pixelmill.workers.models.construction import require_finite

    # torchvision has no switch for it, and torch.hub would execute a pickle in the cached file.
    kind = cast("Any", type(weights))
    weights.get_state_dict = partial(kind.get_state_dict, weights, weights_only=True)
    try:
        return require_finite(name.name, models.get_model(name.name, weights=weights, progress=False))
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(
            f"torchvision:{name.name}/{name.weights}: its weights could not be fetched from {weights.url} ({error}); "
            f"put the file into {downloads()}{SHIPS.get(task, '')}"
        ) from error
    except Exception as error:  # a truncated file, another network's, or no file of weights: a different type for each
        first_line = str(error).partition("\n")[0]
        raise ModelError(
            f"torchvision:{name.name}/{name.weights}: {weights.url.rpartition('/')[2]} in {downloads()} "
            f"does not hold its weights ({type(error).__name__}: {first_line}); remove it, so that it is fetched again"
        ) from error


def licence(name: ModelName) -> str | None:
    return None  # torchvision states no licence of its weights


def extra_arguments(name: str) -> dict[str, Any]:
    return {"init_weights": True} if name in {"googlenet", "inception_v3"} else {}


def _preset(preset: Any) -> Preprocess:
    from pixelmill.workers.models.preprocess import Preprocess

    return Preprocess(
        resize_px=preset.resize_size[0],
        crop_px=preset.crop_size[0],
        interpolation="bicubic" if preset.interpolation.value == "bicubic" else "bilinear",
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


@cache
def torchvision_models(folder: str = ".") -> dict[str, dict[str, str]]:
    """Each model of the installed torchvision with its weights by name; DEFAULT maps to the real one.

    Classification models, or those of a folder below: segmentation.
    """
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModelError("torchvision is not installed: pip install torchvision")
    weights: dict[str, dict[str, str]] = {}
    models: dict[str, str | None] = {}
    for file in sorted((Path(spec.origin).parent / "models" / folder).glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("_Weights"):
                weights[node.name] = _members(node)
            elif isinstance(node, ast.FunctionDef) and _is_registered(node):
                models[node.name] = _weights_class(node)
    return {name: weights.get(kind or "", {}) for name, kind in models.items()}


def _members(node: ast.ClassDef) -> dict[str, str]:
    members: dict[str, str] = {}
    for line in node.body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            name = line.targets[0].id
            members[name] = line.value.id if isinstance(line.value, ast.Name) else name
    return members


def _is_registered(node: ast.FunctionDef) -> bool:
    calls = [item.func if isinstance(item, ast.Call) else item for item in node.decorator_list]
    return any(isinstance(call, ast.Name) and call.id == "register_model" for call in calls)


def _weights_class(node: ast.FunctionDef) -> str | None:
    for argument in node.args.kwonlyargs + node.args.args:
        if argument.arg == "weights" and argument.annotation is not None:
            names = [leaf.id for leaf in ast.walk(argument.annotation) if isinstance(leaf, ast.Name)]
            return next((name for name in names if name.endswith("_Weights")), None)
    return None

"""Models of torchvision. What it offers is read from its source, where every model is a decorated function and every set of
weights a class."""

from __future__ import annotations

import ast
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.model_names import ModelName, did_you_mean
from pixelmill.workers.models.tasks import Task

if TYPE_CHECKING:
    from torch import nn

    from pixelmill.workers.models.picture_model import PictureModel
    from pixelmill.workers.models.preprocess import Pooling, Preprocess


def resolve(model: str, rest: str, task: Task) -> ModelName:
    _require_offered(model, task)
    name, _, weights = rest.partition("/")
    offered = torchvision_models()
    if name not in offered:
        raise ModelError(f"model {model}: torchvision has no classification model {name}{did_you_mean(name, offered)}")
    published = offered[name]
    if weights == "random":
        return ModelName("torchvision", name, "random")
    chosen = published.get(weights or "DEFAULT", weights)
    if chosen not in published.values():
        offers = sorted(set(published.values()))
        raise ModelError(f"model {model}: {name} has no weights {weights}; it has {', '.join([*offers, 'random'])}")
    return ModelName("torchvision", name, chosen)


def load(name: ModelName, task: Task) -> PictureModel:
    raise ModelError(f"model {name.name}: torchvision's models can't {task} here; they can embed")


def _require_offered(model: str, task: Task) -> None:
    if task != "embed":
        raise ModelError(f"model {model}: torchvision's models can't {task} here; they can embed")


def encoder(name: ModelName, layer: str | None, pooling: Pooling) -> tuple[nn.Module, Preprocess]:
    import torch

    from pixelmill.workers.models import vision
    from pixelmill.workers.models.features import cut_at

    vision.lighten()
    from torchvision import models as untyped  # pyright: ignore[reportMissingTypeStubs]

    models: Any = untyped

    if name.weights == "random":
        with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
            torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
            module = models.get_model(name.name, weights=None, **extra_arguments(name.name))
        published: Any = models.get_model_weights(name.name)
        preset = published.DEFAULT.transforms()
    else:
        weights: Any = models.get_model_weights(name.name)[str(name.weights)]
        # torchvision has no switch for it, and torch.hub would run what a pickle in the cached file says.
        kind = cast("Any", type(weights))
        weights.get_state_dict = partial(kind.get_state_dict, weights, weights_only=True)
        try:
            module = models.get_model(name.name, weights=weights, progress=False)
        except OSError as error:
            raise ModelError(
                f"torchvision:{name.name}/{name.weights}: its weights could not be fetched from {weights.url} ({error}); "
                "put the file into $TORCH_HOME/hub/checkpoints, or use a model that ships: autoencoder-photos"
            ) from error
        except Exception as error:  # a file that is cut, of another network, or no file of weights: one kind each
            first_line = str(error).partition("\n")[0]
            raise ModelError(
                f"torchvision:{name.name}/{name.weights}: {weights.url.rpartition('/')[2]} in $TORCH_HOME/hub/checkpoints "
                f"does not hold its weights ({type(error).__name__}: {first_line}); remove it, so that it is fetched again"
            ) from error
        preset = weights.transforms()
    return cut_at(module, layer, name), _preset(preset)


def licence(name: ModelName) -> str | None:
    return None  # torchvision states none of its weights


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
def torchvision_models() -> dict[str, dict[str, str]]:
    """Each classification model of the installed torchvision with its weights by name; DEFAULT maps to the real one."""
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModelError("torchvision is not installed: pip install torchvision")
    weights: dict[str, dict[str, str]] = {}
    models: dict[str, str | None] = {}
    for file in sorted((Path(spec.origin).parent / "models").glob("*.py")):
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

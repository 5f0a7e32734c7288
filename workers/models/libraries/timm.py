"""Models of timm. What it offers is read from its source, where every model is a decorated function."""

from __future__ import annotations

import re
from functools import cache
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
    if task != "embed":
        raise ModelError(f"model {model}: timm's models can't {task} here; they can embed")
    if find_spec("timm") is None:
        raise ModelError(f"model {model}: timm is not installed: pip install 'pixelmill[timm]'")
    name, _, weights = rest.partition("/")
    architecture = name.partition(".")[0]
    if architecture not in timm_models():
        raise ModelError(f"model {model}: timm has no model {architecture}{did_you_mean(architecture, timm_models())}")
    if weights not in {"", "random", "pretrained"}:
        raise ModelError(f"model {model}: timm names weights after a dot, as resnet18.a1_in1k; after the slash: random")
    return ModelName("timm", name, weights or "pretrained")


def load(name: ModelName, task: Task) -> PictureModel:
    raise ModelError(f"model {name.name}: timm's models can't {task} here; they can embed")


def encoder(name: ModelName, layer: str | None, pooling: Pooling) -> tuple[nn.Module, Preprocess]:
    import torch

    from pixelmill.workers.models import vision
    from pixelmill.workers.models.features import cut_at
    from pixelmill.workers.models.preprocess import Preprocess

    vision.lighten()  # which timm imports too
    import timm
    from timm.data.config import resolve_model_data_config  # pyright: ignore[reportUnknownVariableType]

    try:
        with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
            torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
            module = timm.create_model(name.name, pretrained=name.weights != "random", num_classes=0)
    except Exception as error:  # timm and the hub raise a dozen kinds
        raise ModelError(f"timm:{name.name}: {error}; `timm.list_models('*')` lists what there is") from error
    data: Any = cast("Any", resolve_model_data_config)(module)
    crop_px = int(data["input_size"][1])
    preprocess = Preprocess(
        resize_px=round(crop_px / float(data["crop_pct"])),
        crop_px=crop_px,
        interpolation="bicubic" if data["interpolation"] == "bicubic" else "bilinear",
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
    )
    return (cut_at(module, layer, name) if layer else module), preprocess


@cache
def timm_models() -> list[str]:
    """Each model of the installed timm, old names too."""
    spec = find_spec("timm")
    if spec is None or spec.origin is None:
        return []
    names: list[str] = []
    for file in sorted((Path(spec.origin).parent / "models").glob("*.py")):
        text = file.read_text(encoding="utf-8")
        names += re.findall(r"^@register_model\s*\n(?:@.*\n)*def (\w+)\(", text, re.MULTILINE)
        names += re.findall(r"^\s*[\"'](\w+)[\"']:", text.partition("register_model_deprecations(")[2], re.MULTILINE)
    return names

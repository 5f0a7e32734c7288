"""Names of models, checked and resolved without importing torch: `torchvision:resnet50`, `timm:NAME`, a file, ours.

Importing torch and torchvision takes seconds; a misspelt model should not. What torchvision offers is read from its
source, where every model is a decorated function and every set of weights a class.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.zoo import ZOO

DEFAULT_MODEL = "autoencoder-photos"

Library = Literal["torchvision", "timm", "file"]


@dataclass(frozen=True)
class ModelName:
    """A model named completely: nothing is left to a default that another version would read differently.

    `weights` is the name of published weights, "random" for a network that was never trained, or None for a file,
    whose `sha256` is then given.
    """

    library: Library
    name: str
    weights: str | None = None
    path: Path | None = None
    sha256: str | None = None

    @property
    def identity(self) -> dict[str, str]:
        """What must be equal for two outputs to be one: the path of a file is not part of it, its content is."""
        if self.sha256 is not None:
            return {"model": self.name, "weights_sha256": self.sha256}
        return {"model": f"{self.library}:{self.name}/{self.weights}"}


def resolve(model: str) -> ModelName:
    """The complete name behind what a user wrote; ModelError with the nearest names when there is none."""
    library, colon, rest = model.partition(":")
    if colon and library == "torchvision":
        return _torchvision(model, rest)
    if colon and library == "timm":
        return _timm(model, rest)
    if model.endswith((".pt", ".pth", ".ckpt", ".bin", ".pkl")):
        raise ModelError(
            f"model {model}: a pickle can run code when it is loaded, so none is; convert it once with "
            "safetensors.torch.save_file(state_dict, 'model.safetensors') and write a card beside it"
        )
    if model.endswith(".safetensors") or (model.strip() and Path(model).is_dir()):
        return _file(model, Path(model))
    return _zoo(model)


def _file(model: str, path: Path) -> ModelName:
    weights, card = checkpoint_files(path)
    if not weights.is_file():
        raise ModelError(f"model {model}: no such file; a checkpoint is NAME.safetensors with NAME.json beside it")
    if not card.is_file():
        raise ModelError(
            f"model {model}: its card is missing, {card.name} beside {weights.name}; it says how the network is built"
        )
    if not _embeds(card):
        raise ModelError(f"model {model}: embedding takes an autoencoder of colour pictures, and its card is of none")
    with weights.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return ModelName("file", path.stem, path=path.resolve(), sha256=sha256)


def checkpoint_files(path: Path) -> tuple[Path, Path]:
    """Where the weights and the card of a checkpoint are, or should be.

    NAME.safetensors has NAME.json, or card.json beside it. A folder has model.safetensors and card.json, or one
    NAME.safetensors with NAME.json.
    """
    if path.suffix == ".safetensors" and not path.is_dir():
        card = path.with_suffix(".json")
        return path, card if card.is_file() or not path.with_name("card.json").is_file() else path.with_name(
            "card.json"
        )
    weights = path / "model.safetensors"
    named = [] if weights.is_file() else sorted(path.glob("*.safetensors"))
    return checkpoint_files(named[0]) if len(named) == 1 else (weights, path / "card.json")


def _embeds(card: Path) -> bool:
    """Whether a card is of an autoencoder of colour pictures. One that can't be read is reported when it is loaded."""
    try:
        written = json.loads(card.read_text())
        return written["network"] == "autoencoder" and len(written["preprocess"]["mean"]) == 3
    except (OSError, ValueError, KeyError):
        return True
    except TypeError:  # no preprocessing: the network has one of its own
        return False


def _zoo(model: str) -> ModelName:
    if (ZOO / f"{model}.safetensors").is_file():
        return _file(model, ZOO / f"{model}.safetensors")
    ours = sorted(path.stem for path in ZOO.glob("*.safetensors") if _embeds(path.with_suffix(".json")))
    raise ModelError(
        f"model {model}: unknown{_did_you_mean(model, ours)}; write torchvision:NAME, torchvision:NAME/WEIGHTS, "
        f"timm:NAME, FILE.safetensors, or one of ours: {', '.join(ours)}"
    )


def _torchvision(model: str, rest: str) -> ModelName:
    name, _, weights = rest.partition("/")
    offered = torchvision_models()
    if name not in offered:
        raise ModelError(f"model {model}: torchvision has no classification model {name}{_did_you_mean(name, offered)}")
    published = offered[name]
    if weights == "random":
        return ModelName("torchvision", name, "random")
    chosen = published.get(weights or "DEFAULT", weights)
    if chosen not in published.values():
        offers = sorted(set(published.values()))
        raise ModelError(f"model {model}: {name} has no weights {weights}; it has {', '.join([*offers, 'random'])}")
    return ModelName("torchvision", name, chosen)


def _timm(model: str, rest: str) -> ModelName:
    if find_spec("timm") is None:
        raise ModelError(f"model {model}: timm is not installed: pip install 'pixelmill[timm]'")
    name, _, weights = rest.partition("/")
    architecture = name.partition(".")[0]
    if architecture not in timm_models():
        raise ModelError(f"model {model}: timm has no model {architecture}{_did_you_mean(architecture, timm_models())}")
    if weights not in {"", "random", "pretrained"}:
        raise ModelError(f"model {model}: timm names weights after a dot, as resnet18.a1_in1k; after the slash: random")
    return ModelName("timm", name, weights or "pretrained")


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


def _did_you_mean(word: str, words: dict[str, dict[str, str]] | list[str]) -> str:
    near = difflib.get_close_matches(word, list(words), n=3)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


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

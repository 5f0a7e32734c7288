"""CLIP-like models of open_clip: pictures and sentences embedded in one space.

`embed` uses the image tower. `text_encoder` embeds sentences close to the pictures that they describe. Weights are safetensors;
a model whose text tower or tokenizer is another model, fetched by name, is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.folders import (
    CONVERT,
    FOLDER,
    HUB,
    MOST_NUMBER,
    content_sha256,
    fetched,
    fetched_file,
    hub_name,
    licence_in,
    read_json,
    require_inside,
    require_installed,
    weight_files,
)
from pixelmill.workers.models.libraries.timm import timm_models
from pixelmill.workers.models.model_names import ModelName, did_you_mean
from pixelmill.workers.models.tasks import Task, verb

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pixelmill.workers.models.picture_model import PictureModel
    from pixelmill.workers.models.preprocess import Pooling, Preprocess

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
TEXTS_AT_ONCE = 256

TextEncoder = Callable[[Sequence[str]], "Tensor"]
"""Sentences to vectors ND of length 1, float32 on the CPU."""


def resolve(model: str, rest: str, task: Task) -> ModelName:
    if task != "embed":
        raise ModelError(f"model {model}: open_clip's models can't {verb(task)} here; they can embed")
    require_installed(model, "open_clip", "open_clip")
    if rest.startswith(HUB):
        return ModelName("open_clip", HUB + str(hub_name(model, rest.removeprefix(HUB))))
    if rest.startswith(FOLDER):
        return _folder(model, Path(rest.removeprefix(FOLDER)))
    architecture, _, tag = rest.partition("/")
    offered = open_clip_models()
    if architecture not in offered:
        raise ModelError(f"model {model}: open_clip has no model {architecture}{did_you_mean(architecture, offered)}")
    if tag != "random" and tag.lower().replace("-", "_") not in offered[architecture]:
        offers = ", ".join([*sorted(offered[architecture]), "random"])
        raise ModelError(f"model {model}: {architecture} has no {tag or 'default weights'}; it has {offers}")
    return ModelName("open_clip", architecture, tag.lower().replace("-", "_"))


def load(name: ModelName, task: Task) -> PictureModel:
    raise ModelError(f"model {_label(name)}: open_clip's models can't {verb(task)} here; they can embed")


def encoder(name: ModelName, layer: str | None, pooling: Pooling) -> tuple[nn.Module, Preprocess]:
    if layer is not None:
        raise ModelError(f"model {_label(name)}: layers of open_clip can't be named; leave layer out")
    whole, shown = _loaded(name)
    return cast("nn.Module", whole.visual), shown


def text_encoder(name: ModelName) -> TextEncoder:
    """The text tower of a resolved model, as a function of sentences; it uses CLIP's tokenizer, which open_clip includes."""
    import torch

    whole, _ = _loaded(name)
    context = int(getattr(whole, "context_length", 77))
    tokenizer: Any = import_module("open_clip.tokenizer").SimpleTokenizer(context_length=context)

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> Tensor:
        if not texts:
            raise ModelError(f"model {_label(name)}: there is no sentence to encode; give at least one")
        batches = [list(texts[start : start + TEXTS_AT_ONCE]) for start in range(0, len(texts), TEXTS_AT_ONCE)]
        return torch.cat([whole.encode_text(tokenizer(batch), normalize=True).float() for batch in batches])

    return encode


def licence(name: ModelName) -> str | None:
    return licence_in(_folder_of(name)) if name.weights is None else None


def _label(name: ModelName) -> str:
    return f"open_clip:{name.path or name.name}"


# ------------------------------------------------------------------------------------------------------------------ files


def _folder(model: str, folder: Path) -> ModelName:
    config = require_inside(model, folder, folder / CONFIG)
    _model_config(model, read_json(model, config))
    files = [config, *weight_files(model, folder, WEIGHTS)]
    return ModelName("open_clip", "open_clip", path=folder.resolve(), sha256=content_sha256(files))


def _folder_of(name: ModelName) -> Path:
    if name.path is not None:
        return name.path
    model = _label(name)
    return fetched(model, hub_name(model, name.name.removeprefix(HUB)), (CONFIG, "README.md", *WEIGHTS), ((CONFIG,),))


def _published_file(model: str, facts: dict[str, Any]) -> Path:
    """The safetensors of published weights, from the hub or its cache."""
    repository, _, file = str(facts.get("hf_hub") or "").rpartition("/")
    if not repository:
        raise ModelError(
            f"model {model}: its weights are published in {facts.get('url') or 'no file'} alone: {CONVERT}"
        )
    stem = Path(file).stem if file and file != "open_clip_pytorch_model.bin" else "open_clip_model"
    return fetched_file(model, repository, f"{stem}.safetensors")


# ------------------------------------------------------------------------------------------------------------ the network


def _loaded(name: ModelName) -> tuple[Any, Preprocess]:
    """Both towers with their weights, and the preprocessing of the image tower."""
    from pixelmill.workers.models import vision
    from pixelmill.workers.models.construction import require_finite

    vision.lighten()  # because open_clip imports torchvision too
    open_clip: Any = import_module("open_clip")
    model = _label(name)
    if name.weights is None:
        folder = _folder_of(name)
        config = read_json(model, require_inside(model, folder, folder / CONFIG))
        built, facts, file = _model_config(model, config), config.get("preprocess_cfg") or {}, None
        (file,) = weight_files(model, folder, WEIGHTS)
    else:
        built = _model_config(model, {"model_cfg": open_clip.get_model_config(name.name)})
        facts = (
            {}
            if name.weights == "random"
            else cast("dict[str, Any]", open_clip.get_pretrained_cfg(name.name, name.weights))
        )
        if name.weights != "random":
            _require_same_activation(model, built, facts)
        file = None if name.weights == "random" else _published_file(model, facts)
    whole = _built(model, built, file)
    return require_finite(model, whole), _shown(model, whole.visual, cast("dict[str, Any]", facts))


def _built(model: str, config: dict[str, Any], file: Path | None) -> Any:
    import torch

    from pixelmill.workers.models.construction import bounded, shapes_in

    arguments = {key: value for key, value in config.items() if key != "custom_text"}
    open_clip: Any = import_module("open_clip")
    kind = open_clip.CLIP
    if "multimodal_cfg" in config or config.get("custom_text"):
        kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    try:
        if file is None:
            with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
                torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
                return kind(**arguments)
        with bounded(model, shapes_in([file])):
            whole = kind(**arguments)
        # From a safetensors file; open_clip converts the tensor names of other libraries.
        open_clip.load_checkpoint(whole, str(file), strict=True)
        return whole
    except ModelError:
        raise
    except Exception as error:  # unknown options, weights that do not fit, ...: errors of any type
        lines = [line.strip() for line in str(error).strip().splitlines()[:2]]
        raise ModelError(
            f"model {model}: open_clip can't build it of its config ({type(error).__name__}: {' '.join(lines)[:300]}); "
            "take both from the same model"
        ) from error


def _model_config(model: str, config: dict[str, Any]) -> dict[str, Any]:
    """The config of the two towers; ModelError if a tower is another model that would be fetched by name."""
    stated: Any = config.get("model_cfg")
    towers: list[Any] = [stated.get(name) for name in ("vision_cfg", "text_cfg")] if _is_object(stated) else [None]
    if not all(_is_object(tower) for tower in towers) or _is_absurd(stated):
        raise ModelError(f"model {model}: its config states no vision_cfg and text_cfg; fetch it again")
    vision, text = (dict[str, Any](tower) for tower in towers)
    for key in ("hf_model_name", "hf_tokenizer_name"):
        if text.get(key):
            raise ModelError(
                f"model {model}: its {key} is another model, {text[key]}; take one with CLIP's own text tower"
            )
    if vision.get("timm_model_name") is not None and vision["timm_model_name"] not in timm_models():
        raise ModelError(f"model {model}: timm has no model {vision['timm_model_name']}, of which its image tower is")
    vision["timm_model_pretrained"] = False
    return {**cast("dict[str, Any]", stated), "vision_cfg": vision, "text_cfg": text}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_absurd(value: Any) -> bool:
    if isinstance(value, dict | list):
        inner = cast("dict[str, Any]", value).values() if isinstance(value, dict) else cast("list[Any]", value)
        return len(inner) > 1024 or any(_is_absurd(each) for each in inner)
    return isinstance(value, int | float) and abs(value) > MOST_NUMBER


def _require_same_activation(model: str, config: dict[str, Any], facts: dict[str, Any]) -> None:
    """ModelError if weights were trained with QuickGELU and the architecture has another activation, or the reverse."""
    if bool(facts.get("quick_gelu", False)) != bool(config.get("quick_gelu", False)):
        raise ModelError(
            f"model {model}: these weights were trained {'with' if facts.get('quick_gelu') else 'without'} QuickGELU; take the "
            "architecture with -quickgelu at its end, or the one without"
        )


def _shown(model: str, tower: Any, facts: dict[str, Any]) -> Preprocess:
    from pixelmill.workers.models.preprocess import Preprocess, require_input

    size: Any = tower.image_size
    height_px, width_px = (size, size) if isinstance(size, int) else (int(side) for side in size)
    mode, interpolation = facts.get("resize_mode", "shortest"), facts.get("interpolation", "bicubic")
    if mode not in {"shortest", "squash"} or interpolation not in {"bicubic", "bilinear"} or height_px != width_px:
        raise ModelError(
            f"model {model}: sees {height_px} x {width_px} px by {mode}, {interpolation}, which can't be done"
        )
    open_clip: Any = import_module("open_clip")
    mean, std = facts.get("mean") or open_clip.OPENAI_DATASET_MEAN, facts.get("std") or open_clip.OPENAI_DATASET_STD
    shown = Preprocess(
        height_px,
        height_px,
        "bicubic" if interpolation == "bicubic" else "bilinear",
        tuple(float(each) for each in mean),
        tuple(float(each) for each in std),
        fit="stretch" if mode == "squash" else "centre crop",
    )
    return require_input(model, shown)


# -------------------------------------------------------------------------------------------------------------- catalogue


@cache
def open_clip_models() -> dict[str, set[str]]:
    """Each architecture of the installed open_clip with the names of its weights, read from its files."""
    spec = find_spec("open_clip")
    if spec is None or spec.origin is None:
        return {}
    root = Path(spec.origin).parent
    published = _published_names(ast.parse((root / "pretrained.py").read_text(encoding="utf-8")))
    return {file.stem: published.get(file.stem, set()) for file in sorted((root / "model_configs").glob("*.json"))}


def _published_names(module: ast.Module) -> dict[str, set[str]]:
    """The names of weights by architecture: `_RN50 = dict(openai=...)` and `_PRETRAINED = {"RN50": _RN50, "PE": dict(...)}`."""
    tables: dict[str, set[str]] = {}
    named: dict[str, set[str]] = {}
    for node in module.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        if isinstance(node.value, ast.Dict):
            pairs = zip(node.value.keys, node.value.values, strict=True)
            named |= {str(key.value): _names_in(value, tables) for key, value in pairs if isinstance(key, ast.Constant)}
        else:
            tables[node.targets[0].id] = _names_in(node.value, tables)
    return {name: found | named.get(name.removesuffix("-quickgelu"), set()) for name, found in named.items()} | {
        f"{name}-quickgelu": found for name, found in named.items() if f"{name}-quickgelu" not in named
    }


def _names_in(value: ast.expr, tables: dict[str, set[str]]) -> set[str]:
    if isinstance(value, ast.Name):
        return tables.get(value.id, set())
    return {keyword.arg for keyword in value.keywords if keyword.arg} if isinstance(value, ast.Call) else set()

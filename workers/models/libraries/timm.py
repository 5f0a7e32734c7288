"""Models of timm: by name, from a folder as `timm.models.save_for_hf` writes it, or from one commit of the Hugging Face Hub.

The list of models is read from timm's source, where every model is a decorated function. Weights are read here, from safetensors
alone, and have to fill every tensor of the network: timm itself would load pickles and leave missing weights random.
"""

from __future__ import annotations

import re
import sys
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
    WEIGHTS,
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
from pixelmill.workers.models.model_names import ModelName, did_you_mean
from pixelmill.workers.models.tasks import Task, verb

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pixelmill.workers.models.picture_model import Classes, PictureModel
    from pixelmill.workers.models.preprocess import Pooling, Preprocess
    from pixelmill.workers.models.weight_files import Shapes

CONFIG = "config.json"
PATTERNS = (CONFIG, "README.md", WEIGHTS)
TASKS: frozenset[Task] = frozenset({"embed", "classify"})
FACTS = frozenset(
    {
        *(
            "input_size",
            "test_input_size",
            "min_input_size",
            "fixed_input_size",
            "interpolation",
            "crop_pct",
            "crop_mode",
        ),
        *("test_crop_pct", "mean", "std", "num_classes", "label_offset", "label_names", "pool_size", "first_conv"),
        *("classifier", "license", "tag"),
    }
)
"""The keys that are used of a folder's `pretrained_cfg`; others name sources of weights that are not trusted."""
ARGUMENTS = re.compile(r"[a-z][a-z0-9_]*")
REFUSED_ARGUMENTS = frozenset(
    {
        *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "pretrained_filter_fn"),
        *(
            "checkpoint_path",
            "cache_dir",
            "file",
            "features_only",
            "feature_cfg",
            "model_cfg",
            "kwargs_filter",
            "variant",
        ),
        *("scriptable", "exportable", "no_jit", "device", "dtype", "pretrained_model_args"),
    }
)


def resolve(model: str, rest: str, task: Task) -> ModelName:
    if task not in TASKS:
        raise ModelError(f"model {model}: timm's models can't {verb(task)} here; they can embed and classify")
    require_installed(model, "timm", "timm")
    if rest.startswith(HUB):
        return ModelName("timm", HUB + str(hub_name(model, rest.removeprefix(HUB))))
    if rest.startswith(FOLDER):
        return _folder(model, Path(rest.removeprefix(FOLDER)))
    name, _, weights = rest.partition("/")
    architecture = name.partition(".")[0]
    if architecture not in timm_models():
        raise ModelError(f"model {model}: timm has no model {architecture}{did_you_mean(architecture, timm_models())}")
    if weights not in {"", "random", "pretrained"}:
        raise ModelError(f"model {model}: timm names weights after a dot, as resnet18.a1_in1k; after the slash: random")
    return ModelName("timm", name, weights or "pretrained")


def load(name: ModelName, task: Task) -> PictureModel:
    from pixelmill.workers.models.features import hash_weights
    from pixelmill.workers.models.picture_model import PictureModel, SizeFacts

    module = _whole(name)
    shown, module = _shown(_label(name), module)
    return PictureModel(
        task=task,
        module=module,
        mean=shown.mean,
        std=shown.std,
        size=SizeFacts(),
        weights_sha256=name.sha256 or hash_weights(module),
        licence=licence(name),
        classes=_classes(module),
        preprocess=shown,
    )


def encoder(name: ModelName, layer: str | None, pooling: Pooling) -> tuple[nn.Module, Preprocess]:
    from pixelmill.workers.models.features import cut_at

    module: Any = _random(name, num_classes=0) if name.weights == "random" else _whole(name)
    if name.weights != "random":
        module.reset_classifier(0)
    shown, module = _shown(_label(name), module)
    return (cut_at(module, layer, name) if layer else module), shown


def licence(name: ModelName) -> str | None:
    if name.weights is None:
        return licence_in(_folder_of(name))
    return None if name.weights == "random" else cast("str | None", _published(name).license)


def _label(name: ModelName) -> str:
    return f"timm:{name.path or name.name}"


# ------------------------------------------------------------------------------------------------------------------ files


def _folder(model: str, folder: Path) -> ModelName:
    config = read_json(model, require_inside(model, folder, folder / CONFIG))
    files = [folder / CONFIG, *weight_files(model, folder)]
    return ModelName("timm", _architecture(model, config), path=folder.resolve(), sha256=content_sha256(files))


def _folder_of(name: ModelName) -> Path:
    if name.path is not None:
        return name.path
    model = _label(name)
    return fetched(model, hub_name(model, name.name.removeprefix(HUB)), PATTERNS, ((CONFIG,), (WEIGHTS,)))


def _architecture(model: str, config: dict[str, Any]) -> str:
    architecture = config.get("architecture")
    if not isinstance(architecture, str) or architecture not in timm_models():
        raise ModelError(
            f"model {model}: its config.json names the architecture {architecture}, which the installed timm has not"
        )
    return architecture


def _published(name: ModelName) -> Any:
    """timm's metadata of the published weights of a name."""
    from pixelmill.workers.models import vision

    vision.lighten()
    import timm

    facts = timm.get_pretrained_cfg(name.name)
    if facts is None:
        raise ModelError(f"timm:{name.name}: timm has no such weights; `timm.list_pretrained('*')` lists what there is")
    return facts


def _published_file(name: ModelName) -> Path:
    """The safetensors of published weights, from the hub or its cache."""
    model, facts = _label(name), _published(name)
    stated = facts.hf_hub_filename or WEIGHTS
    if not facts.hf_hub_id or facts.custom_load:
        raise ModelError(f"model {model}: its weights are published in {facts.url or 'no file'} alone: {CONVERT}")
    safe = re.sub(r"\.(bin|pth|pt)$", ".safetensors", stated)
    safe = WEIGHTS if safe == "pytorch_model.safetensors" else safe
    return fetched_file(model, str(facts.hf_hub_id), safe)


# ------------------------------------------------------------------------------------------------------------ the network


def _random(name: ModelName, **arguments: Any) -> nn.Module:
    return _built(_label(name), name.name, **arguments)


def _built(model: str, architecture: str, **arguments: Any) -> nn.Module:
    """A network with random weights, the same each time."""
    import torch

    from pixelmill.workers.models import vision

    vision.lighten()  # because timm imports torchvision too
    import timm

    try:
        with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
            torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
            return timm.create_model(architecture, pretrained=False, **arguments)
    except ModelError:
        raise
    except Exception as error:  # timm raises a dozen types
        first_line = str(error).strip().partition("\n")[0]
        raise ModelError(f"model {model}: {first_line}; `timm.list_models('*')` lists what there is") from error


def _whole(name: ModelName) -> nn.Module:
    """The network with its classifier, and with its weights."""
    from pixelmill.workers.models.construction import bounded, require_finite, shapes_in, tensors_in

    model = _label(name)
    if name.weights == "random":
        return _random(name).eval().requires_grad_(False)
    if name.weights is not None:
        file, architecture, arguments = _published_file(name), name.name, dict[str, Any]()
    else:
        folder = _folder_of(name)
        config = read_json(model, require_inside(model, folder, folder / CONFIG))
        (file,), architecture = weight_files(model, folder), _architecture(model, config)
        arguments = _arguments(model, config)
    shapes = shapes_in([file])
    with bounded(model, shapes):
        module = _built(model, architecture, **arguments)
    _fill(model, module, tensors_in([file]), shapes)
    return require_finite(model, module)


def _arguments(model: str, config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a folder's config for the function that builds the network: sizes and names, nothing to fetch."""
    stated: dict[str, Any] = config.get("model_args") or {}
    facts: dict[str, Any] = config.get("pretrained_cfg") or {
        key: value for key, value in config.items() if key in FACTS
    }
    for key, value in stated.items():
        if key in REFUSED_ARGUMENTS or not ARGUMENTS.fullmatch(key) or _is_absurd(value):
            raise ModelError(
                f"model {model}: model_args of its config.json state {key}, which is not taken from a folder"
            )
    facts = {key: value for key, value in facts.items() if key in FACTS}
    count = config.get("num_classes", facts.get("num_classes", 1000))
    if _is_absurd(facts) or not isinstance(count, int) or not 0 <= count <= MOST_NUMBER:
        raise ModelError(
            f"model {model}: pretrained_cfg of its config.json states sizes that no network has; fetch it again"
        )
    if "label_names" in config:
        facts["label_names"] = config["label_names"]
    return {"num_classes": count, "pretrained_cfg": {**facts, "num_classes": count}} | stated


def _is_absurd(value: Any) -> bool:
    if isinstance(value, dict | list):
        inner = cast("dict[str, Any]", value).values() if isinstance(value, dict) else cast("list[Any]", value)
        return len(inner) > 1 << 16 or any(_is_absurd(each) for each in inner)
    return isinstance(value, int | float) and abs(value) > MOST_NUMBER


def _fill(model: str, module: nn.Module, state: dict[str, Tensor], shapes: Shapes) -> None:
    """Load weights that have to match every tensor; timm's own filter converts the names of the original code."""
    if state.keys() != module.state_dict().keys():
        convert = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
        try:
            state = convert(state, module) if convert else state
        except Exception as error:  # the filter assumes that names exist
            raise ModelError(
                f"model {model}: its weights are not those of a {type(module).__name__} ({error!r})"
            ) from error
    expected = module.state_dict()
    wrong = [f"missing {key}" for key in sorted(expected.keys() - state.keys())]
    wrong += [f"unexpected {key}" for key in sorted(state.keys() - expected.keys())]
    wrong += [
        f"{key} is {tuple(state[key].shape)}, not {tuple(expected[key].shape)}"
        for key in sorted(expected.keys() & state.keys())
        if state[key].shape != expected[key].shape
    ]
    if wrong:
        several = "; ".join(wrong[:6]) + (f" and {len(wrong) - 6} more" if len(wrong) > 6 else "")
        raise ModelError(
            f"model {model}: its {len(shapes)} weights are not those of a {type(module).__name__}: {several}; take config and "
            "weights from the same model"
        )
    module.load_state_dict(state)


# -------------------------------------------------------------------------------------------------------------- its facts


def _shown(model: str, module: nn.Module) -> tuple[Preprocess, nn.Module]:
    """The preprocessing, and the network, preceded by a centre crop if stretched pictures are cropped."""
    from timm.data.config import resolve_model_data_config  # pyright: ignore[reportUnknownVariableType]

    from pixelmill.workers.models.heads import Cropped
    from pixelmill.workers.models.preprocess import Preprocess, require_input

    data: Any = cast("Any", resolve_model_data_config)(module)
    height_px, crop_px = (int(side) for side in data["input_size"][1:])
    if height_px != crop_px or data.get("crop_mode", "center") not in {"center", "squash"}:
        raise ModelError(
            f"model {model}: sees {data['input_size']} by {data.get('crop_mode')}; this takes squares out of the middle"
        )
    resize_px = round(crop_px / float(data["crop_pct"]))
    interpolation = "bicubic" if data["interpolation"] == "bicubic" else "bilinear"
    rest = interpolation, tuple(data["mean"]), tuple(data["std"])
    if data.get("crop_mode") != "squash":
        return require_input(model, Preprocess(resize_px, crop_px, *rest)), module
    cropped = module if resize_px == crop_px else Cropped(module, (crop_px, crop_px))
    return require_input(model, Preprocess(resize_px, resize_px, *rest, fit="stretch")), cropped


def _classes(module: Any) -> Classes | None:
    """The names of the classes, from the config or from timm's list for ImageNet; None if neither has them."""
    from pixelmill.workers.models.picture_model import Classes

    network = getattr(module, "network", module)
    named = network.pretrained_cfg.get("label_names")
    if named and len(named) == network.num_classes:
        return Classes(tuple(str(each) for each in named))
    imagenet: Any = import_module("timm.data.imagenet_info")
    subset = imagenet.infer_imagenet_subset(network)
    if not subset:
        return None
    info = imagenet.ImageNetInfo(subset)
    return Classes(tuple(str(info.index_to_description(each)) for each in range(network.num_classes)))


@cache
def timm_models() -> list[str]:
    """The names of all models of the installed timm, including deprecated names."""
    spec = find_spec("timm")
    if spec is None or spec.origin is None:
        return []
    names: list[str] = []
    for file in sorted((Path(spec.origin).parent / "models").glob("*.py")):
        text = file.read_text(encoding="utf-8")
        names += re.findall(r"^@register_model\s*\n(?:@.*\n)*def (\w+)\(", text, re.MULTILINE)
        names += re.findall(r"^\s*[\"'](\w+)[\"']:", text.partition("register_model_deprecations(")[2], re.MULTILINE)
    return names

"""Models of transformers: a folder as `save_pretrained` writes it, or one commit of a repository of the Hugging Face Hub.

No code in a folder is executed: the config is read as JSON, and keys that name code, kernels or other models are removed; the
class comes from the installed transformers; the weights are safetensors, read here and passed on as tensors. A network that
lacks a weight is refused; transformers itself would fill it with random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from logging import CRITICAL
from math import lcm
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.depth_facts import DepthFacts
from pixelmill.workers.models.folders import (
    INDEX,
    WEIGHTS,
    content_sha256,
    fetched,
    hub_name,
    licence_in,
    read_json,
    require_inside,
    require_installed,
    weight_files,
)
from pixelmill.workers.models.image_processors import FILES as PROCESSORS
from pixelmill.workers.models.image_processors import Processing, processing_of
from pixelmill.workers.models.libraries.transformers_config import Plan, plan_of
from pixelmill.workers.models.model_names import ModelName
from pixelmill.workers.models.stated_classes import StatedClasses
from pixelmill.workers.models.tasks import WITH_CLASSES, Task

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import nn

    from pixelmill.workers.models.picture_model import Classes, PictureModel, SizeFacts
    from pixelmill.workers.models.preprocess import Pooling, Preprocess

CONFIG = "config.json"
PATTERNS = (CONFIG, *PROCESSORS, "README.md", WEIGHTS, INDEX, "model-*-of-*.safetensors")


def resolve(model: str, rest: str, task: Task) -> ModelName:
    require_installed(model, "transformers", "hf")
    if not rest.strip() or not Path(rest).is_dir():
        return ModelName("hf", str(hub_name(model, rest)))
    folder = Path(rest).resolve()
    plan = plan_of(model, _config(model, folder), task)
    processing_of(model, folder)  # which raises for one that is missing or wrong
    files = [folder / CONFIG, *_processor_files(folder), *weight_files(model, folder)]
    depth = _depth(model, plan) if task == "depth" else None
    named = plan.values.get("id2label") if task in WITH_CLASSES else None
    classes = StatedClasses(_class_names(model, named)) if named else None
    sha256 = content_sha256(files)
    return ModelName("hf", plan.architecture, path=folder, sha256=sha256, depth=depth, classes=classes)


def load(name: ModelName, task: Task) -> PictureModel:
    from pixelmill.workers.models.picture_model import PictureModel

    model, folder = _label(name), folder_of(name)
    plan = plan_of(model, _config(model, folder), task)
    processing = processing_of(model, folder)
    network, config = _loaded(model, folder, plan)
    module = _flipped(_headed(network, plan), processing)
    return PictureModel(
        task=task,
        module=_cropped(module, processing) if task == "classify" else module,
        mean=processing.mean,
        std=processing.std,
        size=_size(config, plan, processing),
        weights_sha256=name.sha256 or _content(model, folder),
        licence=licence_in(folder),
        classes=_classes(model, config) if task in {"segment", "classify"} else None,
        depth=_depth(model, plan) if task == "depth" else None,
        preprocess=_preprocess(model, config, processing) if task == "classify" else None,
    )


def encoder(name: ModelName, layer: str | None, pooling: Pooling) -> tuple[nn.Module, Preprocess]:
    from pixelmill.workers.models.heads import Embedding

    model, folder = _label(name), folder_of(name)
    if layer is not None:
        raise ModelError(
            f"model {model}: layers of transformers can't be named; leave layer out, or choose a pooling of the tokens"
        )
    plan = plan_of(model, _config(model, folder), "embed")
    processing = processing_of(model, folder)
    network, config = _loaded(model, folder, plan)
    embedding = _flipped(Embedding(network, whole=pooling == "auto"), processing)
    return _cropped(embedding, processing), _preprocess(model, config, processing)


def licence(name: ModelName) -> str | None:
    return licence_in(folder_of(name))


def folder_of(name: ModelName) -> Path:
    """The folder with the files of a model, which are fetched if they are not in the cache."""
    if name.path is not None:
        return name.path
    model = _label(name)
    return fetched(model, hub_name(model, name.name), PATTERNS, ((CONFIG,), PROCESSORS))


def _label(name: ModelName) -> str:
    return f"hf:{name.path or name.name}"


def _config(model: str, folder: Path) -> dict[str, Any]:
    return cast("dict[str, Any]", read_json(model, require_inside(model, folder, folder / CONFIG)))


def _processor_files(folder: Path) -> list[Path]:
    return [folder / name for name in PROCESSORS if (folder / name).is_file()]


def _content(model: str, folder: Path) -> str:
    return content_sha256([folder / CONFIG, *_processor_files(folder), *weight_files(model, folder)])


# ------------------------------------------------------------------------------------------------------------ the network


def _loaded(model: str, folder: Path, plan: Plan) -> tuple[nn.Module, Any]:
    """The network with all its weights, and the config that it was built from."""
    from pixelmill.workers.models import vision
    from pixelmill.workers.models.construction import bounded, require_finite, shapes_in, tensors_in

    vision.lighten()  # because transformers imports torchvision too
    files = weight_files(model, folder)
    shapes = shapes_in(files)
    with _silence():
        try:
            kind, config = plan.network_class(), plan.config()
            with bounded(
                model, shapes, registrations=2
            ):  # built on the meta device, and registered again with what is loaded
                network, info = kind.from_pretrained(
                    None, config=config, state_dict=tensors_in(files), output_loading_info=True, **plan.arguments
                )
        except ModelError:
            raise
        except Exception as error:  # sizes that do not fit, unknown options, ...: errors of any type
            raise ModelError(
                f"model {model}: transformers can't build it of its config and weights ({type(error).__name__}: "
                f"{str(error).strip().partition(chr(10))[0]}); fetch it again, or another version of transformers"
            ) from error
    _require_complete(model, plan, cast("Mapping[str, Any]", info))
    return require_finite(model, network), network.config


def _require_complete(model: str, plan: Plan, info: Mapping[str, Any]) -> None:
    """ModelError if weights are missing (transformers filled them with random numbers) or left over."""
    missing = sorted(info["missing_keys"])
    left_over = sorted(key for key in info["unexpected_keys"] if not key.startswith(plan.may_be_left))
    wrong = [*(f"missing {key}" for key in missing), *(f"unexpected {key}" for key in left_over)]
    wrong += [f"of another shape {key}" for key in sorted(map(str, info["mismatched_keys"]))]
    if wrong:
        several = ", ".join(wrong[:6]) + (f" and {len(wrong) - 6} more" if len(wrong) > 6 else "")
        raise ModelError(
            f"model {model}: its weights are not those of a {plan.architecture}: {several}; take config and weights from the "
            "same model, one that was trained for this"
        )


@contextmanager
def _silence() -> Generator[None]:
    """Suppress the progress bars and reports of transformers; problems are raised as errors."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _headed(network: nn.Module, plan: Plan) -> nn.Module:
    from pixelmill.workers.models import heads

    wrappers = {
        "logits": heads.Logits,
        "logit map": heads.LogitMap,
        "query map": heads.QueryMap,
        "depth map": heads.DepthMap,
    }
    return wrappers[plan.gives](network)


# -------------------------------------------------------------------------------------------------------------- its facts


def _size(config: Any, plan: Plan, processing: Processing) -> SizeFacts:
    from pixelmill.workers.models.picture_model import SizeFacts

    if plan.gives == "logits":
        return SizeFacts()
    resize_px = (config.image_size,) * 2 if _takes_squares(config) else processing.resize_px
    longest_px = processing.longest_px if isinstance(resize_px, int) else None
    return SizeFacts(lcm(processing.multiple_px, _patch_px(config)), resize_px=resize_px, longest_px=longest_px)


def _takes_squares(config: Any) -> bool:
    """Whether the model is a DPT that requires square inputs: hybrid, or without a separate backbone."""
    return config.model_type == "dpt" and (config.is_hybrid or config.backbone_config is None)


def _patch_px(config: Any) -> int:
    """Height and width have to be multiples of this: the side of a patch, or the stride of a convolutional pyramid."""
    for holder in (getattr(config, "backbone_config", None), config):
        patch_px = getattr(holder, "patch_size", None)
        if isinstance(patch_px, int) and patch_px > 4:
            return patch_px
    return 32


def _preprocess(model: str, config: Any, processing: Processing) -> Preprocess:
    """The preprocessing of an encoder or classifier, to one size. If a stretched picture is cropped too, `_cropped` crops it."""
    from pixelmill.workers.models.preprocess import Preprocess

    resize_px, crop_HW = processing.resize_px, processing.crop_px
    shown_HW = crop_HW or (resize_px if isinstance(resize_px, tuple) else None)
    if shown_HW is None:
        raise ModelError(
            f"model {model}: its image processor gives pictures of any size, and this takes one size; take another"
        )
    _require_input(model, config, shown_HW)
    rest = processing.interpolation, processing.mean, processing.std
    if isinstance(resize_px, tuple):
        side_or_sides_px = resize_px[0] if resize_px[0] == resize_px[1] else resize_px
        return Preprocess(min(resize_px), side_or_sides_px, *rest, fit="stretch")
    if shown_HW[0] != shown_HW[1]:
        raise ModelError(
            f"model {model}: its image processor crops to {shown_HW}, which is no square; take another model"
        )
    return Preprocess(resize_px or shown_HW[0], shown_HW[0], *rest)


def _cropped(module: nn.Module, processing: Processing) -> nn.Module:
    """The network, preceded by the centre crop of stretched pictures if its image processor has one."""
    from pixelmill.workers.models.heads import Cropped

    if processing.crop_px is None or not isinstance(processing.resize_px, tuple):
        return module
    return Cropped(module, processing.crop_px)


def _flipped(module: nn.Module, processing: Processing) -> nn.Module:
    """The network, which gets blue, green and red if its image processor flips the channels."""
    from pixelmill.workers.models.heads import Flipped

    return Flipped(module) if processing.flips_channels else module


FIXED_INPUT = frozenset({"vit", "deit", "beit", "clip_vision_model", "siglip_vision_model", "levit"})
"""Networks whose position embeddings or attention biases fit one input size."""


def _require_input(model: str, config: Any, shown_HW: tuple[int, int]) -> None:
    takes = getattr(config, "image_size", None)
    takes_HW = (takes, takes) if isinstance(takes, int) else takes and tuple(takes)
    if config.model_type in FIXED_INPUT and takes_HW not in {shown_HW, None}:
        raise ModelError(
            f"model {model}: its image processor gives {shown_HW} px and its network takes {takes_HW}; take "
            "config.json and preprocessor_config.json from the same model"
        )


def _classes(model: str, config: Any) -> Classes:
    from pixelmill.workers.models.picture_model import Classes

    return Classes(_class_names(model, config.id2label))


def _class_names(model: str, stated: Any) -> tuple[str, ...]:
    """The names by id of a config's id2label."""
    try:
        pairs = cast("dict[Any, Any]", stated or {}).items()
        names = {int(key): str(name) for key, name in pairs}
    except (AttributeError, TypeError, ValueError):
        names = dict[int, str]()
    if sorted(names) != list(range(len(names))) or not names:
        raise ModelError(
            f"model {model}: id2label of its config does not number its classes from 0; take another model"
        )
    return tuple(names[each] for each in range(len(names)))


def _depth(model: str, plan: Plan) -> DepthFacts:
    return DepthFacts("metres" if plan.is_metric(model) else "inverse")

"""Super-resolution and restoration networks of the community, from a file of weights alone: spandrel identifies the network.

The facts that spandrel knows are used: scale, valid sizes and precisions, and whether tiles are allowed.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.file_contents import require_finite_weights, sha256_of
from pixelmill.workers.models.folders import CONVERT, require_installed
from pixelmill.workers.models.model_names import ModelName
from pixelmill.workers.models.safetensors_header import require_whole
from pixelmill.workers.models.tasks import Task, verb

if TYPE_CHECKING:
    from torch import nn

    from pixelmill.workers.models.picture_model import PictureModel, SizeFacts
    from pixelmill.workers.models.preprocess import Pooling, Preprocess
    from pixelmill.workers.runtime.settings import Precision

PURPOSES = frozenset({"SR", "Restoration"})


def resolve(model: str, rest: str, task: Task) -> ModelName:
    if task != "upscale":
        raise ModelError(f"model {model}: spandrel's networks can't {verb(task)} here; they can upscale")
    require_installed(model, "spandrel", "spandrel")
    path = Path(rest)
    if path.suffix.lower() in {".pth", ".pt", ".ckpt", ".bin", ".pkl"}:
        raise ModelError(f"model {model}: {CONVERT}, where the weights lie under params_ema or params take those")
    if path.suffix != ".safetensors" and path.is_file():
        raise ModelError(f"model {model}: {path.name} does not end with .safetensors; write spandrel:FILE.safetensors")
    if path.suffix != ".safetensors" or not path.is_file():
        raise ModelError(f"model {model}: no such file; write spandrel:FILE.safetensors")
    require_whole(path)
    require_finite_weights([path])
    return ModelName("spandrel", "spandrel", path=path.resolve(), sha256=sha256_of(path))


def load(name: ModelName, task: Task) -> PictureModel:
    from pixelmill.workers.models.picture_model import PictureModel
    from pixelmill.workers.models.upscalers import Upscaler

    assert name.path is not None
    assert name.sha256 is not None
    model = f"spandrel:{name.path}"
    found = _described(model, name.path)
    return PictureModel(
        task=task,
        module=Upscaler(found),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        size=_size(found),
        weights_sha256=name.sha256,
        precisions=_precisions(found),
    )


def encoder(name: ModelName, layer: str | None, pooling: Pooling) -> tuple[nn.Module, Preprocess]:
    raise ModelError("spandrel's networks can't embed; they can upscale")


def licence(name: ModelName) -> str | None:
    return None  # a file of weights states no licence


def _described(model: str, path: Path) -> Any:
    """Load spandrel's descriptor: the network with its weights, and facts about it."""
    from pixelmill.workers.models import vision
    from pixelmill.workers.models.construction import bounded, require_finite, shapes_in, tensors_in

    vision.lighten()
    spandrel: Any = import_module("spandrel")
    shapes = shapes_in([path])
    try:
        with (
            bounded(model, shapes),
            warnings.catch_warnings(action="ignore"),
        ):  # of networks for older torch
            found: Any = spandrel.ModelLoader().load_from_state_dict(
                spandrel.canonicalize_state_dict(dict(tensors_in([path])))
            )
    except ModelError:
        raise
    except spandrel.UnsupportedModelError as error:
        raise ModelError(
            f"model {model}: spandrel {spandrel.__version__} knows no network with these {len(shapes)} weights; a newer one may"
        ) from error
    except Exception as error:  # shapes that do not fit each other: torch and spandrel raise errors of any type
        first_line = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"model {model}: its weights are not those of one network ({type(error).__name__}: {first_line}); fetch it again"
        ) from error
    purpose = getattr(found, "purpose", None)
    if not isinstance(found, spandrel.ImageModelDescriptor) or purpose not in PURPOSES:
        raise ModelError(
            f"model {model}: {found.architecture.name} is for {purpose}, and upscale takes super-resolution and restoration"
        )
    if found.input_channels not in {1, 3} or found.output_channels != found.input_channels:
        raise ModelError(
            f"model {model}: {found.architecture.name} takes {found.input_channels} channels and gives {found.output_channels}; "
            "this takes networks of pictures in grey or colour"
        )
    require_finite(model, found.model)
    return found


def _size(found: Any) -> SizeFacts:
    from pixelmill.workers.models.picture_model import SizeFacts

    wanted = found.size_requirements
    may_be_cut = found.tiling.name == "SUPPORTED" and not wanted.square
    return SizeFacts(
        multiple_px=wanted.multiple_of,
        least_px=max(1, wanted.minimum),
        scale=found.scale,
        tiling="blended" if may_be_cut else "refused",
    )


def _precisions(found: Any) -> tuple[Precision, ...]:
    precisions: list[Precision] = ["float32"]
    if found.supports_bfloat16:
        precisions.append("bfloat16")
    if found.supports_half:
        precisions.append("float16")
    return tuple(precisions)

"""One network for one picture at a time, in this process: `pixelmill.load("segnet-camvid")(picture)`.

The picture goes through the stage that a job would run, so that both give the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
import torch
from PIL import Image

from pixelmill.jobs.documents.credentials import refuse_credentials
from pixelmill.jobs.places import absolute
from pixelmill.jobs.stage_assets import carrying
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.assets import file_at
from pixelmill.pipelines.training import checkpoints
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.id_png import decode_ids
from pixelmill.workers.codecs.pixels import to_pixels, to_rgb_or_grey
from pixelmill.workers.codecs.stored import shown, values_of
from pixelmill.workers.errors import JobError, ModelError, RowError
from pixelmill.workers.geometry.orientation import turn_upright
from pixelmill.workers.models.adapters import kind_of, tasks_of
from pixelmill.workers.models.libraries import library, load_model, resolve
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.models.zoo import zoo_path
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import STAGES, Deferred, Milled, Stage, StageConfig, StageContext, config_class
from pixelmill.workers.typed_torch import from_numpy

if TYPE_CHECKING:
    from torch import nn

    from pixelmill.workers.models.card import Card

AnyPicture = Image.Image | np.ndarray | str | os.PathLike[str]
PREFERRED: tuple[Task, ...] = (
    "segment", "depth", "upscale", "stylize", "synthesize", "classify", "encode", "reconstruct", "embed",
)  # fmt: skip
"""The order of preference among the tasks of a network that can do several."""
ONE_PICTURE = {"precision": "float32", "batch": 1, "channels_last": False, "compile": False}
"""Settings for which nothing is probed."""


@dataclass(frozen=True)
class Mask:
    """Class ids of every pixel, HW uint8, and the names of the classes by id."""

    ids: np.ndarray
    names: tuple[str, ...]
    columns: Mapping[str, object]
    """The other columns of the stage, such as the share of each class."""


@dataclass(frozen=True)
class Class:
    """One of the best classes of a picture."""

    id: int
    name: str
    score: float


@dataclass(frozen=True)
class Reconstruction:
    """The picture as an autoencoder reconstructs it, and the mean squared error."""

    picture: Image.Image
    error: float


class LoadedModel:
    """A network for one task. Call it with a picture: a PIL image, an array (uint8 HW, HW3 or HW4), a path or a URI.

    The result by task:

    embed, encode                   the vector, float32 D
    segment                         Mask: ids HW and names
    depth                           the map HW, float32, in the unit of the column in a job's output
    upscale, stylize, synthesize    a PIL image
    reconstruct                     Reconstruction: a PIL image and the error
    classify                        a list of Class, the best first

    RowError if the picture can't be processed, ModelError if no stage runs such a network.
    """

    def __init__(self, model: str, config: StageConfig | None, device: str) -> None:
        self.name = model
        self._config, self._device = config, device

    @property
    def task(self) -> str | None:
        """The task of the network; None if no stage runs it, as for a network of 28x28 digits."""
        return None if self._config is None else self._config.stage

    @cached_property
    def card(self) -> Card | None:
        """How a checkpoint was trained; None for a model of another library."""
        return self._checkpoint[1] if self._is_ours else None

    @cached_property
    def network(self) -> nn.Module:
        """The network itself, in eval mode and on the CPU."""
        return self._checkpoint[0] if self._is_ours else _network_of_library(self.name, cast("Task", self.task))

    @cached_property
    def _checkpoint(self) -> tuple[nn.Module, Card]:
        return checkpoints.load_from_store(self.name, Access())

    @property
    def _is_ours(self) -> bool:
        return ":" not in self.name or "://" in self.name

    @cached_property
    def stage(self) -> Stage:
        """The stage, built when it is first needed."""
        if self._config is None:
            raise ModelError(f"{self.name}: no stage runs such a network; .network is the network itself")
        context = StageContext(self._device, torch.get_num_threads(), 1, None)
        return self._config.build(context)

    def __call__(self, picture: AnyPicture) -> Any:
        """The result of the task; see the class."""
        stage = self.stage  # before the picture is read, since it raises if the network has no task
        config = cast("StageConfig", self._config)
        with torch.inference_mode():
            milled = stage.run([stage.prepare(as_picture(picture, ids="ids8" in config.takes))])
        if milled.errors:
            raise milled.errors[0]
        return RESULTS[config.stage](_values(milled), stage)

    def __repr__(self) -> str:
        return f"LoadedModel({self.name!r}, task={self.task!r})"


def _network_of_library(model: str, task: Task) -> nn.Module:
    name = resolve(model, task)
    is_encoder = task == "embed"  # encoders are loaded in another way, see models/libraries
    found = library(name.library).encoder(name, None, "auto")[0] if is_encoder else load_model(name, task).module
    return found.eval()


def load(
    model: str | os.PathLike[str],
    *,
    task: str | None = None,
    device: str | None = None,
    keys: Mapping[str, object] | None = None,
) -> LoadedModel:
    """Load a network, which is then called with one picture; see `LoadedModel`.

    `model` takes the same values as `model:` of a stage, or `style:` of stylize: a folder that training wrote, a NAME.safetensors
    with its card beside it, on any store, the name of a network that ships, or torchvision:NAME and the like. No pickle is
    loaded. `task` chooses among the tasks of a network that can do several; by default the first in PREFERRED. `keys` are keys of
    that stage, such as {"scale": 3}. `device` is cuda by default if there is a GPU.
    """
    if task is not None and task not in STAGES:
        raise JobError(f"task {task}: there are {', '.join(STAGES)}")
    uri = os.fspath(model)
    refuse_credentials(uri)
    named = uri if zoo_path(uri) is not None or (":" in uri and "://" not in uri) else absolute(uri)
    device = _usable(device)
    if task is not None:
        return LoadedModel(named, _config(named, task, keys), device)
    return _of_some_task(named, device, keys)


def _usable(device: str | None) -> str:
    """The requested device, or the best available one. JobError if the requested device is not available."""
    has_gpu = torch.cuda.is_available()
    if device is None:
        return "cuda" if has_gpu else "cpu"
    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise JobError(f"device {device}: there are cpu and cuda")
    if device != "cpu" and not has_gpu:
        raise JobError(f"device {device}: torch finds no GPU here; leave device out")
    return device


def _of_some_task(model: str, device: str, keys: Mapping[str, object] | None) -> LoadedModel:
    """The model with the first task that it can do; without a task for a network of ours that no stage runs."""
    reasons: list[ModelError] = []
    for task in _tasks_to_try(model):
        try:
            config = _config(model, task, keys)
            config.identity()
        except ModelError as error:
            reasons.append(error)
        else:
            return LoadedModel(model, config, device)
    loaded = LoadedModel(model, None, device)
    if ":" in model and "://" not in model:
        raise reasons[-1]
    _ = loaded.card  # raises, with the reason, if there is no such checkpoint
    return loaded


def _tasks_to_try(model: str) -> list[Task]:
    if ":" in model and "://" not in model:
        return [task for task in PREFERRED if task in STAGES]
    _, card = checkpoints.load_from_store(model, Access())
    known = tasks_of(kind_of(card.network, card.config))
    return [task for task in PREFERRED if task in STAGES and (task in known or task == "embed")]


def _config(model: str, task: str, keys: Mapping[str, object] | None) -> StageConfig:
    kind = config_class(task)
    named = "style" if "style" in kind.model_fields else "model"
    quick = {key: value for key, value in ONE_PICTURE.items() if key in kind.model_fields}
    return carrying(kind.model_validate(quick | {named: model} | dict(keys or {})), Access(), {})


def as_picture(picture: AnyPicture, *, ids: bool = False) -> Picture:
    """The picture as a decoder passes it to a stage; with `ids`, grey levels and palette indices are class ids."""
    if isinstance(picture, str | os.PathLike):
        place = absolute(os.fspath(picture))
        (data,) = file_at(place, Access()).values()
        try:
            return _of_file(data, ids=ids)
        except RowError as error:
            raise RowError(error.stage, error.error_type, f"{place}: {error}") from error
    image = picture if isinstance(picture, Image.Image) else _image_of(picture)
    if ids and image.mode in ("L", "P"):
        return Picture(from_numpy(np.array(image))[None], "ids8")
    return Picture(turn_upright(to_pixels(to_rgb_or_grey(image)), int(image.getexif().get(274, 1))))


def _of_file(data: bytes, *, ids: bool) -> Picture:
    if ids and shown(data).mode in ("L", "P"):
        ids_HW, orientation = decode_ids(data)
        return Picture(turn_upright(from_numpy(np.array(ids_HW))[None], orientation), "ids8")
    return Picture(decode_picture(data))


def _image_of(given: object) -> Image.Image:
    if not isinstance(given, np.ndarray):
        raise JobError(f"a {type(given).__name__} is no picture; give a PIL image, an array, a path or a URI")
    pixels = cast("np.ndarray", given)
    if not pixels.size:
        raise JobError(f"an array of {pixels.dtype} {pixels.shape} has no pixels; give uint8 HW, HW3 or HW4")
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise JobError(f"an array of {pixels.dtype} {pixels.shape} is no picture; give uint8 HW, HW3 or HW4")
    return Image.fromarray(pixels)


# ------------------------------------------------------------------------------------------------------------ results


def _values(milled: Milled) -> dict[str, Any]:
    """The row of the picture, by column."""
    row: dict[str, Any] = {}
    for name, column in milled.columns.items():
        row[name] = column.jobs[0]() if isinstance(column, Deferred) else cast("Any", column)[0].as_py()
    return row


def _picture_in(row: Mapping[str, Any]) -> tuple[str, bytes]:
    """The column that holds a picture, and its bytes."""
    pictures = [(name, cast("Any", value)["bytes"]) for name, value in row.items() if isinstance(value, dict)]
    if not pictures:
        raise JobError(f"columns {', '.join(row)} hold no picture; leave encoding out")
    return pictures[0]


def _vector(row: Mapping[str, Any], stage: Stage) -> np.ndarray:
    return np.asarray(row[stage.fields[0].name], np.float32)


def _image(row: Mapping[str, Any], _: Stage) -> Image.Image:
    return shown(_picture_in(row)[1])


def _mask(row: Mapping[str, Any], stage: Stage) -> Mask:
    name, data = _picture_in(row)
    others = {key: value for key, value in row.items() if key != name}
    return Mask(values_of(data), _class_names(stage), others)


def _class_names(stage: Stage) -> tuple[str, ...]:
    stated = [(field.metadata or {}).get(b"classes", b"") for field in stage.fields]
    return tuple(json.loads(next(filter(None, stated), b"[]")))


def _depth(row: Mapping[str, Any], _: Stage) -> np.ndarray:
    name, data = _picture_in(row)
    return values_of(data).astype(np.float32) * np.float32(row[f"{name}_scale"])


def _reconstruction(row: Mapping[str, Any], _: Stage) -> Reconstruction:
    return Reconstruction(
        shown(_picture_in(row)[1]), next(value for key, value in row.items() if key.endswith("_error"))
    )


def _classes(row: Mapping[str, Any], _: Stage) -> list[Class]:
    by_end = {key.rpartition("_")[2]: value for key, value in row.items()}
    return [Class(*each) for each in zip(by_end["id"], by_end["name"], by_end["score"], strict=True)]


RESULTS: dict[str, Callable[[Mapping[str, Any], Stage], Any]] = {
    "embed": _vector,
    "encode": _vector,
    "segment": _mask,
    "depth": _depth,
    "upscale": _image,
    "stylize": _image,
    "synthesize": _image,
    "reconstruct": _reconstruction,
    "classify": _classes,
}
assert set(RESULTS) == {*get_args(Task)}

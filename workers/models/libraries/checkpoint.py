"""Checkpoints of ours: a file with its card beside it, a folder that training wrote, or the name of one that ships."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.adapters import Checkpoint, adapter, tasks_of
from pixelmill.workers.models.model_names import ModelName, checkpoint_files, did_you_mean
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.models.zoo import ZOO

if TYPE_CHECKING:
    from torch import nn

    from pixelmill.workers.models.picture_model import PictureModel
    from pixelmill.workers.models.preprocess import Pooling, Preprocess


def resolve(model: str, rest: str, task: Task) -> ModelName:
    if rest.endswith((".pt", ".pth", ".ckpt", ".bin", ".pkl")):
        raise ModelError(
            f"model {model}: a pickle can run code when it is loaded, so none is; convert it once with "
            "safetensors.torch.save_file(state_dict, 'model.safetensors') and write a card beside it"
        )
    if rest.endswith(".safetensors") or (rest.strip() and Path(rest).is_dir()):
        return _file(model, Path(rest), task)
    return _zoo(model, task)


def load(name: ModelName, task: Task) -> PictureModel:
    from pixelmill.workers.models.checkpoint import load_checkpoint

    assert name.path is not None
    assert name.sha256 is not None
    module, card = load_checkpoint(name.path)
    _refuse_other_task(name.name, card.network, task)
    return adapter(card.network, task)(Checkpoint(name.name, module, card, name.sha256))


def encoder(name: ModelName, layer: str | None, pooling: Pooling) -> tuple[nn.Module, Preprocess]:
    """An autoencoder of ours: its code (`layer: code`), or its last feature map before the code.

    Two uses pull apart (workers/zoo/README.md has the figures of autoencoder-photos): crops of a photograph find another
    crop of it by the mean and standard deviation of the feature map in 95 % and by the code in 71 %; a whole photograph
    finds one of its own category in 23 % and 40 %. `pooling: auto` takes the statistics, which find the same picture again.
    """
    from torch import nn

    from pixelmill.workers.models.checkpoint import load_checkpoint
    from pixelmill.workers.models.encoders import Code, Features
    from pixelmill.workers.models.features import FeaturePooling, up_to
    from pixelmill.workers.models.preprocess import Preprocess

    assert name.path is not None
    module, card = load_checkpoint(name.path)
    if card.network != "autoencoder" or card.preprocess is None or len(card.preprocess.mean) != 3:
        raise ModelError(f"{name.path}: holds a {card.network}, and embedding takes an autoencoder of colour pictures")
    size_px = card.preprocess.size_px
    preprocess = Preprocess(size_px, size_px, "bilinear", tuple(card.preprocess.mean), tuple(card.preprocess.std))
    if layer == "code":
        return Code(module), preprocess
    if layer is not None:
        return up_to(module, layer, name), preprocess
    features = Features(module)
    return (nn.Sequential(features, FeaturePooling("stats")) if pooling == "auto" else features), preprocess


def _file(model: str, path: Path, task: Task) -> ModelName:
    weights, card = checkpoint_files(path)
    if not weights.is_file():
        raise ModelError(f"model {model}: no such file; a checkpoint is NAME.safetensors with NAME.json beside it")
    if not card.is_file():
        raise ModelError(
            f"model {model}: its card is missing, {card.name} beside {weights.name}; it says how the network is built"
        )
    if task == "embed" and not _embeds(card):
        raise ModelError(f"model {model}: embedding takes an autoencoder of colour pictures, and its card is of none")
    if task != "embed":
        _require_task(model, card, task)
    with weights.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return ModelName("file", path.stem, path=path.resolve(), sha256=sha256)


def _require_task(model: str, card: Path, task: Task) -> None:
    """ModelError where a card is of a network that does not do the task. One that can't be read is reported when it is loaded."""
    network = _network_of(card)
    if network is not None:
        _refuse_other_task(model, network, task)


def _refuse_other_task(model: str, network: str, task: Task) -> None:
    if task not in tasks_of(network):
        can = ", ".join(sorted(tasks_of(network))) or "no stage but embed"
        raise ModelError(f"model {model}: holds a {network}, which can't {task}; it can {can}")


def _does(card: Path, task: Task) -> bool:
    if task == "embed":
        return _embeds(card)
    return task in tasks_of(_network_of(card) or "")


def _network_of(card: Path) -> str | None:
    """What a card calls its network; None where it can't be read."""
    try:
        written: Any = json.loads(card.read_text(encoding="utf-8"))
        return cast("str", written["network"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _embeds(card: Path) -> bool:
    """Whether a card is of an autoencoder of colour pictures. One that can't be read is reported when it is loaded."""
    try:
        written = json.loads(card.read_text())
        return written["network"] == "autoencoder" and len(written["preprocess"]["mean"]) == 3
    except (OSError, ValueError, KeyError):
        return True
    except TypeError:  # no preprocessing: the network has one of its own
        return False


def _zoo(model: str, task: Task) -> ModelName:
    if (ZOO / f"{model}.safetensors").is_file():
        return _file(model, ZOO / f"{model}.safetensors", task)
    ours = sorted(path.stem for path in ZOO.glob("*.safetensors") if _does(path.with_suffix(".json"), task))
    raise ModelError(
        f"model {model}: unknown{did_you_mean(model, ours)}; write torchvision:NAME, torchvision:NAME/WEIGHTS, "
        f"timm:NAME, FILE.safetensors, or one of ours: {', '.join(ours) or 'none does this'}"
    )

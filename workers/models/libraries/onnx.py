"""Networks in ONNX: FILE.onnx with its card FILE.json beside it, which describes input and output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.depth_facts import DepthFacts, Measure
from pixelmill.workers.models.folders import content_sha256, require_installed
from pixelmill.workers.models.model_names import ModelName
from pixelmill.workers.models.onnx_card import OnnxCard, read_onnx_card
from pixelmill.workers.models.onnx_files import read_network
from pixelmill.workers.models.stated_classes import StatedClasses
from pixelmill.workers.models.tasks import WITH_CLASSES, Task

if TYPE_CHECKING:
    from torch import nn

    from pixelmill.workers.models.onnx_network import OnnxNetwork
    from pixelmill.workers.models.picture_model import PictureModel, SizeFacts
    from pixelmill.workers.models.preprocess import Pooling, Preprocess


def resolve(model: str, rest: str, task: Task) -> ModelName:
    require_installed(model, "onnxruntime", "onnx")
    path = Path(rest)
    if path.suffix != ".onnx" and path.is_file():
        raise ModelError(
            f"model {model}: {path.name} does not end with .onnx; write onnx:FILE.onnx, with FILE.json beside it"
        )
    if path.suffix != ".onnx" or not path.is_file():
        raise ModelError(f"model {model}: no such file; write onnx:FILE.onnx, with FILE.json beside it")
    card = _card(model, path, task)
    read_network(model, path)  # which raises for one that is cut, or needs more than itself
    files = [path, path.with_suffix(".json")]
    depth = _depth(card) if task == "depth" else None
    classes = StatedClasses(card.classes, card.colours) if card.classes and task in WITH_CLASSES else None
    sha256 = content_sha256(files, named=False)
    return ModelName("onnx", "onnx", path=path.resolve(), sha256=sha256, depth=depth, classes=classes)


def load(name: ModelName, task: Task) -> PictureModel:
    from pixelmill.workers.models.picture_model import Classes, PictureModel

    assert name.sha256 is not None
    network = _network(name, task)
    card = network.card
    return PictureModel(
        task=task,
        module=network,
        mean=card.input.mean,
        std=card.input.std,
        size=_size(card),
        weights_sha256=name.sha256,
        licence=card.licence,
        classes=Classes(card.classes, card.colours) if card.classes else None,
        depth=_depth(card) if task == "depth" else None,
        preprocess=_preprocess(card) if task == "classify" else None,
        precisions=network.precisions,
        quantized=network.quantized,
    )


def encoder(name: ModelName, layer: str | None, pooling: Pooling) -> tuple[nn.Module, Preprocess]:
    network = _network(name, "embed")
    if layer is not None:
        raise ModelError(
            f"model {network.model}: layers of a network in ONNX can't be named; name another output in its card"
        )
    return network, _preprocess(network.card)


def licence(name: ModelName) -> str | None:
    return _card(f"onnx:{name.path}", _path(name), None).licence


def _network(name: ModelName, task: Task) -> OnnxNetwork:
    from pixelmill.workers.models.onnx_network import OnnxNetwork, check_network

    model, path = f"onnx:{name.path}", _path(name)
    card = _card(model, path, task)
    network = OnnxNetwork(model, read_network(model, path), card)
    check_network(network)
    return network


def _path(name: ModelName) -> Path:
    assert name.path is not None
    return name.path


def _card(model: str, path: Path, task: Task | None) -> OnnxCard:
    card = read_onnx_card(model, path.with_suffix(".json"))
    if task not in {card.task, None}:
        raise ModelError(f"model {model}: its card has the task {card.task}, and the stage needs {task}")
    return card


def _size(card: OnnxCard) -> SizeFacts:
    from pixelmill.workers.models.picture_model import SizeFacts

    size = card.input.size_px
    return SizeFacts(
        multiple_px=card.input.multiple_px,
        least_px=card.input.least_px,
        resize_px=(size, size) if isinstance(size, int) else size,
        scale=card.scale,
        reach_px=card.reach_px,
        tiling=card.tiling,
    )


def _depth(card: OnnxCard) -> DepthFacts:
    return DepthFacts(cast("Measure", card.output.meaning), card.baseline_m)


def _preprocess(card: OnnxCard) -> Preprocess:
    from pixelmill.workers.models.preprocess import Preprocess

    stated = card.input
    assert stated.size_px is not None
    rest = stated.interpolation, stated.mean, stated.std
    if stated.resize_px is None:
        side_px = stated.size_px if isinstance(stated.size_px, int) else min(stated.size_px)
        return Preprocess(side_px, stated.size_px, *rest, fit="stretch")
    return Preprocess(stated.resize_px, stated.size_px, *rest)

"""Export a network to ONNX: the bytes of one file, and the card that a stage needs beside it.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.ct_encoders import HuPreprocess
from pixelmill.workers.models.depth_facts import DepthFacts
from pixelmill.workers.models.onnx_card import MEANINGS, Meaning, OnnxCard, OnnxInput, OnnxOutput
from pixelmill.workers.models.picture_model import Classes, PictureModel, SizeFacts
from pixelmill.workers.models.preprocess import Preprocess
from pixelmill.workers.models.tasks import Task, verb
from pixelmill.workers.runtime.execution import Float32Input, has_volumes
from pixelmill.workers.runtime.file_networks import file_network_of
from pixelmill.workers.runtime.folding import folded
from pixelmill.workers.runtime.quiet_log import without_warnings

INPUT, OUTPUT = "pictures", "output"
OPSET = 17
_MADE: dict[Task, Meaning] = {
    "embed": "vectors",
    "classify": "logits",
    "segment": "logits",
    "upscale": "unit",
    "stylize": "unit",
    "reconstruct": "unit",
}
"""The meaning of what a network of each task gives here; that of depth is a fact of the network."""
_FITS = {"centre crop", "stretch"}
"""What a card can say of how pictures are fitted to the network's input."""


def exported(model: str, module: nn.Module, example_BCHW: Tensor, *, of_any_size: bool) -> bytes:
    """The file of a network that takes batches of any size, and pictures of any size where it does. ModelError where it can't be
    exported.
    """
    if file_network_of(module) is not None:
        raise ModelError(f"model {model}: is a network in ONNX already; give the model that it was made from")
    if has_volumes(module):
        raise ModelError(f"model {model}: is a network of volumes, and those in ONNX take pictures; take one of slices")
    free = {0: "batch", 2: "height", 3: "width"} if of_any_size else {0: "batch"}
    written = io.BytesIO()
    export: Any = cast("Any", torch.onnx).export  # its stubs leave out buffers
    try:
        with _quiet(), torch.inference_mode(mode=False), torch.no_grad():
            export(
                folded(module.eval()),
                (example_BCHW.clone(),),
                written,
                dynamo=False,  # the other exporter needs more packages
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: free, OUTPUT: {0: "batch"}},
            )
    except Exception as error:  # exporters raise many kinds for what they do not support
        fact = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(f"model {model}: can't be exported to ONNX ({fact}); take another network") from error
    return written.getvalue()


def card_of_encoder(model: str, preprocess: Preprocess, licence: str | None) -> OnnxCard:
    """The card of an encoder that gives one vector for each picture."""
    return OnnxCard(
        task="embed",
        input=_input_of_one_size(model, preprocess),
        output=OnnxOutput(name=OUTPUT, meaning="vectors"),
        licence=licence,
    )  # pyright: ignore[reportCallIssue]


def card_of_model(model: str, found: PictureModel) -> OnnxCard:
    """The card of a network for another task. ModelError where a card can't describe it."""
    if found.task not in MEANINGS:
        raise ModelError(f"model {model}: a network in ONNX can't {verb(found.task)} here")
    if isinstance(found.module, Float32Input):
        raise ModelError(
            f"model {model}: computes with numbers that must not be rounded, so that it can't be quantized"
        )
    size, meaning = found.size, _MADE[found.task] if found.depth is None else _meaning_of(found.depth)
    of_one_size = found.preprocess is not None and found.task in {"embed", "classify"}
    return OnnxCard(
        task=found.task,
        input=_input_of_one_size(model, found.preprocess) if of_one_size else _input_of_sizes(model, found, size),  # pyright: ignore[reportArgumentType]
        output=OnnxOutput(name=OUTPUT, meaning=meaning),
        classes=found.classes.names if found.classes else None,
        colours=found.classes.colours if isinstance(found.classes, Classes) else None,
        scale=size.scale,
        baseline_m=found.depth.baseline_m if found.depth else None,
        reach_px=size.reach_px,
        tiling="blended" if size.tiling == "exact" and size.stride_px > size.multiple_px else size.tiling,
        licence=found.licence,
        quantized=None,
    )


def _meaning_of(depth: DepthFacts) -> Meaning:
    (meaning,) = [each for each in get_args(Meaning) if each == depth.measure]
    return meaning


def _input_of_one_size(model: str, preprocess: Preprocess) -> OnnxInput:
    if isinstance(preprocess, HuPreprocess):
        raise ModelError(
            f"model {model}: takes Hounsfield units, and the card of a network in ONNX can't say how they are windowed"
        )
    if preprocess.fit not in _FITS:
        raise ModelError(
            f"model {model}: fits pictures by {preprocess.fit}, which the card of a network in ONNX can't say; it can say "
            f"{' and '.join(sorted(_FITS))}"
        )
    height, width = preprocess.size_px
    is_cropped = preprocess.fit == "centre crop"
    side = min(height, width) if is_cropped or height == width else (height, width)
    return OnnxInput(
        name=INPUT,
        mean=preprocess.mean,
        std=preprocess.std,
        size_px=side,
        resize_px=preprocess.resize_px if is_cropped else None,
        interpolation=preprocess.interpolation,
    )  # pyright: ignore[reportCallIssue]


def _input_of_sizes(model: str, found: PictureModel, size: SizeFacts) -> OnnxInput:
    if isinstance(size.resize_px, int):
        raise ModelError(
            f"model {model}: resizes pictures by their shorter side, which the card of a network in ONNX can't say; "
            "take a network of one size, or of any"
        )
    return OnnxInput(
        name=INPUT,
        mean=found.mean,
        std=found.std,
        size_px=size.resize_px,
        multiple_px=size.multiple_px,
        least_px=size.least_px,
    )  # pyright: ignore[reportCallIssue]


@contextmanager
def _quiet() -> Generator[None]:
    """Without what exporters print: the whole graph of what they can't export, and notices of what they will become."""
    printed = io.StringIO()
    with without_warnings(), warnings.catch_warnings(), redirect_stdout(printed), redirect_stderr(printed):
        warnings.simplefilter("ignore")
        yield

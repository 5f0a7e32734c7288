"""Quantize a network on pictures, and compare what it then gives with what it gave in float32.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.backbones import load_backbone
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.model_names import ModelName
from pixelmill.workers.models.onnx_card import OnnxCard, QuantizedAgreement, described_figures
from pixelmill.workers.models.onnx_export import card_of_encoder, card_of_model, exported
from pixelmill.workers.models.onnx_network import OnnxNetwork
from pixelmill.workers.models.onnx_quantize import quantized
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.prediction.network_inputs import normalized, seen_by
from pixelmill.workers.runtime import openvino
from pixelmill.workers.runtime.agreement import Agreement, Cosine, Decibels, MaskAgreement, RelativeError
from pixelmill.workers.runtime.execution import Executor, PixelNetwork
from pixelmill.workers.runtime.settings import Backend, Settings

AT_ONCE = 8
SAME_AS_EXPORTED = RelativeError(0.001)
MEASURES: dict[Task, Agreement] = {
    "embed": Cosine(),
    "classify": Cosine(),
    "segment": MaskAgreement(),
    "depth": RelativeError(),
    "upscale": Decibels(65.0),
    "stylize": Decibels(40.0),
    "reconstruct": Decibels(45.0),
}
"""How outputs are compared, by task. Beside float32 no bound applies: the user is told the figure, and decides. A job holds what
OpenVINO gives to what onnxruntime gives, by these bounds."""


@dataclass(frozen=True)
class FloatNetwork:
    """A network as its stage runs it, with its card as a network in ONNX. `seen` is what it sees of a picture, uint8 CHW."""

    model: str
    network: PixelNetwork
    card: OnnxCard
    seen: Callable[[Tensor], Tensor]
    source: str
    weights_sha256: str

    @classmethod
    def loaded(cls, name: ModelName, model: str, task: Task) -> FloatNetwork:
        """ModelError where there is no such model, or a card can't describe it."""
        source = str(name.identity["model"])
        if task == "embed":
            backbone = load_backbone(name)
            card = card_of_encoder(model, backbone.preprocess, backbone.network.licence)
            seen, sha256 = backbone.preprocess.applied_to, backbone.weights_sha256
            return cls(model, backbone.network, card, seen, source, sha256)
        found = load_model(name, task)
        found = found.at_scale(found.size.scale)
        card = card_of_model(model, found)
        if task == "classify" and found.preprocess is not None:
            return cls(model, found.network, card, found.preprocess.applied_to, source, found.weights_sha256)
        return cls(model, found.network, card, lambda pixels: seen_by(found, pixels), source, found.weights_sha256)

    @property
    def bytes(self) -> int:
        """Of its weights in float32."""
        return sum(4 * each.numel() for each in self.network.module.state_dict().values())

    @property
    def is_of_any_size(self) -> bool:
        return self.card.input.size_px is None

    def batches(self, pictures: Sequence[Tensor]) -> Iterator[Tensor]:
        """Pictures in their order as batches BCHW: several where all have one size."""
        count = 1 if self.is_of_any_size else AT_ONCE
        for start in range(0, len(pictures), count):
            yield torch.stack(list(pictures[start : start + count]))

    def inputs(self, pictures: Sequence[Tensor]) -> Iterator[np.ndarray]:
        """The network's input, float32 BCHW."""
        for images_BCHW in self.batches(pictures):
            yield normalized(images_BCHW, self.network.mean, self.network.std).numpy()


def quantized_file(network: FloatNetwork, pictures: Sequence[Tensor]) -> bytes:
    """The int8 file, calibrated on these pictures. ModelError where it can't be exported, or is another network then."""
    module = network.network.module.float()
    two_BCHW = pictures[0][None].repeat(2, 1, 1, 1)  # what is traced of a batch of one may hold for one alone
    example_BCHW = normalized(two_BCHW, network.network.mean, network.network.std)
    data = exported(network.model, module, example_BCHW, of_any_size=network.is_of_any_size)
    _require_same(network, data, pictures)
    return quantized(network.model, data, network.inputs(pictures))


def _require_same(network: FloatNetwork, data: bytes, pictures: Sequence[Tensor]) -> None:
    """ModelError where the exported network gives something else for other batches or sizes: what it did once was traced."""
    by_onnx = OnnxNetwork(network.model, data, network.card)
    one_BCHW = pictures[0][None]
    several_BCHW = one_BCHW.repeat(3, 1, 1, 1)
    if network.is_of_any_size:
        step = network.card.input.multiple_px
        several_BCHW = torch.cat([one_BCHW, one_BCHW[..., :step]], dim=3).repeat(2, 1, 1, 1)
    for images_BCHW in (one_BCHW, several_BCHW):
        given_BCHW = normalized(images_BCHW, network.network.mean, network.network.std)
        try:
            with torch.inference_mode():
                made, truth = by_onnx(given_BCHW), network.network.module(given_BCHW)
        except Exception as error:  # onnxruntime raises its own types
            raise _another(network, str(error).strip().partition("\n")[0]) from error
        if made.shape != truth.shape or not SAME_AS_EXPORTED.accepts(SAME_AS_EXPORTED.measure(made, truth)):
            raise _another(network, f"it gives {tuple(made.shape)} of other values for {tuple(given_BCHW.shape)}")


def _another(network: FloatNetwork, fact: str) -> ModelError:
    return ModelError(
        f"model {network.model}: can't be exported to ONNX, since what it does depends on the size of a batch ({fact}); "
        "take another network"
    )


def digest_of(pictures: Sequence[Tensor]) -> str:
    """SHA-256 of the pictures as the network saw them, in their order."""
    hashed = hashlib.sha256()
    for pixels_CHW in pictures:
        hashed.update(f"{tuple(pixels_CHW.shape)}\0".encode() + pixels_CHW.contiguous().numpy().tobytes())
    return hashed.hexdigest()


def agreement_of(network: FloatNetwork, pictures: Sequence[Tensor], file: Path) -> tuple[QuantizedAgreement, ...]:
    """The quantized file, run by onnxruntime, beside the network in float32, on pictures that it was not calibrated on."""
    return _compared(network, pictures, _by("torch", _quantized(network, file)), _by("torch", network.network))


def agreements_by_openvino(network: FloatNetwork, pictures: Sequence[Tensor], file: Path) -> list[str]:
    """Lines about the same with OpenVINO's kernels of int8 on this processor, and whether a job takes them by itself.

    None where it is not installed, or the network takes any size, for each of which it would be compiled.
    """
    if not openvino.is_installed() or network.is_of_any_size:
        return []
    ours = _quantized(network, file)
    try:
        to_float32 = _compared(network, pictures, _by("openvino", ours), _by("torch", network.network))
        beside, *_ = _compared(network, pictures, _by("openvino", ours), _by("torch", ours))
    except RuntimeError as error:
        return [f"OpenVINO does not run it here, so that jobs leave it to onnxruntime: {error}"]
    figures = ", ".join(f"{each.measure} to float32 {described_figures(each)}" for each in to_float32)
    measure = MEASURES[network.card.task]
    takes = "" if measure.accepts(beside.worst) else "; a job takes OpenVINO where its stage says backend: openvino"
    return [
        f"by OpenVINO on this processor: {figures}",
        f"OpenVINO beside onnxruntime: {beside.measure} {described_figures(beside)}{takes}",
    ]


def _quantized(network: FloatNetwork, file: Path) -> PixelNetwork:
    task = network.card.task
    name = resolve(f"onnx:{file}", task)
    return load_backbone(name).network if task == "embed" else load_model(name, task).network


def _by(backend: Backend, network: PixelNetwork) -> Executor:
    """In float32, as a stage is compared."""
    settings = Settings(channels_last=False, fold_batchnorm=False, microbatch=AT_ONCE, threads=torch.get_num_threads())
    return Executor(network, replace(settings, backend=backend))


def _compared(
    network: FloatNetwork, pictures: Sequence[Tensor], fast: Executor, reference: Executor
) -> tuple[QuantizedAgreement, ...]:
    task, measure = network.card.task, MEASURES[network.card.task]
    figures, equal = list[float](), list[float]()
    for images_BCHW in network.batches(pictures):
        made, truth = fast(images_BCHW), reference(images_BCHW)
        for place in range(len(images_BCHW)):
            mine, true = made[place : place + 1], truth[place : place + 1]
            figures.append(measure.measure(mine, true))
            equal.append(float((mine.argmax(dim=1) == true.argmax(dim=1)).float().mean()))
    more_is_better = measure.accepts(measure.bound + 1)
    found = QuantizedAgreement(
        measure=measure.name,
        median=statistics.median(figures),
        worst=min(figures) if more_is_better else max(figures),
        pictures=len(figures),
    )
    if task != "classify":
        return (found,)
    share = statistics.fmean(equal)
    return found, QuantizedAgreement(measure="equal classes", median=share, worst=share, pictures=len(equal))

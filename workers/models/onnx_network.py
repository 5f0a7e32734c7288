"""A network in ONNX as a module: run by onnxruntime in float32, on the CPU or on a CUDA device that onnxruntime supports.

On the CPU OpenVINO may run it instead (runtime/openvino_files.py): what is made of its output here stays the same.

Legend: B batch, C channels, H height, W width, K classes, D dimension of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.onnx_card import OnnxCard
from pixelmill.workers.models.tasks import Task, verb
from pixelmill.workers.runtime.file_networks import FileNetwork
from pixelmill.workers.runtime.settings import Precision
from pixelmill.workers.typed_torch import from_numpy

LEAST_PROBABILITY = 1e-6
TRIED_PX = 64
OUT_OF_MEMORY = ("allocate memory", "bad_alloc", "out of memory")
"""Words in errors of onnxruntime, whose types are private."""
DIMENSIONS: Mapping[Task, tuple[int, ...]] = {
    "embed": (2, 3, 4),
    "classify": (2,),
    "segment": (4,),
    "depth": (3, 4),
    "upscale": (4,),
    "stylize": (4,),
    "reconstruct": (4,),
}
"""The number of axes of the output, by task."""


class OnnxNetwork(FileNetwork):
    """Returns the output that `tasks.Task` defines for the card's task. Copies share the network's bytes, not its threads."""

    precisions: ClassVar[tuple[Precision, ...]] = ("float32",)
    has_hidden_activations: ClassVar[bool] = True

    def __init__(self, model: str, data: bytes, card: OnnxCard) -> None:
        super().__init__()
        self.model, self.data, self.card = model, data, card
        self.sessions: dict[str, Any] = {}
        """Sessions by type of device; opened on the first batch, with as many threads as torch has then."""
        session = self.sessions["cpu"] = _session(model, data, card, "cpu")
        self.input_name, self.shape = _input(model, session, card)
        self.output_name = _output(model, session, card)

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxNetwork:
        twin = OnnxNetwork.__new__(OnnxNetwork)
        FileNetwork.__init__(twin)
        twin.__dict__ |= {
            name: self.__dict__[name] for name in ("model", "data", "card", "input_name", "shape", "output_name")
        }
        twin.__dict__["sessions"] = {}
        return twin

    @property
    def quantized(self) -> str | None:
        """How it was quantized, in words; None where its card does not say that it was."""
        return None if self.card.quantized is None else self.card.quantized.described()

    def close(self) -> None:
        self.sessions.clear()

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return _run_eagerly(self._outputs, images_BCHW)

    def _outputs(self, images_BCHW: Tensor) -> Tensor:
        pixels_BCHW = images_BCHW.detach().float().cpu().numpy()
        if self.engine is None:  # its own library takes planes, another one any memory order
            pixels_BCHW = np.ascontiguousarray(pixels_BCHW)
        whole = self.shape[0] or len(pixels_BCHW)  # some are exported for batches of one size
        parts = [
            self._run(pixels_BCHW[start : start + whole], whole, images_BCHW.device)
            for start in range(0, len(pixels_BCHW), whole)
        ]
        outputs = from_numpy(np.concatenate(parts)).to(images_BCHW.device)
        return self._as_asked(outputs.float(), images_BCHW).to(images_BCHW.dtype)

    def _run(self, pixels_BCHW: np.ndarray, whole: int, device: torch.device) -> np.ndarray:
        missing = whole - len(pixels_BCHW)
        padded_BCHW = (
            np.concatenate([pixels_BCHW, np.repeat(pixels_BCHW[-1:], missing, axis=0)]) if missing else pixels_BCHW
        )
        if self.engine is None and device.type not in self.sessions:
            self.sessions[device.type] = _session(self.model, self.data, self.card, device.type, device.index)
        try:
            if self.engine is not None:
                output = self.engine(padded_BCHW)
            else:
                (output,) = self.sessions[device.type].run([self.output_name], {self.input_name: padded_BCHW})
        except Exception as error:
            if any(words in str(error) for words in OUT_OF_MEMORY):
                raise torch.OutOfMemoryError(str(error)) from error
            raise
        return np.asarray(output)[: len(pixels_BCHW)]

    def _as_asked(self, outputs: Tensor, images_BCHW: Tensor) -> Tensor:
        """The output in the unit and the size of the task."""
        meaning = self.card.output.meaning
        if meaning == "probabilities":
            outputs = outputs.clamp_min(LEAST_PROBABILITY).log()
        if meaning in {"unit", "bytes", "signed"}:
            outputs = {"unit": outputs, "bytes": outputs / 255, "signed": (outputs + 1) / 2}[meaning].clamp(0, 1)
        if self.card.task == "depth" and outputs.dim() == 3:
            outputs = outputs[:, None]
        is_map = self.card.task in {"segment", "depth"} and outputs.dim() == 4
        if is_map and outputs.shape[-2:] != images_BCHW.shape[-2:]:
            outputs = functional.interpolate(outputs, images_BCHW.shape[-2:], mode="bilinear", align_corners=False)
        return outputs


def _applied(function: Callable[[Tensor], Tensor], images_BCHW: Tensor) -> Tensor:
    return function(images_BCHW)


_run_eagerly: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor] = cast("Any", torch.compiler.disable)(_applied)
"""Run the network for torch.compile, which can't trace another library."""


def check_network(network: OnnxNetwork) -> None:
    """Run the network on one small picture; ModelError if the output contradicts the card. The session is closed afterwards."""
    try:
        _check(network, network.card)
    finally:
        network.close()


def _check(network: OnnxNetwork, card: OnnxCard) -> None:
    height_px, width_px = _tried_size(card)
    images_BCHW = torch.zeros(1, len(card.input.mean), height_px, width_px)
    label = f"model {network.model}"
    try:
        with torch.inference_mode():
            output = network(images_BCHW)
    except Exception as error:  # onnxruntime raises its own types, torch others for shapes that do not fit
        first_line = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{label}: fails on a picture of {height_px} x {width_px} px ({first_line}); check input of its card"
        ) from error
    shape = tuple(output.shape)
    if output.dim() not in DIMENSIONS[card.task] or shape[0] != 1:
        raise ModelError(
            f"{label}: its output {network.output_name} is {shape}, which is nothing that can {verb(card.task)}"
        )
    classes = shape[1]
    if card.classes is not None and card.task in {"segment", "classify"} and classes != len(card.classes):
        raise ModelError(f"{label}: gives {classes} classes, and its card names {len(card.classes)}")
    channels = {"depth": 1, "upscale": 3, "stylize": 3, "reconstruct": len(card.input.mean)}.get(card.task)
    if channels is not None and shape[1] != channels:
        raise ModelError(
            f"{label}: its output {network.output_name} has {shape[1]} channels, and to {verb(card.task)} it has {channels}"
        )
    wanted = (height_px * card.scale, width_px * card.scale)
    if card.task in {"upscale", "stylize", "reconstruct"} and shape[2:] != wanted:
        raise ModelError(
            f"{label}: gives {shape[2:]} of {height_px} x {width_px} px, which is not scale {card.scale} of its card"
        )


def _tried_size(card: OnnxCard) -> tuple[int, int]:
    size = card.input.size_px
    if size is None:
        multiple = card.input.multiple_px
        side = -(-max(card.input.least_px, TRIED_PX) // multiple) * multiple
        return side, side
    return (size, size) if isinstance(size, int) else size


def _session(model: str, data: bytes, card: OnnxCard, kind: str, index: int | None = None) -> Any:
    """A session of onnxruntime without extra operator libraries, with the providers of the CPU and of CUDA only.

    Its arena keeps what it once took, and by default takes the next power of two: pictures of many sizes would fill the memory of
    a worker. So a network of any size has none on the CPU, and the one of a GPU grows by what is asked for.
    """
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 3
    if card.input.size_px is None:
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    providers: list[Any] = ["CPUExecutionProvider"]
    if kind == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(
            0, ("CUDAExecutionProvider", {"device_id": index or 0, "arena_extend_strategy": "kSameAsRequested"})
        )
    try:
        return onnxruntime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # its error types are private
        first_line = str(error).strip().partition("\n")[0]
        raise ModelError(f"model {model}: onnxruntime {onnxruntime.__version__} can't open it: {first_line}") from error


def _input(model: str, session: Any, card: OnnxCard) -> tuple[str, list[int | None]]:
    """The name of the input, and its shape with None for free axes; ModelError if the card contradicts it."""
    offered = {each.name: each for each in session.get_inputs()}
    found = offered[_named(model, "input", card.input.name, list(offered))]
    if len(offered) != 1:
        raise ModelError(f"model {model}: has the inputs {', '.join(offered)}, and a picture is only one")
    if found.type != "tensor(float)" or len(found.shape) != 4:
        raise ModelError(
            f"model {model}: its input {found.name} is {found.type} {found.shape}, and not float32 of four axes"
        )
    shape = [each if isinstance(each, int) and each > 0 else None for each in found.shape]
    size = card.input.size_px
    stated = [None, len(card.input.mean), *((size, size) if isinstance(size, int) else size or (None, None))]
    for axis, fixed, wanted in zip(("channels", "height", "width"), shape[1:], stated[1:], strict=True):
        if fixed is not None and fixed != wanted:
            raise ModelError(
                f"model {model}: its input {found.name} has {fixed} {axis}, and input of its card says {wanted or 'nothing'}; "
                f"{'mean and std have a number for each' if axis == 'channels' else 'state size_px'}"
            )
    return found.name, shape


def _output(model: str, session: Any, card: OnnxCard) -> str:
    return _named(model, "output", card.output.name, [each.name for each in session.get_outputs()])


def _named(model: str, what: str, name: str | None, offered: list[str]) -> str:
    if name is None and len(offered) == 1:
        return offered[0]
    if name not in offered:
        raise ModelError(
            f"model {model}: {what}.name of its card is {name}; the network has {', '.join(offered) or 'none'}"
        )
    return str(name)

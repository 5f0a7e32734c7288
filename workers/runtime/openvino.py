"""Run a network by OpenVINO, which is faster than PyTorch on most processors; the extra `cpu`.

The network is traced by torch.export for one shape and converted in memory, unless an earlier worker kept what it converted
(converted_models.py). A network in ONNX is read from its file instead (openvino_files.py). The front end is called directly,
because `openvino.convert_model` sends usage data to its vendor.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from pixelmill.workers.runtime.converted_models import KeptNetwork
from pixelmill.workers.runtime.file_networks import file_network_of
from pixelmill.workers.runtime.openvino_files import OpenVinoFileNetwork
from pixelmill.workers.runtime.openvino_inputs import given_shape, is_interleaved, taking_interleaved
from pixelmill.workers.runtime.outputs import Outputs, mapped, tensors_of
from pixelmill.workers.runtime.quiet_log import without_warnings
from pixelmill.workers.typed_torch import from_numpy

PACKAGE = "openvino"
_HINTS = {"float32": "f32", "bfloat16": "bf16"}
PRECISIONS = frozenset(_HINTS)


def is_installed() -> bool:
    return find_spec(PACKAGE) is not None


@cache
def version_here() -> str | None:
    """The installed version; None where there is none."""
    return version(PACKAGE) if is_installed() else None


class OpenVinoNetwork:
    """`network(images_BCHW)`, normalized float32 of the shape of the first call, returns the module's outputs as float32.

    It is compiled for the memory order of the first call, HWC or planes, which saves it from being changed in every call.
    The module stays on the CPU in float32; `precision` is that of the computation. `threads` cores are used, and none is pinned:
    two workers of one machine would be pinned to the same ones. What is converted is taken from `kept`, and kept there. Raises
    RuntimeError where the network can't be converted.
    """

    def __init__(self, module: nn.Module, precision: str, threads: int, kept: KeptNetwork | None = None) -> None:
        self._module, self._options, self._kept = module, _options(precision, threads), kept
        self._run: Callable[[Tensor], Outputs] | None = None

    def __call__(self, images_BCHW: Tensor) -> Outputs:
        if self._run is not None:
            return self._run(images_BCHW)
        try:
            return self._first(images_BCHW)
        except Exception as error:  # torch.export and the converter raise many kinds for what they do not support
            raise RuntimeError(f"OpenVINO can't run this network: {error}") from error

    def _first(self, images_BCHW: Tensor) -> Outputs:
        """The outputs, by what was kept where it still agrees with PyTorch on one picture."""
        if file_network_of(self._module) is not None:
            run = OpenVinoFileNetwork(self._module, self._options, self._kept)
            outputs = run(images_BCHW)
            self._run = run
            return outputs
        with torch.inference_mode(mode=False), torch.no_grad():  # tensors of inference mode can't be traced
            example_BCHW = images_BCHW.clone().contiguous()
            truth = self._module(example_BCHW[:1])
        core: Any = import_module(PACKAGE).Core()
        shape = given_shape(images_BCHW.numpy())
        blob = self._kept.read(shape) if self._kept else None
        if self._kept and blob is not None:
            with suppress(RuntimeError):  # it can't be imported, and is converted again
                run = _run_of(core.import_model(blob, "CPU", self._options), truth, images_BCHW)
                outputs = run(images_BCHW)
                if self._kept.agrees(outputs, truth):
                    self._run = run
                    return outputs
        model = _converted(self._module, example_BCHW)
        if is_interleaved(images_BCHW.numpy()):
            model = taking_interleaved(model)
        compiled = core.compile_model(model, "CPU", self._options)
        self._run = _run_of(compiled, truth, images_BCHW)
        outputs = self._run(images_BCHW)
        if self._kept and self._kept.agrees(outputs, truth):
            self._kept.keep(shape, compiled.export_model().getvalue())
        return outputs


def _options(precision: str, threads: int) -> dict[str, object]:
    return {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }


def _converted(module: nn.Module, example_BCHW: Tensor) -> Any:
    with torch.inference_mode(mode=False), torch.no_grad():
        model = _model_of(torch.export.export(module, (example_BCHW,)))
    model.reshape({model.inputs[0].get_any_name(): list(example_BCHW.shape)})
    return model


def _run_of(compiled: Any, structure: Outputs, like_BCHW: Tensor) -> Callable[[Tensor], Outputs]:
    """The compiled network, whose outputs have this structure, for pictures in this memory order. Raises RuntimeError where
    there are more outputs or fewer."""
    takes_interleaved = is_interleaved(like_BCHW.numpy())
    if len(compiled.outputs) != len(tensors_of(structure)):
        raise RuntimeError(f"OpenVINO gives {len(compiled.outputs)} outputs of {len(tensors_of(structure))}")

    def run(images_BCHW: Tensor) -> Outputs:
        given = images_BCHW.permute(0, 2, 3, 1) if takes_interleaved else images_BCHW
        made = compiled(given.contiguous().numpy())
        tensors = iter([from_numpy(made[place].copy()) for place in range(len(compiled.outputs))])

        def its_own(like: Tensor) -> Tensor:
            return next(tensors).to(like.dtype)

        return mapped(its_own, structure)

    return run


def _model_of(program: Any) -> Any:
    """OpenVINO's model of an exported program."""
    frontend = import_module("openvino.frontend").FrontEndManager().load_by_framework("pytorch")
    decoders = import_module("openvino.frontend.pytorch.fx_decoder").TorchFXPythonDecoder
    with without_warnings():  # it logs what it recovers from, to the root logger
        decoder = decoders.from_exported_program(program)
        loaded = frontend.load(decoder)
        return frontend.convert(loaded)  # both are still read here, and neither keeps the other alive

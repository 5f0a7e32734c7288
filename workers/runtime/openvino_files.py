"""Run a network in ONNX by OpenVINO, from the checked bytes of its file; what surrounds it in a module stays PyTorch's.

Nothing is traced: OpenVINO reads the bytes. A quantized network is computed by kernels of int8, which round in other places than
those of onnxruntime. No extension of OpenVINO is loaded, and nothing is sent to its vendor.

There are files that OpenVINO does not refuse but dies of (2026.4 of an encoder with every operator quantized: SIGSEGV). A worker
would die with it, again and again, so that a file is compiled by a process of its own first.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np
from torch import Tensor, nn

from pixelmill.workers.runtime.converted_models import KeptNetwork
from pixelmill.workers.runtime.file_networks import FileNetwork, file_network_of
from pixelmill.workers.runtime.openvino_inputs import as_given, given_shape, is_interleaved, taking_interleaved
from pixelmill.workers.runtime.outputs import Outputs

TRIED_S = 120.0
"""How long that process may take, which reads, compiles and runs the file once."""
_TRIAL = """
import json, sys
options = json.loads(sys.argv[1])
sys.path[:] = options["path"]
import numpy, openvino
core = openvino.Core()
whole = core.read_model(sys.stdin.buffer.read())
model = openvino.Model([whole.output(options["output"])], whole.get_parameters())
model.reshape({model.inputs[0].get_any_name(): options["shape"]})
if options["interleaved"]:
    from pixelmill.workers.runtime.openvino_inputs import taking_interleaved
    model = taking_interleaved(model)
compiled = core.compile_model(model, "CPU", options["options"])
compiled(numpy.zeros(compiled.inputs[0].shape, numpy.float32))
"""


class OpenVinoFileNetwork:
    """`network(images_BCHW)`: what the module returns, with its `FileNetwork` run by OpenVINO. The module itself is not changed.

    The file is compiled for the shape of the first call; another shape is compiled beside it. The first call raises errors of
    many kinds for what OpenVINO does not support.
    """

    def __init__(self, module: nn.Module, options: Mapping[str, object], kept: KeptNetwork | None = None) -> None:
        self._reference, self._options, self._kept = module, options, kept
        self._module = copy.deepcopy(module)
        self._is_ready = False

    def __call__(self, images_BCHW: Tensor) -> Outputs:
        if self._is_ready:
            return self._module(images_BCHW)
        outputs = self._first(images_BCHW)
        self._is_ready = True
        return outputs

    def _first(self, images_BCHW: Tensor) -> Outputs:
        """The outputs, by what was kept where it still agrees with the file's own library on one picture."""
        if self._kept is None:
            return self._by(self._engine(None), images_BCHW)
        shape, truth = given_shape(images_BCHW.numpy()), self._truth(images_BCHW[:1])
        if (blob := self._kept.read(shape)) is not None:
            with suppress(RuntimeError):  # it can't be imported, and is compiled again
                outputs = self._by(self._engine(blob), images_BCHW)
                if self._kept.agrees(outputs, truth):
                    return outputs
        engine = self._engine(None)
        outputs = self._by(engine, images_BCHW)
        if self._kept.agrees(outputs, truth) and (blob := engine.exported()) is not None:
            self._kept.keep(shape, blob)
        return outputs

    def _engine(self, blob: bytes | None) -> _CompiledFile:
        return _CompiledFile(_file_of(self._module), self._options, blob)

    def _by(self, engine: _CompiledFile, images_BCHW: Tensor) -> Outputs:
        _file_of(self._module).engine = engine
        return self._module(images_BCHW)

    def _truth(self, image_1CHW: Tensor) -> Outputs:
        """What the file's own library gives, which is closed afterwards: its memory would stay beside OpenVINO's."""
        try:
            return self._reference(image_1CHW)
        finally:
            _file_of(self._reference).close()


class _CompiledFile:
    """An engine: the file compiled for each shape of pictures that it is called with, the first one from `blob` where given."""

    def __init__(self, file: FileNetwork, options: Mapping[str, object], blob: bytes | None) -> None:
        self._file, self._options, self._blob = file, options, blob
        self._core: Any = import_module("openvino").Core()
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, pixels_BCHW: np.ndarray) -> np.ndarray:
        given = as_given(pixels_BCHW)
        compiled = self._compiled.get(given.shape)
        if compiled is None:
            compiled = self._compiled[given.shape] = self._for(pixels_BCHW)
        return compiled(given)[0].copy()

    def exported(self) -> bytes | None:
        """What was compiled, for a later worker; None where that was for several shapes."""
        if len(self._compiled) != 1:
            return None
        (compiled,) = self._compiled.values()
        return compiled.export_model().getvalue()

    def _for(self, pixels_BCHW: np.ndarray) -> Any:
        blob, self._blob = self._blob, None
        if blob is not None:
            return self._core.import_model(blob, "CPU", dict(self._options))
        interleaved = is_interleaved(pixels_BCHW)
        require_survival(self._file, pixels_BCHW.shape, self._options, interleaved=interleaved)
        model = self._read(pixels_BCHW.shape)
        if interleaved:
            model = taking_interleaved(model)
        return self._core.compile_model(model, "CPU", dict(self._options))

    def _read(self, shape: tuple[int, ...]) -> Any:
        """OpenVINO's model of the file, with the one output that is asked for."""
        whole = self._core.read_model(self._file.data)
        asked = whole.output(self._file.output_name)
        model = import_module("openvino").Model([asked], whole.get_parameters())
        model.reshape({model.inputs[0].get_any_name(): list(shape)})
        return model


def _file_of(module: nn.Module) -> FileNetwork:
    found = file_network_of(module)
    assert found is not None
    return found


def require_survival(
    file: FileNetwork, shape: tuple[int, ...], options: Mapping[str, object], *, interleaved: bool
) -> None:
    """RuntimeError where a process that compiles and runs the file for this shape and memory order dies, fails or does not come
    to an end."""
    asked = {
        "path": sys.path,
        "output": file.output_name,
        "shape": shape,
        "options": dict(options),
        "interleaved": interleaved,
    }
    command = [sys.executable, "-I", "-c", _TRIAL, json.dumps(asked)]
    try:
        subprocess.run(command, input=file.data, capture_output=True, check=True, timeout=TRIED_S)
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise RuntimeError(last or f"a process that compiled it ended with code {error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"to compile it took more than {TRIED_S:.0f} s") from error

"""A network that another library runs from the bytes of its file: PyTorch neither traces it nor holds its weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import nn

Engine = Callable[[np.ndarray], np.ndarray]
"""From the network's input BCHW as float32, in any memory order, to its output, whose first axis is the batch."""


class FileNetwork(nn.Module):
    """A module around such a network. Its own library runs it, unless `engine` is set to what another one made of the file.

    `data` are the bytes of the file in ONNX, which were checked: nothing in them refers to another file or to native code.
    `output_name` is the output that the module takes.
    """

    data: bytes
    output_name: str

    def __init__(self) -> None:
        super().__init__()
        self.engine: Engine | None = None

    def close(self) -> None:
        """Release what the module's own library holds; the next batch opens it again."""
        raise NotImplementedError


def file_network_of(module: nn.Module) -> FileNetwork | None:
    """The first network of a file within a module, which may be wrapped; None where PyTorch runs everything."""
    return next((each for each in module.modules() if isinstance(each, FileNetwork)), None)

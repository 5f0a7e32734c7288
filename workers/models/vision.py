"""Import torchvision without TorchDynamo, which it imports only for a function that checks whether a device can compile.

That import takes seconds of processor time in every new process (`python -X importtime -c "import torchvision"`), and a job that
compiles nothing never needs it. Import torchvision after `lighten()`; later uses of TorchDynamo import it on demand.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import MutableSequence
from types import ModuleType
from typing import Any

_LATER = ("torch._dynamo", "torch._dynamo.utils")


class _Later(ModuleType):
    """Replaces a module while torchvision is imported; imports the module once anything but one function is requested."""

    __path__: MutableSequence[str] = []  # noqa: RUF012  a package to the import system

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_real(self.__name__), name)


def _is_compile_supported(device_type: str) -> bool:
    """The check that torchvision.ops makes before it compiles a deterministic roi_align."""
    return _real("torch._dynamo.utils").is_compile_supported(device_type)


def lighten() -> None:
    """Import torchvision without the modules that it does not need, unless it is imported already. Cheap to call again."""
    if "torchvision" in sys.modules or "torch._dynamo" in sys.modules:
        return
    import torch  # noqa: F401  # pyright: ignore[reportUnusedImport]  which brings parts of torch._dynamo that are not slow

    stands_in = {name: _Later(name) for name in _LATER}
    stands_in["torch._dynamo.utils"].__dict__["is_compile_supported"] = _is_compile_supported
    sys.modules.update(stands_in)
    try:
        importlib.import_module("torchvision")
    finally:
        _withdraw()


def _real(name: str) -> ModuleType:
    _withdraw()
    return importlib.import_module(name)


def _withdraw() -> None:
    for name in _LATER:
        if isinstance(sys.modules.get(name), _Later):
            del sys.modules[name]


def downloads() -> str:
    """The folder of the files that torchvision has fetched, and where a user may put one."""
    import torch

    return f"{torch.hub.get_dir()}/checkpoints"

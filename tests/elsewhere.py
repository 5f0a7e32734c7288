"""A device that is not the CPU, on a machine that has none.

Tensors on it lie in memory and are computed there, so results are those of the CPU to the last bit; but they never meet
tensors of the CPU in one operation, nor become arrays of NumPy, as on a GPU. It stands in for one in tests that nothing is
left behind on the wrong side. It goes by the name of torch's device "meta", whose own tensors it replaces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

ELSEWHERE = torch.device("meta")
HERE = torch.device("cpu")

_aten = torch.ops.aten
_CROSSING = {
    _aten._to_copy.default,
    _aten.copy_.default,
    _aten.to.device,
    _aten.index.Tensor,  # by indices on the CPU, as CUDA allows
}


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """The device, for as long as this lasts. Autocast, which knows it not, does nothing there."""
    with patch.object(torch, "autocast", lambda *_, **__: nullcontext()), _Constructors(), _Kernels():
        yield ELSEWHERE


class There(Tensor):
    """A tensor elsewhere."""

    here: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, here: Tensor) -> There:
        made = Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=ELSEWHERE,
        )
        made.here = here
        return made

    def tolist(self) -> Any:
        return self.here.tolist()

    def __repr__(self, **_: Any) -> str:
        return f"There({self.here})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Kernels(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Constructors(TorchFunctionMode):
    """torch.tensor makes a tensor on the CPU and moves it without asking a mode."""

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and (device := options.pop("device", None)) is not None:
            return func(*args, **options).to(device)
        return func(*args, **options)


def _run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    leaves = tree_leaves((args, kwargs))
    there = [leaf for leaf in leaves if isinstance(leaf, There)]
    strays = [each for each in leaves if isinstance(each, Tensor) and not isinstance(each, There) and each.dim()]
    if there and strays and func not in _CROSSING:
        raise RuntimeError(f"{func}: a tensor of {tuple(strays[0].shape)} is on the CPU and others are not")
    named = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
    known = {id(each.here): each for each in there}
    inner_args, inner_kwargs = tree_map_only(There, lambda each: each.here, (args, kwargs))
    inner_args, inner_kwargs = tree_map_only(torch.device, lambda _: HERE, (inner_args, inner_kwargs))
    made = func(*inner_args, **inner_kwargs)
    if func is _aten.copy_.default:
        return args[0]
    if not (named[0].type == ELSEWHERE.type if named else there):
        return made
    return tree_map_only(Tensor, lambda each: known[id(each)] if id(each) in known else There(each), made)

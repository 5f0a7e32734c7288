"""A step on a device that is not the CPU waits for no result: it reads no number, and copies nothing that it waits for."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.registry import find
from pixelmill.workers.recipes.registry import RECIPES, recipe_type
from tests.elsewhere import ELSEWHERE, HERE, elsewhere
from tests.in_process_training import training_of
from tests.pipelines.test_devices import ROUGHLY, SLIM, make_assets, make_data

_aten = torch.ops.aten


class Waits(TorchDispatchMode):
    """Notes the lines of Pixelmill at which the program would wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if self._waits(func, tensors, args, kwargs):
            frames = traceback.extract_stack()
            mine = [
                f
                for f in frames
                if "/workers/" in f.filename or "/training/step" in f.filename or "finite" in f.filename
            ]
            self.lines.append(
                f"{Path(mine[-1].filename).name}:{mine[-1].lineno} {mine[-1].line}" if mine else str(func)
            )
        return func(*args, **kwargs)

    def _waits(self, func: Any, tensors: list[Tensor], args: Any, kwargs: Any) -> bool:
        from_there = bool(tensors) and tensors[0].device == ELSEWHERE
        if func is _aten._local_scalar_dense.default:
            return from_there
        if func is _aten._to_copy.default:
            to = kwargs.get("device", args[0].device)
            return to != args[0].device and not kwargs.get("non_blocking", False)
        if func is _aten.copy_.default:
            return args[0].device != args[1].device and not (len(args) > 2 and args[2])
        return func in {_aten.nonzero.default, _aten.masked_select.default} and from_there


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_step_waits_for_nothing(name: str, tmp_path: Path) -> None:
    data, assets = make_data(tmp_path / "data", name), make_assets(tmp_path / "assets", name)
    found = find(recipe_type(name).ROLES, [data], Access())
    settings = {**ROUGHLY, **SLIM[name], **{name: str(path) for name, path in assets.items()}}
    with elsewhere() as device:
        training = training_of(name, settings | {"steps": 4}, found, None, tmp_path / "out", 1, device, assets)
        batches = training.batches(range(4))
        for step in range(2):  # what is made once, such as the optimiser's state
            training.step(step, *next(batches))
        with Waits() as waits:
            training.step(2, *next(batches))
            assert waits.lines == []
            torch.ones(2, device=HERE).to(device)
            assert len(waits.lines) == 1, "a wait is not noticed"

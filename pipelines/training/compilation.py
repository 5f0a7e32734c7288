"""Compile a network where that makes its steps faster, as measured on a batch of its own before the first step.

A compiled network computes the same in another order, so a checkpoint keeps the choice and the training resumes with it.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

WARM_UP, TIMED = 2, 5  # passes forward and back
WORTH = 0.95
"""The largest share of the plain network's time for which the minute that compiling takes is worth it."""

Loss = Callable[[nn.Module], Tensor]
Compiler = Callable[[nn.Module], nn.Module]


def compiled(network: nn.Module) -> nn.Module:
    """The network with its forward and backward passes compiled; it shares the weights.

    Inductor keeps graphs as pickles in a folder of all users, so it keeps and loads none.
    """
    return cast("nn.Module", cast("Any", torch).compile(network, options={"fx_graph_cache": False}))


def compiled_where_faster(
    network: nn.Module, loss: Loss, choice: bool | None = None, compiler: Compiler = compiled
) -> tuple[nn.Module, bool]:
    """The network or the compiled one, and whether it is the compiled one; `choice` is an earlier one, which is kept.

    `loss` is that of one batch. It is measured on copies, so the network's weights and statistics stay as they are. A network
    that can't be compiled stays plain.
    """
    if choice is None:
        choice = _is_faster(network, loss, compiler)
    return (compiler(network), True) if choice else (network, False)


def _is_faster(network: nn.Module, loss: Loss, compiler: Compiler) -> bool:
    plain = copy.deepcopy(network)
    try:
        fast = compiler(copy.deepcopy(network))
        _seconds(fast, loss)  # compiles
    except Exception:  # torch raises many kinds; none of them concerns the training
        return False
    turns = [(_seconds(fast, loss), _seconds(plain, loss)) for _ in range(3)]
    return statistics.median(fast_s / plain_s for fast_s, plain_s in turns) <= WORTH


def _seconds(network: nn.Module, loss: Loss) -> float:
    for _ in range(WARM_UP):
        loss(network).backward()  # pyright: ignore[reportUnknownMemberType]
    _wait()
    began_s = time.perf_counter()
    for _ in range(TIMED):
        loss(network).backward()  # pyright: ignore[reportUnknownMemberType]
    _wait()
    return time.perf_counter() - began_s


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()

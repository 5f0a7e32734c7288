"""Find losses and weights that are not numbers, without a wait for the GPU in each step.

A step on the CPU is examined at once. A GPU's losses stay there, and are examined together every LOOKED_AT steps and before
anything is logged, evaluated or saved (`FiniteLosses.require`): so no checkpoint holds weights after such a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pixelmill.workers.errors import TrainingFailed
from pixelmill.workers.typed_torch import numbers

NAMED = 8  # the most samples of a bad batch that a message names
LOOKED_AT = 32

Names = Callable[[], Sequence[str]]


@dataclass(frozen=True)
class _Unseen:
    """The losses of one pass that nobody has looked at yet."""

    step: int
    losses: Mapping[str, Tensor]
    names: Names


class FiniteLosses:
    """Keeps the losses of the passes until they are looked at.

    `several` says that other workers take part in the same steps; each looks at the same steps as the others.
    """

    def __init__(self, device: torch.device, *, several: bool = False) -> None:
        self._is_read_at_once = device.type == "cpu"
        self._several = several
        self._unseen: list[_Unseen] = []

    def add(self, step: int, losses: Mapping[str, Tensor], names: Names) -> None:
        """Note the losses of a pass, before its backward pass. Raises TrainingFailed as `require` does."""
        kept = {name: value.detach() for name, value in losses.items()}
        self._unseen.append(_Unseen(step, kept, names))
        if self._is_read_at_once or len(self._unseen) >= LOOKED_AT:
            self.require()

    def require(self) -> None:
        """Raises TrainingFailed with the first step whose loss is not a number, and with the `names` of its samples."""
        if not self._unseen:
            return
        finite_N = torch.stack([torch.isfinite(each.losses["loss"]) for each in self._unseen])
        everywhere = _flags(self._of_all(finite_N))
        if not all(everywhere):
            first = everywhere.index(False)
            if _flags(finite_N)[first]:
                torch.distributed.barrier()  # without end: the worker whose loss it is fails, and all of them with it
            raise TrainingFailed(_not_finite(self._unseen[first]))
        self._unseen.clear()

    def _of_all(self, finite_N: Tensor) -> Tensor:
        """Whether the losses are numbers on all workers; on the CPU here, where each fails before gradients are averaged."""
        if not self._several or self._is_read_at_once:
            return finite_N
        counted_N = finite_N.float()
        torch.distributed.all_reduce(counted_N, torch.distributed.ReduceOp.MIN)
        return counted_N


def _flags(finite_N: Tensor) -> list[bool]:
    return [bool(number) for number in numbers(finite_N)]


def require_finite_weights(network: nn.Module, step: int) -> None:
    """Raises TrainingFailed where a weight is not a number: a gradient can overflow after a loss that is one."""
    if not _all_finite(parameter.detach() for parameter in network.parameters()):
        raise TrainingFailed(
            f"step {step}: the weights are not numbers any more, though the losses were; lower settings.learning_rate, "
            "or set settings.max_gradient_norm. The checkpoint before it stays"
        )


@torch.no_grad()
def _all_finite(tensors: Iterable[Tensor]) -> bool:
    sums = [tensor.abs().amax() for tensor in tensors if tensor.numel()]  # amax passes NaN on
    return bool(torch.isfinite(torch.stack([each.float() for each in sums])).all()) if sums else True


def _not_finite(bad: _Unseen) -> str:
    names = bad.names()
    several = ", ".join(f"{name} {value.item():g}" for name, value in bad.losses.items())
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (
        f"step {bad.step}: the loss is not a number ({several}); its batch is {', '.join(names[:NAMED])}{more}; look for NaN "
        "or empty samples there, or lower settings.learning_rate. The checkpoint before it stays"
    )

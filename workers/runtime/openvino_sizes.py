"""Run a network that takes any size by OpenVINO: converted for each size that is seen often enough, one picture at a time.

To convert takes seconds for each size, and an archive may have hundreds of sizes, so PyTorch runs a size until a conversion would
have repaid itself: that takes at most twice the time of a choice made in hindsight. One picture at a time is as fast as a batch
where pictures are large, and a batch that is not full needs no conversion of its own.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pixelmill.workers.runtime.agreement import Agreement, figure_of
from pixelmill.workers.runtime.converted_models import ConvertedModels, KeptNetwork
from pixelmill.workers.runtime.folding import folded
from pixelmill.workers.runtime.openvino import OpenVinoNetwork
from pixelmill.workers.runtime.openvino_inputs import given_shape
from pixelmill.workers.runtime.outputs import Outputs, as_numbers_on_cpu, joined

MOST_SIZES = 8
WEIGHTS_BYTES = 512 << 20
"""Each converted size has weights of its own; so many bytes of them together, or one size where it alone has more."""

Size = tuple[int, ...]
Run = Callable[[Tensor], Outputs]


@dataclass(frozen=True)
class SizeRules:
    """When a size is converted: after `repays_after_s` seconds of PyTorch, and if its outputs agree with those of eager fp32.

    Without an agreement nothing is compared. With 0 seconds a size that can't be converted is an error, and otherwise is left to
    PyTorch.
    """

    repays_after_s: float = 0.0
    agreement: Agreement | None = None


class OpenVinoBySize:
    """`network(images_BCHW)`, normalized float32 of any size, returns what `module` or `by_torch`, its faster form, would.

    `module` is on the CPU in float32, and is not changed. A size that a worker before has converted, and kept in `models`, is
    taken from there at once.
    """

    def __init__(
        self,
        module: nn.Module,
        by_torch: Run,
        precision: str,
        threads: int,
        rules: SizeRules,
        models: ConvertedModels | None = None,
    ) -> None:
        self._module, self._by_torch, self._rules, self._models = module, by_torch, rules, models
        self._kept: KeptNetwork | None = None
        self._folded: nn.Module | None = None
        self._precision, self._threads = precision, threads
        self._runs: dict[Size, Run] = {}
        self._refused: set[Size] = set()
        self._by_torch_s: dict[Size, float] = defaultdict(float)
        self._most = max(1, min(MOST_SIZES, WEIGHTS_BYTES // max(1, _weights_bytes(module))))

    @property
    def sizes(self) -> frozenset[Size]:
        """Channels, height and width of pictures that OpenVINO runs."""
        return frozenset(self._runs)

    def __call__(self, images_BCHW: Tensor) -> Outputs:
        size = tuple(images_BCHW.shape[1:])
        if size not in self._runs and self._is_due(size, images_BCHW[:1]):
            self._convert(size, images_BCHW[:1])
        if (run := self._runs.get(size)) is not None:
            return joined([run(images_BCHW[place : place + 1]) for place in range(len(images_BCHW))])
        began_s = time.perf_counter()
        outputs = self._by_torch(images_BCHW)
        self._by_torch_s[size] += time.perf_counter() - began_s
        return outputs

    def _is_due(self, size: Size, image_1CHW: Tensor) -> bool:
        if size in self._refused or len(self._runs) == self._most:
            return False
        is_new = size not in self._by_torch_s
        return self._by_torch_s[size] >= self._rules.repays_after_s or (is_new and self._is_kept(image_1CHW))

    def _is_kept(self, image_1CHW: Tensor) -> bool:
        kept = self._kept_network()
        return kept is not None and kept.has(given_shape(image_1CHW.numpy()))

    def _kept_network(self) -> KeptNetwork | None:
        if self._kept is None and self._models is not None:
            self._kept = self._models.of(self._to_convert(), self._precision)
        return self._kept

    def _convert(self, size: Size, image_1CHW: Tensor) -> None:
        run = OpenVinoNetwork(self._to_convert(), self._precision, self._threads, self._kept_network())
        try:
            made = run(image_1CHW)
        except RuntimeError:
            self._refused.add(size)
            if not self._rules.repays_after_s:
                raise
            return
        if self._agrees(made, image_1CHW):
            self._runs[size] = run
        else:
            self._refused.add(size)

    def _to_convert(self) -> nn.Module:
        """One copy for all sizes, of weights that can be traced: those made in inference mode can't."""
        if self._folded is None:
            with torch.inference_mode(mode=False):
                self._folded = folded(copy.deepcopy(self._module).eval().requires_grad_(False))
        return self._folded

    def _agrees(self, made: Outputs, image_1CHW: Tensor) -> bool:
        agreement = self._rules.agreement
        if agreement is None:
            return True
        figure = figure_of(agreement, as_numbers_on_cpu(made), as_numbers_on_cpu(self._module(image_1CHW)))
        return figure is not None and agreement.accepts(figure)


def _weights_bytes(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())

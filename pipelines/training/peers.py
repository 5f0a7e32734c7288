"""What the workers of one training exchange besides gradients: decisions, means, the network's tensors, scores."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import cast

import numpy as np
import torch
import torch.distributed as dist
from safetensors.numpy import load as unpack_scores
from safetensors.numpy import save as pack_scores
from torch import Tensor, nn

from pixelmill.workers.recipes import Scores

PATIENCE = timedelta(days=7)
"""How long a worker waits for another at an evaluation or a checkpoint. One that dies closes its connections, which ends the
waiting at once; in a step, where all have the same to do, the shorter time of Ray Train holds."""


class Peers:
    """One worker among those of its training; alone, everything is its own.

    Decisions and scores go through the CPU, so that no step waits for a GPU on their account. Nothing is pickled: scores
    travel as the bytes of a safetensors file.
    """

    def __init__(self, rank: int = 0, workers: int = 1) -> None:
        self.rank, self.workers = rank, workers
        self._patient: dist.ProcessGroup | None = None
        if workers > 1:
            self._patient = cast("dist.ProcessGroup", dist.new_group(backend="gloo", timeout=PATIENCE))

    def agreed(self, *mine: bool) -> list[bool]:
        """The values of the first worker, on all of them."""
        if self._patient is None:
            return list(mine)
        flags = torch.tensor(mine, dtype=torch.uint8)
        dist.broadcast(flags, 0, self._patient)
        return [bool(flag) for flag in flags]

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the workers."""
        if self._patient is not None:
            dist.all_reduce(values)
            values /= self.workers
        return values

    def share(self, network: nn.Module) -> None:
        """Give all workers the first one's parameters and buffers: each has its own statistics of batch normalisation."""
        if self._patient is None:
            return
        self.agreed(True)  # waits longer than the exchange below would
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                given = tensor.detach().contiguous()
                dist.broadcast(given, 0)
                tensor.copy_(given)

    def gathered(self, mine: Scores) -> list[Scores]:
        """The scores of all workers in their order, on the first one; nothing on the others."""
        if self._patient is None:
            return [mine]
        packed = np.frombuffer(pack_scores({name: np.ascontiguousarray(rows) for name, rows in mine.items()}), np.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.workers)]
        dist.all_gather(sizes, torch.tensor([len(packed)]), self._patient)
        padded = torch.zeros(max(int(size) for size in sizes), dtype=torch.uint8)
        padded[: len(packed)] = torch.tensor(packed)
        parts = [torch.empty_like(padded) for _ in sizes] if self.rank == 0 else None
        dist.gather(padded, parts, 0, self._patient)
        if parts is None:
            return []
        # The first part is not unpacked: its names stand in the order in which metrics are written down.
        others = zip(parts[1:], sizes[1:], strict=True)
        return [mine, *(unpack_scores(part[: int(size)].numpy().tobytes()) for part, size in others)]

    def shares(self, samples: int) -> Sequence[int]:
        """The numbers of the samples that this worker scores, of so many: a stretch, so that the order is kept."""
        return range(*(-(-rank * samples // self.workers) for rank in (self.rank, self.rank + 1)))

"""A network of a stage that finds its own settings: probed on the first batch that it is given, then kept.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from pixelmill.workers.runtime.agreement import Agreement
from pixelmill.workers.runtime.execution import Executor, PixelNetwork
from pixelmill.workers.runtime.outputs import Outputs
from pixelmill.workers.runtime.probing import choose
from pixelmill.workers.runtime.settings import Choice, Pins, Settings
from pixelmill.workers.runtime.settings_cache import cache_file


class TunedNetwork:
    """`tuned(images_BCHW)` gives the network's outputs on the CPU, floats as float32.

    `key` names the network with its weights, so that a choice is kept for it alone. Without `cache_dir` none is kept.
    """

    def __init__(
        self,
        network: PixelNetwork,
        key: str,
        *,
        base: Settings,
        pins: Pins,
        agreement: Agreement,
        cache_dir: Path | None,
        job_images: int,
    ) -> None:
        self._network, self._pins, self._agreement = network, pins, agreement
        self._base = pins.applied_to(base)
        self._job_images = job_images
        self._cache = cache_dir and cache_file(cache_dir, key, base.device, base.threads, pins, agreement)
        self._choice: Choice | None = None
        self._executor: Executor | None = None

    @property
    def batch(self) -> int:
        """How many pictures it wants at once."""
        return (self._executor.settings if self._executor else self._base).microbatch

    @property
    def settings(self) -> dict[str, object]:
        """How it runs, for the record of the attempt; empty before the first batch."""
        if self._choice is None or self._executor is None:
            return {}
        return {**asdict(self._executor.settings), "chosen": self._choice.source}

    @property
    def choice(self) -> Choice | None:
        """The settings with every trial behind them; None before the first batch."""
        return self._choice

    def __call__(self, images_BCHW: Tensor) -> Outputs:
        if self._executor is None:
            self._executor = self._chosen(images_BCHW)
        return self._executor(images_BCHW)

    def _chosen(self, images_BCHW: Tensor) -> Executor:
        self._choice = choose(
            self._network,
            images_BCHW,
            base=self._base,
            pins=self._pins,
            agreement=self._agreement,
            cache=self._cache,
            job_images=self._job_images,
        )
        return Executor(self._network, self._choice.settings)

    def trials(self) -> list[str]:
        """What was measured, a line a candidate."""
        return [
            f"{trial.settings.precision}, {'channels_last' if trial.settings.channels_last else 'contiguous'}, batch "
            f"{trial.settings.microbatch}: {trial.images_per_s:,.1f} images/s a worker, "
            f"{self._agreement.name} {trial.figure:.5f}"
            for trial in (self._choice.trials if self._choice else ())
        ]

"""A network that chooses its settings: it probes them on its first batch and keeps them.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from pixelmill.workers.runtime.activations import Activations, activations_of, memory_for_batches
from pixelmill.workers.runtime.agreement import Agreement
from pixelmill.workers.runtime.backend_trial import size_rules
from pixelmill.workers.runtime.converted_models import ConvertedModels
from pixelmill.workers.runtime.device_pipeline import BATCHES_A_RUN, Pictures
from pixelmill.workers.runtime.execution import Executor, PixelNetwork
from pixelmill.workers.runtime.outputs import Outputs
from pixelmill.workers.runtime.probing import DENSE_MICROBATCH, choose
from pixelmill.workers.runtime.settings import Choice, Pins, Settings
from pixelmill.workers.runtime.settings_cache import (
    cache_file,
    keep_activations,
    kept_activations,
    kept_choice,
    measured_file,
)


class TunedNetwork:
    """`tuned(images_BCHW)` returns the network's outputs on the CPU, floats as float32.

    `key` identifies the network and its weights in the cache of settings. `cache_dir` holds that and what OpenVINO converted;
    without it nothing is cached.
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
        batch_bytes: int | None = None,
        gpu_part: float = 1.0,
    ) -> None:
        if cache_dir is not None and base.device == "cpu":
            network = replace(network, converted=ConvertedModels(cache_dir / "models", key, agreement))
        self._network, self._pins, self._agreement = network, pins, agreement
        if network.input_px is None:
            base = replace(base, microbatch=DENSE_MICROBATCH)
        self._base = pins.applied_to(base)
        self._job_images = job_images
        self._cache = cache_dir and cache_file(cache_dir, key, base.device, base.threads, pins, agreement)
        self._measured = cache_dir and measured_file(cache_dir, key)
        self.batch_bytes = memory_for_batches(base.device, batch_bytes, gpu_part)
        """Memory for the activations of one batch; None: unknown."""
        self._choice: Choice | None = None
        self._executor: Executor | None = None

    @property
    def batch(self) -> int:
        """How many pictures the network takes at once."""
        return (self._executor.settings if self._executor else self._base).microbatch

    @property
    def batch_a_run(self) -> int:
        """How many pictures a stage hands over at once: on a GPU several batches, which then overlap."""
        return self.batch * (BATCHES_A_RUN if self._base.device.startswith("cuda") else 1)

    @property
    def settings(self) -> dict[str, object]:
        """The settings, the licence of the weights if known, and how they were quantized, for the record; empty before the first
        batch."""
        if self._choice is None or self._executor is None:
            return {}
        stated = {"licence": self._network.licence, "quantized": self._network.quantized}
        known = {name: value for name, value in stated.items() if value is not None}
        return {**asdict(self._executor.settings), "chosen": self._choice.source, **known}

    @property
    def choice(self) -> Choice | None:
        """The settings with the trials that led to them; None before the first batch."""
        return self._choice

    @property
    def cached_in(self) -> Path | None:
        """The file that holds the choice for the next job; None where there is none."""
        return self._cache if self._cache is not None and kept_choice(self._cache) is not None else None

    @property
    def pinned_batch(self) -> int | None:
        """The microbatch that the user fixed."""
        return self._pins.microbatch

    def __call__(self, images: Pictures) -> Outputs:
        """The outputs of all pictures BCHW; what makes a batch of each slice is asked for one microbatch at a time."""
        if self._executor is None:
            self._tuned_on(images[:])
        assert self._executor is not None
        return self._executor(images)

    def activations(self, sizes: Sequence[tuple[int, int]]) -> Activations | None:
        """What the activations of a picture take, measured at these sizes or kept from a job before; None: can't be measured."""
        kept = kept_activations(self._measured, sizes) if self._measured else None
        if kept is not None:
            return kept
        torch.set_num_threads(self._base.threads)
        measured = activations_of(self._network.module, len(self._network.mean), sizes)
        if self._measured and measured is not None:
            keep_activations(self._measured, sizes, measured)
        return measured

    def choose(self, samples_BCHW: Tensor, pictures_each: int) -> None:
        """Choose the settings now, on these samples; a picture of the job costs as much as `pictures_each` samples."""
        self._tuned_on(samples_BCHW, pictures_each)

    def in_one_pass(self, images_BCHW: Tensor) -> Outputs:
        """The network's output for all pictures in one pass, regardless of its microbatch; out of memory is an error."""
        return self._tuned_on(images_BCHW).in_one_pass(images_BCHW)

    def _tuned_on(self, samples_BCHW: Tensor, pictures_each: int = 1) -> Executor:
        if self._executor is None:
            self._choice = choose(
                self._network,
                samples_BCHW,
                base=self._base,
                pins=self._pins,
                agreement=self._agreement,
                cache=self._cache,
                job_images=self._job_images * pictures_each,
            )
            rules = size_rules(self._choice, self._agreement)
            self._executor = Executor(self._network, self._choice.settings, rules)
        return self._executor

    def trials(self) -> list[str]:
        """The measurements, one line for each candidate."""
        return [
            f"{trial.settings.precision}, {_layout(trial.settings)}, batch "
            f"{trial.settings.microbatch}: {trial.images_per_s:,.1f} images/s a worker, "
            f"{self._agreement.name} {trial.figure:.5f}"
            for trial in (self._choice.trials if self._choice else ())
            if trial.images_per_s
        ]


def _layout(settings: Settings) -> str:
    if settings.backend == "openvino":
        return "OpenVINO"
    if settings.compile:
        return "compiled"
    return "channels_last" if settings.channels_last else "contiguous"

"""Try a network in given settings: whether it runs, whether it agrees with eager fp32, and how fast it is.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
import time

from torch import Tensor

from pixelmill.workers.runtime.agreement import Agreement, figure_of
from pixelmill.workers.runtime.execution import Executor, PixelNetwork
from pixelmill.workers.runtime.outputs import Outputs, first_rows, tensors_of
from pixelmill.workers.runtime.settings import Settings, Trial

PROBE_SECONDS = 4.0
SLOW_PART = 16
"""A pass that takes more than one part in so many of that time is measured only once."""


def try_settings(
    network: PixelNetwork, samples_BCHW: Tensor, settings: Settings, truth: Outputs, agreement: Agreement
) -> list[Trial]:
    """The trial of one candidate; None if it fails or does not agree with `truth`, the outputs for the first samples."""
    repeats = math.ceil(settings.microbatch / len(samples_BCHW))
    batch_BCHW = samples_BCHW.repeat(repeats, 1, 1, 1)[: settings.microbatch]
    try:
        executor = Executor(network, settings)
        outputs = executor(batch_BCHW)
        images_per_s = rate(executor, batch_BCHW)
        if len(batch_BCHW) / images_per_s < PROBE_SECONDS / SLOW_PART:
            images_per_s = max(images_per_s, rate(executor, batch_BCHW))
    except (RuntimeError, NotImplementedError):
        return []  # this device or this network has no kernel for it
    rows = min(len(batch_BCHW), len(tensors_of(truth)[0]))
    figure = figure_of(agreement, first_rows(outputs, rows), first_rows(truth, rows))
    return [Trial(settings, images_per_s, figure)] if figure is not None and agreement.accepts(figure) else []


def rate(executor: Executor, images_BCHW: Tensor) -> float:
    """Pictures a second of one pass."""
    start_s = time.perf_counter()
    executor(images_BCHW)
    return len(images_BCHW) / (time.perf_counter() - start_s)

"""Whether OpenVINO runs a network, and whether it is worth its start: measured beside PyTorch, with the same agreement.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout
from torch import Tensor

from pixelmill.workers.runtime import openvino
from pixelmill.workers.runtime.agreement import Agreement
from pixelmill.workers.runtime.execution import Executor, Float32Input, PixelNetwork
from pixelmill.workers.runtime.settings import Choice, Pins, Trial
from pixelmill.workers.runtime.settings_cache import keep_choice, kept_choice
from pixelmill.workers.runtime.trying import try_settings

PAYS_AFTER_S = 20.0
"""A job that PyTorch finishes sooner does not try it: to trace and to convert a network takes some seconds in each worker."""
LEAST_GAIN = 1.05


def why_not(network: PixelNetwork, device: str, precision: str) -> str | None:
    """Why OpenVINO can't run a network; None where it may."""
    if not openvino.is_installed():
        return "is not installed: pip install 'pixelmill[cpu]'"
    if device != "cpu":
        return f"runs on CPUs, and the workers have the device {device}"
    if network.input_px is None:
        return "takes pictures of one size, and this network takes any"
    if isinstance(network.module, Float32Input):
        return "rounds where this network must not be rounded"
    if precision not in {"auto", *openvino.PRECISIONS}:
        return f"does not compute in {precision}"
    return None


def openvino_may_pay(network: PixelNetwork, choice: Choice, pins: Pins, job_images: int) -> bool:
    """Whether the job is long enough to try it. A user who fixed the memory format or compilation has chosen PyTorch."""
    if choice.images_per_s is None or pins.compile is not None or pins.channels_last is not None:
        return False
    if why_not(network, choice.settings.device, choice.settings.precision) is not None:
        return False
    return job_images / choice.images_per_s >= PAYS_AFTER_S


def with_openvino(
    choice: Choice,
    network: PixelNetwork,
    samples_BCHW: Tensor,
    agreement: Agreement,
    cache: Path | None,
    job_images: int,
) -> Choice:
    """The choice with OpenVINO, where it agrees, is faster and repays its start. Workers of one machine try once."""
    trial = _kept(choice)
    if trial is None:
        try:
            with _locked(cache):
                trial = _kept(choice if cache is None else kept_choice(cache) or choice)
                if trial is None:
                    trial = _tried(choice, network, samples_BCHW, agreement)
                    if cache is not None:
                        keep_choice(cache, replace(choice, trials=(*choice.trials, trial)))
        except (OSError, Timeout):
            return choice
        choice = replace(choice, trials=(*choice.trials, trial))
    assert choice.images_per_s is not None
    if trial.images_per_s < LEAST_GAIN * choice.images_per_s:
        return choice
    saved_s = job_images / choice.images_per_s - job_images / trial.images_per_s
    return (
        replace(choice, settings=trial.settings, images_per_s=trial.images_per_s) if saved_s > trial.start_s else choice
    )


def _locked(cache: Path | None) -> AbstractContextManager[object]:
    return nullcontext() if cache is None else FileLock(cache.with_suffix(".lock"), timeout=60)


def _kept(choice: Choice) -> Trial | None:
    return next((trial for trial in choice.trials if trial.settings.backend == "openvino"), None)


def _tried(choice: Choice, network: PixelNetwork, samples_BCHW: Tensor, agreement: Agreement) -> Trial:
    """The trial; of no speed where the network can't be converted or does not agree, so that it is not tried again."""
    settings = replace(choice.settings, backend="openvino", channels_last=False)
    eager = replace(
        choice.settings, precision="float32", channels_last=False, fold_batchnorm=False, compile=False, backend="torch"
    )
    truth = Executor(network, eager)(samples_BCHW[: eager.microbatch])
    began_s = time.perf_counter()
    found = try_settings(network, samples_BCHW, settings, truth, agreement)
    took_s = (
        time.perf_counter() - began_s
    )  # with the passes of the trial, which are short beside tracing and conversion
    return replace(found[0], start_s=took_s) if found else Trial(settings, 0.0, 0.0)

"""Whether what takes seconds to start is worth it: OpenVINO, or a compiled network, measured beside eager PyTorch.

The agreement is that of the stage. What was measured, with the seconds that it took to start, is kept for the next job.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout
from torch import Tensor, nn

from pixelmill.workers.runtime import openvino
from pixelmill.workers.runtime.agreement import Agreement
from pixelmill.workers.runtime.execution import Executor, Float32Input, PixelNetwork, has_volumes
from pixelmill.workers.runtime.openvino_sizes import SizeRules
from pixelmill.workers.runtime.processor import has_amx
from pixelmill.workers.runtime.settings import Choice, Pins, Settings, Trial
from pixelmill.workers.runtime.settings_cache import keep_choice, kept_choice
from pixelmill.workers.runtime.trying import try_settings

PAYS_AFTER_S, PAYS_AFTER_S_WITH_AMX = 20.0, 8.0
"""A job that PyTorch finishes sooner does not try OpenVINO: to trace and to convert a network takes seconds. With AMX it halves
the time of convolutions, which wins the seconds back that much sooner; transformers gain nothing (benchmarks/README.md)."""
COMPILE_PAYS_AFTER_S = 300.0
LEAST_GAIN = 1.05
LOCKED_S = 60.0
"""How long a worker waits for another one's trial, and goes on without it."""


def why_not(network: PixelNetwork, device: str, precision: str) -> str | None:
    """Why OpenVINO can't run a network; None where it may."""
    if not openvino.is_installed():
        return "is not installed: pip install 'pixelmill[cpu]'"
    if device != "cpu":
        return f"runs on CPUs, and the workers have the device {device}"
    if isinstance(network.module, Float32Input):
        return "rounds where this network must not be rounded"
    if has_volumes(network.module):
        return "is not tried for networks of volumes"
    if precision not in {"auto", *openvino.PRECISIONS}:
        return f"does not compute in {precision}"
    return None


def openvino_may_pay(network: PixelNetwork, choice: Choice, pins: Pins, job_images: int) -> bool:
    """Whether the job is long enough to try it; what was tried before may pay in any job, and `with_candidate` decides.

    A user who fixed the memory format or compilation has chosen PyTorch.
    """
    if choice.images_per_s is None or pins.compile is not None or pins.channels_last is not None:
        return False
    if why_not(network, choice.settings.device, choice.settings.precision) is not None:
        return False
    is_known = trial_of(choice, by_openvino(choice.settings, network)) is not None
    least_s = PAYS_AFTER_S_WITH_AMX if has_amx() and _is_convolutional(network.module) else PAYS_AFTER_S
    return is_known or job_images / choice.images_per_s >= least_s


def _is_convolutional(module: nn.Module) -> bool:
    """Whether convolutions have most of its weights."""
    convolutions = [each for each in module.modules() if isinstance(each, nn.Conv2d)]
    weights = sum(weight.numel() for each in convolutions for weight in each.parameters(recurse=False))
    return weights > sum(weight.numel() for weight in module.parameters()) / 2


def by_openvino(settings: Settings, network: PixelNetwork) -> Settings:
    """The settings with OpenVINO; PyTorch keeps its memory format for the sizes that are left to it."""
    channels_last = settings.channels_last and network.input_px is None
    return replace(settings, backend="openvino", compile=False, channels_last=channels_last)


def compiled(settings: Settings) -> Settings:
    return replace(settings, compile=True)


def with_candidate(
    choice: Choice,
    candidate: Settings,
    network: PixelNetwork,
    samples_BCHW: Tensor,
    agreement: Agreement,
    cache: Path | None,
    job_images: int,
) -> Choice:
    """The choice with the candidate, where it agrees, is faster and repays its start. Workers of one machine try once."""
    trial = trial_of(choice, candidate)
    if trial is None:
        try:
            with _locked(cache):
                known = choice if cache is None else kept_choice(cache) or choice
                trial = trial_of(known, candidate)
                if trial is None:
                    trial = _tried(candidate, network, samples_BCHW, agreement)
                    if cache is not None:
                        keep_choice(cache, replace(known, trials=(*known.trials, trial)))
        except (OSError, Timeout):
            return choice
        choice = replace(choice, trials=(*choice.trials, trial))
    assert choice.images_per_s is not None
    if trial.images_per_s < LEAST_GAIN * choice.images_per_s:
        return choice
    start_s = trial.start_s if trial.again_s is None else trial.again_s  # this worker, too, takes what the trial kept
    saved_s = job_images / choice.images_per_s - job_images / trial.images_per_s
    return replace(choice, settings=trial.settings, images_per_s=trial.images_per_s) if saved_s > start_s else choice


def size_rules(choice: Choice, agreement: Agreement) -> SizeRules:
    """When OpenVINO converts another size: once it would have repaid its start; at once where nothing was measured."""
    ours = next((trial for trial in choice.trials if trial.settings.backend == "openvino"), None)
    eager = max((trial.images_per_s for trial in choice.trials if trial.settings.backend == "torch"), default=0.0)
    if ours is None or not 0 < eager < ours.images_per_s:
        return SizeRules(0.0, agreement)
    return SizeRules(ours.start_s / (1 - eager / ours.images_per_s), agreement)


def _locked(cache: Path | None) -> AbstractContextManager[object]:
    return nullcontext() if cache is None else FileLock(cache.with_suffix(".lock"), timeout=LOCKED_S)


def trial_of(choice: Choice, candidate: Settings) -> Trial | None:
    """What was measured of the candidate; None where nothing was."""
    kinds = {(trial.settings.backend, trial.settings.compile): trial for trial in choice.trials}
    return kinds.get((candidate.backend, candidate.compile))


def _tried(candidate: Settings, network: PixelNetwork, samples_BCHW: Tensor, agreement: Agreement) -> Trial:
    """The trial; of no speed where the candidate does not run or does not agree, so that it is not tried again."""
    eager = replace(
        candidate, precision="float32", channels_last=False, fold_batchnorm=False, compile=False, backend="torch"
    )
    truth = Executor(network, eager)(samples_BCHW[: eager.microbatch])
    began_s = time.perf_counter()
    try:
        found = try_settings(network, samples_BCHW, candidate, truth, agreement)
    except Exception:  # compilers raise many kinds for what they do not support
        found = []
    took_s = time.perf_counter() - began_s  # with the passes of the trial, which are short beside the start
    if not found:
        return Trial(candidate, 0.0, 0.0)
    return replace(found[0], start_s=took_s, again_s=_again_s(candidate, network, samples_BCHW))


def _again_s(candidate: Settings, network: PixelNetwork, samples_BCHW: Tensor) -> float | None:
    """What the next worker takes for its first batch, of a network whose conversion is kept."""
    if network.converted is None or candidate.backend != "openvino":
        return None
    began_s = time.perf_counter()
    try:
        Executor(network, candidate)(samples_BCHW[: candidate.microbatch])
    except RuntimeError:  # it ran a moment ago: another process has taken the memory
        return None
    return time.perf_counter() - began_s

"""Choose the settings of a network: measured on the job's own first pictures, compared with eager fp32, and cached.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from pixelmill.workers.runtime.agreement import Agreement, figure_of
from pixelmill.workers.runtime.backend_trial import (
    COMPILE_PAYS_AFTER_S,
    by_openvino,
    compiled,
    openvino_may_pay,
    with_candidate,
)
from pixelmill.workers.runtime.execution import Executor, PixelNetwork
from pixelmill.workers.runtime.file_networks import file_network_of
from pixelmill.workers.runtime.settings import Choice, Pins, Precision, Settings, Trial
from pixelmill.workers.runtime.settings_cache import keep_choice, kept_choice
from pixelmill.workers.runtime.trying import PROBE_SECONDS, SLOW_PART, rate, try_settings

PROBE_PAYS_FROM_IMAGES = 256
MICROBATCHES_CPU = (8, 16, 32, 64)
MICROBATCHES_CUDA = (64, 128, 256)
DENSE_MICROBATCH = 4
DENSE_MICROBATCHES_CPU = (1, 2, 8)
DENSE_MICROBATCHES_CUDA = (8, 16, 32)
"""Microbatches for networks that take any size and keep it: their feature maps have as many pixels as the pictures."""


def choose(
    network: PixelNetwork,
    samples_BCHW: Tensor,
    *,
    base: Settings,
    pins: Pins,
    agreement: Agreement,
    cache: Path | None,
    job_images: int,
) -> Choice:
    """The settings for this network here: from the cache, or probed on the job's own first pictures.

    `job_images` is the number of pictures of one worker: a job of a few seconds uses the safe default without a probe, and only
    a long job tries compilation. Workers of one machine probe once: the first one holds a lock.
    """
    base = pins.applied_to(base)
    choice = kept_choice(cache) if cache is not None else None
    if choice is None and job_images < PROBE_PAYS_FROM_IMAGES:
        return Choice(base, "pinned" if pins != Pins() else "default")
    choice = choice or _probed_once(network, samples_BCHW, base, pins, agreement, cache)
    known = (network, samples_BCHW, agreement, cache, job_images)
    if pins.backend is not None:
        choice = replace(choice, settings=replace(choice.settings, backend=pins.backend))
    elif openvino_may_pay(network, choice, pins, job_images):
        choice = with_candidate(choice, by_openvino(choice.settings, network), *known)
    if choice.settings.backend == "openvino":
        return choice
    if pins.compile is not None:
        return replace(choice, settings=replace(choice.settings, compile=pins.compile))
    if not _compilation_may_pay(network, choice, job_images):
        return choice
    return with_candidate(choice, compiled(choice.settings), *known)


def _compilation_may_pay(network: PixelNetwork, choice: Choice, job_images: int) -> bool:
    """Whether the job is long enough to try it, the pictures have one size, and torch runs the network itself."""
    if network.input_px is None or choice.images_per_s is None or file_network_of(network.module) is not None:
        return False
    return job_images / choice.images_per_s >= COMPILE_PAYS_AFTER_S


def _probed_once(
    network: PixelNetwork, samples_BCHW: Tensor, base: Settings, pins: Pins, agreement: Agreement, cache: Path | None
) -> Choice:
    """Probe, or use the result that another worker of this machine has found meanwhile."""
    if cache is None:
        return probe(network, samples_BCHW, base, pins, agreement)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(cache.with_suffix(".lock"), timeout=60):
            choice = kept_choice(cache) or probe(network, samples_BCHW, base, pins, agreement)
            if choice.source == "probed":
                keep_choice(cache, choice)
            return choice
    except (OSError, Timeout):
        return probe(network, samples_BCHW, base, pins, agreement)


def probe(network: PixelNetwork, samples_BCHW: Tensor, base: Settings, pins: Pins, agreement: Agreement) -> Choice:
    """Measure precision and memory format first, then the microbatch, within about PROBE_SECONDS.

    A candidate is rejected if it fails, or if its outputs on the samples don't agree with those of eager fp32. One pass of a
    network that takes any size may take all of that time: then fewer pictures are tried, and the pass in eager fp32 counts.
    """
    deadline_s = time.perf_counter() + PROBE_SECONDS
    eager = replace(
        base, precision="float32", channels_last=False, fold_batchnorm=False, compile=False, backend="torch"
    )
    trials: list[Trial] = []
    pass_s = 0.0
    if network.input_px is None:
        pass_s = _pass_seconds(Executor(network, eager), samples_BCHW[:1])
        eager, base = (_affordable(settings, pins, pass_s) for settings in (eager, base))
    truth = Executor(network, eager)(samples_BCHW[: eager.microbatch])
    if pass_s and pins.applied_to(eager) == eager and (figure := figure_of(agreement, truth, truth)) is not None:
        trials.append(Trial(eager, 1 / pass_s, figure))
    for settings in _formats(base, pins, network.precisions):
        if trials and time.perf_counter() > deadline_s:
            break
        trials += try_settings(network, samples_BCHW, settings, truth, agreement)
    if not trials:  # settings that the user fixed are kept anyway
        return Choice(pins.applied_to(eager), "probed")
    best = max(trials, key=lambda trial: trial.images_per_s)
    for microbatch in _microbatches(network, best.settings, pins):
        if time.perf_counter() + microbatch * pass_s > deadline_s:
            break
        trials += try_settings(network, samples_BCHW, replace(best.settings, microbatch=microbatch), truth, agreement)
    best = max(trials, key=lambda trial: trial.images_per_s)
    return Choice(best.settings, "probed", best.images_per_s, tuple(trials))


def _pass_seconds(executor: Executor, images_BCHW: Tensor) -> float:
    """Seconds for one picture; the first pass of a fast network is mostly preparation, so a second one is measured."""
    first_s = 1 / rate(executor, images_BCHW)
    return first_s if first_s > PROBE_SECONDS / SLOW_PART else 1 / rate(executor, images_BCHW)


def _affordable(settings: Settings, pins: Pins, pass_s: float) -> Settings:
    """Settings with a microbatch that is small enough to be tried in time."""
    affordable = max(1, int(PROBE_SECONDS / SLOW_PART / pass_s))
    return pins.applied_to(replace(settings, microbatch=min(settings.microbatch, affordable)))


def _formats(base: Settings, pins: Pins, known: tuple[Precision, ...]) -> list[Settings]:
    """The network's precisions and the memory formats to try, unless the user fixed them."""
    cuda = base.device.startswith("cuda")
    precisions: tuple[Precision, ...] = ("bfloat16", "float16", "float32") if cuda else ("bfloat16", "float32")
    if not cuda and not cpu_has_bfloat16():
        precisions = ("float32",)  # emulated bfloat16 is slower than fp32, and measuring it takes long
    formats = [replace(base, precision=p, channels_last=c) for p in precisions if p in known for c in (True, False)]
    return [settings for settings in formats if pins.applied_to(settings) == settings] or [base]


def cpu_has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


def _microbatches(network: PixelNetwork, settings: Settings, pins: Pins) -> list[int]:
    if pins.microbatch is not None:
        return []
    on_cuda, of_any_size = settings.device.startswith("cuda"), network.input_px is None
    if of_any_size:
        offered = DENSE_MICROBATCHES_CUDA if on_cuda else DENSE_MICROBATCHES_CPU
    else:
        offered = MICROBATCHES_CUDA if on_cuda else MICROBATCHES_CPU
    return [size for size in offered if size != settings.microbatch]

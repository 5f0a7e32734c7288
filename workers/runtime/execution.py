"""Run a network on uint8 pictures as fast as this device allows: settings are probed, checked against fp32, and cached.

Legend: B batch, C channels, H height, W width, D dimension of an embedding.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from torch.fx import symbolic_trace
from torch.fx.experimental.optimization import fuse

from pixelmill.workers.runtime import stall_watchdog

Precision = Literal["float32", "bfloat16", "float16"]

MIN_COSINE = 0.999
"""An embedding computed with chosen settings has at least this cosine to the same embedding in eager fp32."""

PROBE_SECONDS = 4.0
COMPILE_PAYS_AFTER_S = 300.0
MICROBATCHES_CPU = (8, 16, 32, 64)
MICROBATCHES_CUDA = (64, 128, 256)
_CACHE_VERSION = 4


@dataclass(frozen=True)
class Settings:
    """How a network is run. None of it changes what is computed beyond MIN_COSINE."""

    device: str = "cpu"
    precision: Precision = "float32"
    channels_last: bool = True
    fold_batchnorm: bool = True
    microbatch: int = 16
    threads: int = 1
    compile: bool = False


@dataclass(frozen=True)
class Pins:
    """What the user fixed; None is left to the probe."""

    precision: Precision | None = None
    channels_last: bool | None = None
    microbatch: int | None = None
    compile: bool | None = None


@dataclass(frozen=True)
class Trial:
    """One measured candidate: images per second on one worker, and the least cosine to eager fp32."""

    settings: Settings
    images_per_s: float
    min_cosine: float


@dataclass(frozen=True)
class Choice:
    """The settings to use, how they were found, and every candidate that was measured."""

    settings: Settings
    source: Literal["probed", "cached", "default", "pinned"]
    images_per_s: float | None = None
    trials: tuple[Trial, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, source: Literal["probed", "cached"]) -> Choice:
        raw = json.loads(text)
        trials = tuple(Trial(Settings(**t["settings"]), t["images_per_s"], t["min_cosine"]) for t in raw["trials"])
        return cls(Settings(**raw["settings"]), source, raw["images_per_s"], trials)


@dataclass(frozen=True)
class PixelNetwork:
    """A network and what its input has to be: `module((pixels / 255 - mean) / std)`, `input_px` a side."""

    module: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_px: int


class Executor:
    """A network with its settings applied: `executor(images_BCHW uint8) -> features float32 on the CPU`.

    When the device runs out of memory the microbatch is halved, for good, and the work is done again.
    """

    def __init__(self, network: PixelNetwork, settings: Settings) -> None:
        self.settings = settings
        self._run = _prepared(network.module, settings)
        self._dtype = getattr(torch, settings.precision)
        std = torch.tensor(network.std)
        self._scale_1C11 = (1 / (255 * std)).view(1, -1, 1, 1).to(settings.device)
        self._shift_1C11 = (-torch.tensor(network.mean) / std).view(1, -1, 1, 1).to(settings.device)

    @torch.inference_mode()
    def __call__(self, images_BCHW: Tensor) -> Tensor:
        outputs, start = [], 0
        while start < len(images_BCHW):
            chunk = images_BCHW[start : start + self.settings.microbatch]
            try:
                outputs.append(self._forward(self._padded(chunk))[: len(chunk)])
            except torch.OutOfMemoryError:
                if self.settings.microbatch == 1:
                    raise
                torch.cuda.empty_cache()
                self.settings = replace(self.settings, microbatch=self.settings.microbatch // 2)
                continue
            start += len(chunk)
            stall_watchdog.progress()
        return torch.cat([output.float().cpu() for output in outputs])

    def _padded(self, images_BCHW: Tensor) -> Tensor:
        """A compiled network sees one shape only: another one would be compiled anew, for as long again."""
        missing = self.settings.microbatch - len(images_BCHW)
        if not self.settings.compile or missing == 0:
            return images_BCHW
        return torch.cat([images_BCHW, images_BCHW.new_zeros(missing, *images_BCHW.shape[1:])])

    def _forward(self, images_BCHW: Tensor) -> Tensor:
        if self.settings.device.startswith("cuda"):
            images_BCHW = images_BCHW.pin_memory()
        images_BCHW = images_BCHW.to(self.settings.device, non_blocking=True)
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        images_BCHW = images_BCHW.to(torch.float32, memory_format=layout)
        # Normalized in fp32: the rounded mean and std of bfloat16 would shift every pixel the same way.
        return self._run(torch.addcmul(self._shift_1C11, images_BCHW, self._scale_1C11).to(self._dtype))


def _prepared(network: nn.Module, settings: Settings) -> Callable[[Tensor], Tensor]:
    torch.set_num_threads(settings.threads)
    module = copy.deepcopy(network).eval().requires_grad_(False)
    if settings.fold_batchnorm:
        module = folded(module)
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    module = module.to(settings.device).to(getattr(torch, settings.precision)).to(memory_format=layout)
    return torch.compile(module) if settings.compile else module


def folded(network: nn.Module) -> nn.Module:
    """The same network with each BatchNorm folded into the convolution before it; unchanged where fx can't trace it."""
    if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        return network
    try:
        return network if _shares_convolutions(network) else fuse(network)
    except Exception:  # fx raises a different error for every construct that it can't trace
        return network


def _shares_convolutions(network: nn.Module) -> bool:
    """Whether a convolution is called twice: `fuse` would fold into it every BatchNorm that follows one of the calls."""
    calls = Counter(node.target for node in symbolic_trace(network).graph.nodes if node.op == "call_module")
    convolutions = nn.modules.conv._ConvNd
    return any(
        count > 1 and isinstance(network.get_submodule(str(name)), convolutions) for name, count in calls.items()
    )


def device_name(device: str) -> str:
    """The hardware as the cache key names it: the model of the processor or of the GPU."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        picked = {line.partition(":")[0].strip(): line for line in lines if line.startswith(("model", "flags"))}
        return hashlib.sha256("".join(sorted(picked.values())).encode()).hexdigest()
    return f"{platform.machine()} {platform.processor()}"


def cache_file(folder: Path, network_key: str, device: str, threads: int, pins: Pins) -> Path:
    """Where the choice for one network on one device with one torch is kept."""
    key = json.dumps([_CACHE_VERSION, network_key, device_name(device), torch.__version__, threads, asdict(pins)])
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def choose(
    network: PixelNetwork,
    samples_BCHW: Tensor,
    *,
    base: Settings,
    pins: Pins,
    cache: Path | None,
    job_images: int,
) -> Choice:
    """The settings for this network here: from the cache, or probed on the job's own first pictures.

    `job_images` is what one worker has to do: a job over within seconds is not worth a probe and takes the safe
    default, and only a long one is worth compiling for. Workers of one machine probe once: the first holds a lock.
    """
    base = _pinned(base, pins)
    if cache is not None and (kept := _kept(cache)):
        return _with_compile(kept, network, pins, job_images)
    if job_images < 256:
        return Choice(base, "pinned" if pins != Pins() else "default")
    if cache is None:
        return _with_compile(probe(network, samples_BCHW, base, pins), network, pins, job_images)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(cache.with_suffix(".lock"), timeout=60):
            choice = _kept(cache) or probe(network, samples_BCHW, base, pins)
            if choice.source == "probed":
                _write_atomically(cache, choice.to_json())
    except (OSError, Timeout):
        choice = probe(network, samples_BCHW, base, pins)
    return _with_compile(choice, network, pins, job_images)


def _kept(cache: Path) -> Choice | None:
    """The choice in a cache file; None where there is none, or one that can't be read."""
    try:
        return Choice.from_json(cache.read_text(encoding="utf-8"), "cached")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _pinned(base: Settings, pins: Pins) -> Settings:
    fixed = {name: value for name, value in asdict(pins).items() if value is not None}
    return replace(base, **fixed)


def probe(network: PixelNetwork, samples_BCHW: Tensor, base: Settings, pins: Pins) -> Choice:
    """Measure precision and memory format first, then the microbatch, within about PROBE_SECONDS.

    A candidate that strays from eager fp32 by more than MIN_COSINE on the samples, or that fails, is out.
    """
    deadline = time.perf_counter() + PROBE_SECONDS
    eager = replace(base, precision="float32", channels_last=False, fold_batchnorm=False, compile=False)
    truth_BD = _features(Executor(network, eager), samples_BCHW[: eager.microbatch])
    trials: list[Trial] = []
    for settings in _formats(base, pins):
        if trials and time.perf_counter() > deadline:
            break
        trials += _trial(network, samples_BCHW, settings, truth_BD)
    if not trials:  # what the user fixed is kept even so
        return Choice(_pinned(eager, pins), "probed")
    best = max(trials, key=lambda trial: trial.images_per_s)
    for microbatch in _microbatches(best.settings, pins):
        if time.perf_counter() > deadline:
            break
        trials += _trial(network, samples_BCHW, replace(best.settings, microbatch=microbatch), truth_BD)
    best = max(trials, key=lambda trial: trial.images_per_s)
    return Choice(best.settings, "probed", best.images_per_s, tuple(trials))


def _formats(base: Settings, pins: Pins) -> list[Settings]:
    cuda = base.device.startswith("cuda")
    precisions: tuple[Precision, ...] = ("bfloat16", "float16", "float32") if cuda else ("bfloat16", "float32")
    if not cuda and not _cpu_has_bfloat16():
        precisions = ("float32",)  # emulated bfloat16 is slower than fp32, and slow to find out
    formats = [replace(base, precision=p, channels_last=c) for p in precisions for c in (True, False)]
    return [
        settings
        for settings in formats
        if settings.precision == (pins.precision or settings.precision)
        and settings.channels_last == (settings.channels_last if pins.channels_last is None else pins.channels_last)
    ] or [base]


def _cpu_has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


def _microbatches(settings: Settings, pins: Pins) -> list[int]:
    if pins.microbatch is not None:
        return []
    offered = MICROBATCHES_CUDA if settings.device.startswith("cuda") else MICROBATCHES_CPU
    return [size for size in offered if size != settings.microbatch]


def _trial(network: PixelNetwork, samples_BCHW: Tensor, settings: Settings, truth_BD: Tensor) -> list[Trial]:
    repeats = math.ceil(settings.microbatch / len(samples_BCHW))
    batch_BCHW = samples_BCHW.repeat(repeats, 1, 1, 1)[: settings.microbatch]
    try:
        executor = Executor(network, settings)
        features_BD = _features(executor, batch_BCHW)
        images_per_s = max(_rate(executor, batch_BCHW) for _ in range(2))
    except (RuntimeError, NotImplementedError):
        return []  # this device or this network has no kernel for it
    cosine = least_cosine(features_BD, truth_BD)
    return [Trial(settings, images_per_s, cosine)] if cosine >= MIN_COSINE else []


def _features(executor: Executor, images_BCHW: Tensor) -> Tensor:
    return executor(images_BCHW).flatten(1)


def _rate(executor: Executor, images_BCHW: Tensor) -> float:
    start = time.perf_counter()
    executor(images_BCHW)
    return len(images_BCHW) / (time.perf_counter() - start)


def least_cosine(features_BD: Tensor, truth_BD: Tensor) -> float:
    """The least cosine between rows; -1 where a feature is not finite."""
    rows = min(len(features_BD), len(truth_BD))
    if not bool(torch.isfinite(features_BD).all()):
        return -1.0
    return float(torch.cosine_similarity(features_BD[:rows], truth_BD[:rows]).min())


def _with_compile(choice: Choice, network: PixelNetwork, pins: Pins, job_images: int) -> Choice:
    """Compiling is tried only where what is left of the job would run long enough to repay it."""
    if pins.compile is not None:
        return replace(choice, settings=replace(choice.settings, compile=pins.compile))
    if choice.images_per_s is None or job_images / choice.images_per_s < COMPILE_PAYS_AFTER_S:
        return choice
    settings = replace(choice.settings, compile=True)
    images_BCHW = torch.zeros(settings.microbatch, 3, network.input_px, network.input_px, dtype=torch.uint8)
    try:
        start = time.perf_counter()
        executor = Executor(network, settings)
        executor(images_BCHW)
        compile_s = time.perf_counter() - start
        images_per_s = max(_rate(executor, images_BCHW) for _ in range(3))
    except Exception:  # no compiler, an operator that inductor does not know, ...: eager works
        return choice
    saved_s = job_images / choice.images_per_s - job_images / images_per_s
    return replace(choice, settings=settings, images_per_s=images_per_s) if saved_s > compile_s else choice

"""Settings of a network: precision, memory format, microbatch; those that a user fixed, and how the others were chosen."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

Precision = Literal["float32", "bfloat16", "float16"]
Backend = Literal["torch", "openvino"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class Settings:
    """Execution settings; they change the output no more than the agreement of the stage allows."""

    device: str = "cpu"
    precision: Precision = "float32"
    channels_last: bool = True
    fold_batchnorm: bool = True
    microbatch: int = 16
    threads: int = 1
    compile: bool = False
    backend: Backend = "torch"


@dataclass(frozen=True)
class Pins:
    """Settings that the user fixed; None: chosen by the probe."""

    precision: Precision | None = None
    channels_last: bool | None = None
    microbatch: int | None = None
    compile: bool | None = None
    backend: Backend | None = None

    def applied_to(self, settings: Settings) -> Settings:
        return replace(settings, **{name: value for name, value in asdict(self).items() if value is not None})


@dataclass(frozen=True)
class Trial:
    """One measured candidate: images per second on one worker, and the worst figure of its agreement with eager fp32."""

    settings: Settings
    images_per_s: float
    figure: float
    start_s: float = 0.0
    """What a worker takes to prepare it, where that was measured."""
    again_s: float | None = None
    """What the next worker takes, for which it is kept; None where nothing is kept, or that was not measured."""


@dataclass(frozen=True)
class Choice:
    """The chosen settings, how they were found, and every measured candidate."""

    settings: Settings
    source: Literal["probed", "cached", "default", "pinned"]
    images_per_s: float | None = None
    trials: tuple[Trial, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, source: Literal["probed", "cached"]) -> Choice:
        raw = json.loads(text)
        trials = tuple(
            Trial(Settings(**t["settings"]), t["images_per_s"], t["figure"], t["start_s"], t["again_s"])
            for t in raw["trials"]
        )
        return cls(Settings(**raw["settings"]), source, raw["images_per_s"], trials)

"""All that a worker of a bulk job needs to know; plain data, so that it travels to any machine."""

from __future__ import annotations

from dataclasses import dataclass

from pixelmill.pipelines.inputs.fetch import FetchLimits
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.access import Access
from pixelmill.workers.stages import StageConfig, StageContext


@dataclass(frozen=True)
class MillConfig:
    """What is read, what is made of it, and with how much."""

    out: str
    out_access: Access
    source_access: Access
    column: str | None
    segments: tuple[Segment, ...]
    stages: tuple[StageConfig, ...]
    context: StageContext
    fetch: FetchLimits
    max_pixels: int
    decode_threads: int
    weights: dict[str, str | None] | None
    """The weights that the output was made with so far; None for a new output."""
    memory_bytes: int = 8 << 30
    """What a worker may take in all."""
    stall_s: float = 600.0
    """How long it may make no progress."""
    decoder: str = "picture"
    """A name of workers/decoders, or the place of one that only the driver knows by name."""

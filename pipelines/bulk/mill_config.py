"""The configuration of a worker of a bulk job; plain data, so that it can be sent to any machine."""

from __future__ import annotations

from dataclasses import dataclass

from pixelmill.pipelines.bulk.decode_nodes import DecodeNodes
from pixelmill.pipelines.inputs.fetch import FetchLimits
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.access import Access
from pixelmill.workers.ct.volume_options import VolumeOptions
from pixelmill.workers.stages import StageConfig, StageContext


@dataclass(frozen=True)
class MillConfig:
    """The inputs, stages and resources of a worker."""

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
    """The weights that made the existing output; None for a new output."""
    memory_bytes: int = 8 << 30
    """The memory that a worker may use in total."""
    stall_s: float = 600.0
    """How long a worker may make no progress."""
    decoder: str = "picture"
    """A name of workers/decoders, or the import path of a decoder whose name only the driver knows."""
    decodes_whole: bool = False
    """Whether every picture is decoded at its own size, also where no stage sees more than a fraction of it."""
    decode_on: DecodeNodes | None = None
    """The nodes whose tasks fetch, decode and crop for this worker; None where it does so itself."""
    ct_index: str | None = None
    """The index whose series are read, where the source is one."""
    volumes: VolumeOptions | None = None
    """How its series become blocks of volumes."""

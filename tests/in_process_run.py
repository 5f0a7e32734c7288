"""One attempt at a run in this process: list, mill, publish, settle, account, with no Ray and no command."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pixelmill.pipelines.bulk.mill import ORDER_COLUMN, Mill, MillConfig
from pixelmill.pipelines.bulk.orders import orders_for
from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.inputs.fetch import FetchLimits
from pixelmill.pipelines.inputs.relisting import as_now
from pixelmill.pipelines.outputs.accounting import Account, account
from pixelmill.pipelines.outputs.attempt import Attempt, pending
from pixelmill.pipelines.outputs.contents import progress
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.listing import tables_of
from pixelmill.pipelines.outputs.publishing import publish
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.outputs.settling import settle
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.decoders import decoder_of
from pixelmill.workers.stages import StageConfig, StageContext
from pixelmill.workers.stages.wiring import output_row_bytes
from tests.pipelines.outputs.by_hand import Held


@dataclass(frozen=True)
class Job:
    """What is read, where what is made of it goes, and how."""

    source: Source
    out: Folder
    stages: tuple[StageConfig, ...]
    decoder: str = "picture"
    file_bytes: int = 512
    """Of 64 bytes a row: files are small, so that there are several."""
    row_bytes: int | None = 64
    """What a row is taken to make; None for what its stages say."""
    max_pixels: int = 1000
    decode_threads: int = 2
    memory_bytes: int = 8 << 30


def live(job: Job, epoch: int = 1, *, retry: bool = False, pace_s: float = 0.0) -> Account:
    """What one attempt does, from its first look to its account; it waits `pace_s` before it publishes a part."""
    out, decoder = job.out, decoder_of(job.decoder)
    fixed_bytes = job.row_bytes

    def row_bytes(picture_px: int) -> int:
        return output_row_bytes(job.stages, decoder.kind, picture_px) if fixed_bytes is None else fixed_bytes

    rows = decoder.rows_per_input
    attempt = Attempt(out, Held(epoch), row_bytes=row_bytes, file_bytes=job.file_bytes, rows_per_input=rows)
    segments, _ = attempt.resume()
    if retry:
        segments = attempt.list_failed(segments, lambda rows: as_now(rows, job.source))
    else:
        segments = attempt.list_new(segments, lambda listing, known: tables_of(job.source, listing, known))[0]
    segments = attempt.seal(segments)
    parts = pending(segments, progress(out), retry=retry)
    mill = mill_of(job, segments) if parts else None
    for order, part in zip(orders_for(parts), parts, strict=True):
        assert mill is not None
        made = mill({"name": order.name, "parts": [vars(part)]}).drop_columns([ORDER_COLUMN])
        time.sleep(pace_s)
        publish(out, order.name, made, {"listing": part.writer}, Compression())
        del made
    settle(out, segments)
    return account(out, segments)


def mill_of(job: Job, segments: list[Segment]) -> Mill:
    config = MillConfig(
        out=job.out.uri,
        out_access=job.out.access,
        source_access=job.source.access,
        column=job.source.column,
        segments=tuple(segments),
        stages=job.stages,
        context=StageContext("cpu", 1, 100, None),
        fetch=FetchLimits(in_flight=4),
        max_pixels=job.max_pixels,
        decode_threads=job.decode_threads,
        memory_bytes=job.memory_bytes,
        weights=None,
        decoder=job.decoder,
    )
    return Mill(config, lambda tally: None)

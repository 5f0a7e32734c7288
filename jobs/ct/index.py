"""The jobs of `ct index` and `ct ingest`: how objects that state no ids are named, and what is read of an index."""

from __future__ import annotations

from pixelmill.jobs.job import Job
from pixelmill.pipelines.ct.naming import Naming
from pixelmill.pipelines.inputs.files import base_of
from pixelmill.workers.errors import JobError
from pixelmill.workers.stages.ct_index import CtIndexConfig

MOST_SERIES_BYTES = 4 << 30
"""The most bytes of the objects of one series: 8,000 native slices of 512x512."""


def ingest_source(
    index: str, *, volumes: bool, spacing: str | None, block: str | None, overlap: int, shear_tilt: bool
) -> dict[str, object]:
    """`source` of a job over the series of an index. JobError where an option of blocks is no number, or blocks aren't asked
    for."""
    source: dict[str, object] = {"uri": index, "format": "ct-index", "max_bytes": MOST_SERIES_BYTES}
    if not volumes:
        if spacing or block or overlap or shear_tilt:
            raise JobError("ct ingest: --spacing, --block, --overlap and --shear-tilt are of blocks; add --volumes")
        return {**source, "decoder": "ct-series"}
    cut: dict[str, object] = {"overlap": overlap, "shear_tilt": shear_tilt}
    if spacing:
        given = _numbers(spacing, ",", float, "--spacing", "1.5 or 2.5,1,1")
        cut["spacing_mm"] = given[0] if len(given) == 1 else given
    if block:
        cut["block"] = _numbers(block, "x", int, "--block", "64x128x128")
    return {**source, "decoder": "ct-volume", "volumes": cut}


def _numbers(text: str, between: str, kind: type[int | float], option: str, example: str) -> list[int | float]:
    try:
        given = [kind(part) for part in text.split(between)]
    except ValueError:
        given = []
    if len(given) not in ({1, 3} if kind is float else {3}):
        raise JobError(f"ct ingest: {option} {text} can't be read; write it as {example}")
    return given


def naming_of(job: Job) -> Naming:
    """By the key and the pattern of its stage, below the folder that it lists."""
    config = next(each for each in job.spec.configs if isinstance(each, CtIndexConfig))
    source = job.source(job.open_out())
    return Naming(config.id_key(), base_of(source.uris[0], source.access), config.patient_pattern)

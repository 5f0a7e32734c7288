"""What is made of the rows of a finished run, before _SUCCESS says that it is whole: whoever finds _SUCCESS finds this too.

By whatever command the rows came to be - the stage's own, `run`, `retry`, `resume`, a step of a flow - the same is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixelmill.jobs.ct.source import MAKES_SLICES, READS_BLOCKS
from pixelmill.jobs.job import Job
from pixelmill.pipelines.stores.folder import Folder

if TYPE_CHECKING:
    from pixelmill.pipelines.ct.series import SeriesCounts


def finish(job: Job, out: Folder, done: int) -> list[str]:
    """The series of an index of CT, the codes of series where `embed` saw slices; returns what was made, in words. `done` rows
    are there. What was made before is made anew, as the rows may be more now."""
    kinds = [config.stage for config in job.spec.configs]
    if kinds == ["ct-index"]:
        return [_series(job, out)]
    if kinds == ["embed"] and job.spec.source_options.decoder in {MAKES_SLICES, READS_BLOCKS} and done:
        return [_codes(out)]
    return []


def _series(job: Job, out: Folder) -> str:
    from pixelmill.jobs.ct.index import naming_of
    from pixelmill.pipelines.ct.indexing import write_series

    return worded_counts(write_series(out, naming_of(job)))


def _codes(out: Folder) -> str:
    from pixelmill.pipelines.ct.pooled_codes import pool_codes

    return str(pool_codes(out))


def worded_counts(counts: SeriesCounts) -> str:
    """The verdicts of all series, in words."""
    lines = [f"{counts.series:,} series: {counts.usable_2d:,} usable in 2-D, {counts.usable_3d:,} in 3-D"]
    lines += [f"  {kind.replace('_', ' ')}: {count:,} series" for kind, count in counts.reasons.most_common()]
    return "\n".join([*lines, "the index holds names of objects: keep it with the archive"])

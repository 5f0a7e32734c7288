"""What `ct index` needs of its job after the run: how objects that state no ids are named."""

from __future__ import annotations

from pixelmill.jobs.job import Job
from pixelmill.pipelines.ct.naming import Naming
from pixelmill.pipelines.inputs.files import base_of
from pixelmill.workers.stages.ct_index import CtIndexConfig


def naming_of(job: Job) -> Naming:
    """By the key and the pattern of its stage, below the folder that it lists."""
    config = next(each for each in job.spec.configs if isinstance(each, CtIndexConfig))
    source = job.source(job.open_out())
    return Naming(config.id_key(), base_of(source.uris[0], source.access), config.patient_pattern)

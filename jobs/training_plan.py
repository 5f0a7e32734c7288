"""Plan a training from its recipe file, its first samples and the machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath

from pixelmill.jobs.planning import Resources
from pixelmill.jobs.session.cluster import Machine
from pixelmill.jobs.training_job import TrainJob
from pixelmill.jobs.training_spec import TrainRun
from pixelmill.jobs.versions import git_revision, versions
from pixelmill.pipelines.placement import WorkerPool, shortfall
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.batch_share import BatchShare
from pixelmill.pipelines.training.driver import rehearse
from pixelmill.pipelines.training.marks import marks_of
from pixelmill.pipelines.training.plan import TrainingPlan, WorkerGroup
from pixelmill.pipelines.training.protocol import TESTED, Protocol
from pixelmill.pipelines.training.splits import Split, split
from pixelmill.workers.errors import JobError

DATA_CPUS = 2
"""CPUs of the tasks that read data for the workers, which hold their own CPUs to the end."""


@dataclass(frozen=True)
class PlannedTraining:
    """The plan for the workers, and notes on the data for a person."""

    plan: TrainingPlan
    notes: list[str]


def plan_training(job: TrainJob, out: str, protocol: Protocol = TESTED) -> PlannedTraining:
    """The plan of a training. Reads the first samples, so that DataError, ModelError or JobError is raised before Ray
    starts. `protocol` is that of the attempt that is resumed."""
    train, settings = job.spec, job.settings
    found = split(
        job.recipe.ROLES,
        train.data_uris,
        train.validation_uris,
        train.hold_out,
        settings.seed,
        train.access,
        train.test_part,
        protocol,
    )
    _rehearse(job, found)
    names = [PurePosixPath(uri).name for uri in train.data_uris]
    plan = TrainingPlan(
        recipe=train.recipe,
        settings=json.loads(settings.model_dump_json()),
        train=found.train,
        held_out=found.held_out,
        split=found.says,
        test=found.test,
        trained_on=marks_of(found.train),
        selected_on=marks_of(found.held_out),
        data=train.data_name or ", ".join(names),
        data_licence=train.licence,
        out=out,
        access=train.access,
        versions=versions(),
        git_revision=git_revision(),
        cache_bytes=int(train.run.cache_gb * 1e9),
        checkpoint_every_s=train.run.checkpoint_every_s,
        keep=train.run.keep,
        log_every_steps=train.run.log_every_steps,
    )
    return PlannedTraining(plan, found.train.says())


def _rehearse(job: TrainJob, found: Split) -> None:
    """Find faults in samples of every part before a worker does."""
    share = BatchShare(job.settings.batch, job.settings.accumulate, job.spec.run.workers)
    with checkpoints.assets(job.recipe, job.settings, job.spec.access) as assets:
        for data in (found.train, found.held_out, found.test):
            if data is not None:
                rehearse(job.recipe(job.settings, assets), data, share.together)


def pool_of(run: TrainRun) -> WorkerPool:
    """The workers with the CPUs that a private Ray must have for them and for reading their data."""
    return WorkerPool(run.workers + DATA_CPUS, 1, 0)


def scale_of(run: TrainRun, machine: Machine, resources: Resources, *, is_cluster: bool) -> WorkerGroup:
    """The number of workers and what each has. Raises JobError, with figures, where the resources do not suffice."""
    gpus_each = _gpus_each(run, machine, resources, is_cluster=is_cluster)
    # The tasks that decode run beside the workers, or they would wait for ever.
    lack = shortfall(WorkerPool(run.workers + DATA_CPUS, 1), dict(resources))
    lack = lack or shortfall(WorkerPool(run.workers, 0, gpus_each), dict(resources))
    if lack:
        raise JobError(
            f"run: {run.workers} workers, and {DATA_CPUS} CPUs to read the data for them, can't be placed: {lack}; "
            "lower run.workers or run.num_gpus"
        )
    shared = 1 if is_cluster else max(1, machine.cores // run.workers)  # a worker asks a cluster for one CPU
    return WorkerGroup(run.workers, shared if run.threads == "auto" else run.threads, gpus_each)


def _gpus_each(run: TrainRun, machine: Machine, resources: Resources, *, is_cluster: bool) -> float:
    if run.num_gpus != "auto":
        return run.num_gpus
    has_gpus = resources.get("GPU", 0) >= run.workers if is_cluster else machine.gpus > 0
    return 1.0 if has_gpus else 0.0

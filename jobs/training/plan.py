"""Plan a training from its recipe file, its first samples and the machine."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from pixelmill.jobs.planning import Nodes, with_groups
from pixelmill.jobs.session.cluster import Machine
from pixelmill.jobs.training.job import TrainJob
from pixelmill.jobs.training.spec import TrainRun
from pixelmill.jobs.versions import git_revision, versions
from pixelmill.pipelines.placement import WorkerPool, places, shortfall
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.batch_share import BatchShare
from pixelmill.pipelines.training.batch_threads import threads_beside
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.driver import rehearse
from pixelmill.pipelines.training.initial import initial_notes, seen_before
from pixelmill.pipelines.training.marks import marks_of
from pixelmill.pipelines.training.plan import TrainingPlan, WorkerGroup
from pixelmill.pipelines.training.protocol import TESTED, Protocol
from pixelmill.pipelines.training.splits import Split, split
from pixelmill.workers.errors import JobError, NoRoom
from pixelmill.workers.recipes import ChoosesSlices
from pixelmill.workers.wording import counted

LEAST_DATA_CPUS = 1
"""CPUs of the tasks that read data for the workers, which hold their own CPUs to the end."""

BESIDE_A_GPU = 4
"""Threads that make the batches of a worker with a GPU on a cluster, whose machines' cores are not known."""


@dataclass(frozen=True)
class PlannedTraining:
    """The plan for the workers, and notes on the data for a person."""

    plan: TrainingPlan
    notes: list[str]


def plan_training(job: TrainJob, out: str, protocol: Protocol = TESTED, *, is_new: bool = True) -> PlannedTraining:
    """The plan of a training. Reads the first samples, so that DataError, ModelError or JobError is raised before Ray
    starts. `protocol` is that of the attempt that is resumed; only a new training reads the checkpoint that it begins with."""
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
    found = replace(found, train=_chosen(job, found.train))
    notes = _rehearse(job, found, is_new=is_new)
    names = [PurePosixPath(uri).name for uri in train.data_uris]
    plan = TrainingPlan(
        recipe=train.recipe,
        settings=json.loads(settings.model_dump_json()),
        train=found.train,
        held_out=found.held_out,
        split=found.says,
        test=found.test,
        trained_on=_trained_on(job, found),
        selected_on=marks_of(found.held_out),
        data=train.data_name or ", ".join(names),
        data_licence=train.licence,
        out=out,
        access=train.access,
        versions=versions(),
        git_revision=git_revision(),
        cache_bytes=int(train.run.cache_gb * 1e9),
        max_failed_fraction=train.run.max_failed_fraction,
        checkpoint_every_s=train.run.checkpoint_every_s,
        keep=train.run.keep,
        sync_batch_norm=train.run.sync_batch_norm,
        log_every_steps=train.run.log_every_steps,
        initial=job.initial,
        compile_where_faster=train.run.compile == "auto",
    )
    notes += seen_before(job.initial, {"that are held out": found.held_out, "of the test part": found.test})
    return PlannedTraining(plan, [*found.train.says(), *notes])


def _chosen(job: TrainJob, train: DataSet) -> DataSet:
    """The samples that the recipe trains on; all of them, unless it chooses among slices of CT."""
    recipe = job.recipe(job.settings, {})
    if train.slices is None or not isinstance(recipe, ChoosesSlices):
        return train
    return train.take(recipe.chosen(train.slices, train.labels))


def _trained_on(job: TrainJob, found: Split) -> tuple[str, ...]:
    """The marks of the samples that the network was trained on: also before this training, where it begins with weights."""
    before = () if job.initial is None else job.initial.trained_on
    return tuple(sorted({*marks_of(found.train), *before})) if before else marks_of(found.train)


def _rehearse(job: TrainJob, found: Split, *, is_new: bool) -> list[str]:
    """Find faults in samples of every part before a worker does; returns notes on them and on the initial weights, each once."""
    notes: list[str] = []
    run = job.spec.run
    counts = range(run.least_workers, run.most_workers + 1)
    share, *_ = [BatchShare(job.settings.batch, job.settings.accumulate, count) for count in counts]
    with checkpoints.assets(job.recipe, job.settings, job.spec.access) as assets:
        for data in (found.train, found.held_out, found.test):
            if data is not None:
                recipe = job.recipe(job.settings, assets)
                notes += rehearse(recipe, data, share.together)
                notes += initial_notes(recipe, job.initial, job.spec.access) if is_new and data is found.train else []
    return list(dict.fromkeys(notes))


def pool_of(run: TrainRun, machine: Machine) -> WorkerPool:
    """The workers with the CPUs that a private Ray must have for them and for reading their data: as many tasks decode as
    the machine has cores."""
    return WorkerPool(run.most_workers + max(LEAST_DATA_CPUS, machine.cores), 1, 0)


def scale_of(run: TrainRun, machine: Machine, nodes: Nodes, *, is_cluster: bool) -> WorkerGroup:
    """The number of workers and what each has, on the nodes that there are and those that a cluster may start.

    Raises NoRoom, with figures, where they do not suffice.
    """
    if run.compile and run.most_workers > 1:
        raise JobError(
            f"run.compile is {run.compile} with {run.most_workers} workers; it is for one: leave one of them out"
        )
    there = with_groups(nodes, run.node_groups) if is_cluster else nodes
    gpus_each = _gpus_each(run, machine, there, is_cluster=is_cluster)
    if lack := shortfall(_with_data(run.least_workers, gpus_each), there):
        raise NoRoom(
            f"run: {counted(run.least_workers, 'worker')}, and a CPU to read the data, can't be placed: {lack}; "
            "lower run.workers or run.num_gpus; a cluster that starts nodes when they are asked for has them in run.node_groups"
        )
    shared = 1 if is_cluster else max(1, machine.cores // run.most_workers)  # a worker asks a cluster for one CPU
    threads = shared if run.threads == "auto" else run.threads
    beside = _batch_threads(run, machine, threads, gpus_each, is_cluster)
    return WorkerGroup(run.most_workers, threads, gpus_each, beside, run.least_workers)


def _with_data(workers: int, gpus: float) -> WorkerPool:
    """The workers and a CPU for the tasks that decode: they run beside the workers, or they would wait for ever."""
    return WorkerPool(workers, 1, gpus) if gpus else WorkerPool(workers + LEAST_DATA_CPUS, 1)


def _batch_threads(run: TrainRun, machine: Machine, threads: int, gpus_each: float, is_cluster: bool) -> int:
    if run.batch_threads != "auto":
        return run.batch_threads
    if is_cluster:  # a worker asks a cluster for one CPU; machines with GPUs have several for each
        return BESIDE_A_GPU if gpus_each else 1
    return threads_beside(machine.cores, run.most_workers, threads, on_gpu=gpus_each > 0)


def _gpus_each(run: TrainRun, machine: Machine, nodes: Nodes, *, is_cluster: bool) -> float:
    if run.num_gpus != "auto":
        return run.num_gpus
    has_gpus = places(nodes, 1, 1) >= run.least_workers if is_cluster else machine.gpus > 0
    return 1.0 if has_gpus else 0.0

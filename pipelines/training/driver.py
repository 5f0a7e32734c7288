"""Start a training with Ray Train, and check before what would end it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import cast

import torch

from pixelmill.pipelines.progress import ProgressStore
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.failures import failures_in, repeated
from pixelmill.pipelines.training.measuring import good_samples
from pixelmill.pipelines.training.plan import FAULT, TrainingPlan, WorkerGroup
from pixelmill.pipelines.training.ray_worker import work
from pixelmill.workers.errors import JobError, TrainingFailed
from pixelmill.workers.recipes import ChecksSamples, NotesSamples, Recipe


def rehearse(recipe: Recipe, data: DataSet, together: int) -> list[str]:
    """Check what a worker would fail on: samples from all over the data, the network, the files that it starts from.
    The network is built without memory. `together` samples go through it at once. Raises DataError or ModelError.

    Returns what the recipe took for granted about the samples, for a person.
    """
    samples = list(good_samples(data, recipe))
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings that weights are not copied into a network without memory
        if isinstance(recipe, ChecksSamples):
            recipe.check(samples, together)
        else:
            recipe.network()
        if recipe.settings.rates:
            recipe.optimizer(recipe.network())  # its parameters have the names that the settings refer to
    return recipe.notes(samples) if isinstance(recipe, NotesSamples) else []


def fit(plan: TrainingPlan, group: WorkerGroup, store: ProgressStore, storage: str) -> None:
    """Train to the end on the cluster that is connected. Raises what a worker found to be wrong.

    A worker that dies is restarted at most twice, and resumes from the newest checkpoint. `storage` is a folder for
    Ray Train's own records; checkpoints are ours.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    is_elastic = group.least < group.workers
    if is_elastic and not hasattr(ScalingConfig, "elasticity_enabled"):
        raise JobError("run.workers with min and max needs a newer Ray, whose Ray Train is elastic; give one number")
    trainer = TorchTrainer(
        cast("Callable[[dict[str, object]], None]", work),
        train_loop_config={"plan": plan, "group": group, "run": store.run},
        scaling_config=ScalingConfig(
            num_workers=(group.least, group.workers) if is_elastic else group.workers,
            use_gpu=group.gpus > 0,
            resources_per_worker={"CPU": 1} | ({"GPU": group.gpus} if group.gpus else {}),
        ),
        run_config=RunConfig(name=store.run, storage_path=storage, failure_config=FailureConfig(max_failures=2)),
    )
    try:
        trainer.fit()
    except Exception as error:
        if store.get(FAULT) is None:
            *_, cause = str(error).strip().splitlines() or [type(error).__name__]  # last line of the traceback
            failures = failures_in(store)
            what = f"{failures[-1]}{repeated(failures)}" if len(failures) and group.workers > 1 else cause
            raise TrainingFailed(f"a worker failed again and again: {what}; the log has all of it") from error
    if (fault := store.get(FAULT)) is not None:
        raise TrainingFailed(fault)

"""What Ray Train runs on each worker: its rank, its device, the requests that reach it, and what it reports when it fails."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import TypedDict, cast

import torch

from pixelmill.pipelines.progress import ProgressStore
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.failures import report_failure
from pixelmill.pipelines.training.peers import Peers
from pixelmill.pipelines.training.plan import FAULT, TrainingPlan, WorkerGroup
from pixelmill.pipelines.training.requests import Requests
from pixelmill.pipelines.training.worker import Training
from pixelmill.workers.errors import PixelmillError
from pixelmill.workers.recipes.registry import recipe_type
from pixelmill.workers.runtime.memory import keep_freed_memory


class WorkConfig(TypedDict):
    """The configuration that Ray Train passes to its workers."""

    plan: TrainingPlan
    group: WorkerGroup
    run: str


def work(config: WorkConfig) -> None:
    """The function that Ray Train runs on each worker.

    User errors are reported through the progress store; raising would make Ray Train retry.
    """
    from ray import train

    context = train.get_context()
    plan, group = config["plan"], replace(config["group"], workers=context.get_world_size())
    rank = context.get_world_rank()
    store = ProgressStore(config["run"])
    if store.get(FAULT) is not None:
        return  # restarted after one of several workers raised the fault that it had reported
    device = _device()
    if device.type == "cpu":
        keep_freed_memory()
        torch.set_num_threads(group.threads)
    try:
        with checkpoints.assets(recipe_type(plan.recipe), plan.recipe_settings(), plan.access) as assets:
            peers, requests = Peers(rank, group.workers), Requests(store, draining_nodes)
            Training(plan, group, rank, device, assets, store, peers, requests).run()
    except PixelmillError as error:
        store.put(FAULT, str(error))
        if group.workers > 1:
            raise  # the others wait for this one
    except Exception as error:
        report_failure(store, rank, str(device), error)
        raise


def _device() -> torch.device:
    from ray.train.torch import get_device

    return torch.device(cast("torch.device | str", get_device()))


def draining_nodes() -> Hashable | None:
    """The nodes of this training that its cluster is about to take away; None where none is, or where this version of Ray
    does not say. All workers call it together."""
    from ray import train

    ask = getattr(train, "get_preemption_info", None)
    info = None if ask is None else ask()
    return None if info is None else tuple(info.preempted_node_ids)

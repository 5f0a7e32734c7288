"""One worker's part of a training: resumed after any interruption as if nothing had happened.

The state of a training is its weights, its optimiser's state and the number of the next step. Everything else follows from
the seed and the step: which samples (sample_order.py), how they are augmented, and torch's own random numbers. A worker
that starts, for the first time or after a crash, loads the newest checkpoint and resumes from there.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypedDict, Unpack, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from pixelmill.pipelines.outputs import claims
from pixelmill.pipelines.progress import ProgressStore
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.acceleration import accelerate, fused
from pixelmill.pipelines.training.averaging import average_of
from pixelmill.pipelines.training.batch_share import BatchShare
from pixelmill.pipelines.training.batches import Batches, Made, ahead
from pixelmill.pipelines.training.broken_samples import BrokenSamples, FailedFile
from pixelmill.pipelines.training.cards import card_of
from pixelmill.pipelines.training.checkpoints import TrainingProgress
from pixelmill.pipelines.training.device_batches import OnDevice, Pinned, maker_of
from pixelmill.pipelines.training.evaluation import finish, is_better, judged, opened_held_out
from pixelmill.pipelines.training.final_test import judge_best
from pixelmill.pipelines.training.initial import begin
from pixelmill.pipelines.training.plan import FAULT, NEWS, WARNING, News, TrainingPlan, WorkerGroup
from pixelmill.pipelines.training.samples import open_samples
from pixelmill.pipelines.training.step import Descent
from pixelmill.pipelines.training.trackers.description import described
from pixelmill.pipelines.training.trackers.registry import opened
from pixelmill.pipelines.training.training_log import TrainingLog
from pixelmill.workers.errors import PixelmillError
from pixelmill.workers.models.card import Card
from pixelmill.workers.recipes import Batch, FindsFacts, Recipe, RecipeSettings
from pixelmill.workers.recipes.registry import recipe_type
from pixelmill.workers.runtime.memory import keep_freed_memory

EVALUATIONS = 20


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

    plan, group = config["plan"], config["group"]
    rank = train.get_context().get_world_rank()
    store = ProgressStore(config["run"])
    if store.get(FAULT) is not None:
        return  # restarted after one of several workers raised the fault that it had reported
    device = _device()
    if device.type == "cpu":
        keep_freed_memory()
        torch.set_num_threads(group.threads)
    try:
        with checkpoints.assets(recipe_type(plan.recipe), plan.recipe_settings(), plan.access) as assets:
            Training(plan, group, rank, device, assets, store).run()
    except PixelmillError as error:
        store.put(FAULT, str(error))
        if group.workers > 1:
            raise  # the others wait for this one


def _device() -> torch.device:
    from ray.train.torch import get_device

    return torch.device(cast("torch.device | str", get_device()))


class Training:
    """One worker's part of a training; `progress` is its state besides tensors."""

    def __init__(
        self,
        plan: TrainingPlan,
        group: WorkerGroup,
        rank: int,
        device: torch.device,
        assets: Mapping[str, Path],
        store: ProgressStore,
    ) -> None:
        self.plan, self.rank, self.device, self.store = plan, rank, device, store
        self.is_first = rank == 0
        self.group = group
        self.recipe = plan.built(assets)
        self.settings = self.recipe.settings
        plain = Folder(plan.out, plan.access)
        self.folder = plain if plan.claim is None else claims.ClaimedFolder(plain, plan.claim)
        self.share = BatchShare(self.settings.batch, self.settings.accumulate, group.workers, rank)
        self.report(phase="reading the data")
        broken = BrokenSamples(plan.train, plan.max_failed_fraction)
        self.steps = total_steps(self.settings, len(plan.train))
        is_read_again = self.steps * self.settings.batch >= 2 * len(plan.train)
        disk = plan.disk_cache if is_read_again else None
        self.samples = open_samples(plan.train, self.recipe, plan.cache_bytes, broken, group.workers, disk)
        self.held_out = opened_held_out(plan, self.recipe) if self.is_first else None
        self._failed = FailedFile(self.folder, store, rank, group.workers)
        self.progress = checkpoints.read_progress(self.folder) or TrainingProgress()
        if self.progress.in_blocks is None:  # kept, so that another cache_gb does not change the order of samples
            self.progress.in_blocks = self.samples.in_blocks
        self._find_facts()
        self.network = _new_network(self.recipe, device)
        if not self.progress.step:
            self.progress.initialised_from = begin(self.recipe, self.network, plan.initial, plan.access)
        accelerate(device)
        self.optimizer = fused(optimizer_of(self.recipe, self.network), device)
        self.average = average_of(self.network, self.settings.ema_decay)
        if self.progress.step:
            checkpoints.load_training(self.folder, self.network, self.optimizer, self.average)
        self.trained: nn.Module = DistributedDataParallel(self.network) if group.workers > 1 else self.network
        self.progress.extend(self.steps)
        self.evaluate_every = self.settings.evaluate_every_steps or max(
            math.ceil(len(plan.train) / self.settings.batch), math.ceil(self.steps / EVALUATIONS)
        )
        self._pending = _steps_of(self.progress.unlogged, self.device)
        self._descent = Descent(self.recipe, self.network, self.trained, self.optimizer, device)
        self._chooses = plan.compile_where_faster and group.workers == 1
        self._is_judged = False

    def report(self, **news: Unpack[News]) -> None:
        if self.is_first:
            self.store.report(NEWS, json.dumps(news))

    def _find_facts(self) -> None:
        """Find the facts that a recipe takes from the training data, once: they are kept with the checkpoints."""
        if not isinstance(self.recipe, FindsFacts):
            return
        if self.progress.prepared is None:
            self.progress.prepared = dict(self.recipe.prepare(iter(self.samples)))
        self.recipe.restore(self.progress.prepared)

    # ------------------------------------------------------------------------------------------------------- steps

    def run(self) -> None:
        log = self._opened_log() if self.is_first else None
        try:
            self._take_steps(log)
        finally:
            if log is not None:
                log.close()

    def _opened_log(self) -> TrainingLog:
        step, warn = self.progress.step, self._warn
        trackers = opened(self.folder, described(self.plan, step), self.plan.tracking, warn)
        return TrainingLog(self.folder, self.recipe.GOAL[0], resumed_at=step, trackers=trackers)

    def _warn(self, text: str) -> None:
        self.store.reporter(WARNING)(text)

    def _take_steps(self, log: TrainingLog | None) -> None:
        steps = range(self.progress.step, self.steps)
        saved_s = logged_s = time.monotonic()
        logged_step = steps.start
        for step, (indices, passes) in zip(steps, self.batches(steps), strict=True):
            self._pending.append(self.step(step, indices, passes))
            done = self.progress.step = step + 1
            if self.average is not None:
                self.average.update(self.network, step)
            is_over = done == self.steps
            if done % self.plan.log_every_steps == 0 or is_over:
                self._descent.require_finite_losses()
                losses = self._mean_losses()
                now_s = time.monotonic()
                rate = (done - logged_step) * self.settings.batch / max(1e-9, now_s - logged_s)
                self.progress.trained_s += now_s - logged_s
                self._log(log, done, losses, rate)
                logged_s, logged_step = now_s, done
            if done % self.evaluate_every == 0 or is_over:
                self._descent.require_finite(step)
                is_over = self._evaluate(log) or is_over
                logged_s = time.monotonic()
            is_over, is_time = self._agreed(is_over, time.monotonic() - saved_s > self.plan.checkpoint_every_s)
            if is_over or is_time:
                self._descent.require_finite(step)
                if is_over and self.is_first:
                    self.report(phase="testing", step=done, steps=self.steps, metrics=self.progress.metrics)
                    judge_best(self.plan, self.recipe, self.folder, self.device)
                self.progress.is_complete = is_over
                self._save(log)
                logged_s = saved_s = time.monotonic()
            if is_over:
                break

    def batches(self, steps: range) -> Iterator[Made]:
        """The batches of these steps on the device, made ahead of them."""
        order = self.samples.order(self.settings.seed, self.progress.in_blocks)
        make = maker_of(self.recipe, self.device)
        made = Batches(self.samples, self.recipe, order, self.share, self.group.batch_threads, make)(steps)
        return map(OnDevice(self.recipe, self.device), ahead(map(Pinned(self.device), made)))

    def step(self, step: int, indices: np.ndarray, passes: list[Batch]) -> dict[str, Tensor]:
        """Take one step over this worker's passes; returns the losses, averaged over the passes."""
        if not self.is_first:
            self._record_broken()  # before the gradients are exchanged, so that the first worker has it when it saves
        if self._chooses:
            self._chooses = False
            self.progress.is_compiled = self._descent.compile_where_faster(passes[0], self.progress.is_compiled)
        return self._descent(step, self.steps, self.rank, passes, lambda: self.plan.train.take(indices).names())

    def _agreed(self, *mine: bool) -> list[bool]:
        """The value of the first worker, on all workers."""
        if self.group.workers == 1:
            return list(mine)
        flags = torch.tensor(mine, dtype=torch.uint8, device=self.device)
        torch.distributed.broadcast(flags, 0)
        return [bool(flag) for flag in flags]

    # ----------------------------------------------------------------------------------------------- logs, evaluation

    def _mean_losses(self) -> dict[str, float]:
        """The means of the losses since the last call, over all workers."""
        names = list(self._pending[0])
        means = torch.stack([torch.stack([each[name].float() for each in self._pending]).mean() for name in names])
        self._pending.clear()
        if self.group.workers > 1:
            torch.distributed.all_reduce(means)
            means /= self.group.workers
        return {name: float(mean) for name, mean in zip(names, means.cpu(), strict=True)}

    def _log(self, log: TrainingLog | None, done: int, losses: dict[str, float], images_per_s: float) -> None:
        if log is not None:
            log.add(done, "train", losses | {"learning_rate": self.optimizer.param_groups[0]["lr"]})
        self.report(
            phase="training",
            step=done,
            steps=self.steps,
            loss=losses["loss"],
            images_per_s=images_per_s,
            left_s=(self.steps - done) * self.settings.batch / max(1e-9, images_per_s),
            metrics=self.progress.metrics,
        )

    def _evaluate(self, log: TrainingLog | None) -> bool:
        """Evaluate the network on the first worker and publish it where it is the best so far; returns whether patience
        is over."""
        if log is None:
            return False
        self.report(phase="evaluating", step=self.progress.step, steps=self.steps, metrics=self.progress.metrics)
        finish(self.recipe, self.judged_network, self.samples)
        self.judged_network.eval()
        metrics: dict[str, float] = {}
        if self.held_out is not None:
            metrics, picture_CHW = judged(self.recipe, self.judged_network, self.held_out)
            log.show(self.progress.step, picture_CHW)
            log.add(self.progress.step, "evaluation", metrics)
            self._is_judged = True
        self.network.train()
        return self.judge(metrics)

    def judge(self, metrics: dict[str, float]) -> bool:
        """Publish the network where these metrics are the best so far; returns whether patience is over."""
        progress = self.progress
        value = metrics.get(self.recipe.GOAL[0])
        if value is not None and not math.isfinite(value):
            value = None
        is_best = is_better(value, progress.best, self.recipe.GOAL[1])
        progress.since_best = 0 if is_best else progress.since_best + 1
        if is_best:
            self._record_broken()
            progress.best, progress.best_step, progress.metrics = value, progress.step, metrics
            checkpoints.publish(self.folder, self.judged_network, self.card())
        return self.settings.patience is not None and progress.since_best >= self.settings.patience

    @property
    def judged_network(self) -> nn.Module:
        """The network that is evaluated and published: the average of the weights where the settings ask for one."""
        return self.network if self.average is None else self.average.network

    def card(self) -> Card:
        """The card of the weights as they are now."""
        return card_of(self.plan, self.recipe, self.network, self.progress)

    def _record_broken(self) -> None:
        met = [each.broken for each in (self.samples, self.held_out) if each is not None and each.broken is not None]
        self.progress.failed = self._failed.record(*met)

    def _save(self, log: TrainingLog | None) -> None:
        self._record_broken()
        if log is None:
            return
        log.publish(self._is_judged or self.progress.is_complete)
        self._is_judged = False
        self.progress.unlogged = {
            name: [float(each[name]) for each in self._pending] for name in (self._pending or [{}])[0]
        }
        writer = self.plan.claim.writer if self.plan.claim else ""
        saved = checkpoints.save_training(
            self.folder, self.network, self.optimizer, self.progress, writer, self.average
        )
        if not saved and self.plan.claim is not None:
            claims.require(self.folder, self.plan.claim)


def _new_network(recipe: Recipe, device: torch.device) -> nn.Module:
    torch.manual_seed(recipe.settings.seed)  # pyright: ignore[reportUnknownMemberType]
    network = recipe.network()
    return network.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _steps_of(losses: dict[str, list[float]], device: torch.device) -> list[dict[str, Tensor]]:
    """Losses by name as losses by step."""
    return [
        {name: torch.tensor(value, device=device) for name, value in zip(losses, step, strict=True)}
        for step in zip(*losses.values(), strict=True)
    ]


def total_steps(settings: RecipeSettings, samples: int) -> int:
    """The number of steps of a training."""
    return settings.steps or max(1, round(settings.epochs * samples / settings.batch))


def optimizer_of(recipe: Recipe, network: nn.Module) -> Optimizer:
    """The recipe's optimiser, with the initial learning rate of each group kept for the schedule to multiply."""
    optimizer = recipe.optimizer(network)
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    return optimizer

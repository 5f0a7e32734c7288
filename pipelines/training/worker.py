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
from functools import partial
from pathlib import Path
from typing import Unpack

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
from pixelmill.pipelines.training.batch_process import made_beside
from pixelmill.pipelines.training.batch_share import BatchShare
from pixelmill.pipelines.training.batches import Batches, Made, ahead
from pixelmill.pipelines.training.broken_samples import BrokenSamples, FailedFile
from pixelmill.pipelines.training.cards import card_of
from pixelmill.pipelines.training.checkpoint_writer import CheckpointWriter
from pixelmill.pipelines.training.checkpoints import TrainingProgress
from pixelmill.pipelines.training.curve import LogRow
from pixelmill.pipelines.training.device_batches import OnDevice, Pinned, maker_of
from pixelmill.pipelines.training.evaluation import SharedEvaluation, finish, is_better
from pixelmill.pipelines.training.final_test import judge_best
from pixelmill.pipelines.training.initial import begin
from pixelmill.pipelines.training.peers import Peers
from pixelmill.pipelines.training.plan import NEWS, WARNING, News, TrainingPlan, WorkerGroup
from pixelmill.pipelines.training.requests import Requests
from pixelmill.pipelines.training.samples import Memory, open_samples
from pixelmill.pipelines.training.step import Descent
from pixelmill.pipelines.training.synchronized_norm import alone, synchronized
from pixelmill.pipelines.training.trackers.description import described
from pixelmill.pipelines.training.trackers.registry import opened
from pixelmill.pipelines.training.training_log import TrainingLog
from pixelmill.workers.models.card import Card
from pixelmill.workers.recipes import Batch, FindsFacts, Recipe, RecipeSettings

EVALUATIONS = 20


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
        peers: Peers | None = None,
        requests: Requests | None = None,
    ) -> None:
        self.plan, self.rank, self.device, self.store = plan, rank, device, store
        self.peers, self.requests, self.writer = peers or Peers(), requests or Requests(store), CheckpointWriter()
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
        self.evaluation = SharedEvaluation(plan, self.recipe, self.peers)
        self._failed = FailedFile(self.folder, store, rank, group.workers)
        self.progress = checkpoints.read_progress(self.folder) or TrainingProgress()
        if self.progress.in_blocks is None:  # kept, so that another cache_gb does not change the order of samples
            self.progress.in_blocks = self.samples.in_blocks
        self._find_facts()
        if not self.progress.step:
            self.progress.is_norm_synchronized = plan.sync_batch_norm
        self.network = _new_network(self.recipe, device)
        if not self.progress.step:
            self.progress.initialised_from = begin(self.recipe, self.network, plan.initial, plan.access)
        if group.workers > 1 and self.progress.is_norm_synchronized:
            self.network = synchronized(self.network, device)
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
        self._tested: BrokenSamples | None = None

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
            try:
                self.writer.wait()
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
            self.writer.check()
            is_over, is_time, is_stopped = self._asked(is_over, time.monotonic() - saved_s)
            if is_over or is_time or is_stopped:
                self._descent.require_finite(step)
                if is_over:
                    self._test()
                self.progress.is_complete = is_over
                self._save(log)
                logged_s = saved_s = time.monotonic()
            if is_over or is_stopped:
                break

    def batches(self, steps: range) -> Iterator[Made]:
        """The batches of these steps on the device, made ahead of them."""
        order = self.samples.order(self.settings.seed, self.progress.in_blocks)
        make = maker_of(self.recipe, self.device)
        batches = Batches(self.samples, self.recipe, order, self.share, self.group.batch_threads, make)
        if self.device.type == "cpu" and isinstance(self.samples, Memory):
            return made_beside(batches, steps, self._warn)
        return map(OnDevice(self.recipe, self.device), ahead(map(Pinned(self.device), batches(steps))))

    def step(self, step: int, indices: np.ndarray, passes: list[Batch]) -> dict[str, Tensor]:
        """Take one step over this worker's passes; returns the losses, averaged over the passes."""
        if not self.is_first:
            self._record_broken()  # before the gradients are exchanged, so that the first worker has it when it saves
        if self._chooses:
            self._chooses = False
            self.progress.is_compiled = self._descent.compile_where_faster(passes[0], self.progress.is_compiled)
        return self._descent(step, self.steps, self.rank, passes, lambda: self.plan.train.take(indices).names())

    def _asked(self, is_over: bool, unsaved_s: float) -> tuple[bool, bool, bool]:
        """Whether the training is over, a checkpoint is due, and the driver asks for the end: by the first worker, for
        all."""
        is_due = self.is_first and self.requests.are_due()
        is_stopped = is_due and self.requests.says_stop()
        is_over, is_time, is_due, is_stopped = self.peers.agreed(
            is_over, unsaved_s > self.plan.checkpoint_every_s, is_due, is_stopped
        )
        if is_due and self.requests.is_new_notice():
            is_time = True  # the machine's last seconds are for a checkpoint; the steps go on as long as it lives
        return is_over, is_time, is_stopped

    def _test(self) -> None:
        """Judge the best weights on the test part, once they are published."""
        self.report(phase="testing", step=self.progress.step, steps=self.steps, metrics=self.progress.metrics)
        self.writer.wait()
        self.peers.agreed(True)
        self._tested = judge_best(self.plan, self.recipe, self.folder, self.device, self.peers)
        self._record_broken()
        self.peers.agreed(
            True
        )  # what the others met is reported before the first worker records it with the checkpoint

    # ----------------------------------------------------------------------------------------------- logs, evaluation

    def _mean_losses(self) -> dict[str, float]:
        """The means of the losses since the last call, over all workers."""
        names = list(self._pending[0])
        means = torch.stack([torch.stack([each[name].float() for each in self._pending]).mean() for name in names])
        self._pending.clear()
        return {name: float(mean) for name, mean in zip(names, self.peers.mean(means).cpu(), strict=True)}

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
        """Evaluate the network, each worker on its share, and publish it where it is the best so far; returns, on the first
        worker, whether patience is over."""
        self.report(phase="evaluating", step=self.progress.step, steps=self.steps, metrics=self.progress.metrics)
        network, metrics = self.judged_network, dict[str, float]()
        with alone(network):
            finish(self.recipe, network, self.samples)  # by all workers, as torch's SyncBatchNorm needs it
        self.peers.share(network)
        scores = self.evaluation.scores(network.eval())
        if log is not None and scores is not None:
            metrics = self.recipe.metrics(scores)
            log.show(self.progress.step, self.evaluation.picture(network))
            log.add(self.progress.step, "evaluation", metrics)
            self._is_judged = True
        self.network.train()
        return log is not None and self.judge(metrics)

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
            self.writer.wait()
            files = checkpoints.packed(self.judged_network, self.card())
            self.writer.start(partial(checkpoints.publish, self.folder, files))
        return self.settings.patience is not None and progress.since_best >= self.settings.patience

    @property
    def judged_network(self) -> nn.Module:
        """The network that is evaluated and published: the average of the weights where the settings ask for one."""
        return self.network if self.average is None else self.average.network

    def card(self) -> Card:
        """The card of the weights as they are now."""
        return card_of(self.plan, self.recipe, self.network, self.progress)

    def _record_broken(self) -> None:
        if self.samples.broken is None:
            return
        judged = (None if self.evaluation.mine is None else self.evaluation.mine.broken, self._tested)
        self.progress.failed = self._failed.record(self.samples.broken, *(each for each in judged if each is not None))

    def _save(self, log: TrainingLog | None) -> None:
        self._record_broken()
        if log is None:
            return
        self.writer.wait()
        self.progress.unlogged = {
            name: [float(each[name]) for each in self._pending] for name in (self._pending or [{}])[0]
        }
        with_curve, self._is_judged = self._is_judged or self.progress.is_complete, False
        snapshot = checkpoints.snapshot_of(self.network, self.optimizer, self.progress, self.average)
        self.writer.start(partial(self._write, log, list(log.rows), with_curve, snapshot))

    def _write(self, log: TrainingLog, rows: list[LogRow], with_curve: bool, snapshot: checkpoints.Snapshot) -> None:
        log.publish(with_curve, rows)
        writer = self.plan.claim.writer if self.plan.claim else ""
        saved = checkpoints.save_training(self.folder, snapshot, writer, self.plan.keep)
        if not saved and self.plan.claim is not None:
            claims.require(self.folder, self.plan.claim)


def _new_network(recipe: Recipe, device: torch.device) -> nn.Module:
    torch.manual_seed(recipe.settings.seed)  # pyright: ignore[reportUnknownMemberType]
    network = recipe.network().to(device)
    if any(weight.dim() > 4 for weight in network.parameters()):  # of volumes, which have no such format
        return network
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


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

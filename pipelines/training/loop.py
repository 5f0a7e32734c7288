"""Train a recipe with Ray Train: on one worker or several, resumed after any interruption as if nothing had happened.

The state of a training is its weights, its optimiser's state and the number of the next step. Everything else follows from
the seed and the step: which samples (sampling.py), how they are augmented, and torch's own random numbers. A worker
that starts, for the first time or after a crash, loads the newest checkpoint and goes on.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Required, TypedDict, Unpack, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from pixelmill.pipelines.outputs import claims
from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.progress import ProgressStore
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.checkpoints import TrainingProgress
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.pipelines.training.sampling import (
    MEASURED,
    Batches,
    BatchShare,
    Memory,
    Stream,
    ahead,
    open_samples,
    spread,
)
from pixelmill.pipelines.training.training_log import TrainingLog
from pixelmill.workers.errors import PixelmillError
from pixelmill.workers.models.card import Card
from pixelmill.workers.recipes import Batch, Recipe
from pixelmill.workers.recipes.registry import recipe_type
from pixelmill.workers.runtime.memory import keep_freed_memory

AHEAD = 2
EVALUATIONS = 20
SHOWN = 8
FINISHING_SAMPLES = 512
CACHE_BYTES = 4 << 30
NEWS, FAULT = "news", "fault"
"""Keys of the progress store: what the first worker is doing, and what a worker found to be wrong."""


class News(TypedDict, total=False):
    """What the first worker reports: what it does, and from the first step on how far it is."""

    phase: Required[str]
    step: int
    steps: int
    loss: float
    images_per_s: float
    left_s: float
    metrics: dict[str, float]


class TrainingFailed(PixelmillError):
    """The training can't go on: the loss is not a number, or a worker failed again and again."""


@dataclass(frozen=True)
class WorkerGroup:
    """How many workers train, and what each of them has."""

    workers: int = 1
    threads: int = 1
    gpus: float = 0


@dataclass(frozen=True)
class TrainingPlan:
    """All that a worker has to know; plain data."""

    recipe: str
    settings: dict[str, Any]
    train: DataSet
    held_out: DataSet | None
    split: str
    trained_on: tuple[str, ...]
    data: str
    data_licence: str
    out: str
    access: Access
    versions: dict[str, str]
    git_revision: str | None
    cache_bytes: int = CACHE_BYTES
    checkpoint_every_s: float = 60.0
    log_every_steps: int = 10
    claim: Claim | None = None
    """Under which the workers write; None where nobody else can."""

    def built(self, assets: Mapping[str, Path]) -> Recipe:
        kind = recipe_type(self.recipe)
        return kind(kind.Settings(**self.settings), assets)


# ----------------------------------------------------------------------------------------------------------- driver


def rehearse(recipe: Recipe, data: DataSet, together: int) -> None:
    """Find now what a worker would trip over: samples from all over the data, the network, the files that it starts from.

    The network is made without memory. `together` samples go through it at once. Raises DataError or ModelError.
    """
    samples = read_samples(data.take(spread(len(data), MEASURED)), recipe)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that weights are not copied into what has no memory
        if hasattr(recipe, "check"):
            cast("Any", recipe).check(samples, together)
        else:
            recipe.network()


def fit(plan: TrainingPlan, scale: WorkerGroup, store: ProgressStore, storage: str) -> None:
    """Train to the end on the cluster that is connected. Raises what a worker found to be wrong.

    A worker that dies is started again, twice at most, and goes on from the newest checkpoint. `storage` is a folder for
    Ray Train's own notes; checkpoints are ours.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    trainer = TorchTrainer(
        _work,
        train_loop_config={"plan": plan, "scale": scale, "run": store.run},
        scaling_config=ScalingConfig(
            num_workers=scale.workers,
            use_gpu=scale.gpus > 0,
            resources_per_worker={"CPU": 1} | ({"GPU": scale.gpus} if scale.gpus else {}),
        ),
        run_config=RunConfig(name=store.run, storage_path=storage, failure_config=FailureConfig(max_failures=2)),
    )
    try:
        trainer.fit()
    except Exception as error:
        if store.get(FAULT) is None:
            *_, cause = str(error).strip().splitlines() or [type(error).__name__]  # of a traceback the last line
            raise TrainingFailed(f"a worker failed again and again: {cause}; the log has the whole of it") from error
    if (fault := store.get(FAULT)) is not None:
        raise TrainingFailed(fault)


# ----------------------------------------------------------------------------------------------------------- worker


def _work(config: dict[str, Any]) -> None:
    """What Ray Train runs on each worker. An error for the user is told, not raised: raising would start all again."""
    from ray import train

    plan, scale = cast("TrainingPlan", config["plan"]), cast("WorkerGroup", config["scale"])
    rank = train.get_context().get_world_rank()
    store = ProgressStore(config["run"])
    if store.get(FAULT) is not None:
        return  # started again after one of several workers raised what it told
    device = _device()
    if device.type == "cpu":
        keep_freed_memory()
        torch.set_num_threads(scale.threads)
    try:
        kind = recipe_type(plan.recipe)
        with checkpoints.assets(kind, kind.Settings(**plan.settings), plan.access) as assets:
            Training(plan, scale, rank, device, assets, store).run()
    except PixelmillError as error:
        store.put(FAULT, str(error))
        if scale.workers > 1:
            raise  # the others wait for this one


def _device() -> torch.device:
    from ray.train.torch import get_device

    found = get_device()
    return found if isinstance(found, torch.device) else torch.device(found)


class Training:
    """One worker's part of a training."""

    def __init__(
        self,
        plan: TrainingPlan,
        scale: WorkerGroup,
        rank: int,
        device: torch.device,
        assets: Mapping[str, Path],
        store: ProgressStore,
    ) -> None:
        self.plan, self.rank, self.device, self.store = plan, rank, device, store
        self.is_first = rank == 0
        self.scale = scale
        self.recipe = plan.built(assets)
        self.settings = self.recipe.settings
        plain = Folder(plan.out, plan.access)
        self.folder = plain if plan.claim is None else claims.ClaimedFolder(plain, plan.claim)
        self.share = BatchShare(self.settings.batch, self.settings.accumulate, scale.workers, rank)
        self.tell(phase="reading the data")
        self.samples = open_samples(plan.train, self.recipe, plan.cache_bytes)
        self.held_out = self._open_held_out() if self.is_first else None
        self.progress = checkpoints.read_progress(self.folder) or TrainingProgress()
        self._prepare()
        self.network = self._new_network()
        self.optimizer = optimizer_of(self.recipe, self.network)
        if self.progress.step:
            checkpoints.load_training(self.folder, self.network, self.optimizer)
        self.trained: nn.Module = DistributedDataParallel(self.network) if scale.workers > 1 else self.network
        self.steps = total_steps(self.settings, len(plan.train))
        self.evaluate_every = self.settings.evaluate_every_steps or max(
            math.ceil(len(plan.train) / self.settings.batch), math.ceil(self.steps / EVALUATIONS)
        )
        self._pending = _steps_of(self.progress.unlogged, self.device)
        self._is_judged = False

    def tell(self, **news: Unpack[News]) -> None:
        if self.is_first:
            self.store.report(NEWS, json.dumps(news))

    def _open_held_out(self) -> Memory | Stream | None:
        data = self.plan.held_out
        if data is None:
            return None
        most = self.settings.evaluate_samples
        if most is not None and most < len(data):
            data = data.take(spread(len(data), most))
        return open_samples(data, self.recipe, self.plan.cache_bytes)

    def _prepare(self) -> None:
        """Facts that a recipe takes from the training data are found once, and kept with the checkpoints."""
        if not hasattr(self.recipe, "prepare"):
            return
        hooks = cast("Any", self.recipe)
        if self.progress.prepared is None:
            self.progress.prepared = hooks.prepare(iter(self.samples))
        hooks.restore(self.progress.prepared)

    def _new_network(self) -> nn.Module:
        torch.manual_seed(self.settings.seed)
        network = self.recipe.network()
        return network.to(self.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    # ------------------------------------------------------------------------------------------------------- steps

    def run(self) -> None:
        log = TrainingLog(self.folder, self.recipe.GOAL[0], resumed_at=self.progress.step) if self.is_first else None
        try:
            self._steps(log)
        finally:
            if log is not None:
                log.close()

    def _steps(self, log: TrainingLog | None) -> None:
        batches = Batches(self.samples, self.recipe, self.samples.order(self.settings.seed), self.share)
        steps = range(self.progress.step, self.steps)
        saved_s = logged_s = time.monotonic()
        logged_step = steps.start
        for step, (indices, passes) in zip(steps, ahead(map(self._placed, batches(steps)), AHEAD), strict=True):
            self._pending.append(self.step(step, indices, passes))
            done = self.progress.step = step + 1
            is_over = done == self.steps
            if done % self.plan.log_every_steps == 0 or is_over:
                values = self._logged()
                now_s = time.monotonic()
                rate = (done - logged_step) * self.settings.batch / max(1e-9, now_s - logged_s)
                self.progress.trained_s += now_s - logged_s
                self._log(log, done, values, rate)
                logged_s, logged_step = now_s, done
            if done % self.evaluate_every == 0 or is_over:
                is_over = self._evaluate(log) or is_over
                logged_s = time.monotonic()
            is_over, is_time = self._agreed(is_over, time.monotonic() - saved_s > self.plan.checkpoint_every_s)
            if is_over or is_time:
                self.progress.is_complete = is_over
                self._save(log)
                logged_s = saved_s = time.monotonic()
            if is_over:
                break

    def step(self, step: int, indices: Any, passes: list[Batch]) -> dict[str, Tensor]:
        """One step down the loss over this worker's passes; the losses are their means."""
        self._seed((self.settings.seed * 1_000_003 + step) * 64 + self.rank)
        self.trained.train()
        rate = self.recipe.rate(step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate
        self.optimizer.zero_grad(set_to_none=True)
        totals: dict[str, Tensor] = {}
        for number, batch in enumerate(passes):
            with self._synchronized(number == len(passes) - 1):
                losses = self._losses(batch)
                if not torch.isfinite(losses["loss"]):
                    raise TrainingFailed(self._not_finite(step, indices, losses))
                (losses["loss"] / len(passes)).backward()
            for name, value in losses.items():
                totals[name] = totals.get(name, torch.zeros((), device=self.device)) + value.detach() / len(passes)
        self._clip()
        self.optimizer.step()
        return totals

    def _seed(self, seed: int) -> None:
        """torch.manual_seed for the device in use: that one also notes the stack, for each device that is not."""
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _placed(self, made: tuple[Any, list[Batch]]) -> tuple[Any, list[Batch]]:
        """On the thread that makes batches: what is for a GPU is put into pinned memory, so that no step waits for its copy."""
        if self.device.type != "cuda":
            return made
        indices, passes = made
        return indices, [{name: tensor.pin_memory() for name, tensor in batch.items()} for batch in passes]

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        moved = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            return self.recipe.losses(self.trained, moved)

    def _synchronized(self, is_last: bool) -> Any:
        """Gradients travel between workers with the last pass alone."""
        return (
            nullcontext()
            if is_last or not isinstance(self.trained, DistributedDataParallel)
            else self.trained.no_sync()
        )

    def _clip(self) -> None:
        if hasattr(self.recipe, "clip"):
            cast("Any", self.recipe).clip(self.network, self.optimizer.param_groups[0]["lr"])
        elif self.settings.max_gradient_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.max_gradient_norm)

    def _not_finite(self, step: int, indices: Any, losses: dict[str, Tensor]) -> str:
        names = self.plan.train.take(indices).names()
        several = ", ".join(f"{name} {value.item():g}" for name, value in losses.items())
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        return (
            f"step {step}: the loss is not a number ({several}); its batch is {', '.join(names[:8])}{more}; look for NaN "
            "or empty samples there, or lower settings.learning_rate. The checkpoint before it stays"
        )

    def _agreed(self, *mine: bool) -> list[bool]:
        """What the first worker found, on all of them."""
        if self.scale.workers == 1:
            return list(mine)
        flags = torch.tensor(mine, dtype=torch.uint8, device=self.device)
        torch.distributed.broadcast(flags, 0)
        return [bool(flag) for flag in flags.tolist()]

    # ----------------------------------------------------------------------------------------------- logs, evaluation

    def _logged(self) -> dict[str, float]:
        """The means of the losses since the last call, over all workers."""
        names = list(self._pending[0])
        means = torch.stack([torch.stack([each[name].float() for each in self._pending]).mean() for name in names])
        self._pending.clear()
        if self.scale.workers > 1:
            torch.distributed.all_reduce(means)
            means /= self.scale.workers
        return dict(zip(names, means.tolist(), strict=True))

    def _log(self, log: TrainingLog | None, done: int, values: dict[str, float], images_per_s: float) -> None:
        if log is not None:
            log.add(done, "train", values | {"learning_rate": self.optimizer.param_groups[0]["lr"]})
        left_s = (self.steps - done) * self.settings.batch / max(1e-9, images_per_s)
        self.tell(
            phase="training",
            step=done,
            steps=self.steps,
            loss=values["loss"],
            images_per_s=images_per_s,
            left_s=left_s,
            metrics=self.progress.metrics,
        )

    def _evaluate(self, log: TrainingLog | None) -> bool:
        """Judge the network on the first worker, keep it where it is the best so far; whether patience is over."""
        if log is None:
            return False
        self.tell(phase="evaluating", step=self.progress.step, steps=self.steps, metrics=self.progress.metrics)
        if hasattr(self.recipe, "finish"):
            cast("Any", self.recipe).finish(self.network, iter(self.samples.some(FINISHING_SAMPLES)))
        self.network.eval()
        metrics: dict[str, float] = {}
        if self.held_out is not None:
            with torch.inference_mode():
                metrics = self.recipe.evaluate(self.network, iter(self.held_out))
                log.show(self.progress.step, self.recipe.pictures(self.network, self.held_out.some(SHOWN)))
            log.add(self.progress.step, "evaluation", metrics)
            self._is_judged = True
        self.network.train()
        return self._judge(metrics)

    def _judge(self, metrics: dict[str, float]) -> bool:
        name, direction = self.recipe.GOAL
        progress = self.progress
        value = metrics.get(name)
        if value is not None and not math.isfinite(value):
            value = None
        if value is None or progress.best is None:
            is_best = progress.best is None
        else:
            is_best = value < progress.best if direction == "min" else value > progress.best
        progress.since_best = 0 if is_best else progress.since_best + 1
        if is_best:
            progress.best, progress.best_step, progress.metrics = value, progress.step, metrics
            checkpoints.publish(self.folder, self.network, self.card())
        return self.settings.patience is not None and progress.since_best >= self.settings.patience

    def _save(self, log: TrainingLog | None) -> None:
        if log is not None:
            log.publish(self._is_judged or self.progress.is_complete)
            self._is_judged = False
            self.progress.unlogged = {
                name: [float(each[name]) for each in self._pending] for name in (self._pending or [{}])[0]
            }
            writer = self.plan.claim.writer if self.plan.claim else ""
            saved = checkpoints.save_training(self.folder, self.network, self.optimizer, self.progress, writer)
            if not saved and self.plan.claim is not None:
                claims.require(self.folder, self.plan.claim)

    def card(self) -> Card:
        """The card of the weights as they are now."""
        assets = {name: PurePosixPath(str(getattr(self.settings, name))).name for name in self.recipe.ASSETS}
        given = {name: text for name, text in assets.items() if getattr(self.settings, name)}
        preprocess: Callable[[], Any] = getattr(self.recipe, "preprocess", lambda: None)
        return Card(
            network=self.recipe.NETWORK,
            config=json.loads(json.dumps(asdict(cast("Any", self.network).config))),
            recipe=self.recipe.NAME,
            settings=json.loads(self.settings.model_dump_json()) | given | self._found(),
            data=self.plan.data,
            data_licence=self.plan.data_licence,
            split=f"{len(self.plan.train):,} samples to train on; {self.plan.split}",
            metrics={name: float(value) for name, value in self.progress.metrics.items() if math.isfinite(value)}
            | {"step": float(self.progress.step), "trained_s": round(self.progress.trained_s, 1)},
            preprocess=preprocess(),
            trained_on=self.plan.trained_on,
            versions=self.plan.versions,
            git_revision=self.plan.git_revision,
        )

    def _found(self) -> dict[str, Any]:
        """The facts of the training data that settings of the same names stand for."""
        return {name: fact for name, fact in (self.progress.prepared or {}).items() if name in self.plan.settings}


def _steps_of(losses: dict[str, list[float]], device: torch.device) -> list[dict[str, Tensor]]:
    """Losses by name as losses by step."""
    return [
        {name: torch.tensor(value, device=device) for name, value in zip(losses, step, strict=True)}
        for step in zip(*losses.values(), strict=True)
    ]


def total_steps(settings: Any, samples: int) -> int:
    """How many steps a training has."""
    return settings.steps or max(1, round(settings.epochs * samples / settings.batch))


def optimizer_of(recipe: Recipe, network: nn.Module) -> Optimizer:
    """The recipe's optimiser with each group's first learning rate noted, which the schedule multiplies."""
    optimizer = recipe.optimizer(network)
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    return optimizer


def evaluate(
    recipe: Recipe, network: nn.Module, data: DataSet, device: torch.device
) -> tuple[dict[str, float], Tensor | None]:
    """Metrics of a network over samples, and a picture of what it makes of the first ones."""
    samples = open_samples(data, recipe, CACHE_BYTES)
    network = network.to(device).eval()
    with torch.inference_mode():
        metrics = recipe.evaluate(network, iter(samples))
        shown = recipe.pictures(network, samples.some(SHOWN))
    return {name: float(value) for name, value in metrics.items()}, shown

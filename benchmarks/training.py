"""Compare the training of every recipe with a bare PyTorch loop on tensors in memory, and with its data path alone.

    python -m benchmarks.training                          every recipe from memory, on the CPU
    python -m benchmarks.training --from-s3                streamed from an S3 server on this machine, decoded each time
    python -m benchmarks.training --device cuda            the papers' sizes on a GPU, in less than 8 minutes
    python -m benchmarks.training --only segnet --rounds 9
    python -m benchmarks.training --beside                 also what making batches on another core costs, by its causes

The bare loop is written by hand: augmented batches that lie in the device's memory, forward, backward, step. It has the same
network, precision, threads and batch. The data path is everything before the step: read, decode, augment, move. Pixelmill
does both at once, and should reach the slower of the two: `ratio`. `step` compares the processor time of the training thread
with that of the bare loop, which holds on a machine with other work too; `kept` does so over the bare loop's own batches,
while none are made. With --beside, `bare beside` is the bare loop while another process makes batches on another core, at the
rate at which Pixelmill takes them, and `of beside` is Pixelmill's share of it: what the cores take from one another, through
memory, cache and clock, is in both. `woken` is the step over kept batches while another thread of the process is woken for
each, which has nothing to do, and `dropped` while it makes a batch, which is dropped: what a thread costs, and what Python's
lock does, as shares of the bare loop. With --from-s3 tasks of Ray decode, as in a training, and the server works on the same
cores: `of cores` is the ratio to the most that these cores could do, which have the work of the bare loop, of the data path and
of the server to do for each image. All are timed in one process, in turns, after a warm-up, over complete steps of
`pixelmill.pipelines.training.worker.Training` with schedule, log and checks, without evaluations and checkpoints.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from benchmarks.throughput import RESULTS
from benchmarks.training_cases import CASES, Case, make_assets, make_data
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.batch_threads import threads_beside
from pixelmill.pipelines.training.batches import Batches
from pixelmill.pipelines.training.layouts.registry import find
from pixelmill.pipelines.training.worker import Training
from pixelmill.workers.recipes import ClipsGradients
from pixelmill.workers.recipes.registry import recipe_type
from pixelmill.workers.runtime.memory import keep_freed_memory
from tests.in_process_training import training_of
from tests.servers.gateway import Gateway

UNTIMED = 3  # steps before each turn: batches that were made during the turns of the others
KEPT = 4  # batches of the bare loop
ENDLESS = 1_000_000
OBJECTS_BYTES = 512 << 20
"""Ray's memory for objects where samples are streamed: the streams of all contenders are open at once, and each of them counts on
half of it."""
WARM = 6
"""Processes of Ray that have imported what tasks need before anything is measured; a new one would do so in somebody's turn."""
IDLE_MS = 600_000
"""How long these wait for the next turn. By itself Ray ends those beyond one for each core after a second; a training has one
stream alone, whose processes stay."""
WARMING_S = 1.0


@dataclass(frozen=True)
class Scope:
    """Where and how long is measured; `gateway` serves the data where it is streamed."""

    device: str
    threads: int
    batch_threads: int
    rounds: int
    turn_s: float
    gateway: Gateway | None
    beside: bool = False
    cores: int = 1


def endless(folder: Path, case: Case, scope: Scope) -> Training:
    """A training that is not over before it is measured."""
    assets = make_assets(folder / "assets", case, scope.device)
    data = str(make_data(folder / "data", case))
    if scope.gateway is not None:
        bucket = f"b{abs(hash(folder)) % 10**9}"
        scope.gateway.make_bucket(bucket)
        scope.gateway.put_folder(bucket, "", folder / "data")
        data = f"s3://{bucket}"
    found = find(recipe_type(case.recipe).ROLES, [data], Access())
    settings = case.settings_on(scope.device) | {name: str(path) for name, path in assets.items()}
    return training_of(
        case.recipe,
        settings | {"steps": ENDLESS},
        found,
        None,
        folder / "out",
        scope.threads,
        torch.device(scope.device),
        assets,
        batch_threads=scope.batch_threads,
        cache_bytes=0 if scope.gateway else 4 << 30,
    )


def ours(training: Training) -> Iterator[None]:
    """Each step with everything that a training does for it."""
    steps = range(ENDLESS)
    for step, (indices, passes) in zip(steps, training.batches(steps), strict=True):
        losses = training.step(step, indices, passes)
        if step % training.plan.log_every_steps == 0:
            losses["loss"].item()  # waits for the device, as the log does
        yield


def bare(training: Training) -> Iterator[None]:
    """Each step of the hand-written loop, over KEPT batches in the device's memory."""
    kept = [passes[0] for _, passes in training.batches(range(KEPT))]
    network: nn.Module = training.network.train()
    device, settings = training.device, training.settings
    for batch in cycle(kept):
        training.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            loss = training.recipe.losses(network, batch)["loss"]
        loss.backward()
        if isinstance(training.recipe, ClipsGradients):
            training.recipe.clip(network, training.optimizer.param_groups[0]["lr"])
        elif settings.max_gradient_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), settings.max_gradient_norm)
        training.optimizer.step()
        yield


def kept_batches(training: Training) -> Iterator[None]:
    """Each whole step of a training, over KEPT batches as the bare loop has them: what the step costs without its data."""
    kept = list(training.batches(range(KEPT)))
    for step, (indices, passes) in enumerate(cycle(kept)):
        training.step(step, indices, passes)
        yield


def beside_a_thread(training: Training, work: Callable[[], object]) -> Iterator[None]:
    """Each whole step over KEPT batches, for each of which another thread is woken and works."""
    kept, due = list(training.batches(range(KEPT))), threading.Semaphore(0)

    def serve() -> None:
        torch.set_num_threads(1)
        while True:
            due.acquire()
            work()

    threading.Thread(target=serve, daemon=True).start()
    for step, (indices, passes) in enumerate(cycle(kept)):
        due.release()
        training.step(step, indices, passes)
        yield


def made_batches(training: Training) -> Iterator[object]:
    """Batches without a thread of their own."""
    order = training.samples.order(training.settings.seed, training.progress.in_blocks)
    return Batches(training.samples, training.recipe, order, training.share)(range(ENDLESS))


def data_path(training: Training) -> Iterator[None]:
    """Move each batch to the device, and drop it."""
    for _ in training.batches(range(ENDLESS)):
        yield


@dataclass(frozen=True)
class Turn:
    """Images a second, by the clock and by the processor time of the thread that trains; and the processor seconds of an image in
    all processes."""

    by_clock: float
    by_processor: float
    image_s: float


def turn(steps: Iterator[None], batch: int, device: str, turn_s: float, untimed_s: float = 0.0) -> Turn:
    """`untimed_s` is taken at least before: what waits decoded since the turn before is used up."""
    began_s, count = time.perf_counter(), 0
    while count < UNTIMED or time.perf_counter() - began_s < untimed_s:
        next(steps)
        count += 1
    _wait_for(device)
    began_s, busy_s, all_s, count = time.perf_counter(), time.thread_time(), _spent_s(), 0
    while count == 0 or time.perf_counter() - began_s < turn_s:
        next(steps)
        count += 1
    _wait_for(device)
    images = count * batch
    by_clock, by_processor = images / (time.perf_counter() - began_s), images / (time.thread_time() - busy_s)
    return Turn(by_clock, by_processor, (_spent_s() - all_s) / images)


_spent: dict[int, float] = {}


def _spent_s() -> float:
    """The processor seconds of this process and of all that it started, which includes Ray and the server; a process that has
    ended counts with what it had when it was last seen."""
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.Error):
            times = process.cpu_times()
            _spent[process.pid] = times.user + times.system
    return sum(_spent.values())


@contextmanager
def batches_beside(name: str, scope: Scope, images_per_s: float) -> Iterator[None]:
    """Within the block, another process makes batches of the case, so many images a second."""
    command = [sys.executable, "-m", "benchmarks.training", "--make-batches", name, "--pace", str(images_per_s)]
    with subprocess.Popen(
        [*command, "--threads", str(scope.threads)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()  # it has made its first batches
            yield
        finally:
            process.kill()


def make_batches(case: Case, scope: Scope, images_per_s: float) -> None:
    """Make batches at this pace until the process is ended."""
    with tempfile.TemporaryDirectory(prefix="pmt-") as folder:
        training = endless(Path(folder), case, scope)
        steps, batch = data_path(training), training.settings.batch
        for _ in range(UNTIMED):
            next(steps)
        print("ready", flush=True)
        began_s = time.perf_counter()
        for number, _ in enumerate(steps, 1):
            time.sleep(max(0.0, began_s + number * batch / images_per_s - time.perf_counter()))


def _wait_for(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def measured(name: str, case: Case, scope: Scope) -> dict[str, float]:
    """Medians over the rounds, and the ratios, taken within each round."""
    with tempfile.TemporaryDirectory(prefix="pmt-") as folder:
        training = endless(Path(folder), case, scope)
        contenders = {
            "pixelmill": ours(training),
            "bare loop": bare(training),
            "kept": kept_batches(training),
            "data path": data_path(training),
        }
        untimed_s = 0.0
        if scope.gateway is not None:
            untimed_s = scope.turn_s / 2
            del contenders["kept"]
        if scope.beside:
            made = made_batches(training)
            contenders["woken"] = beside_a_thread(training, lambda: None)
            contenders["dropped"] = beside_a_thread(training, lambda: next(made))
        batch = training.settings.batch
        for steps in contenders.values():
            turn(steps, batch, scope.device, scope.turn_s / 4)
        rounds = list[dict[str, Turn]]()
        for _ in range(scope.rounds):
            turns = {
                label: turn(steps, batch, scope.device, scope.turn_s, untimed_s) for label, steps in contenders.items()
            }
            if scope.beside:
                with batches_beside(name, scope, turns["pixelmill"].by_clock):
                    turns["bare beside"] = turn(contenders["bare loop"], batch, scope.device, scope.turn_s)
            rounds.append(turns)
    medians = {label: statistics.median(each[label].by_clock for each in rounds) for label in rounds[0]}
    of_slower = [
        each["pixelmill"].by_clock / min(each["bare loop"].by_clock, each["data path"].by_clock) for each in rounds
    ]
    of_step = [each["pixelmill"].by_processor / each["bare loop"].by_processor for each in rounds]
    figures = {"ratio": of_slower, "step": of_step}
    if scope.gateway is None:
        figures["kept"] = [each["kept"].by_processor / each["bare loop"].by_processor for each in rounds]
    else:
        figures["of cores"] = [each["pixelmill"].by_clock / limit_of(each, scope.cores) for each in rounds]
    if scope.beside:
        for label in ("woken", "dropped"):
            figures[label] = [each[label].by_clock / each["bare loop"].by_clock for each in rounds]
        figures["of beside"] = [
            each["pixelmill"].by_clock / min(each["bare beside"].by_clock, each["data path"].by_clock)
            for each in rounds
        ]
    return medians | {name: statistics.median(each) for name, each in figures.items()}


def limit_of(turns: Mapping[str, Turn], cores: int) -> float:
    """Images a second of the bare loop and the data path at once, where nothing waits for anything: the slower of the two, or
    less where they have more to do than the cores."""
    bare, path = turns["bare loop"], turns["data path"]
    return min(bare.by_clock, path.by_clock, cores / (1 / bare.by_processor + path.image_s))


def scope_of(options: argparse.Namespace, gateway: Gateway | None) -> Scope:
    """The plan that follows from the options and from this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    beside = threads_beside(cores, 1, options.threads, on_gpu=options.device == "cuda")
    batch_threads = options.batch_threads or beside
    return Scope(
        options.device, options.threads, batch_threads, options.rounds, options.turn_s, gateway, options.beside, cores
    )


def start_ray(cores: int, stack: ExitStack) -> None:
    """A Ray of this process, whose tasks decode, with the credentials of the server in their environment."""
    import ray

    api: Any = ray
    api.init(
        address="local",
        num_cpus=cores,
        object_store_memory=OBJECTS_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        _system_config={"idle_worker_killing_time_threshold_ms": IDLE_MS},
    )
    stack.callback(api.shutdown)
    warm = api.remote(_import_slowly).options(num_cpus=0)
    api.get([warm.remote() for _ in range(WARM)])


def _import_slowly() -> None:
    """Import what tasks need, and hold the process so long that each of WARM calls gets its own."""
    import_module("pixelmill.pipelines.training.decoding")
    time.sleep(WARMING_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turn-s", type=float, default=2.0, help="seconds of each contender in each round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-threads", type=int, help="by default the cores that training leaves")
    parser.add_argument("--from-s3", action="store_true")
    parser.add_argument("--only", default="", help="cases whose names begin so")
    parser.add_argument("--beside", action="store_true", help="also the bare loop while another process makes batches")
    parser.add_argument("--make-batches", metavar="CASE", help=argparse.SUPPRESS)
    parser.add_argument("--pace", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()
    if options.make_batches:
        make_batches(CASES[options.make_batches], scope_of(options, None), options.pace)
    figures: dict[str, Any] = {}
    with ExitStack() as stack:
        gateway = stack.enter_context(Gateway()) if options.from_s3 else None
        os.environ.update(gateway.env if gateway else {})
        scope = scope_of(options, gateway)
        if gateway is not None:
            start_ray(scope.cores, stack)
        speeds = ("pixelmill", "bare loop", "data path", *(["bare beside"] if options.beside else []))
        ratios = (
            "ratio",
            "step",
            "of cores" if gateway else "kept",
            *(["of beside", "woken", "dropped"] if options.beside else []),
        )
        heads = "".join(f"{head:>12s}" for head in speeds) + "".join(f"{head:>10s}" for head in ratios)
        print(f"{'images/s, ' + options.device:28s}{heads}")
        for name, case in CASES.items():
            if name.startswith(options.only):
                row = figures[name] = measured(name, case, scope)
                cells = "".join(f"{row[each]:12,.1f}" for each in speeds)
                print(f"{name:28s}{cells}" + "".join(f"{row[each]:10.3f}" for each in ratios), flush=True)
    RESULTS.mkdir(exist_ok=True)
    place = f"{options.device}{'-s3' if options.from_s3 else ''}"
    (RESULTS / f"training-{place}.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

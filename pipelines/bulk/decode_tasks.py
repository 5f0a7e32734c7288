"""Ray tasks on other nodes that fetch, decode and crop the inputs of one worker: in its order, and a bounded number at once.

The worker owns its order as without tasks: it asks for chunks of its inputs in turn, and takes their blocks in turn. A task that
ends its process is retried, after TOGETHER deaths input by input, and the input whose task dies ALONE times is filed, so that the
worker itself lives on. A node that is lost blames no input. Whatever the tasks don't bring, the worker decodes itself: a chunk
that is lost too often or outlasts half of `stall_s`, and all of them while no living node offers what a task asks for. An input
that keeps its decoder busy for ever ends the worker in the end, as without tasks; what it does input by input, it does itself.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa
import ray
from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError

from pixelmill.pipelines.bulk.arrivals import Arrived
from pixelmill.pipelines.bulk.crops import CropConfig, Cropper, CropRow, block_of, packed, unpacked
from pixelmill.pipelines.bulk.deaths import ALONE, TOGETHER
from pixelmill.pipelines.bulk.decode_nodes import DecodeNodes
from pixelmill.pipelines.placement import Node
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError, PixelmillError, RowError
from pixelmill.workers.runtime import stall_watchdog

LOSSES = 3
"""How often a chunk is lost with its node until the worker decodes it."""
POLL_S = 1.0
GONE_S = 30.0
"""How long no node offers what a task asks for until the worker decodes itself; a node that restarts is back by then."""

Ref = Any
"""A reference to an object of Ray, which has no useful type."""
Failure = Literal["died", "lost", "late"]


class _TaskDied(Exception):
    """The task of a chunk has ended its process as often as it may."""


@dataclass
class _Chunk:
    """Inputs of one task, from place `start` of their order."""

    start: int
    inputs: pa.Table
    ref: Ref = None


class DecodeTasks:
    """`stream(inputs)` yields what tasks made of these rows of a manifest. For a worker on a connected Ray."""

    def __init__(self, nodes: DecodeNodes, config: CropConfig, stall_s: float, announce: Callable[[str], None]) -> None:
        """`announce` is given a sentence for each task that ended its process."""
        self._nodes, self._config, self._announce = nodes, config, announce
        self._blocks, self._block_rows = nodes.block_plan(config.crop_bytes)
        self._late_s = self._patience_s = stall_s / 2
        self._gone_since_s: float | None = None
        api: Any = ray
        self._task = api.remote(_crop).options(
            num_cpus=nodes.cpus,
            resources=dict(nodes.resources) or None,
            label_selector=dict(nodes.selector) or None,
            max_retries=0,  # each death is counted here
            scheduling_strategy="SPREAD",
        )

    def stream(self, inputs: pa.Table) -> Generator[Arrived]:
        """JobError where a task can't be run at all."""
        starts = iter(range(0, inputs.num_rows, self._block_rows))
        under_way: deque[_Chunk] = deque()
        try:
            while True:
                while len(under_way) < self._blocks and (start := next(starts, None)) is not None:
                    under_way.append(self._started(start, inputs.slice(start, self._block_rows)))
                if not under_way:
                    return
                yield from self._arrived(under_way.popleft())
        finally:
            for chunk in under_way:
                _cancel(chunk)

    def _started(self, start: int, inputs: pa.Table) -> _Chunk:
        chunk = _Chunk(start, inputs)
        self._start(chunk)
        return chunk

    def _start(self, chunk: _Chunk) -> None:
        chunk.ref = self._task.remote(self._config, packed(chunk.inputs))

    def _arrived(self, chunk: _Chunk) -> Iterator[Arrived]:
        """The chunk as a whole, or input by input after its tasks have died."""
        try:
            block = self._block(chunk, TOGETHER)
        except _TaskDied:
            for place in range(chunk.inputs.num_rows):
                yield self._alone(self._started(chunk.start + place, chunk.inputs.slice(place, 1)))
        else:
            yield chunk.start, chunk.inputs, block

    def _alone(self, chunk: _Chunk) -> Arrived:
        try:
            return chunk.start, chunk.inputs, self._block(chunk, ALONE)
        except _TaskDied:
            return chunk.start, chunk.inputs, self._killed()

    def _killed(self) -> np.ndarray:
        """The block of one input that killed its tasks."""
        fact = (
            f"was alone in its decoding task at {ALONE} deaths of it, by a crash of its decoder or for want of memory"
        )
        advice = "if the file is sound, run `pixelmill retry` without run.decode_on, or on nodes with more memory"
        error = RowError("worker", "KilledWorker", f"{fact}: {advice}")
        return block_of([CropRow(0, None, None, 0.0, 0, error, {})], self._config.croppings)

    def _block(self, chunk: _Chunk, most_deaths: int) -> np.ndarray | None:
        """The block of a chunk; None where the worker has to decode it. _TaskDied after so many deaths."""
        deaths = losses = 0
        while True:
            found = self._awaited(chunk)
            stall_watchdog.progress()
            if isinstance(found, np.ndarray):
                return found
            if found == "died":
                deaths += 1
                self._announce("a decoding task died; its inputs are decoded again")
                if deaths >= most_deaths:
                    raise _TaskDied
            elif found == "late" or (losses := losses + 1) >= LOSSES:
                _cancel(chunk)
                return None
            self._start(chunk)

    def _awaited(self, chunk: _Chunk) -> np.ndarray | Failure:
        """What came of the task of a chunk. Waits for half of `stall_s`, or until no node has offered room for GONE_S; after that
        not at all, until a task has ended again."""
        api: Any = ray
        until_s = time.monotonic() + self._patience_s
        while not api.wait([chunk.ref], timeout=min(POLL_S, self._patience_s), fetch_local=False)[0]:
            if time.monotonic() >= until_s or self._are_gone():
                self._patience_s = 0.0
                return "late"
        self._patience_s = self._late_s
        try:
            return cast("np.ndarray", api.get(chunk.ref, timeout=self._late_s))
        except RayTaskError as error:
            raise _own(error) from None
        except (WorkerCrashedError, OutOfMemoryError):
            return "died"
        except GetTimeoutError:
            return "late"
        except RayError:  # the node, or the block that lay there
            return "lost"

    def _are_gone(self) -> bool:
        """Whether no living node has offered for GONE_S what a task asks for."""
        found: list[dict[str, Any]] = cast("Any", ray).nodes()
        living = [Node(node["Resources"], node.get("Labels") or {}) for node in found if node["Alive"]]
        now_s = time.monotonic()
        if any(map(self._nodes.may_run_on, living)):
            self._gone_since_s = None
            return False
        if self._gone_since_s is None:
            self._gone_since_s = now_s
        return now_s - self._gone_since_s >= GONE_S


def _own(error: RayTaskError) -> Exception:
    """The error of a task as one of the run: ours as it is, or that tasks can't be run on these nodes."""
    cause = cast("Any", error).cause
    if isinstance(cause, PixelmillError):
        return cause
    text = scrub(str(cause)).partition("\n")[0][:500]
    return JobError(
        f"run.decode_on: a decoding task failed ({type(cause).__name__}: {text}); check that Pixelmill and its packages are "
        "installed on the nodes that decode"
    )


def _cancel(chunk: _Chunk) -> None:
    cast("Any", ray).cancel(chunk.ref, force=True)


# --------------------------------------------------------------------------------------------------------- in the tasks

_croppers: deque[tuple[CropConfig, Cropper]] = deque(maxlen=8)
"""Those of the last workers that this process has cropped for: the next task uses their threads, clients of stores and tables."""


def _crop(config: CropConfig, inputs: np.ndarray) -> np.ndarray:
    return _cropper_of(config)(unpacked(inputs))


def _cropper_of(config: CropConfig) -> Cropper:
    found = next((cropper for other, cropper in _croppers if other == config), None)
    if found is None:
        import torch

        torch.set_num_threads(1)
        found = Cropper(config)
        _croppers.append((config, found))
    return found

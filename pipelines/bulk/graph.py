"""The bulk graph: orders -> mill (actors: fetch, decode, stages) -> publish (tasks: Parquet) -> summaries.

An order is one part of the manifest, or the retried inputs of several parts. It stays one block throughout, so that the file
with a part's name holds exactly that part. The mill is a pool of actors, because networks are loaded once. With GPUs, separate
tasks publish, which leaves the GPU to the network; on CPUs the worker that made a table publishes it, which saves processes and
copies. Ray Data schedules the graph.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.exceptions import RayError

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.bulk import deaths
from pixelmill.pipelines.bulk.deaths import Careful, Deaths, Start
from pixelmill.pipelines.bulk.mill import ORDER_COLUMN, Mill, MillConfig
from pixelmill.pipelines.bulk.orders import Order
from pixelmill.pipelines.bulk.reports import PHASE, TALLY
from pixelmill.pipelines.outputs import claims
from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.publishing import publish
from pixelmill.pipelines.placement import WorkerPool
from pixelmill.pipelines.progress import ProgressStore
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import explain
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import PixelmillError
from pixelmill.workers.runtime.faults import DeviceFault, is_device_fault
from pixelmill.workers.runtime.memory import keep_freed_memory
from pixelmill.workers.runtime.stall_watchdog import Watchdog

ORDER, SUMMARY = "order", "summary"
EXIT_DEVICE_FAULT = 71

_ADVICE_OF_RAY = re.compile(r"\nFailed to [^\n]* attempts \(total backoff.*", re.DOTALL)
"""The advice on its options that Ray appends to the text of every error."""


@dataclass(frozen=True)
class Published:
    """The summary of one finished order: the number of rows of each kind in its part."""

    name: str
    done: int
    failed: int
    written_bytes: int
    settings: dict[str, Any]
    weights: dict[str, str | None]


@dataclass(frozen=True)
class Publisher:
    """Publishes the table of one order and returns its summary as one row.

    StoreError when the store refuses for good, ClaimLost when another attempt has taken over.
    """

    out: str
    access: Access
    compression: Compression
    claim: Claim

    def __call__(self, block: pa.Table) -> pa.Table:
        order = json.loads(block[ORDER_COLUMN][0].as_py())
        table = block.drop_columns([ORDER_COLUMN])
        provenance = {key: order[key] for key in ("weights", "settings", "milled", "listing")}
        try:
            folder = Folder(self.out, self.access, is_fenced=self.claim.is_fenced)
            if not self.claim.is_fenced:  # otherwise the store itself refuses late writes
                claims.require(folder, self.claim)
            provenance["attempt"] = self.claim.epoch
            written = publish(folder, order["name"], table, provenance, self.compression)
        except PixelmillError:
            raise
        except Exception as error:
            raise explain(error, self.out, f"writing {order['name']}") from error
        summary = Published(
            order["name"], written.done, written.failed, written.bytes, order["settings"], order["weights"]
        )
        return pa.table({SUMMARY: [json.dumps(vars(summary))]})


class MillActor:
    """The mill as a callable for Ray Data: from a block with one order to its table, or to its summary if it also publishes.

    It records the start and the end of each order, so that a retry knows how often the order was started.
    """

    def __init__(self, config: MillConfig, store: ProgressStore, publisher: Publisher | None) -> None:
        if config.context.device == "cpu":
            keep_freed_memory()
        report_phase = store.reporter(PHASE)
        report_phase("importing torch")
        import_module("torch")
        report_phase("loading the network")
        self._start = Start(store)
        self._deaths = Deaths(store, config.stall_s)
        self._watchdog = Watchdog(config.stall_s, self._deaths.stall)
        self._mill = _built(config, store)
        report_phase("milling")
        self._publisher = publisher or _unpublished

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        for text in strings_of(block[ORDER]):
            yield self._do(json.loads(text))

    def _do(self, order: dict[str, Any]) -> pa.Table:
        self._start.succeeded()
        careful = self._deaths.begin(order["name"])
        try:
            with self._watchdog.watching():
                table = self._mill(order, careful)
        except DeviceFault as fault:
            self._deaths.forgive(str(fault))
            os._exit(EXIT_DEVICE_FAULT)
        made = self._publisher(table)
        self._deaths.finish()
        return made


def _built(config: MillConfig, store: ProgressStore) -> Callable[[dict[str, Any], Careful | None], pa.Table]:
    """The mill, or a callable that raises the error of building it: Ray forwards errors of calls, but only the text of others."""
    report_tally = store.reporter(TALLY)
    try:
        return Mill(
            config, lambda tally: report_tally(tally.to_json()), lambda text: deaths.announce_death(store, text)
        )
    except PixelmillError as error:
        return partial(_refuse, error)
    except Exception as error:
        if not is_device_fault(error):
            raise
        return partial(_refuse, DeviceFault(f"on {socket.gethostname()}: {error}"))


def _refuse(error: Exception, order: dict[str, Any], careful: Careful | None) -> pa.Table:
    raise error


@dataclass(frozen=True)
class BulkJob:
    """The complete configuration of the graph."""

    config: MillConfig
    pool: WorkerPool
    orders: tuple[Order, ...]
    claim: Claim
    compression: Compression = field(default_factory=Compression)


def _unpublished(table: pa.Table) -> pa.Table:
    """The table itself, for separate tasks that publish it."""
    return table


def _publishing(publisher: Publisher) -> Callable[[Any], Any]:
    """The publisher as a plain function: Ray Data would run a callable object in a pool of actors."""
    return lambda block: publisher(block)


def _strategy(pool: WorkerPool) -> ray.data.ActorPoolStrategy:
    if pool.least < pool.actors:
        return ray.data.ActorPoolStrategy(min_size=pool.least, max_size=pool.actors, max_tasks_in_flight_per_actor=2)
    return ray.data.ActorPoolStrategy(size=pool.actors, max_tasks_in_flight_per_actor=2)


def _placed(pool: WorkerPool) -> dict[str, dict[str, str]]:
    """Where the workers may run, as an option of Ray's actors."""
    return {"label_selector": dict(pool.selector)} if pool.selector else {}


def run(job: BulkJob, store: ProgressStore) -> Iterator[Published]:
    """Run the graph on the connected Ray, and yield the summary of each order once it is published."""
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = None  # one block in is one block out: an order is never split or joined
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    publisher = Publisher(job.config.out, job.config.out_access, job.compression, job.claim)
    items = [{ORDER: order.to_json()} for order in job.orders]
    data: Any = ray.data  # which is typed in part
    summaries = data.from_items(
        items, override_num_blocks=len(items)
    ).map_batches(
        MillActor,
        fn_constructor_args=(job.config, store, publisher if job.pool.publishes else None),
        batch_size=1,  # a block is one order, so one row; workers with GPUs are refused without a number
        batch_format="pyarrow",
        compute=_strategy(job.pool),
        num_cpus=job.pool.cpus,
        num_gpus=job.pool.gpus or None,
        max_restarts=-1,  # pipelines/bulk/deaths.py bounds how often an order is begun, and the driver how often workers start
        max_task_retries=-1,
        **_placed(job.pool),
    )
    if not job.pool.publishes:
        summaries = summaries.map_batches(
            _publishing(publisher), batch_size=None, batch_format="pyarrow", zero_copy_batch=True, num_cpus=1
        )
    batches: Iterator[Any] = iter(summaries.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
    for batch in batches:
        for text in strings_of(batch[SUMMARY]):
            yield Published(**json.loads(text))


def cause_of(error: BaseException) -> BaseException:
    """Our error inside of Ray's wrappers, or the error itself."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        # Ray makes errors that are ours and its own at once, whose text is the whole traceback of the worker.
        if isinstance(current, PixelmillError) and not isinstance(current, RayError):
            return type(current)(_ADVICE_OF_RAY.sub("", str(current)))
        pending += [current.__cause__, current.__context__, getattr(current, "cause", None)]
    return error

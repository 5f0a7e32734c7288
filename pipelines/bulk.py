"""The bulk graph: orders -> mill (actors: fetch, decode, stages) -> publish (tasks: Parquet) -> summaries.

An order is one part of the manifest, or what is to be retried of several. It stays one block from end to end, so that
what is published under a part's name is that part and nothing else. The mill is a pool of actors, since networks are
loaded once. With GPUs, publishing is tasks of its own, which leaves the GPU to the network; on CPUs the worker that
made a table publishes it, which spares the processes and the copies. Ray Data schedules all of it.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.exceptions import RayError
from ray.experimental import internal_kv

from pipelines import claims, ledger
from pipelines.claims import Claim
from pipelines.manifest import texts
from pipelines.mill import ORDER_COLUMN, Mill, MillConfig, Tally
from pipelines.orders import Order, Pool
from pipelines.stores import Access, Folder, explain
from workers.errors import PixelmillError
from workers.memory import keep_freed_memory

ORDER, SUMMARY = "order", "summary"

_ADVICE_OF_RAY = re.compile(r"\nFailed to [^\n]* attempts \(total backoff.*", re.DOTALL)
"""What Ray adds to the text of every error: which of its options to change."""


@dataclass(frozen=True)
class Published:
    """One order that is done: how many rows of each kind its part holds."""

    name: str
    done: int
    failed: int
    written_bytes: int
    settings: dict[str, Any]
    weights: dict[str, str | None]


class Board:
    """What the workers tell, for the terminal: each keeps its tally under a key of its own in Ray's key-value store.

    Nothing that is kept depends on it. An actor would do the same for a process more, which on a small machine every
    start would wait for.
    """

    def __init__(self, run: str) -> None:
        self._prefix = f"pixelmill:{run}:"
        self._phases = f"pixelmill-phase:{run}:"

    def reporter(self) -> Callable[[Tally], None]:
        """For one worker: tells its tally, and never fails."""
        key = f"{self._prefix}{uuid.uuid4().hex}".encode()

        def report(tally: Tally) -> None:
            with suppress(Exception):
                internal_kv._internal_kv_put(key, tally.to_json().encode(), overwrite=True)

        return report

    def read(self) -> Tally:
        """The sum over all workers."""
        total = Tally()
        for key in internal_kv._internal_kv_list(self._prefix.encode()):
            if (text := internal_kv._internal_kv_get(key)) is not None:
                total.add(Tally.from_json(text))
        return total

    def teller(self) -> Callable[[str], None]:
        """For one worker: tells what it is at before it reports, and never fails."""
        key = f"{self._phases}{uuid.uuid4().hex}".encode()

        def tell(phase: str) -> None:
            with suppress(Exception):
                internal_kv._internal_kv_put(key, phase.encode(), overwrite=True)

        return tell

    def phases(self) -> Counter[str]:
        """How many workers are at what."""
        told = map(internal_kv._internal_kv_get, internal_kv._internal_kv_list(self._phases.encode()))
        return Counter(phase.decode() for phase in told if phase is not None)

    def clear(self) -> None:
        internal_kv._internal_kv_del(self._phases.encode(), del_by_prefix=True)
        internal_kv._internal_kv_del(self._prefix.encode(), del_by_prefix=True)


@dataclass(frozen=True)
class Publisher:
    """Publishes the table of one order and says so in one row.

    StoreError when the store refuses for good, ClaimLost when another attempt has taken over.
    """

    out: str
    access: Access
    compression: ledger.Compression
    claim: Claim

    def __call__(self, block: pa.Table) -> pa.Table:
        order = json.loads(block[ORDER_COLUMN][0].as_py())
        table = block.drop_columns([ORDER_COLUMN])
        provenance = {key: order[key] for key in ("weights", "settings", "milled", "listing")}
        try:
            folder = Folder(self.out, self.access, is_fenced=self.claim.is_fenced)
            if not self.claim.is_fenced:  # else the store itself refuses what comes late
                claims.require(folder, self.claim)
            provenance["attempt"] = self.claim.epoch
            written = ledger.publish(folder, order["name"], table, provenance, self.compression)
        except PixelmillError:
            raise
        except Exception as error:
            raise explain(error, self.out, f"writing {order['name']}") from error
        summary = Published(
            order["name"], written.done, written.failed, written.bytes, order["settings"], order["weights"]
        )
        return pa.table({SUMMARY: [json.dumps(vars(summary))]})


class MillActor:
    """The mill as Ray Data calls it: a block with one order in, its table out, or its summary when it publishes too."""

    def __init__(self, config: MillConfig, board: Board, publisher: Publisher | None) -> None:
        if config.context.device == "cpu":
            keep_freed_memory()
        tell = board.teller()
        tell("importing torch")
        import_module("torch")
        tell("loading the network")
        try:
            self._mill: Callable[[dict[str, Any]], pa.Table] = Mill(config, board.reporter())
        except PixelmillError as error:  # Ray passes on what a call raises, and of what building raises only the text
            self._mill = partial(_refuse, error)
        tell("milling")
        self._publisher = publisher or (lambda table: table)

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        for text in texts(block[ORDER]):
            yield self._publisher(self._mill(json.loads(text)))


def _refuse(error: PixelmillError, order: dict[str, Any]) -> pa.Table:
    raise error


@dataclass(frozen=True)
class BulkJob:
    """Everything that the graph needs, settled before it starts."""

    config: MillConfig
    pool: Pool
    orders: tuple[Order, ...]
    claim: Claim
    compression: ledger.Compression = field(default_factory=ledger.Compression)


def _publishing(publisher: Publisher) -> Callable[[Any], Any]:
    """The publisher as a plain function: of a callable object Ray Data would make a pool of actors."""
    return lambda block: publisher(block)


def run(job: BulkJob, board: Board) -> Iterator[Published]:
    """Run the graph on the Ray that is connected, giving each order as it is published."""
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = None  # one block in is one block out: an order is never split or joined
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    publisher = Publisher(job.config.out, job.config.out_access, job.compression, job.claim)
    items = [{ORDER: order.to_json()} for order in job.orders]
    summaries = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        MillActor,
        fn_constructor_args=(job.config, board, publisher if job.pool.publishes else None),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=job.pool.actors, max_tasks_in_flight_per_actor=2),
        num_cpus=job.pool.cpus,
        num_gpus=job.pool.gpus or None,
    )
    if not job.pool.publishes:
        summaries = summaries.map_batches(
            _publishing(publisher), batch_size=None, batch_format="pyarrow", zero_copy_batch=True, num_cpus=1
        )
    batches: Iterator[Any] = iter(summaries.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
    for batch in batches:
        for text in texts(batch[SUMMARY]):
            yield Published(**json.loads(text))


def cause_of(error: BaseException) -> BaseException:
    """The error of ours inside what Ray wraps around it, or the error as it is."""
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

"""The worker of a bulk job: one order in, its inputs fetched, decoded and run through every stage, one table out."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, TypeVar

import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.bulk.arrivals import Arrivals
from pixelmill.pipelines.bulk.crops import crop_config
from pixelmill.pipelines.bulk.deaths import Careful
from pixelmill.pipelines.bulk.decoding import AHEAD_BYTES, DecodeAhead
from pixelmill.pipelines.bulk.deferred import Encoders
from pixelmill.pipelines.bulk.items import Item
from pixelmill.pipelines.bulk.mill_config import MillConfig
from pixelmill.pipelines.bulk.preparation import Preparation
from pixelmill.pipelines.bulk.stage_queues import StageQueues
from pixelmill.pipelines.bulk.stage_runner import StageRunner
from pixelmill.pipelines.bulk.table import table_of
from pixelmill.pipelines.bulk.tally import Report, Tally, TallyReporter
from pixelmill.pipelines.inputs.ct_series import SeriesIndex
from pixelmill.pipelines.inputs.fetch import Fetched, Fetcher, FetchLimits
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.outputs.rows import Rows
from pixelmill.pipelines.outputs.segments import carries_source_ids
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.heads import Heads
from pixelmill.workers.decoders import ReadsHeads, WithholdsNames, decoder_of
from pixelmill.workers.errors import ModelError, RowError
from pixelmill.workers.geometry.reduced import LEAST_FACTOR
from pixelmill.workers.runtime import stall_watchdog
from pixelmill.workers.runtime.budget import Budget
from pixelmill.workers.runtime.device_memory import held_bytes, hold_at_most
from pixelmill.workers.runtime.holdings import Holdings
from pixelmill.workers.runtime.memory import Trimmer, for_pictures
from pixelmill.workers.stages import SeesAtSize, Stage
from pixelmill.workers.stages.wiring import wire

__all__ = ["ORDER_COLUMN", "Mill", "MillConfig", "Tally", "rows_of"]

ORDER_COLUMN = "_order"

Streamed = TypeVar("Streamed")


class Mill:
    """Built once per worker: loads every stage's network; then called with one order at a time."""

    def __init__(self, config: MillConfig, report: Report, announce: Callable[[str], None] = lambda text: None) -> None:
        """`announce` is given a sentence for each decoding task on another node that died."""
        self._config = config
        hold_at_most(config.context.device, config.context.gpu_part)
        self._decoder = decoder_of(config.decoder)
        self._wiring = wire(config.stages, self._decoder.kind)
        self.stages = [stage.build(config.context) for stage in config.stages]
        self.weights = _weights(self, config)
        self._runners = [StageRunner(self._wiring.names[i], i, stage) for i, stage in enumerate(self.stages)]
        self._has_source_ids = carries_source_ids(config.segments)
        self._rows = Rows(Folder(config.out, config.out_access), list(config.segments))
        self.budget = Budget(for_pictures(config.memory_bytes), config.fetch.window_bytes)
        self._holdings = Holdings(self.budget)
        self._encoders = Encoders(config.decode_threads, self._holdings)
        self._fetcher, self._one_by_one = (self._fetcher_of(limits) for limits in self._limits())
        self._longest_fetch_s = config.source_access.retry_for_s + 2 * config.source_access.timeout_s
        reading = [self._runners[reader] for reader in self._wiring.readers_of(None)]
        least_px = None if config.decodes_whole else _least_px([runner.stage for runner in reading])
        self._preparation = Preparation(
            self._decoder,
            reading,
            self.budget,
            self._holdings,
            config.max_pixels,
            least_px,
        )
        self._ahead = self._decode_ahead()
        self._tally = Tally()
        self._arrivals = self._arrivals_of(reading, least_px, announce)
        self._trimmer = Trimmer()
        self._reporter = TallyReporter(self._tally, report)

    def __call__(self, order: Mapping[str, Any], careful: Careful | None = None) -> pa.Table:
        """Every row of the order, in order, with the stages' columns, or with the reason why its input failed.

        With `careful` each input is processed alone from its first byte to its last column. DeviceFault if the device fails.
        """
        started_s = time.time()
        inputs = rows_of(self._rows, order)
        uris = self._shown_names(inputs)
        queues = StageQueues(self._runners, self._wiring, self._holdings, self._encoders, self._tally, uris)
        items = self._together(inputs, queues) if careful is None else self._carefully(inputs, queues, careful)
        table = table_of(inputs, items, self._decoder, self.stages, queues.outputs, has_source_ids=self._has_source_ids)
        self._tally.gpu_bytes = held_bytes(self._config.context.device)
        self._reporter.report()
        return table.append_column(ORDER_COLUMN, self._order_column(order, table.num_rows, started_s))

    def _shown_names(self, inputs: pa.Table) -> Sequence[str]:
        """What logs and events call the inputs."""
        if isinstance(self._decoder, WithholdsNames):
            return [self._decoder.shown_name] * inputs.num_rows
        return strings_of(inputs["uri"])

    def _together(self, inputs: pa.Table, queues: StageQueues) -> list[Item]:
        items: list[Item] = []
        for item in self._prepared(inputs, queues):
            self._add(item, queues)
            items.append(item)
        queues.run_all()
        return items

    def _carefully(self, inputs: pa.Table, queues: StageQueues, careful: Careful) -> list[Item]:
        items: list[Item] = []
        for position, identity in enumerate(strings_of(inputs["id"])):
            reason = careful.begin(identity)
            if reason is None:
                items.append(self._alone(inputs.slice(position, 1), position, queues))
            else:
                items.append(Item(position, error=reason))
                self._add(items[-1], queues)
        careful.end()
        return items

    def _alone(self, inputs: pa.Table, position: int, queues: StageQueues) -> Item:
        (fetched,) = self._timed("fetch", self._counted(self._one_by_one.stream(inputs)))
        item = self._prepare_one((replace(fetched[0], position=position), fetched[1]), queues)
        self._add(item, queues)
        queues.run_all()
        return item

    def _add(self, item: Item, queues: StageQueues) -> None:
        """Add a prepared input, and run the stages that have a complete batch."""
        stall_watchdog.progress()
        self._tally.busy_s["decode"] += item.decode_s
        queues.add(item)
        self._reporter.report_if_due()

    # Fetching and decoding

    def _prepared(self, inputs: pa.Table, queues: StageQueues) -> Iterator[Item]:
        """The inputs in order, decoded here or by tasks on other nodes."""
        if self._arrivals is None:
            return self._prepared_here(inputs, queues)
        chunks = self._timed("fetch", self._arrivals.chunks(inputs))
        return self._arrivals.stream(chunks, lambda rows: self._prepared_here(rows, queues), queues.make_room)

    def _prepared_here(self, inputs: pa.Table, queues: StageQueues) -> Iterator[Item]:
        """The inputs in order, decoded in this thread or on separate threads."""
        fetched = self._counted(self._fetcher.stream(inputs))
        if self._ahead is None:
            return (self._prepare_one(each, queues) for each in self._timed("fetch", fetched))
        return self._timed("fetch", self._ahead.stream(fetched, make_room=queues.make_room))

    def _counted(self, stream: Iterator[Fetched]) -> Iterator[Fetched]:
        for described, pieces in stream:
            if not isinstance(pieces, RowError):
                self._tally.fetched_bytes += sum(map(len, pieces))
            yield described, pieces

    def _prepare_one(self, fetched: Fetched, queues: StageQueues) -> Item:
        need_bytes = self._preparation.need_bytes(fetched)
        if self.budget.refusal(need_bytes) is None and not self.budget.try_take(need_bytes):
            queues.make_room(need_bytes)
            self.budget.change(need_bytes)
        return self._prepare(fetched, need_bytes)

    def _prepare(self, fetched: Fetched, need_bytes: int) -> Item:
        if self.budget.refusal(need_bytes) is None:
            self._trimmer.before(need_bytes)
        return self._preparation.prepare(fetched, need_bytes)

    def _decode_ahead(self) -> DecodeAhead[Fetched, Item] | None:
        threads, ahead = self._config.decode_threads, self._config.fetch.window_rows
        if not threads:
            return None
        need = self._preparation.need_bytes
        return DecodeAhead(threads, self.budget, need, self._prepare, attrgetter("held_bytes"), ahead, AHEAD_BYTES)

    def _arrivals_of(
        self, readers: Sequence[StageRunner], least_px: int | None, announce: Callable[[str], None]
    ) -> Arrivals | None:
        if self._config.decode_on is None:
            return None
        from pixelmill.pipelines.bulk.decode_tasks import DecodeTasks  # a mill without tasks works without Ray

        crops = crop_config(self._config, self._limits()[0], readers, least_px, self.budget.total_bytes)
        tasks = DecodeTasks(self._config.decode_on, crops, self._config.stall_s, announce)
        return Arrivals(tasks, crops.croppings, self._runners, self.budget, self._holdings, self._tally)

    def _limits(self) -> tuple[FetchLimits, FetchLimits]:
        """The limits of fetching, normally and in careful mode."""
        most_bytes = self.budget.capacity_bytes // 2  # as much again is left to decode it into
        limits = replace(self._config.fetch, window_bytes=self.budget.window_bytes, memory_bytes=most_bytes)
        return limits, replace(limits, in_flight=1, window_rows=1)

    def _fetcher_of(self, limits: FetchLimits) -> Fetcher[Fetched]:
        decoder = self._decoder
        heads = Heads(decoder.head_bytes, decoder.is_enough) if isinstance(decoder, ReadsHeads) else None
        config = self._config
        index = None if config.ct_index is None else SeriesIndex(config.ct_index, config.source_access, config.volumes)
        return Fetcher(config.source_access, limits, config.column, lambda fetched: fetched, heads, index)

    def _timed(self, name: str, stream: Iterator[Streamed]) -> Iterator[Streamed]:
        """Count the time that the worker waits for the stream as time of `name`."""
        while True:
            start_s = time.perf_counter()
            with stall_watchdog.waiting(self._longest_fetch_s):
                item = next(stream, None)
            self._tally.busy_s[name] += time.perf_counter() - start_s
            if item is None:
                return
            yield item

    # Facts for the publisher

    def _order_column(self, order: Mapping[str, Any], rows: int, started_s: float) -> pa.Array[Any]:
        """The metadata that the table carries once for all rows."""
        facts = {
            "name": order["name"],
            "weights": self.weights,
            "settings": {runner.name: runner.stage.settings for runner in self._runners},
            "milled": {"started_s": started_s, "ended_s": time.time(), "host": socket.gethostname()},
            "listing": order["parts"][0]["writer"],
        }
        once: Any = pa.DictionaryArray  # its stubs leave the type of the values open
        return once.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([json.dumps(facts)]))


def rows_of(rows: Rows, order: Mapping[str, Any]) -> pa.Table:
    """The manifest rows of an order."""
    return pa.concat_tables([rows.of(Part(**part)) for part in order["parts"]])


def _weights(mill: Mill, config: MillConfig) -> dict[str, str | None]:
    """The weights that this worker loaded; ModelError if the output was made with others.

    The key of a stage without a name is its kind, as for all stages in outputs of versions without names.
    """
    names = [stage.name or stage.stage for stage in config.stages]
    weights = {f"{index}.{names[index]}": stage.weights_sha256 for index, stage in enumerate(mill.stages)}
    if config.weights is not None and config.weights != weights:
        differ = [key for key in weights if config.weights.get(key) != weights[key]]
        raise ModelError(
            f"{config.out} was made with other weights, and two are never mixed: "
            + "; ".join(f"stage {key}: {config.weights.get(key)} there, {weights[key]} here" for key in differ)
            + "; choose another output folder"
        )
    return weights


def _least_px(stages: Sequence[Stage]) -> int | None:
    """The pixels that the shorter side of a picture needs for these stages; None where one of them needs all."""
    seen = [stage.seen_px if isinstance(stage, SeesAtSize) else None for stage in stages]
    needed = [side_px for side_px in seen if side_px is not None]
    return LEAST_FACTOR * max(needed) if needed and len(needed) == len(seen) else None

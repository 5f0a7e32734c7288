"""The worker of a bulk job: one order in, its rows fetched, decoded and run through every stage, one table out."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.bulk.deaths import Careful
from pixelmill.pipelines.bulk.decoding import DecodeAhead
from pixelmill.pipelines.inputs.fetch import Fetched, Fetcher, FetchLimits
from pixelmill.pipelines.outputs.ledger import ERROR_COLUMNS, INPUT_FIELDS
from pixelmill.pipelines.outputs.manifest import Part, Rows, Segment
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.codecs.footprint import decode_bytes
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import ModelError, RowError
from pixelmill.workers.runtime import stall_watchdog
from pixelmill.workers.runtime.budget import Budget
from pixelmill.workers.runtime.faults import DeviceFault, free_cached_memory, is_device_fault, is_out_of_memory
from pixelmill.workers.runtime.memory import for_pictures
from pixelmill.workers.stages import Milled, Stage, StageConfig, StageContext

if TYPE_CHECKING:
    from torch import Tensor

ORDER_COLUMN = "_order"
_STATED_PIXELS = re.compile(r" = ([\d,]+) pixels, over max_pixels")


@dataclass(frozen=True)
class MillConfig:
    """All that a worker needs to know; plain data, so that it travels to any machine."""

    out: str
    out_access: Access
    source_access: Access
    column: str | None
    segments: tuple[Segment, ...]
    stages: tuple[StageConfig, ...]
    context: StageContext
    fetch: FetchLimits
    max_pixels: int
    decode_threads: int
    weights: dict[str, str | None] | None
    """The weights that the output was made with so far; None for a new output."""
    memory_bytes: int = 8 << 30
    """What a worker may take in all."""
    stall_s: float = 600.0
    """How long it may make no progress."""


@dataclass
class Tally:
    """What a worker did since it was built: rows, reasons with an example each, and seconds by activity.

    Those of decoding are the sum over all threads that decode at once.
    """

    done: int = 0
    failed: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], str] = field(default_factory=dict)
    busy_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, other: Tally) -> None:
        self.done += other.done
        self.failed += other.failed
        self.reasons.update(other.reasons)
        self.examples = other.examples | self.examples
        for name, seconds in other.busy_s.items():
            self.busy_s[name] += seconds

    def to_json(self) -> str:
        reasons = [[*reason, count, self.examples[reason]] for reason, count in self.reasons.items()]
        return json.dumps({"done": self.done, "failed": self.failed, "reasons": reasons, "busy_s": self.busy_s})

    @classmethod
    def from_json(cls, text: str | bytes) -> Tally:
        raw = json.loads(text)
        reasons = Counter({(stage, kind): count for stage, kind, count, _ in raw["reasons"]})
        examples = {(stage, kind): example for stage, kind, _, example in raw["reasons"]}
        return cls(raw["done"], raw["failed"], reasons, examples, defaultdict(float, raw["busy_s"]))


Report = Callable[[Tally], None]
"""Where a worker tells what it did, every second or so; losing a report loses no row."""

REPORT_EVERY_S = 1.0


@dataclass
class _Sample:
    """One input on its way: either an error, or what each stage prepared from its picture and has not run yet."""

    position: int
    width: int = 0
    height: int = 0
    prepared: list[Tensor | None] = field(default_factory=list)
    error: RowError | None = None
    decode_s: float = 0.0
    held_bytes: int = 0


@dataclass
class _Columns:
    """What one stage made, batch by batch, and for which rows."""

    positions: list[int] = field(default_factory=list)
    chunks: list[dict[str, pa.Array]] = field(default_factory=list)


class _Work:
    """One order on its way through the stages: its rows, what waits for each stage, and what each has made."""

    def __init__(self, rows: pa.Table, stages: int) -> None:
        self.rows = rows
        self.samples = [_Sample(position) for position in range(rows.num_rows)]
        self.waiting: list[list[_Sample]] = [[] for _ in range(stages)]
        self.made = [_Columns() for _ in range(stages)]

    def uri(self, sample: _Sample) -> str:
        return self.rows["uri"][sample.position].as_py()


class Mill:
    """Built once per worker: loads every stage's network; then called with one order at a time."""

    def __init__(self, config: MillConfig, report: Report) -> None:
        self._config = config
        self._report = report
        self._stages: list[Stage] = [stage.build(config.context) for stage in config.stages]
        self._most = [sys.maxsize for _ in self._stages]
        """The largest batch that each stage is known to have memory for."""
        self.weights = _weights(self._stages, config)
        self._rows = Rows(Folder(config.out, config.out_access), list(config.segments))
        self._budget = Budget(for_pictures(config.memory_bytes), config.fetch.window_bytes)
        self._fetcher, self._one_by_one = (self._fetcher_of(limits) for limits in self._limits())
        self._longest_fetch_s = config.source_access.retry_for_s + 2 * config.source_access.timeout_s
        threads = config.decode_threads
        self._ahead = (
            DecodeAhead(threads, self._budget, _need, self._prepare, config.fetch.window_rows) if threads else None
        )
        self._tally = Tally()
        self._reported_s = time.monotonic()

    def _limits(self) -> tuple[FetchLimits, FetchLimits]:
        """How inputs are fetched, and how where each has to be alone."""
        most_bytes = self._budget.capacity_bytes // 2  # as much again is left to decode it into
        limits = replace(self._config.fetch, window_bytes=self._budget.window_bytes, memory_bytes=most_bytes)
        return limits, replace(limits, in_flight=1, window_rows=1)

    def _fetcher_of(self, limits: FetchLimits) -> Fetcher[Fetched]:
        return Fetcher(self._config.source_access, limits, self._config.column, then=lambda fetched: fetched)

    def __call__(self, order: dict[str, Any], careful: Careful | None = None) -> pa.Table:
        """Every row of the order, in its order, with the stages' columns, or with the reason why it failed.

        With `careful` each input is done alone from its first byte to its last column. DeviceFault when the device fails.
        """
        started_s = time.time()
        rows = rows_of(self._rows, order)
        work = _Work(rows, len(self._stages))
        if careful is None:
            self._do(work, self._decoded(work))
        else:
            self._do_one_by_one(work, careful)
        table = self._table(rows, work.samples, work.made)
        self._maybe_report(now=True)
        return table.append_column(ORDER_COLUMN, self._order_column(order, rows.num_rows, started_s))

    def _do(self, work: _Work, decoded: Iterator[_Sample]) -> None:
        for sample in decoded:
            self._add(work, sample)
            self._maybe_report()
        self._flush_all(work)

    def _do_one_by_one(self, work: _Work, careful: Careful) -> None:
        for position, identity in enumerate(strings_of(work.rows["id"])):
            reason = careful.begin(identity)
            if reason is not None:
                self._add(work, _Sample(position, error=reason))
                continue
            fetched = self._timed("fetch", self._one_by_one.stream(work.rows.slice(position, 1)))
            for item, data in fetched:
                self._add(work, self._prepare_here(work, (replace(item, position=position), data)))
            self._flush_all(work)
            self._maybe_report()
        careful.end()

    def _add(self, work: _Work, sample: _Sample) -> None:
        """A sample is decoded: it joins those that wait for each stage, and the stages run that have a batch together."""
        stall_watchdog.progress()
        work.samples[sample.position] = sample
        self._tally.busy_s["decode"] += sample.decode_s
        if sample.error is not None:
            self._count_failure(sample.error, work.uri(sample))
            return
        for index, stage in enumerate(self._stages):
            work.waiting[index].append(sample)
            if len(work.waiting[index]) >= min(stage.batch, self._most[index]):
                self._flush(index, work)

    def _decoded(self, work: _Work) -> Iterator[_Sample]:
        """The samples in order, decoded in this thread or on threads of their own."""
        fetched = self._fetcher.stream(work.rows)
        if self._ahead is None:
            return (self._prepare_here(work, each) for each in self._timed("fetch", fetched))
        return self._timed("fetch", self._ahead.stream(fetched, make_room=lambda: self._flush_all(work)))

    def _prepare_here(self, work: _Work, fetched: Fetched) -> _Sample:
        need_bytes = _need(fetched)
        if self._budget.refusal(need_bytes) is None and not self._budget.try_take(need_bytes):
            self._flush_all(work)
            self._budget.change(need_bytes)
        return self._prepare(fetched, need_bytes)

    def _order_column(self, order: dict[str, Any], rows: int, started_s: float) -> pa.Array:
        """What the publisher has to know, once, whatever the number of rows."""
        milled = {"started_s": started_s, "ended_s": time.time(), "host": socket.gethostname()}
        listing = order["parts"][0]["writer"]
        told = {"name": order["name"], "weights": self.weights, "settings": self._settings(), "milled": milled}
        told["listing"] = listing
        text = json.dumps(told)
        return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))

    def _settings(self) -> dict[str, object]:
        return {stage.name: stage.settings for stage in self._stages}

    def _timed(self, name: str, stream: Any) -> Any:
        """Counts the time that the worker waits for the stream as time of `name`."""
        while True:
            start = time.perf_counter()
            with stall_watchdog.waiting(self._longest_fetch_s):
                item = next(stream, None)
            self._tally.busy_s[name] += time.perf_counter() - start
            if item is None:
                return
            yield item

    def _prepare(self, fetched: Fetched, need_bytes: int) -> _Sample:
        """Bytes to what the stages want, within `need_bytes` that were taken from the budget unless they can't be had.

        Raises nothing but DeviceFault; may run on many threads.
        """
        start_s = time.perf_counter()
        refusal = self._budget.refusal(need_bytes)
        sample = self._refused(fetched, refusal) if refusal else self._prepared(fetched)
        sample.decode_s = time.perf_counter() - start_s
        if refusal is None:
            sample.held_bytes = _held_bytes(sample)
            self._budget.change(sample.held_bytes - need_bytes)
        return sample

    def _refused(self, fetched: Fetched, refusal: RowError) -> _Sample:
        """Why a picture that does not fit is not done: by its header it is broken, or not allowed, or else just too large."""
        from pixelmill.workers.codecs.decode import decode_picture

        item, data = fetched
        assert isinstance(data, bytes)
        try:
            decode_picture(data, max_pixels=0)  # by its header alone
        except RowError as error:
            stated = _STATED_PIXELS.search(str(error))
            if stated is None:
                return _Sample(item.position, error=error)
            if int(stated[1].replace(",", "")) > self._config.max_pixels:
                text = str(error).replace("max_pixels = 0", f"max_pixels = {self._config.max_pixels:,}")
                return _Sample(item.position, error=RowError(error.stage, error.error_type, text))
        return _Sample(item.position, error=refusal)

    def _prepared(self, fetched: Fetched) -> _Sample:
        # imported here, so that the driver, which plans orders, does not import torch
        from pixelmill.workers.codecs.decode import decode_picture

        item, data = fetched
        if isinstance(data, RowError):
            return _Sample(item.position, error=data)
        stage = "decode"
        try:
            pixels_CHW = decode_picture(data, max_pixels=self._config.max_pixels)
            prepared: list[Tensor | None] = []
            for each in self._stages:
                stage = each.name
                prepared.append(each.prepare(pixels_CHW))
            height, width = pixels_CHW.shape[1:]
            return _Sample(item.position, width, height, prepared)
        except Exception as error:
            return _Sample(item.position, error=_as_row_error(error, stage))

    def _flush_all(self, work: _Work) -> None:
        for index in range(len(self._stages)):
            self._flush(index, work)

    def _flush(self, index: int, work: _Work) -> None:
        """Run a stage over the samples that wait for it, but for those that another stage already failed."""
        waiting = work.waiting[index]
        ready = [sample for sample in waiting if sample.error is None]
        self._release(sample for sample in waiting if sample.error is not None)
        waiting.clear()
        if not ready:
            return
        stage, made = self._stages[index], work.made[index]
        start_s = time.perf_counter()
        for chunk, milled in self._run(index, [(sample, cast("Tensor", sample.prepared[index])) for sample in ready]):
            for place, error in milled.errors.items():
                chunk[place].error = error
                self._count_failure(error, work.uri(chunk[place]))
            if milled.columns:
                made.positions += [sample.position for sample in chunk]
                made.chunks.append(milled.columns)
        self._tally.busy_s[stage.name] += time.perf_counter() - start_s
        for sample in ready:  # stages have batches of their own, so that any of them may be the last
            sample.prepared[index] = None
            self._tally.done += sample.error is None and all(each is None for each in sample.prepared)
        self._release(sample for sample in ready if sample.error or all(each is None for each in sample.prepared))

    def _release(self, samples: Iterable[_Sample]) -> None:
        """Nothing is held of these any more."""
        for sample in samples:
            sample.prepared = [None] * len(sample.prepared)
            self._budget.change(-sample.held_bytes)
            sample.held_bytes = 0

    def _run(self, index: int, batch: list[tuple[_Sample, Tensor]]) -> list[tuple[list[_Sample], Milled]]:
        """A batch through a stage, by halves where memory is short; when a picture breaks it, one by one, so that one
        bad picture costs one row. DeviceFault when it is the device that fails."""
        stage, samples = self._stages[index], [sample for sample, _ in batch]
        try:
            milled = stage.run([prepared for _, prepared in batch])
            stall_watchdog.progress()
            return [(samples, milled)]
        except Exception as error:
            row_error, lacks_memory = _as_row_error(error, stage.name), is_out_of_memory(error)
        if len(batch) == 1:
            return [(samples, Milled({}, {0: row_error}))]
        size = 1
        if lacks_memory:
            free_cached_memory()
            size = self._most[index] = len(batch) // 2
        chunks = [batch[start : start + size] for start in range(0, len(batch), size)]
        return [result for chunk in chunks for result in self._run(index, chunk)]

    def _count_failure(self, error: RowError, uri: str) -> None:
        self._tally.failed += 1
        reason = (error.stage, error.error_type)
        self._tally.reasons[reason] += 1
        self._tally.examples.setdefault(reason, f"{scrub(uri)}: {error}")

    def _maybe_report(self, now: bool = False) -> None:
        if now or time.monotonic() - self._reported_s > REPORT_EVERY_S:
            self._report(self._tally)
            self._reported_s = time.monotonic()

    def _table(self, rows: pa.Table, samples: list[_Sample], made: list[_Columns]) -> pa.Table:
        errors = [sample.error for sample in samples]
        columns: dict[str, Any] = {name: rows[name] for name in ("id", "uri", "member")}
        for name in ("width", "height"):
            sizes = [None if s.error else getattr(s, name) for s in samples]
            columns[name] = pa.array(sizes, pa.int32())
        for stage, result in zip(self._stages, made, strict=True):
            columns |= {f.name: _aligned(f, result, errors) for f in stage.fields}
        for name, attribute in zip(ERROR_COLUMNS, ("stage", "error_type", None), strict=True):
            strings_of = [None if e is None else scrub(str(getattr(e, attribute) if attribute else e)) for e in errors]
            columns[name] = pa.array(strings_of, pa.string())
        fields = [*INPUT_FIELDS, *(f for stage in self._stages for f in stage.fields)]
        return pa.table(columns, schema=pa.schema([*fields, *(pa.field(n, pa.string()) for n in ERROR_COLUMNS)]))


def rows_of(rows: Rows, order: dict[str, Any]) -> pa.Table:
    """The manifest rows of an order."""
    return pa.concat_tables([rows.of(Part(**part)) for part in order["parts"]])


def _weights(stages: Sequence[Stage], config: MillConfig) -> dict[str, str | None]:
    """The weights that this worker loaded; ModelError when the output was made with others."""
    weights = {f"{index}.{stage.name}": stage.weights_sha256 for index, stage in enumerate(stages)}
    if config.weights is not None and config.weights != weights:
        differ = [key for key in weights if config.weights.get(key) != weights[key]]
        raise ModelError(
            f"{config.out} was made with other weights, and two are never mixed: "
            + "; ".join(f"stage {key}: {config.weights.get(key)} there, {weights[key]} here" for key in differ)
            + "; choose another output folder"
        )
    return weights


def _need(fetched: Fetched) -> int:
    """What decoding takes, and the bytes that were read; of what can't be decoded, those alone."""
    data = fetched[1]
    if isinstance(data, RowError):
        return 0
    try:
        return len(data) + decode_bytes(data)
    except RowError:  # the decoder will say the same
        return len(data)


def _held_bytes(sample: _Sample) -> int:
    """What waits for the stages; a tensor that is another's view counts again."""
    return sum(each.nbytes for each in sample.prepared if each is not None)


def _as_row_error(error: Exception, stage: str) -> RowError:
    """The error of one row; DeviceFault where it isn't the row's."""
    if isinstance(error, RowError):
        return error
    text = scrub(str(error)).partition("\n")[0][:500] or "no detail"
    if isinstance(error, DeviceFault) or is_device_fault(error):
        raise DeviceFault(f"{stage} on {socket.gethostname()}: {type(error).__name__}: {text}") from error
    if is_out_of_memory(error):
        fact = f"the device has too little memory for it, even alone ({text})"
        return RowError(stage, "OutOfMemory", f"{fact}: use a device with more, or fewer run.actors on this one")
    return RowError(stage, type(error).__name__, text)


def _aligned(column: pa.Field, made: _Columns, errors: Sequence[RowError | None]) -> pa.Array:
    """One stage's column in the order of the rows, null where the row failed."""
    if not made.chunks:
        return pa.nulls(len(errors), column.type)
    values = pa.concat_arrays([chunk[column.name] for chunk in made.chunks])
    places: list[int | None] = [None] * len(errors)
    for place, position in enumerate(made.positions):
        places[position] = None if errors[position] else place
    return values.take(pa.array(places, pa.int64()))

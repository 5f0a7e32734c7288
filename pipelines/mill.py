"""The worker of a bulk job: one order in, its rows fetched, decoded and run through every stage, one table out."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.fetch import Fetched, Fetcher, FetchLimits
from pipelines.ledger import ERROR_COLUMNS, INPUT_FIELDS
from pipelines.manifest import Part, Rows, Segment
from pipelines.stores import Access, Folder, scrub
from workers.errors import ModelError, RowError
from workers.stages import Milled, Stage, StageConfig, StageContext

if TYPE_CHECKING:
    from torch import Tensor

ORDER_COLUMN = "_order"


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


@dataclass
class Tally:
    """What a worker did since it was built: rows, reasons with an example each, and seconds by activity."""

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


@dataclass
class _Columns:
    """What one stage made, batch by batch, and for which rows."""

    positions: list[int] = field(default_factory=list)
    chunks: list[dict[str, pa.Array]] = field(default_factory=list)


class Mill:
    """Built once per worker: loads every stage's network; then called with one order at a time."""

    def __init__(self, config: MillConfig, report: Report) -> None:
        self._config = config
        self._report = report
        self._stages: list[Stage] = [stage.build(config.context) for stage in config.stages]
        self.weights = _weights(self._stages, config)
        self._rows = Rows(Folder(config.out, config.out_access), list(config.segments))
        inline = config.decode_threads == 0
        self._fetcher = Fetcher(
            config.source_access, config.fetch, config.column, then=(lambda f: f) if inline else self._prepare
        )
        self._prepare_here = self._prepare if inline else (lambda sample: sample)
        self._tally = Tally()
        self._reported_s = time.monotonic()

    def __call__(self, order: dict[str, Any]) -> pa.Table:
        """Every row of the order, in its order, with the stages' columns, or with the reason why it failed."""
        started_s = time.time()
        rows = rows_of(self._rows, order)
        made = [_Columns() for _ in self._stages]
        waiting: list[list[_Sample]] = [[] for _ in self._stages]
        samples = [_Sample(position) for position in range(rows.num_rows)]
        for fetched in self._timed("fetch", self._fetcher.stream(rows)):
            sample = self._prepare_here(fetched)
            samples[sample.position] = sample
            if sample.error is not None:
                self._count_failure(sample.error, rows["uri"][sample.position].as_py())
                continue
            for index, stage in enumerate(self._stages):
                waiting[index].append(sample)
                if len(waiting[index]) >= stage.batch:
                    self._flush(index, waiting[index], made[index], rows)
            self._maybe_report()
        for index, batch in enumerate(waiting):
            self._flush(index, batch, made[index], rows)
        table = self._table(rows, samples, made)
        self._maybe_report(now=True)
        return table.append_column(ORDER_COLUMN, self._order_column(order, rows.num_rows, started_s))

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
            item = next(stream, None)
            self._tally.busy_s[name] += time.perf_counter() - start
            if item is None:
                return
            yield item

    def _prepare(self, fetched: Fetched) -> _Sample:
        """Bytes to what the stages want; never raises, since it may run on a fetching thread."""
        from workers import images  # here, so that the driver, which plans orders, does not import torch

        item, data = fetched
        if isinstance(data, RowError):
            return _Sample(item.position, error=data)
        start, stage = time.perf_counter(), "decode"
        try:
            pixels_CHW = images.decode(data, max_pixels=self._config.max_pixels)
            prepared: list[Tensor | None] = []
            for each in self._stages:
                stage = each.name
                prepared.append(each.prepare(pixels_CHW))
            height, width = pixels_CHW.shape[1:]
            return _Sample(item.position, width, height, prepared)
        except Exception as error:
            return _Sample(item.position, error=_as_row_error(error, stage))
        finally:
            self._tally.busy_s["decode"] += time.perf_counter() - start

    def _flush(self, index: int, batch: list[_Sample], made: _Columns, rows: pa.Table) -> None:
        """Run a stage over the samples that wait for it, but for those that another stage already failed."""
        ready = [sample for sample in batch if sample.error is None]
        batch.clear()
        if not ready:
            return
        stage = self._stages[index]
        start = time.perf_counter()
        for chunk, milled in _run(stage, [(sample, cast("Tensor", sample.prepared[index])) for sample in ready]):
            for place, error in milled.errors.items():
                chunk[place].error = error
                self._count_failure(error, rows["uri"][chunk[place].position].as_py())
            if milled.columns:
                made.positions += [sample.position for sample in chunk]
                made.chunks.append(milled.columns)
        self._tally.busy_s[stage.name] += time.perf_counter() - start
        for sample in ready:  # stages have batches of their own, so that any of them may be the last
            sample.prepared[index] = None
            self._tally.done += sample.error is None and all(each is None for each in sample.prepared)

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
            texts = [None if e is None else scrub(str(getattr(e, attribute) if attribute else e)) for e in errors]
            columns[name] = pa.array(texts, pa.string())
        fields = [*INPUT_FIELDS, *(f for stage in self._stages for f in stage.fields)]
        return pa.table(columns, schema=pa.schema([*fields, *(pa.field(n, pa.string()) for n in ERROR_COLUMNS)]))


def rows_of(rows: Rows, order: dict[str, Any]) -> pa.Table:
    """The manifest rows of an order: whole parts, or those of some ids in them."""
    table = pa.concat_tables([rows.of(Part(**part)) for part in order["parts"]])
    if order["ids"] is None:
        return table
    return table.filter(pc.is_in(table["id"], pa.array(order["ids"], pa.string())))


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


def _run(stage: Stage, batch: list[tuple[_Sample, Tensor]]) -> list[tuple[list[_Sample], Milled]]:
    """A batch through a stage; when it fails, one by one, so that one bad picture costs one row."""
    samples = [sample for sample, _ in batch]
    try:
        return [(samples, stage.run([prepared for _, prepared in batch]))]
    except Exception as error:
        if len(batch) == 1:
            return [(samples, Milled({}, {0: _as_row_error(error, stage.name)}))]
    return [result for item in batch for result in _run(stage, [item])]


def _as_row_error(error: Exception, stage: str) -> RowError:
    if isinstance(error, RowError):
        return error
    return RowError(stage, type(error).__name__, str(error).splitlines()[0][:500] if str(error) else "no detail")


def _aligned(column: pa.Field, made: _Columns, errors: Sequence[RowError | None]) -> pa.Array:
    """One stage's column in the order of the rows, null where the row failed."""
    if not made.chunks:
        return pa.nulls(len(errors), column.type)
    values = pa.concat_arrays([chunk[column.name] for chunk in made.chunks])
    places: list[int | None] = [None] * len(errors)
    for place, position in enumerate(made.positions):
        places[position] = None if errors[position] else place
    return values.take(pa.array(places, pa.int64()))

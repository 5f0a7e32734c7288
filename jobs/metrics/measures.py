"""The metrics of an attempt: a pure function of its status, with the same names wherever they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pixelmill.pipelines.events import Status

Kind = Literal["counter", "gauge"]

LABELS = ("run", "attempt")
"""Every measure has these; some have one more."""


@dataclass(frozen=True)
class Metric:
    """A name, what it means, and the label that it has beside LABELS. Counters only grow within an attempt."""

    name: str
    kind: Kind
    meaning: str
    label: str | None = None


INPUTS = Metric("pixelmill_inputs", "gauge", "Inputs by state: done, failed, pending", "state")
DONE = Metric("pixelmill_inputs_done_total", "counter", "Inputs that are whole in data/")
FAILED = Metric(
    "pixelmill_inputs_failed_total", "counter", "Inputs in failed/ by reason, as stage/error_type", "reason"
)
FETCHED = Metric("pixelmill_fetched_bytes_total", "counter", "Bytes read from the source by this attempt")
WRITTEN = Metric("pixelmill_written_bytes_total", "counter", "Bytes of Parquet published by this attempt")
BUSY = Metric("pixelmill_busy_seconds_total", "counter", "Seconds of the workers by activity", "stage")
BATCHES = Metric(
    "pixelmill_batches_total", "counter", "Batches by stage; busy seconds / batches is the latency", "stage"
)
DEATHS = Metric("pixelmill_worker_deaths_total", "counter", "Workers that died and devices that failed")
WORKERS = Metric("pixelmill_workers", "gauge", "Workers that run")
GPU_MEMORY = Metric("pixelmill_gpu_memory_bytes", "gauge", "Memory that the workers hold on their GPUs")
RATE = Metric("pixelmill_inputs_per_second", "gauge", "Inputs a second over the last half minute")
LEFT = Metric("pixelmill_seconds_left", "gauge", "Seconds to the end at this rate")
STEP = Metric("pixelmill_training_step", "gauge", "Optimiser steps taken")
STEPS = Metric("pixelmill_training_steps", "gauge", "Optimiser steps planned")
LOSS = Metric("pixelmill_training_loss", "gauge", "Loss since the last event")

METRICS = (
    INPUTS,
    DONE,
    FAILED,
    FETCHED,
    WRITTEN,
    BUSY,
    BATCHES,
    DEATHS,
    WORKERS,
    GPU_MEMORY,
    RATE,
    LEFT,
    STEP,
    STEPS,
    LOSS,
)


@dataclass(frozen=True)
class Measure:
    """One value of a metric; `labels` are complete."""

    metric: Metric
    labels: Mapping[str, str]
    value: float


def measures(status: Status, run: str) -> list[Measure]:
    """What this status says; `run` names the output folder, without credentials."""
    common = {"run": run, "attempt": str(status.attempt)}
    found = _of_training(status) if status.steps is not None else _of_rows(status)
    return [
        Measure(metric, common | ({} if metric.label is None else {metric.label: label}), float(value))
        for metric, label, value in found
        if value is not None
    ]


def _of_rows(status: Status) -> Iterator[tuple[Metric, str, float | None]]:
    rows = status.rows
    states = {"done": rows.done, "failed": rows.failed, "pending": rows.total - rows.done - rows.failed}
    yield from ((INPUTS, state, count) for state, count in states.items())
    yield DONE, "", rows.done
    yield from ((FAILED, reason, count) for reason, count in rows.reasons.items())
    yield FETCHED, "", rows.fetched_bytes
    yield WRITTEN, "", rows.written_bytes
    yield from ((BUSY, stage, seconds) for stage, seconds in rows.busy_s.items())
    yield from ((BATCHES, stage, count) for stage, count in rows.batches.items())
    yield DEATHS, "", rows.deaths
    yield WORKERS, "", rows.workers
    yield GPU_MEMORY, "", rows.gpu_bytes
    yield RATE, "", rows.images_per_s
    yield LEFT, "", rows.left_s


def _of_training(status: Status) -> Iterator[tuple[Metric, str, float | None]]:
    steps = status.steps
    if steps is not None:
        yield STEP, "", steps.step
        yield STEPS, "", steps.steps
        yield LOSS, "", steps.loss
        yield RATE, "", steps.images_per_s
        yield LEFT, "", steps.left_s

"""Show what a job would do and what it needs, without starting or writing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from pixelmill.jobs import checks
from pixelmill.jobs.job import Job
from pixelmill.jobs.planning import Plan, make_plan
from pixelmill.jobs.session import cluster
from pixelmill.jobs.session.resources import described_memory
from pixelmill.jobs.supervision.estimate import estimate, left_of, measured_in
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.terminal.console import PrintableConsole
from pixelmill.pipelines.inputs.sources import Entry, Ignored, Source, first_entries
from pixelmill.pipelines.outputs.completion import first_parts
from pixelmill.pipelines.outputs.contents import progress
from pixelmill.pipelines.outputs.parts import size_parts
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.credentials import scrub
from pixelmill.workers.decoders import decoder_of
from pixelmill.workers.stages import StageConfig
from pixelmill.workers.stages.wiring import ORIGINAL, names_of, output_row_bytes
from pixelmill.workers.wording import counted

LOOKED_AT = 10_000


def show_plan(job: Job, around: Surroundings) -> None:
    """Print what the source holds, the workers, the settings and the output. Raises PixelmillError where the run would
    before it starts: both call `checks.check_run`.
    """
    out = job.open_out()
    found = checks.check_run(job, out, around, retry=False)
    console = PrintableConsole(highlight=False, soft_wrap=True, markup=False)
    for label, text in _lines(job, out, found, around):
        console.print(f"{label:<9}{text}")


def _lines(job: Job, out: Folder, found: checks.Checked, around: Surroundings) -> list[tuple[str, str]]:
    machine = cluster.this_machine()
    head = _head_of(found.source)
    left = _left(job, out, len(head.entries))
    plan = make_plan(job.spec.run, machine, found.plan.address, found.nodes, left.parts)
    where = plan.address or f"a private Ray here ({counted(machine.cores, 'core')}, {counted(machine.gpus, 'GPU')})"
    decoding = _decoding(job, plan)
    return [
        ("source", f"{', '.join(map(scrub, found.source.uris))}: {head.described()}"),
        ("output", f"{out.uri}: {_state(out)}"),
        ("cluster", f"{where}; needs {plan.pool.total_cpus:g} logical CPUs, {plan.pool.total_gpus:g} GPUs"),
        ("workers", f"{_pool_size(plan)} on {plan.device}, {plan.threads} torch threads each, {decoding}"),
        ("memory", described_memory(plan.memory_bytes)),
        (
            "estimate",
            estimate(left.inputs, measured_in(out), job.spec.run.node_hour_price, is_least=left.parts is None),
        ),
        *_stage_lines(job, plan, around),
    ]


@dataclass(frozen=True)
class _Left:
    """What is left to do; `parts` is None where there are more inputs than are looked at."""

    inputs: int
    parts: int | None


def _left(job: Job, out: Folder, count: int) -> _Left:
    """`count` inputs were looked at."""
    held, parts = progress(out), first_parts(read_segments(out))
    listed, done = sum(part.rows for part in parts), sum(part.rows for part in parts if held.is_done(part))
    inputs = left_of(count, [part.rows for part in parts], done)
    if count > LOOKED_AT:
        return _Left(inputs, None)
    pending = sum(not held.is_done(part) for part in parts)
    return _Left(inputs, pending + _parts_of(job, max(0, count - listed)))


def _parts_of(job: Job, inputs: int) -> int:
    """Into how many parts so many new inputs will be cut, whose sizes are not known yet."""
    spec = job.spec
    decoder = decoder_of(spec.source_options.decoder)
    row_bytes = partial(output_row_bytes, spec.configs, decoder.kind)
    file_bytes = spec.out_options.file_mb << 20
    unknown = np.zeros(inputs, np.int64)
    return len(size_parts(unknown, row_bytes, file_bytes=file_bytes, rows_per_input=decoder.rows_per_input))


def _decoding(job: Job, plan: Plan) -> str:
    if (elsewhere := job.spec.run.decode_on) is not None:
        return f"decoding by {counted(elsewhere.tasks, 'task')} for each on nodes with {elsewhere.nodes().worded}"
    threads = counted(plan.decode_threads, "decoding thread")
    return threads if plan.decode_threads else "decoding in the worker"


def _pool_size(plan: Plan) -> str:
    pool = plan.pool
    return f"{pool.actors}" if pool.least == pool.actors else f"{pool.least} to {pool.actors}"


def _stage_lines(job: Job, plan: Plan, around: Surroundings) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    names = names_of(job.spec.configs)
    for index, config in enumerate(job.spec.configs):
        context = plan.stage_context(LOOKED_AT, around.cache_dir)
        first, *more = config.describe(context, here=plan.address is None)
        lines += [(f"stage {index}", f"{names[index]} of {_read_by(config)}: {first}")]
        lines += [("", line) for line in [*_made_by(config, more), *more]]
    return lines


def _read_by(config: StageConfig) -> str:
    if config.reads is None or config.reads == ORIGINAL:
        return "the original picture"
    return f"the picture of {config.reads}"


def _made_by(config: StageConfig, described: Sequence[str]) -> list[str]:
    """The columns, where the stage itself says nothing of them, and the format of pictures."""
    if any(line.startswith("column") for line in described):
        return []
    formats = [str(getattr(config, key)) for key in ("format", "encoding") if key in type(config).model_fields]
    return [f"columns {', '.join(config.columns())}" + (f"; pictures as {formats[0]}" if formats else "")]


@dataclass(frozen=True)
class _Head:
    """The inputs at the beginning of a source: all of them, or one more than LOOKED_AT."""

    entries: Sequence[Entry]
    ignored: Ignored

    def described(self) -> str:
        count = (
            f"more than {LOOKED_AT:,} inputs" if len(self.entries) > LOOKED_AT else counted(len(self.entries), "input")
        )
        kinds = sorted({entry.container or "objects" for entry in self.entries})
        left_out = sum(self.ignored.by_suffix.values())
        return f"{count} ({', '.join(kinds)})" + (f", {counted(left_out, 'other file')} ignored" if left_out else "")


def _head_of(source: Source) -> _Head:
    ignored = Ignored()
    with explained(", ".join(source.uris), "listing the source"):
        return _Head(first_entries(source, ignored, LOOKED_AT + 1), ignored)


def _state(out: Folder) -> str:
    segments = read_segments(out)
    if not segments:
        return "new"
    held, parts = progress(out), first_parts(segments)
    done = sum(part.rows for part in parts if held.is_done(part))
    return f"{done:,} of {sum(part.rows for part in parts):,} listed inputs are finished and will not be read again"

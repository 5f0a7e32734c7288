"""Show what a job would do and what it needs, without starting or writing anything."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from pixelmill.jobs import checks
from pixelmill.jobs.job import Job
from pixelmill.jobs.planning import Plan
from pixelmill.jobs.session import cluster
from pixelmill.jobs.session.resources import described_memory
from pixelmill.jobs.supervision.estimate import estimate, left_of, measured_in
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.terminal.console import PrintableConsole
from pixelmill.pipelines.inputs.sources import Entry, Ignored, Source, entries
from pixelmill.pipelines.outputs.completion import first_parts
from pixelmill.pipelines.outputs.contents import progress
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.credentials import scrub
from pixelmill.workers.stages import StageConfig
from pixelmill.workers.stages.wiring import ORIGINAL, names_of

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
    plan, machine = found.plan, cluster.this_machine()
    where = plan.address or f"a private Ray here ({machine.cores} cores, {machine.gpus} GPUs)"
    decoding = _decoding(job, plan)
    return [
        ("source", f"{', '.join(map(scrub, found.source.uris))}: {_inputs_of(found.source)}"),
        ("output", f"{out.uri}: {_state(out)}"),
        ("cluster", f"{where}; needs {plan.pool.total_cpus:g} logical CPUs, {plan.pool.total_gpus:g} GPUs"),
        ("workers", f"{_pool_size(plan)} on {plan.device}, {plan.threads} torch threads each, {decoding}"),
        ("memory", described_memory(plan.memory_bytes)),
        ("estimate", _estimate(job, out, found.source)),
        *_stage_lines(job, plan, around),
    ]


def _estimate(job: Job, out: Folder, source: Source) -> str:
    """The time and the cost of what is left."""
    with explained(", ".join(source.uris), "listing the source"):
        count = sum(1 for _ in islice(entries(source, Ignored()), LOOKED_AT + 1))
    held, parts = progress(out), first_parts(read_segments(out))
    left = left_of(count, [part.rows for part in parts], sum(part.rows for part in parts if held.is_done(part)))
    return estimate(left, measured_in(out), job.spec.run.node_hour_price, is_least=count > LOOKED_AT)


def _decoding(job: Job, plan: Plan) -> str:
    if (elsewhere := job.spec.run.decode_on) is not None:
        return f"decoding by {elsewhere.tasks} tasks for each on nodes with {elsewhere.nodes().worded}"
    return f"{plan.decode_threads} decoding threads" if plan.decode_threads else "decoding in the worker"


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


def _inputs_of(source: Source) -> str:
    ignored = Ignored()
    with explained(", ".join(source.uris), "listing the source"):
        head: list[Entry] = list(islice(entries(source, ignored), LOOKED_AT + 1))
    count = f"more than {LOOKED_AT:,}" if len(head) > LOOKED_AT else f"{len(head):,}"
    kinds = sorted({entry.container or "objects" for entry in head})
    left_out = sum(ignored.by_suffix.values())
    return f"{count} inputs ({', '.join(kinds)})" + (f", {left_out:,} other files ignored" if left_out else "")


def _state(out: Folder) -> str:
    segments = read_segments(out)
    if not segments:
        return "new"
    held, parts = progress(out), first_parts(segments)
    done = sum(part.rows for part in parts if held.is_done(part))
    return f"{done:,} of {sum(part.rows for part in parts):,} listed inputs are finished and will not be read again"

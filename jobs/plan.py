"""Show what a job would do, and what it needs, without starting or writing anything."""

from __future__ import annotations

from itertools import islice

from pixelmill.jobs.run import Run, Surroundings
from pixelmill.jobs.session import cluster
from pixelmill.jobs.session.resources import described_memory
from pixelmill.jobs.spec import Job
from pixelmill.jobs.terminal.console import PrintableConsole
from pixelmill.pipelines.inputs.sources import Entry, Ignored, entries
from pixelmill.pipelines.outputs import ledger
from pixelmill.pipelines.outputs.manifest import read_segments
from pixelmill.pipelines.stores.explain import explain
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import PixelmillError
from pixelmill.workers.stages import StageContext

LOOKED_AT = 10_000


def show_plan(job: Job, around: Surroundings) -> None:
    """Print the source as it is found, the workers, the settings and the output.

    PixelmillError where the run would end with one before it starts: both ask `Run.check`.
    """
    run = Run(job, around)
    plan, machine = run.check(), cluster.this_machine()
    console = PrintableConsole(highlight=False, soft_wrap=True, markup=False)

    def show(label: str, text: str) -> None:
        console.print(f"{label:<9}{text}")

    found = _look(run)
    show("source", f"{', '.join(map(scrub, run.source.uris))}: {found}")
    show("output", f"{run.out.uri}: {_state(run)}")
    where = plan.address or f"a Ray of its own here ({machine.cores} cores, {machine.gpus} GPUs)"
    show("cluster", f"{where}; needs {plan.pool.total_cpus:g} logical CPUs, {plan.pool.total_gpus:g} GPUs")
    decoding = f"{plan.decode_threads} decoding threads" if plan.decode_threads else "decoding in the worker"
    show("workers", f"{plan.pool.actors} on {plan.device}, {plan.threads} torch threads each, {decoding}")
    show("memory", described_memory(plan.memory_bytes))
    for index, config in enumerate(job.spec.configs):
        context = StageContext(plan.device, plan.threads, LOOKED_AT, around.cache_dir)
        first, *more = config.describe(context, here=plan.address is None)
        show(f"stage {index}", f"{config.stage}: {first}")
        for line in more:
            show("", line)


def _look(run: Run) -> str:
    ignored = Ignored()
    try:
        head: list[Entry] = list(islice(entries(run.source, ignored), LOOKED_AT + 1))
    except PixelmillError:
        raise
    except Exception as error:
        raise explain(error, ", ".join(run.source.uris), "listing the source") from error
    count = f"more than {LOOKED_AT:,}" if len(head) > LOOKED_AT else f"{len(head):,}"
    kinds = sorted({entry.container or "objects" for entry in head})
    left_out = sum(ignored.by_suffix.values())
    return f"{count} inputs ({', '.join(kinds)})" + (f", {left_out:,} other files ignored" if left_out else "")


def _state(run: Run) -> str:
    segments = read_segments(run.out)
    if not segments:
        return "new"
    held = ledger.progress(run.out)
    parts = [part for segment in segments if not segment.supersedes for part in segment.parts()]
    done = sum(part.rows for part in parts if held.is_done(part))
    return f"{done:,} of {sum(part.rows for part in parts):,} listed inputs are finished and will not be read again"

"""Time to the first row: the job over one input, on a Ray of its own here, into a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pixelmill.jobs.doctor.findings import Finding, fault, ok, warning
from pixelmill.jobs.documents.parsing import read_file
from pixelmill.jobs.host import scratch
from pixelmill.jobs.job import read_job
from pixelmill.jobs.surroundings import Surroundings

SLOW_S = 120.0


def examine_first_row(path: str, overrides: list[str], around: Surroundings) -> Iterator[Finding]:
    """Reads one input of the source, and writes nothing of the output."""
    from pixelmill.jobs.run import run_job

    folder = scratch.make()
    here = [
        f"out.uri={folder / 'out'}",
        "source.limit=1",
        "run.address=local",
        "run.actors=1",
        "run.max_failed_fraction=1",
    ]
    try:
        job = read_job(read_file(path), name=path, overrides=[*overrides, *here], environment=around.environment)
        begun_s = around.now()
        outcome = run_job(job, replace(around, quiet=True, started_s=begun_s))
        seconds = around.now() - begun_s
    finally:
        scratch.remove(folder)
    if outcome.account.failed:
        reasons = ", ".join(str(reason) for reason in outcome.account.reasons)
        yield fault("first row", f"the first input fails: {reasons}", "choose another source, decoder or limit")
        return
    slowest = max(outcome.seconds.items(), key=lambda item: item[1], default=("", 0.0))
    fact = f"after {seconds:.1f} s, of them {slowest[1]:.1f} s for {slowest[0].replace('_', ' ')}"
    if seconds > SLOW_S:
        yield warning(
            "first row", fact, "keep weights in the image or on a volume, and the source in the cluster's region"
        )
    else:
        yield ok("first row", fact)

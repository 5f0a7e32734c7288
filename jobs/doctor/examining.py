"""The whole examination, in the order in which faults hide each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from shlex import quote

from pixelmill.jobs.doctor import first_row, machine, ray_place, stores
from pixelmill.jobs.doctor.findings import Finding, fault, ok, reported
from pixelmill.jobs.doctor.machine import Places
from pixelmill.jobs.documents.kinds import Kind, kind_of
from pixelmill.jobs.documents.parsing import read_file
from pixelmill.jobs.job import Job, read_job
from pixelmill.jobs.planning import make_plan
from pixelmill.jobs.session import cluster
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.workers.wording import counted

CHECKED_BY: dict[Kind, str] = {
    "flow": "examine the job files of its steps; the flow is checked by: pixelmill run {name} --dry-run",
    "training": "`pixelmill train {name}` checks its data and its output before anything is started",
}


@dataclass(frozen=True)
class Asked:
    """The arguments of `pixelmill doctor`."""

    job: str | None = None
    address: str | None = None
    overrides: list[str] = field(default_factory=list[str])
    is_quick: bool = False
    places: Places = field(default_factory=Places)


def examine(asked: Asked, around: Surroundings) -> Iterator[Finding]:
    """Every finding, as soon as it is made. Nothing is written but a probe below `_run/` of the job's output on a store."""
    here = cluster.this_machine()
    yield from reported("versions", machine.examine_versions, "pip install -U pixelmill")
    yield from reported("devices", lambda: machine.examine_devices(here), "pip install -U torch")
    yield from reported("memory", lambda: machine.examine_shared_memory(here, asked.places), "check /dev/shm")
    yield from reported("files", machine.examine_files, "check `ulimit -n`")
    yield from reported("temporary", lambda: machine.examine_temporary(asked.places), "set TMPDIR")
    yield from reported("token", lambda: ray_place.examine_token(around.environment), ray_place.GET_TOKEN)
    yield from reported(
        "address",
        lambda: ray_place.examine_address(asked.address, around.environment),
        "check the address with `ray status` on the head node",
    )
    yield from _examine_job(asked, around)


def _examine_job(asked: Asked, around: Surroundings) -> Iterator[Finding]:
    if asked.job is None:
        return
    read, name = list[Job](), asked.job

    def read_it() -> Iterator[Finding]:
        text = read_file(name)
        if (kind := kind_of(text, name)) in CHECKED_BY:
            yield fault(
                "job", f"{name} is a {kind}, and job files are examined here", CHECKED_BY[kind].format(name=quote(name))
            )
            return
        read.append(read_job(text, name=name, overrides=asked.overrides, environment=around.environment))
        yield ok("job", f"{name} can be run")

    yield from reported("job", read_it, "compare it with `pixelmill schema` and jobs/examples")
    for job in read:
        found = [
            *reported("source", lambda job=job: stores.examine_source(job), "check its name and your credentials"),
            *reported("output", lambda job=job: stores.examine_output(job), "check its name and your credentials"),
        ]
        yield from found
        yield from reported("clock", lambda job=job: stores.examine_clock(job, around), "check the network")
        yield from reported(
            "plan", lambda job=job: _examine_plan(job, asked, around), "lower run.actors or run.num_gpus"
        )
        if not asked.is_quick and all(each.grade != "fault" for each in found):
            yield from reported(
                "first row",
                lambda: first_row.examine_first_row(name, asked.overrides, around),
                "run the job with --log-level debug",
            )


def _examine_plan(job: Job, asked: Asked, around: Surroundings) -> Iterator[Finding]:
    """The workers of the job, on the cluster where one is given by host and port, and here otherwise."""
    given = asked.address or job.spec.run.address
    if given and "://" in given:
        return  # a dashboard does not say which nodes there are
    from pixelmill.jobs.checks import nodes_of

    address = cluster.address_of(given, around.environment)
    nodes = None if address is None else nodes_of(address)
    plan = make_plan(job.spec.run, cluster.this_machine(), address, nodes)
    yield ok(
        "plan",
        f"{counted(plan.pool.actors, 'worker')} on {plan.device}; "
        f"each has {plan.pool.cpus:g} of Ray's CPUs, {counted(plan.pool.gpus, 'GPU')}",
    )

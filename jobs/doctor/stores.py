"""The stores of a job: reachable, writable, with conditional writes or without, and with a clock like ours."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from urllib.error import HTTPError

from pixelmill.jobs import checks
from pixelmill.jobs.doctor.findings import Finding, fault, ok, warning
from pixelmill.jobs.job import Job
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.pipelines.inputs.sources import Ignored, check, first_entries, nothing_found
from pixelmill.pipelines.stores.access import scheme_of
from pixelmill.pipelines.stores.explain import explained
from pixelmill.workers.credentials import scrub
from pixelmill.workers.wording import counted

LOOKED_AT = 1000
ANSWER_S = 10.0
FEW_S, MANY_S = 60.0, 300.0
"""Signatures are refused where clocks differ by 15 minutes; certificates and logs suffer before."""
AWS = "https://s3.amazonaws.com"


def examine_source(job: Job) -> Iterator[Finding]:
    source, ignored = job.source(job.open_out()), Ignored()
    check(source)
    with explained(", ".join(map(scrub, source.uris)), "listing the source"):
        found = first_entries(source, ignored, LOOKED_AT)
    if not found:
        raise nothing_found(source, ignored)
    more = "more than " if len(found) == LOOKED_AT else ""
    yield ok("source", f"{', '.join(map(scrub, source.uris))}: {more}{counted(len(found), 'input')}")


def examine_output(job: Job) -> Iterator[Finding]:
    """Writes a small file below `_run/` of a store, and removes it; on a local disk nothing is written."""
    out = job.open_out()
    checks.check_writable(out)
    checks.check_space(out, rows=LOOKED_AT)
    if out.is_local:
        yield ok("output", f"{out.uri}: may be written, with conditional writes")
        return
    out.check_writable()
    if out.is_fenced:
        yield ok("output", f"{out.uri}: may be written, with conditional writes")
    else:
        yield warning(
            "output",
            f"{out.uri}: the store ignores conditional writes, so that two attempts at once are bounded and not excluded",
            "let one scheduler alone start this job, or take a store that has them (AWS, GCS, Azure, R2, MinIO, Ceph)",
        )


def examine_clock(job: Job | None, around: Surroundings) -> Iterator[Finding]:
    """Our clock beside that of the store, from the header of any answer."""
    endpoint = _endpoint(job, around.environment)
    if endpoint is None:
        yield ok("clock", "no store of this job signs with the time")
        return
    date = _date_at(endpoint)
    if date is None:
        yield warning("clock", f"{endpoint} does not say what time it is", "compare `date -u` with another machine")
        return
    apart_s = around.now() - date
    if abs(apart_s) >= FEW_S:
        find = fault if abs(apart_s) >= MANY_S else warning
        yield find(
            "clock",
            f"is {abs(apart_s):,.0f} s {'ahead of' if apart_s > 0 else 'behind'} that of {endpoint}; 900 s are refused",
            "set it: timedatectl set-ntp true; a container has the clock of its machine",
        )
    else:
        yield ok("clock", f"within {max(1.0, abs(apart_s)):.0f} s of {endpoint}")


def _endpoint(job: Job | None, environment: Mapping[str, str]) -> str | None:
    if job is None or not any(
        scheme_of(uri) in {"s3", "s3a"} for uri in (*job.spec.source_uris, job.spec.out_options.uri)
    ):
        return None
    return environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or AWS


def _date_at(endpoint: str) -> float | None:
    """Seconds since 1970; a refusal has a date too."""
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            date = answer.headers.get("Date")
    except HTTPError as error:
        with error:
            date = error.headers.get("Date")
    return None if date is None else parsedate_to_datetime(date).timestamp()

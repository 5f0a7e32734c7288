"""Checks of a job that write nothing: a run makes them before it touches OUT, and so does `--dry-run`."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pixelmill.jobs.identity import resumed_source
from pixelmill.jobs.job import Job
from pixelmill.jobs.planning import Nodes, Plan, make_plan
from pixelmill.jobs.session import cluster, ray_api
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.pipelines.inputs.sources import Ignored, Source, check, first_entries, nothing_found
from pixelmill.pipelines.outputs.attempt import IDENTITY
from pixelmill.pipelines.outputs.columns import DATA
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.access import scheme_of
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.retries import retried, status_of
from pixelmill.workers.credentials import scrub
from pixelmill.workers.decoders import decoder_of
from pixelmill.workers.errors import JobError, RunRefused, StoreError, StoreRefusal
from pixelmill.workers.stages.model_checks import check_models

LEAST_ROW_BYTES = 200
PROBE, PROBE_FOR_S = "_run/.writable", 10.0
NOT_THERE = 404


@dataclass(frozen=True)
class Checked:
    """The result of the checks: the source in the spelling of the run that is resumed, and what the job needs at most.

    `nodes` are those of the cluster; None where the run starts a Ray of its own.
    """

    source: Source
    plan: Plan
    nodes: Nodes | None


def check_run(job: Job, out: Folder, around: Surroundings, *, retry: bool) -> Checked:
    """Make every check that is possible before anything is written or started. Raises PixelmillError with the fault."""
    with nothing_started():
        source = check_output(job, out, retry=retry)
        check_models(job.spec.configs, decoder_of(job.spec.source_options.decoder).kind)
        check_writable(out)
        if not retry:
            check_source(source, is_new=not was_listed(out))
        check_space(out, rows=1)
    check_port(job.spec.run.metrics_port)
    address = cluster.address_of(job.spec.run.address, around.environment)
    nodes = None if address is None else nodes_of(address)
    return Checked(source, make_plan(job.spec.run, cluster.this_machine(), address, nodes), nodes)


@contextmanager
def nothing_started() -> Generator[None]:
    """Within the block, raise StoreRefusal where a name in the job is wrong: another try would end so too.

    Rights may be granted and space be made meanwhile, so that those errors stay what they are.
    """
    try:
        yield
    except StoreError as error:
        cause = error.__cause__
        is_wrong = isinstance(cause, FileNotFoundError | FileExistsError | NotADirectoryError)
        if cause is not None and (is_wrong or status_of(cause) == NOT_THERE):
            raise StoreRefusal(str(error)) from error
        raise


def check_output(job: Job, out: Folder, *, retry: bool) -> Source:
    """The source in the spelling of the run that is resumed. Raises RunRefused where the folder holds something
    else."""
    with explained(out.uri, "reading the output folder"):
        stored = out.read(IDENTITY)
    if stored is not None:
        return resumed_source(out, stored, job.identity(), job.source(out), retry=retry)
    if retry:
        raise JobError(f"{out.uri}: holds no run of pixelmill, so there is nothing to retry")
    if out.names(DATA):
        raise RunRefused(f"{out.uri}/data holds files that no run of pixelmill wrote; choose another folder")
    return job.source(out)


def was_listed(out: Folder) -> bool:
    """Whether an earlier run found inputs."""
    with explained(out.uri, "reading what an earlier run made"):
        return bool(read_segments(out))


def check_source(source: Source, *, is_new: bool) -> None:
    """Raises StoreError where the source can't be listed, JobError where it overlaps the output or has no input."""
    check(source)
    if not is_new:  # the inputs that were listed before are enough to work on
        return
    ignored = Ignored()
    with explained(", ".join(map(scrub, source.uris)), "listing the source"):
        first = first_entries(source, ignored, 1)
    if not first:
        raise nothing_found(source, ignored)


def check_writable(out: Folder) -> None:
    """Raises StoreError where the folder can't be written, as far as a local disk or S3 shows it without a write."""
    with explained(out.uri, "writing to the output folder"):
        if out.is_local:
            _require_access(_nearest(out.path))
        elif scheme_of(out.uri) in {"s3", "s3a"}:
            _begin_upload(out)


def _nearest(path: str) -> Path:
    """The folder, or the nearest one above it that exists."""
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


def _require_access(place: Path) -> None:
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(place))
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))


def _begin_upload(out: Folder) -> None:
    """Begin a multipart upload and abort it: this needs the permission to write and creates no object."""
    bucket, _, key = f"{out.path}/{PROBE}".partition("/")
    for_s = min(PROBE_FOR_S, out.access.retry_for_s)
    begun = retried(lambda: out.store.call_s3("create_multipart_upload", Bucket=bucket, Key=key), for_s=for_s)
    with suppress(FileNotFoundError):  # it was aborted by a request whose answer was lost
        abort = partial(out.store.call_s3, "abort_multipart_upload", Bucket=bucket, Key=key, UploadId=begun["UploadId"])
        retried(abort, for_s=for_s)


def check_space(out: Folder, rows: int) -> None:
    """Raises JobError where a local disk has less space than so many rows take at least."""
    if not out.is_local:
        return
    free, least = shutil.disk_usage(_nearest(out.path)).free, rows * LEAST_ROW_BYTES + (1 << 20)
    if free < least:
        raise JobError(
            f"{out.uri}: {free >> 20:,} MB are free and at least {least >> 20:,} MB will be written; "
            "free some or choose another folder"
        )


def check_port(port: int | None) -> None:
    """Raises JobError where this port can't be served."""
    if port is None:
        return
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise JobError(f"run.metrics_port {port}: can't be served ({error.strerror}); choose another port") from error


def check_file(path: str) -> None:
    """Raises JobError where no file can be written under this name; its folder is created with the file."""
    place = Path(path)
    folder = _nearest(str(place.parent))
    if not path.strip() or place.is_dir():
        raise JobError(f"{path or 'an empty path'}: is a folder, not a file; choose another place")
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise JobError(f"{path}: can't be written, since {folder} can't; choose another place")


def nodes_of(address: str) -> Nodes:
    """The nodes of a cluster. Raises JobError where none answers."""

    def ask() -> Nodes:
        cluster.connect(address)
        try:
            return ray_api.nodes()
        finally:
            ray_api.shutdown()

    # On another thread, so that Ctrl-C does not interrupt it and Ray does not replace the handler of SIGTERM.
    with ThreadPoolExecutor(1, "ray") as thread:
        return thread.submit(ask).result()

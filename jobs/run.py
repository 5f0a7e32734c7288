"""One run of a bulk job: check, list, start, watch, account, commit; and the same for a retry."""

from __future__ import annotations

import json
import os
import platform
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TextIO

from pixelmill.jobs import checks
from pixelmill.jobs.session import cluster, minimal_ray
from pixelmill.jobs.session.holding import Holding
from pixelmill.jobs.session.ray_watchdog import Guard, run_mark
from pixelmill.jobs.session.resources import worker_memory_bytes
from pixelmill.jobs.spec import Job, absolute, spelled_before
from pixelmill.jobs.terminal.display import Terminal, View
from pixelmill.jobs.terminal.log_capture import chatter_to, log_file
from pixelmill.jobs.watch import Watch
from pixelmill.pipelines.bulk.mill import MillConfig
from pixelmill.pipelines.bulk.orders import Order, orders_for
from pixelmill.pipelines.bulk.reports import BulkReports
from pixelmill.pipelines.inputs.fetch import FetchLimits
from pixelmill.pipelines.inputs.relisting import as_now
from pixelmill.pipelines.inputs.sources import Source, nothing_found
from pixelmill.pipelines.outputs import ledger
from pixelmill.pipelines.outputs.attempt import IDENTITY, Attempt, pending
from pixelmill.pipelines.outputs.manifest import Known, Listing, Part, Segment, tables_of
from pixelmill.pipelines.placement import WorkerPool, shortfall
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import explain
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError, JobStopped, PixelmillError, RunRefused
from pixelmill.workers.stages import StageContext

LOG = "log.txt"
MIN_ROWS_FOR_FRACTION, ENOUGH_ROWS = 100, 1000

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


@dataclass(frozen=True)
class Surroundings:
    """What only the process knows: environment, clock, where to print, where settings are cached."""

    environment: dict[str, str]
    stderr: TextIO
    is_terminal: bool
    cache_dir: Path | None
    started_s: float
    quiet: bool = False


@dataclass
class Plan:
    """What a job needs, worked out before anything is started."""

    pool: WorkerPool
    threads: int
    decode_threads: int
    device: str
    address: str | None
    memory_bytes: int
    """What each worker may take in all."""


@dataclass
class Outcome:
    """How a run ended, for the caller and for the record of the attempt."""

    account: ledger.Account = field(default_factory=ledger.Account)
    added: int = 0
    removed: int = 0
    changed: int = 0
    duplicates: int = 0
    ignored: dict[str, int] = field(default_factory=dict)
    repaired: int = 0
    done_now: int = 0
    failed_now: int = 0
    written_bytes: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    busy_shares: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def make_plan(job: Job, machine: cluster.Machine, address: str | None, resources: dict[str, float] | None) -> Plan:
    """Workers and what each gets. `resources` are a cluster's; None plans for a Ray of its own on this machine.

    JobError, with figures, when there is not enough for one worker.
    """
    run = job.spec.run
    cores = int(resources.get("CPU", 0)) if resources is not None else machine.cores
    gpus = resources.get("GPU", 0.0) if resources is not None else float(machine.gpus)
    gpus_each = (1.0 if gpus >= 1 else 0.0) if run.num_gpus == "auto" else run.num_gpus
    actors = run.actors if run.actors != "auto" else _pool_size(cores, gpus, gpus_each)
    # With GPUs the cores decode for them, and one is left to publish.
    cpus_each = (
        run.cpus_per_actor if run.cpus_per_actor != "auto" else max(1, (cores - 1) // actors) if gpus_each else 1
    )
    pool = WorkerPool(actors, cpus_each, gpus_each)
    available = {"CPU": float("inf") if resources is None else float(cores), "GPU": gpus}
    if lack := shortfall(pool, available):
        raise JobError(f"run: {actors} workers can't be placed: {lack}; lower run.actors or run.num_gpus")
    decode = run.decode_threads if run.decode_threads != "auto" else int(max(1, cpus_each)) if gpus_each else 0
    threads = max(1, cores // actors) if not gpus_each and resources is None else max(1, int(cpus_each))
    memory_bytes = worker_memory_bytes(run.memory_gb, actors, machine, resources)
    return Plan(pool, threads, decode, "cuda" if gpus_each else "cpu", address, memory_bytes)


def _pool_size(cores: int, gpus: float, gpus_each: float) -> int:
    return max(1, int(gpus // gpus_each)) if gpus_each else max(1, cores)


class Run:
    """A job on its way. `execute` does it once; whatever happens, what was finished stays."""

    def __init__(self, job: Job, around: Surroundings) -> None:
        self.job = job
        self.around = around
        options, source = job.spec.out_options, job.spec.source_options
        access = Access(options.profile, timeout_s=source.timeout_s, retry_for_s=source.retry_for_s)
        self.out = Folder(absolute(options.uri), access)
        self.source = Source(
            tuple(absolute(uri) for uri in job.spec.source_uris),
            source.format,
            source.pattern,
            source.column,
            source.limit,
            Access(source.profile, source.anon, source.timeout_s, source.retry_for_s),
            exclude=self.out.uri,
        )
        self.outcome = Outcome()
        self.view = View()
        self._marks = [("start", around.started_s)]
        self._before = (0, 0)
        self.rows = 0

    def mark(self, name: str) -> None:
        """Note what the time since the last mark went to."""
        now = time.time()
        self.outcome.seconds[name] = round(self.outcome.seconds.get(name, 0) + now - self._marks[-1][1], 3)
        self._marks.append((name, now))

    def execute(self, *, retry: bool = False) -> Outcome:
        """Do the job, or what failed of it once more. Raises PixelmillError, or KeyboardInterrupt."""
        with log_file() as log, chatter_to(log) as stderr:
            terminal = Terminal(stderr, is_terminal=self.around.is_terminal, quiet=self.around.quiet)
            with terminal:
                terminal.show(self.view)
                self.check(retry=retry)
            with _explained(self.out.uri, "writing to the output folder"):
                self.out.check_writable()
            with Holding(self.out, "retry" if retry else "run", terminal.say) as held:
                self._held = held
                self._guard = Guard(lambda dead: self._end_at_once(dead, log, terminal), run_mark())
                self._attempt(retry, terminal, log)
        return self.outcome

    def _attempt(self, retry: bool, terminal: Terminal, log: Path) -> None:
        """Work under the claim, and record how it ended."""
        error: BaseException | None = None
        try:
            with terminal:
                self._work(retry, terminal)
        except BaseException as raised:
            error = self._held.loss_behind(raised)
            traceback.print_exc()
            if error is raised:
                raise
            raise error from raised
        finally:
            self._record(error, log)

    def check(self, *, retry: bool = False) -> Plan:
        """All that can be wrong before anything is written or started: PixelmillError, or else what the job needs."""
        self.check_store(retry)
        checks.check_writable(self.out)
        if not retry:
            checks.check_source(self.source, is_new=not checks.was_listed(self.out))
        checks.check_space(self.out, rows=1)
        address = cluster.address_of(self.job.spec.run.address, self.around.environment)
        resources = None if address is None else checks.resources_of(address)
        plan = make_plan(self.job, cluster.this_machine(), address, resources)
        self.mark("check")
        return plan

    def check_store(self, retry: bool) -> None:
        """Everything that can be known of the output before anything is started or written."""
        try:
            stored = self.out.read(IDENTITY)
        except Exception as error:
            raise explain(error, self.out.uri, "reading the output folder") from error
        if stored is None and retry:
            raise JobError(f"{self.out.uri}: holds no run of pixelmill, so there is nothing to retry")
        if stored is not None:
            self._require_same(stored, retry)
        elif self.out.names(ledger.DATA):
            raise RunRefused(f"{self.out.uri}/data holds files that no run of pixelmill wrote; choose another folder")

    def _require_same(self, stored: bytes, retry: bool) -> None:
        there, here = json.loads(stored), self.job.identity()
        self._spell_as_before(there, here)
        if retry:  # it may allow for larger inputs than the run did, but it makes the same of them
            there, here = {"stages": there["stages"]}, {"stages": here["stages"]}
        ledger.require_same(there, here, self.out)

    def _spell_as_before(self, there: dict[str, Any], here: dict[str, Any]) -> None:
        """List the same place under the names of the run that goes on: another spelling would make other ids."""
        if (uris := spelled_before(there, self.source.uris)) is not None:
            self.source = replace(self.source, uris=uris)
            here["source"] |= {key: there["source"][key] for key in ("uri", "uri_sha256")}

    def _work(self, retry: bool, terminal: Terminal) -> None:
        row_bytes = sum(config.row_bytes() for config in self.job.spec.configs)
        attempt = Attempt(self.out, self._held, row_bytes, self.job.spec.out_options.file_mb << 20)
        with _explained(self.out.uri, "reading what an earlier run made"):
            segments, self.outcome.repaired = attempt.resume()
            held = ledger.progress(self.out)
            self._weights = self._weights_so_far(held)
        is_finished = bool(segments) and all(held.is_done(p) for s in segments for p in s.parts())
        self.view.phase = "reading what an earlier run made" if segments else "listing"
        terminal.show(self.view)
        with self._ray(early=not is_finished or retry) as connect:
            if not is_finished:
                self.view.phase = "starting Ray"
                import pixelmill.pipelines.bulk.graph  # noqa: F401  # pyright: ignore[reportUnusedImport]  while Ray starts: importing ray.data takes as long as a short job
            with _explained(self.out.uri, "writing to the output folder"):
                spec = None if retry else self.job.to_yaml()
                attempt.sign(self.job.identity(), lambda stored: self._require_same(stored, retry), spec)
            self.view.phase = "listing"
            with _explained(self.out.uri, "writing the manifest"):
                segments = (
                    attempt.list_failed(segments, lambda rows: as_now(rows, self.source))
                    if retry
                    else self._list(attempt, segments)
                )
                segments = attempt.seal(segments)
            parts = pending(segments, held, retry=retry)
            self._show_pending(segments, parts, held, retry)
            if parts:
                self._held.require()
                self._mill(orders_for(parts), segments, connect(), terminal)
        with _explained(self.out.uri, "accounting for what was made"):
            ledger.settle(self.out, segments)
            self._commit(attempt, segments, terminal, retry=retry)

    def _weights_so_far(self, held: ledger.Progress) -> dict[str, str | None] | None:
        if not held.data:
            return None
        stored = ledger.provenance_of(self.out, min(held.data))
        return stored.get("weights")  # type: ignore[return-value]

    # Listing

    def _list(self, attempt: Attempt, segments: list[Segment]) -> list[Segment]:
        """Add what is new in the source to the manifest. JobError where there is no input at all."""
        where, outcome = ", ".join(map(scrub, self.source.uris)), self.outcome

        def tables(listing: Listing, known: Known) -> Iterator[Any]:
            return _each_explained(map(self._seen, tables_of(self.source, listing, known)), where, "listing the source")

        segments, listing, known = attempt.list_new(segments, tables)
        outcome.added, outcome.duplicates = listing.rows, listing.duplicates
        outcome.removed, outcome.changed = known.removed, known.changed
        outcome.ignored = dict(listing.ignored.by_suffix)
        self.mark("list")
        if not segments:
            raise nothing_found(self.source, listing.ignored)
        return segments

    def _seen(self, table: Any) -> Any:
        self.view.found += table.num_rows
        return table

    def _show_pending(self, segments: list[Segment], parts: list[Part], held: ledger.Progress, retry: bool) -> None:
        if retry:
            self.view.total = sum(part.rows for part in parts)
            return
        first = [part for segment in segments if not segment.supersedes for part in segment.parts()]
        self.view.total = sum(part.rows for part in first)
        self.view.done = sum(part.rows for part in first if held.is_done(part))
        if self.view.done and parts:
            self.view.failed = sum(t.num_rows for name, t in ledger.failures(self.out) if name in held.data)
            self.view.done -= self.view.failed

    # Ray

    @contextmanager
    def _ray(self, *, early: bool) -> Iterator[Callable[[], Plan]]:
        """Gives a function that returns the plan once Ray is there; Ray starts at once where work is to be expected."""
        cluster.remove_stale()
        address = cluster.address_of(self.job.spec.run.address, self.around.environment)
        folder: Path | None = None
        with ThreadPoolExecutor(1, "ray") as thread:
            started: Future[tuple[Plan, Path | None]] | None = (
                thread.submit(self._start_ray, address) if early else None
            )

            def connect() -> Plan:
                nonlocal started, folder
                started = started or thread.submit(self._start_ray, address)
                if not started.done():
                    self.view.phase = "starting Ray"
                plan, folder = started.result()
                if "ray" not in self.outcome.seconds:
                    self.mark("ray")
                return plan

            try:
                yield connect
            finally:
                if started is not None:
                    with suppress(Exception):
                        _, folder = started.result()
                    self._stop_ray(folder)

    def _start_ray(self, address: str | None) -> tuple[Plan, Path | None]:
        machine = cluster.this_machine()
        if address is None:
            plan = make_plan(self.job, machine, None, None)
            self._guard.start()
            return plan, cluster.start_local(plan.pool, machine, os.environ)
        cluster.connect(address)
        import ray

        return make_plan(self.job, machine, address, dict(ray.cluster_resources())), None

    def _stop_ray(self, folder: Path | None) -> None:
        cluster.stop(self._guard, folder)

    def _end_at_once(self, dead: str, log: Path, terminal: Terminal) -> None:
        """Ray's `dead` died: from here on every call of Ray hangs, or ends this process without a word."""
        error = self._held.loss_behind(
            JobStopped(
                f"Ray's {dead} died, killed from outside or out of memory; what was finished stays, "
                "and the same command goes on from there"
            )
        )
        terminal.end(f"pixelmill: {error}")
        self._record(error, log)
        cluster.remove_all(self._guard)
        os._exit(EXIT_FAILED)

    # Work

    def _mill(self, orders: tuple[Order, ...], segments: list[Segment], plan: Plan, terminal: Terminal) -> None:
        from pixelmill.pipelines.bulk import graph
        from pixelmill.pipelines.progress import ProgressStore

        rows = sum(part.rows for order in orders for part in order.parts)
        self.rows = rows
        checks.check_space(self.out, rows)
        source, out = self.job.spec.source_options, self.job.spec.out_options
        context = StageContext(plan.device, plan.threads, rows // plan.pool.actors, self.around.cache_dir)
        config = MillConfig(
            out=self.out.uri,
            out_access=self.out.access,
            source_access=self.source.access,
            column=source.column,
            segments=tuple(segments),
            stages=self.job.spec.configs,
            context=context,
            fetch=FetchLimits(in_flight=source.in_flight, max_bytes=source.max_bytes),
            max_pixels=source.max_pixels,
            decode_threads=plan.decode_threads,
            weights=self._weights,
            memory_bytes=plan.memory_bytes,
            stall_s=self.job.spec.run.stall_s,
        )
        compression = ledger.Compression(out.compression, row_group_bytes=out.row_group_mb << 20)
        store = ProgressStore()
        self._before = (self.view.done, self.view.failed)
        self.view.phase, self.view.beside = "starting the workers", plan.decode_threads
        lean = minimal_ray.without_helpers() if plan.address is None else nullcontext()
        try:
            with lean, Watch(self, BulkReports(store), terminal, plan.pool) as watch:
                bulk_job = graph.BulkJob(config, plan.pool, orders, self._held.claim, compression)
                for published in beside(graph.run(bulk_job, store), lambda: self._go_on(watch)):
                    if "first_result" not in self.outcome.seconds:
                        self.mark("first_result")
                    self._add(published)
                    watch.judge(self.outcome.done_now, self.outcome.failed_now)
        except Exception as error:
            if (cause := graph.cause_of(error)) is error:
                raise
            raise cause from None  # a sentence of ours says it all
        self.mark("work")

    def _go_on(self, watch: Watch) -> None:
        """JobStopped where too much fails, or another attempt has taken over."""
        watch.raise_if_stopped()
        self._held.raise_if_lost()

    def _add(self, published: Any) -> None:
        outcome = self.outcome
        outcome.done_now += published.done
        outcome.failed_now += published.failed
        outcome.written_bytes += published.written_bytes
        outcome.settings = published.settings or outcome.settings

    def goes_wrong(self, done: int, failed: int) -> bool:
        """Whether the job should stop itself: too many of the rows seen in this attempt fail, and some are left."""
        seen = done + failed
        # Broken files lie together: a handful at the start of a listing says little of the rest of a small archive.
        least = self.job.spec.run.max_failed_fraction * max(seen, min(self.rows, ENOUGH_ROWS))
        return MIN_ROWS_FOR_FRACTION <= seen < self.rows and failed > least

    def why_it_stops(self, tally: Any) -> str:
        most = self.job.spec.run.max_failed_fraction
        commonest = tally.reasons.most_common(3)
        lines = [f"  {count:,} {stage}/{kind}, as {tally.examples[stage, kind]}" for (stage, kind), count in commonest]
        return (
            f"{tally.failed:,} of the first {tally.done + tally.failed:,} inputs failed, "
            f"more than run.max_failed_fraction = {most:g}:\n"
            + "\n".join(lines)
            + "\nwhat was finished stays; mend the cause and run the same command again, or raise the fraction"
        )

    # The end

    def _commit(self, attempt: Attempt, segments: list[Segment], terminal: Terminal, *, retry: bool) -> None:
        """Hold what was made against the manifest, and say so in _SUCCESS when every input is accounted for."""
        outcome = self.outcome
        if outcome.done_now or outcome.failed_now:  # the reports may have missed the last second
            self.view.done, self.view.failed = self._before[0] + outcome.done_now, self._before[1] + outcome.failed_now
        self.view.phase = "accounting"
        terminal.show(self.view)
        found = ledger.account(self.out, segments)
        self.outcome.account = found
        self.mark("account")
        if retry and found.is_exact_so_far and not found.is_complete:
            raise JobStopped(
                f"{self.out.uri}: {found.missing:,} of {found.listed:,} inputs were never done, and a retry does only what "
                f"failed ({found.failed:,} left); the command that made the run goes on with the others"
            )
        if not found.is_exact:
            raise PixelmillError(
                f"{self.out.uri}: the output does not add up: {found.listed:,} inputs, {found.done:,} done, "
                f"{found.failed:,} failed, {found.missing:,} missing, {found.twice:,} twice, {found.unknown:,} unknown; "
                "run the same command again, and report this if it stays"
            )
        success = {
            "inputs": found.listed,
            "done": found.done,
            "failed": found.failed,
            "reasons": {f"{stage}/{kind}": count for (stage, kind), count in found.reasons.most_common()},
            "identity": json.loads(self.out.read(IDENTITY) or b"{}"),
            "weights": self._weights_so_far(ledger.progress(self.out)),
            "parts": sum(len(segment.part_rows) for segment in segments),
            "segments": len(segments),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": self.outcome.seconds,
        }
        attempt.succeed(success)

    def _record(self, error: BaseException | None, log: Path) -> None:
        outcome, now = self.outcome, time.time()
        started = self._marks[0][1]
        working_s = outcome.seconds.get("first_result", 0.0) + outcome.seconds.get("work", 0.0)
        record = {
            "attempt": self._held.claim.epoch,
            "conditional_writes": self.out.is_fenced,
            "started_at": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
            "seconds_total": round(now - started, 3),
            "seconds": outcome.seconds,
            "host": socket.gethostname(),
            "versions": versions(),
            "ended": "complete" if error is None else type(error).__name__,
            "error": None if error is None else scrub(str(error))[:2000],
            "done": outcome.done_now,
            "failed": outcome.failed_now,
            "written_bytes": outcome.written_bytes,
            "images_per_s": round((outcome.done_now + outcome.failed_now) / working_s, 2) if working_s else None,
            "repaired": outcome.repaired,
            "listing": {k: getattr(outcome, k) for k in ("added", "removed", "changed", "duplicates", "ignored")},
            "settings": outcome.settings,
            "busy_shares": outcome.busy_shares,
        }
        sys.stdout.flush()
        sys.stderr.flush()
        with suppress(Exception):  # the error that is under way says more
            text = scrub(log.read_text(encoding="utf-8", errors="replace"))
            self.out.publish(f"{self._held.claim.folder}/{LOG}", text.encode())
        self._held.release(record)


@contextmanager
def _explained(uri: str, doing: str) -> Iterator[None]:
    """What a store does wrong, as a sentence of ours."""
    try:
        yield
    except PixelmillError:
        raise
    except Exception as error:
        raise explain(error, uri, doing) from error


def _each_explained(tables: Iterable[Any], uri: str, doing: str) -> Iterator[Any]:
    with _explained(uri, doing):
        yield from tables


def beside(results: Iterator[Any], check: Callable[[], None]) -> Iterator[Any]:
    """The results, waited for on a thread of their own, so that `check` may raise and Ctrl-C is heard meanwhile."""
    queue: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
    over = object()

    def consume() -> None:
        try:
            for result in results:
                queue.put((result, None))
            queue.put((over, None))
        except BaseException as error:
            queue.put((over, error))

    threading.Thread(target=consume, name="results", daemon=True).start()
    while True:
        check()
        try:
            result, error = queue.get(timeout=0.25)
        except Empty:
            continue
        if error is not None:
            raise error
        if result is over:
            return
        yield result


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("pixelmill", "ray", "torch", "torchvision", "pyarrow"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found

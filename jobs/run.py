"""One run of a bulk job: check, list, start, watch, account, commit; and the same for a retry."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TextIO

from jobs import cluster, thrift
from jobs.guard import Guard
from jobs.lock import Lock
from jobs.quiet import chatter_to, log_file
from jobs.resources import worker_memory_bytes
from jobs.spec import Job, absolute
from jobs.terminal import Rate, Terminal, View, duration
from pipelines import ledger
from pipelines.deaths import Troubles
from pipelines.fetch import FetchLimits
from pipelines.manifest import Known, Listing, Segment, plan_parts, read_segments, tables_of, texts
from pipelines.mill import MillConfig
from pipelines.orders import Order, Pool, orders_for, retry_orders, shortfall
from pipelines.sources import Source, check
from pipelines.stores import Access, Folder, explain, scheme_of, scrub
from workers.errors import JobError, JobStopped, PixelmillError, RunRefused
from workers.stages import StageContext

IDENTITY, SPEC, ATTEMPTS, LOGS = "_run/identity.json", "_run/spec.yaml", "_run/attempts", "_run/logs"
MIN_ROWS_FOR_FRACTION, ENOUGH_ROWS = 100, 1000
LEAST_ROW_BYTES = 200

EXIT_COMPLETE, EXIT_FAILED, EXIT_BAD_JOB, EXIT_WITH_FAILURES, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


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

    pool: Pool
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
    reconciled: int = 0
    done_now: int = 0
    failed_now: int = 0
    written_bytes: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    busy_shares: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        return EXIT_WITH_FAILURES if self.account.failed else EXIT_COMPLETE


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
    pool = Pool(actors, cpus_each, gpus_each)
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
        self._finished: set[str] = set()
        self._again: dict[str, tuple[str, str, str]] = {}

    def mark(self, name: str) -> None:
        """Note what the time since the last mark went to."""
        now = time.time()
        self.outcome.seconds[name] = round(self.outcome.seconds.get(name, 0) + now - self._marks[-1][1], 3)
        self._marks.append((name, now))

    def execute(self, *, retry: bool = False) -> Outcome:
        """Do the job, or what failed of it once more. Raises PixelmillError, or KeyboardInterrupt."""
        self.check_store(retry)
        if not retry:
            check(self.source)
        with log_file() as log, chatter_to(log) as stderr, Lock(self.out) as lock:
            attempt = self._next_attempt()
            terminal = Terminal(stderr, is_terminal=self.around.is_terminal, quiet=self.around.quiet)
            self._guard = Guard(
                lambda dead: self._end_at_once(dead, attempt, log, terminal, lock), cluster.folder_prefix()
            )
            error: BaseException | None = None
            try:
                with terminal:
                    self._work(retry, terminal, attempt)
            except BaseException as raised:
                error = raised
                traceback.print_exc()
                raise
            finally:
                with suppress(Exception):  # the error that is under way says more
                    self._record(attempt, error, log)
        return self.outcome

    def check_store(self, retry: bool) -> None:
        """Everything that can be known of the output before anything is started."""
        try:
            stored = self.out.read(IDENTITY)
        except Exception as error:
            raise explain(error, self.out.uri, "reading the output folder") from error
        if stored is None and retry:
            raise JobError(f"{self.out.uri}: holds no run of pixelmill, so there is nothing to retry")
        identity = self.job.identity()
        if stored is not None:
            there, here = json.loads(stored), identity
            if retry:  # it may allow for larger inputs than the run did, but it makes the same of them
                there, here = {"stages": there["stages"]}, {"stages": here["stages"]}
            ledger.require_same(there, here, self.out)
        if stored is None and self.out.names(ledger.DATA):
            raise RunRefused(f"{self.out.uri}/data holds files that no run of pixelmill wrote; choose another folder")
        with _explained(self.out.uri, "writing to the output folder"):
            self.out.check_writable()
            if not retry:
                self.out.publish(SPEC, self.job.to_yaml().encode())
            if stored is None:
                self.out.publish(IDENTITY, json.dumps(identity, indent=1).encode())
        self.mark("check")

    def _work(self, retry: bool, terminal: Terminal, attempt: int) -> None:
        with _explained(self.out.uri, "reading what an earlier run made"):
            segments = read_segments(self.out)
            self.outcome.reconciled = ledger.reconcile(self.out)
            held = ledger.progress(self.out)
            self._weights = self._weights_so_far(held)
        is_finished = bool(segments) and all(held.is_done(p) for s in segments for p in s.parts())
        self.view.phase = "listing"
        terminal.show(self.view)
        with self._ray(early=not is_finished or retry) as connect:
            if not is_finished:
                import pipelines.bulk  # noqa: F401  # pyright: ignore[reportUnusedImport]  while Ray starts: importing ray.data takes as long as a short job
            if not retry:
                segments = self._list(segments, lambda: connect().pool.actors)
            self.view.total = sum(segment.rows for segment in segments)
            orders = self._retry_orders(segments, attempt, held) if retry else self._pending(segments, held)
            if orders:
                self._mill(orders, segments, connect(), terminal, retry=retry)
        with _explained(self.out.uri, "accounting for what was made"):
            if retry:
                ledger.settle(self.out, frozenset(self._finished), self._again)
            self._commit(segments, terminal, retry=retry)

    def _weights_so_far(self, held: ledger.Progress) -> dict[str, str | None] | None:
        if not held.data:
            return None
        stored = ledger.provenance_of(self.out, min(held.data))
        return stored.get("weights")  # type: ignore[return-value]

    # Listing

    def _list(self, segments: list[Segment], actors: Callable[[], int]) -> list[Segment]:
        """Add what is new in the source to the manifest."""
        known = Known(self.out, segments)
        listing = Listing(self.out, len(segments))
        tables = (table for table in tables_of(self.source, listing, known) if table.num_rows)
        with _explained(self.out.uri, "writing the manifest"):
            listing.write(_each_explained(tables, ", ".join(map(scrub, self.source.uris)), "listing the source"))
        outcome = self.outcome
        outcome.added, outcome.duplicates = listing.rows, listing.duplicates
        outcome.removed, outcome.changed = known.removed, known.changed
        outcome.ignored = dict(listing.ignored.by_suffix)
        self.mark("list")
        if listing.rows == 0 and segments:
            return segments
        if listing.rows == 0:
            raise JobError(
                f"source {', '.join(map(scrub, self.source.uris))}: no input was found; "
                f"{sum(listing.ignored.by_suffix.values()):,} files are there that source.format and source.pattern leave out"
            )
        options = self.job.spec.out_options
        part_rows = plan_parts(
            listing.rows,
            workers=actors(),
            row_bytes=sum(config.row_bytes() for config in self.job.spec.configs),
            file_bytes=options.file_mb << 20,
        )
        first_part = sum(len(segment.part_rows) for segment in segments)
        with _explained(self.out.uri, "writing the manifest"):
            return [*segments, listing.commit(part_rows, first_part)]

    def _pending(self, segments: list[Segment], held: ledger.Progress) -> tuple[Order, ...]:
        parts = [part for segment in segments for part in segment.parts()]
        pending = [part for part in parts if not held.is_done(part)]
        finished = [part for part in parts if held.is_done(part)]
        self.view.done = sum(part.rows for part in finished)
        if finished and pending:
            failed = sum(t.num_rows for name, t in ledger.failures(self.out) if name in held.data)
            self.view.failed, self.view.done = failed, self.view.done - failed
        return orders_for(pending)

    def _retry_orders(self, segments: list[Segment], attempt: int, held: ledger.Progress) -> tuple[Order, ...]:
        parts = {part.name: part for segment in segments for part in segment.parts()}
        failed = {name.removesuffix(".parquet"): texts(t["id"]) for name, t in ledger.failures(self.out)}
        failed = {name: ids for name, ids in failed.items() if ids and name in parts and held.is_done(parts[name])}
        self.view.total = sum(map(len, failed.values()))
        taken = {int(name[6:9]) for name in held.retries}
        return retry_orders(parts, failed, attempt=max([*taken, attempt - 1]) + 1)

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

    def _end_at_once(self, dead: str, attempt: int, log: Path, terminal: Terminal, lock: Lock) -> None:
        """Ray's `dead` died: from here on every call of Ray hangs, or ends this process without a word."""
        error = JobStopped(
            f"Ray's {dead} died, killed from outside or out of memory; what was finished stays, "
            "and the same command goes on from there"
        )
        terminal.end(f"pixelmill: {error}")
        with suppress(Exception):
            self._record(attempt, error, log)
        lock.release()
        cluster.remove_all(self._guard)
        os._exit(EXIT_FAILED)

    # Work

    def _mill(
        self, orders: tuple[Order, ...], segments: list[Segment], plan: Plan, terminal: Terminal, *, retry: bool
    ) -> None:
        from pipelines import bulk

        rows = sum(len(o.ids) if o.ids is not None else sum(p.rows for p in o.parts) for o in orders)
        self.rows = rows
        self._check_space(rows)
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
        board = bulk.Board(uuid.uuid4().hex)
        self._before = (self.view.done, self.view.failed)
        self.view.phase, self.view.workers = "loading the network", plan.pool.actors
        lean = thrift.without_helpers() if plan.address is None else nullcontext()
        try:
            with lean, _Watch(self, board, terminal) as watch:
                bulk_job = bulk.BulkJob(config, plan.pool, orders, retry, compression)
                for published in beside(bulk.run(bulk_job, board), watch.raise_if_stopped):
                    if "first_result" not in self.outcome.seconds:
                        self.mark("first_result")
                    self._add(published)
                    watch.judge(self.outcome.done_now, self.outcome.failed_now)
        except Exception as error:
            if (cause := bulk.cause_of(error)) is error:
                raise
            raise cause from None  # a sentence of ours says it all
        self.mark("work")

    def _check_space(self, rows: int) -> None:
        """A local disk that can't hold the output is found out before the work and not after it."""
        if scheme_of(self.out.uri) != "file":
            return
        free, least = shutil.disk_usage(self.out.path).free, rows * LEAST_ROW_BYTES + (1 << 20)
        if free < least:
            raise JobError(
                f"{self.out.uri}: {free >> 20:,} MB are free and at least {least >> 20:,} MB will be written; "
                "free some or choose another folder"
            )

    def _add(self, published: Any) -> None:
        outcome = self.outcome
        outcome.done_now += published.done
        outcome.failed_now += published.failed
        outcome.written_bytes += published.written_bytes
        outcome.settings = published.settings or outcome.settings
        self._finished.update(published.finished)
        self._again.update(published.failures)

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

    def _commit(self, segments: list[Segment], terminal: Terminal, *, retry: bool) -> None:
        """Hold what was made against the manifest, and say so in _SUCCESS when every input is accounted for."""
        outcome = self.outcome
        if outcome.done_now or outcome.failed_now:  # the board may have missed the last second
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
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": self.outcome.seconds,
        }
        self.out.publish(ledger.SUCCESS, json.dumps(success, indent=1).encode())

    def _next_attempt(self) -> int:
        return len([name for name in self.out.names(ATTEMPTS) if name.endswith(".json")]) + 1

    def _record(self, attempt: int, error: BaseException | None, log: Path) -> None:
        outcome, now = self.outcome, time.time()
        started = self._marks[0][1]
        working_s = outcome.seconds.get("first_result", 0.0) + outcome.seconds.get("work", 0.0)
        record = {
            "attempt": attempt,
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
            "listing": {k: getattr(outcome, k) for k in ("added", "removed", "changed", "duplicates", "ignored")},
            "settings": outcome.settings,
            "busy_shares": outcome.busy_shares,
        }
        self.out.publish(f"{ATTEMPTS}/{attempt:04d}.json", json.dumps(record, indent=1).encode())
        sys.stdout.flush()
        sys.stderr.flush()
        text = scrub(log.read_text(encoding="utf-8", errors="replace"))
        self.out.publish(f"{LOGS}/{attempt:04d}.log", text.encode())


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


class _Watch:
    """Follows the board while the graph runs: shows it, and notes when the job should stop itself."""

    def __init__(self, run: Run, board: Any, terminal: Terminal) -> None:
        self._run, self._board, self._terminal = run, board, terminal
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)
        self._rate, self._base = Rate(), (run.view.done, run.view.failed)
        self._troubles = Troubles(run.view.workers)
        self._why: str | None = None

    def __enter__(self) -> _Watch:
        self._terminal.show(self._run.view)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=5)
        with suppress(Exception):
            self._board.clear()
        self._run.outcome.busy_shares = {k: round(v, 3) for k, v in self._run.view.busy_shares().items()}
        self.raise_if_stopped()

    def raise_if_stopped(self) -> None:
        outcome = self._run.outcome
        if self._why is not None and outcome.done_now + outcome.failed_now < self._run.rows:
            raise JobStopped(self._why)

    def judge(self, done: int, failed: int) -> None:
        """Whether the job should stop itself by what is published: a short one may be over before the next look at the board."""
        self._troubles.order_finished()
        if self._why is None and self._run.goes_wrong(done, failed):
            with suppress(Exception):  # without the board there is nothing to say why
                self._why = self._run.why_it_stops(self._board.read())

    def _follow(self) -> None:
        began_s: float | None = None
        while not self._over.wait(0.5):
            with suppress(Exception):  # nothing but the display depends on the board
                self._hear()
                tally = self._board.read()
                seen = tally.done + tally.failed
                if seen and began_s is None:
                    began_s = time.monotonic()
                self._show(tally, time.monotonic() - began_s if began_s else 0.0)
                if self._run.goes_wrong(tally.done, tally.failed):
                    self._why = self._run.why_it_stops(tally)
                    return

    def _hear(self) -> None:
        """Say which workers died or devices failed; too many of them end the run."""
        for line in self._troubles.hear(self._board.events(), self._board.starts()):
            self._terminal.say(line)
        self._why = self._why or self._troubles.why()

    def _show(self, tally: Any, working_s: float) -> None:
        view = self._run.view
        view.done, view.failed = self._base[0] + tally.done, self._base[1] + tally.failed
        view.reasons, view.busy_s, view.working_s = tally.reasons, tally.busy_s, working_s
        view.images_per_s = self._rate.update(tally.done + tally.failed)
        view.phase = "milling" if working_s else view.phase
        self._terminal.show(view)


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


def summary_of(outcome: Outcome, uri: str) -> str:
    """What a person reads when a run is over."""
    account, seconds = outcome.account, outcome.seconds
    work_s = seconds.get("work", 0) + seconds.get("first_result", 0)
    lines = [f"{account.done:,} done, {account.failed:,} failed of {account.listed:,} inputs in {uri}"]
    if outcome.done_now:
        lines.append(
            f"{outcome.done_now + outcome.failed_now:,} in this run in {duration(sum(seconds.values()))}, "
            f"{(outcome.done_now + outcome.failed_now) / max(work_s, 1e-9):,.1f} images/s once Ray was up"
        )
    else:
        lines.append("nothing was left to do")
    for (stage, kind), count in account.reasons.most_common():
        lines.append(f"  failed: {count:,} {stage}/{kind}")
    if outcome.removed or outcome.changed:
        lines.append(
            f"since it was listed, {outcome.removed:,} inputs are gone and {outcome.changed:,} have changed; their rows stay"
        )
    if outcome.duplicates:
        lines.append(f"{outcome.duplicates:,} inputs were named more than once and are done once")
    if outcome.ignored:
        kinds = ", ".join(
            f"{count:,} {suffix}" for suffix, count in sorted(outcome.ignored.items(), key=lambda i: -i[1])[:5]
        )
        lines.append(f"ignored, not images by name: {kinds}")
    lines.append(f"see it with: pixelmill inspect {uri}")
    return "\n".join(lines)

"""One attempt at a bulk job, from the check to _SUCCESS: list, mill what is pending, account, commit.

    bucket --list--> manifest --mill--> data/ and failed/ --account--> _SUCCESS

Whatever ends an attempt, what was finished stays, and the next one does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from pixelmill.jobs import checks
from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.finishing import finish
from pixelmill.jobs.identity import resumed_source
from pixelmill.jobs.job import Job
from pixelmill.jobs.milling import Milling
from pixelmill.jobs.outcome import Ending, Outcome, Stopwatch, record_of
from pixelmill.jobs.planning import Nodes, Plan, make_plan
from pixelmill.jobs.session import cluster
from pixelmill.jobs.session.limits import Allowance
from pixelmill.jobs.session.ray_session import PrivateRay, RayPlace, RaySession
from pixelmill.jobs.session.session import JobKind, Session, session
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.terminal.screen import screen
from pixelmill.pipelines.events import InputsFound
from pixelmill.pipelines.inputs.relisting import as_now
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs import completion
from pixelmill.pipelines.outputs.accounting import account
from pixelmill.pipelines.outputs.attempt import Attempt, pending
from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.outputs.completion import Counted, Weights
from pixelmill.pipelines.outputs.contents import Contents, progress
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.outputs.settling import settle
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.decoders import decoder_of
from pixelmill.workers.stages.wiring import output_row_bytes

LOG = "log.txt"
RAY_DIED = (
    "Ray's {dead} died, killed from outside or out of memory; what was finished stays, "
    "and the same command resumes from there"
)


def run_job(job: Job, around: Surroundings, *, retry: bool = False) -> Outcome:
    """Do the job, or what failed of it once more. Raises PixelmillError, or KeyboardInterrupt."""
    outcome, out = Outcome(), job.open_out()
    stopwatch = Stopwatch(around.started_s, outcome.seconds, around.now)
    doing = "retry" if retry else "run"
    with screen(around) as shown:
        events = EventStream(shown.terminal, doing, around.now)
        with shown.terminal:
            source = checks.check_run(job, out, around, retry=retry).source
        stopwatch.mark("check")
        with explained(out.uri, "writing to the output folder"):
            out.check_writable()

        def record(ending: Ending) -> Mapping[str, object]:
            return record_of(outcome, ending)

        limits = job.spec.run
        allowed = Allowance.of(limits.deadline, limits.max_cost, limits.node_hour_price, around.now())
        kind = JobKind(doing, record, _publish_log, RAY_DIED, allowed)
        with session(out, shown, events, around, stopwatch, kind) as held:
            BulkRun(job, source, around, held, outcome, retry=retry).work()
    return outcome


def _publish_log(out: Folder, claim: Claim, log: bytes) -> None:
    out.publish(f"{claim.folder}/{LOG}", log)


class BulkRun:
    """The dataset's share of an attempt, step by step."""

    def __init__(
        self, job: Job, source: Source, around: Surroundings, held: Session, outcome: Outcome, *, retry: bool
    ) -> None:
        self._job, self._source, self._around, self._session = job, source, around, held
        self._outcome, self._retry = outcome, retry
        self._out, self._events, self._stopwatch = held.out, held.events, held.stopwatch
        self._address = cluster.address_of(job.spec.run.address, around.environment)
        self._machine = cluster.this_machine()

    def work(self) -> None:
        decoder = decoder_of(self._job.spec.source_options.decoder)
        file_bytes = self._job.spec.out_options.file_mb << 20
        row_bytes = partial(output_row_bytes, self._job.spec.configs, decoder.kind)
        attempt = Attempt(self._out, self._session.held, row_bytes, file_bytes, decoder.rows_per_input)
        segments, held, weights = self._resume(attempt)
        with self._session.ray(self._ray_place()) as ray:
            if self._retry or not completion.is_finished(segments, held):
                self._start_early(ray)
            self._sign(attempt)
            segments = self._list(attempt, segments)
            parts = pending(segments, held, retry=self._retry)
            before = completion.count_before(self._out, segments, parts, held, retry=self._retry)
            self._events.emit(self._events.status.rows.model_copy(update=vars(before)))
            if parts:
                self._session.held.require()
                milling = Milling(self._job, self._source, self._around, self._session, self._outcome)
                milling.do(parts, segments, self._connect(ray), before, weights)
        with explained(self._out.uri, "accounting for what was made"):
            settle(self._out, segments)
            self._commit(attempt, segments, before)

    def _resume(self, attempt: Attempt) -> tuple[list[Segment], Contents, Weights | None]:
        with explained(self._out.uri, "reading what an earlier run made"):
            segments, self._outcome.repaired = attempt.resume()
            held = progress(self._out)
            weights = completion.weights_so_far(self._out, held)
        self._events.phase("reading what an earlier run made" if segments else "listing")
        return segments, held, weights

    def _ray_place(self) -> RayPlace:
        return self._address or PrivateRay(self._machine, self._plan(None).pool)

    def _plan(self, nodes: Nodes | None) -> Plan:
        return make_plan(self._job.spec.run, self._machine, self._address, nodes)

    def _start_early(self, ray: RaySession) -> None:
        ray.start()
        self._events.phase("starting Ray")
        import pixelmill.pipelines.bulk.graph  # noqa: F401  # pyright: ignore[reportUnusedImport]  while Ray starts: importing ray.data takes as long as a short job

    def _connect(self, ray: RaySession) -> Plan:
        connected = ray.connect()
        self._stopwatch.mark_once("ray")
        return self._plan(None if self._address is None else connected.nodes)

    def _sign(self, attempt: Attempt) -> None:
        """Say in the folder whose run this is."""
        with explained(self._out.uri, "writing to the output folder"):
            attempt.sign(dict(self._job.identity()), self._agree, None if self._retry else self._job.to_yaml())

    def _agree(self, stored: bytes) -> None:
        identity = self._job.identity()
        self._source = resumed_source(self._out, stored, identity, self._source, retry=self._retry)

    def _list(self, attempt: Attempt, segments: list[Segment]) -> list[Segment]:
        """The manifest with what is new in the source, or for a retry with what failed, listed again."""
        self._events.phase("listing")
        with explained(self._out.uri, "writing the manifest"):
            if self._retry:
                listed = attempt.list_failed(segments, lambda rows: as_now(rows, self._source))
            else:
                listed = self._list_source(attempt, segments)
            return attempt.seal(listed)

    def _list_source(self, attempt: Attempt, segments: list[Segment]) -> list[Segment]:
        listed = completion.list_source(attempt, segments, self._source, self._count_found)
        self._outcome.add_listing(listed)
        self._stopwatch.mark("list")
        completion.require_inputs(self._source, listed)
        return listed.segments

    def _count_found(self, rows: int) -> None:
        self._session.held.raise_if_over()
        self._events.emit(InputsFound(found=self._events.status.found + rows))

    def _commit(self, attempt: Attempt, segments: list[Segment], before: Counted) -> None:
        """Hold what was made against the manifest, and say so in _SUCCESS when every input is accounted for."""
        outcome, rows = self._outcome, self._events.status.rows
        if outcome.done_now or outcome.failed_now:  # the reports may have missed the last second
            done, failed = before.done + outcome.done_now, before.failed + outcome.failed_now
            rows = rows.model_copy(update={"done": done, "failed": failed})
        self._events.emit(rows)
        self._events.phase("accounting")
        outcome.account = account(self._out, segments)
        self._stopwatch.mark("account")
        completion.require_complete(self._out, outcome.account, retry=self._retry)
        self._session.held.require()  # an attempt that wakes up late would put its older series in the place of newer ones
        with explained(self._out.uri, "finishing what was made"):
            outcome.made = finish(self._job, self._out, outcome.account.done)
        success = completion.success_of(self._out, outcome.account, segments, outcome.seconds, self._around.now())
        attempt.succeed({**success})

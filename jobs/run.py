"""One attempt at a bulk job, from the check to _SUCCESS: list, mill what is pending, account, commit.

    bucket --list--> manifest --mill--> data/ and failed/ --account--> _SUCCESS

Whatever ends an attempt, what was finished stays, and the next one does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from pixelmill.jobs import checks
from pixelmill.jobs.committing import commit
from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.job import Job
from pixelmill.jobs.milling import Milling
from pixelmill.jobs.outcome import Ending, Outcome, Stopwatch, record_of
from pixelmill.jobs.planning import Nodes, Plan, make_plan
from pixelmill.jobs.run_source import RunSource
from pixelmill.jobs.session import cluster
from pixelmill.jobs.session.limits import Allowance
from pixelmill.jobs.session.ray_session import PrivateRay, RayPlace, RaySession
from pixelmill.jobs.session.session import JobKind, Session, session
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.terminal.screen import screen
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs import completion
from pixelmill.pipelines.outputs.attempt import Attempt, pending
from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.outputs.completion import Weights
from pixelmill.pipelines.outputs.contents import Contents, progress
from pixelmill.pipelines.outputs.segments import Segment
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
        self._job, self._around, self._session = job, around, held
        self._outcome, self._retry = outcome, retry
        self._source = RunSource(job, source, held, outcome, retry=retry)
        self._address = cluster.address_of(job.spec.run.address, around.environment)
        self._machine = cluster.this_machine()

    def work(self) -> None:
        out, claimed, events = self._session.out, self._session.held, self._session.events
        attempt = self._attempt()
        segments, held, weights = self._resume(attempt)
        with self._session.ray(self._ray_place()) as ray:
            if self._retry or not completion.is_finished(segments, held):
                self._start_early(ray)
            self._source.sign(attempt)
            segments = self._source.list_into(attempt, segments)
            parts = pending(segments, held, retry=self._retry)
            before = completion.count_before(out, segments, parts, held, retry=self._retry)
            events.emit(events.status.rows.model_copy(update=vars(before)))
            if parts:
                claimed.require()
                milling = Milling(self._job, self._source.source, self._around, self._session, self._outcome)
                milling.do(parts, segments, self._connect(ray, len(parts)), before, weights)
        commit(self._job, attempt, segments, before, self._session, self._outcome, retry=self._retry)

    def _attempt(self) -> Attempt:
        spec = self._job.spec
        decoder = decoder_of(spec.source_options.decoder)
        row_bytes = partial(output_row_bytes, spec.configs, decoder.kind)
        file_bytes = spec.out_options.file_mb << 20
        return Attempt(self._session.out, self._session.held, row_bytes, file_bytes, decoder.rows_per_input)

    def _resume(self, attempt: Attempt) -> tuple[list[Segment], Contents, Weights | None]:
        out = self._session.out
        with explained(out.uri, "reading what an earlier run made"):
            segments, self._outcome.repaired = attempt.resume()
            held = progress(out)
            weights = completion.weights_so_far(out, held)
        self._session.events.phase("reading what an earlier run made" if segments else "listing")
        return segments, held, weights

    def _ray_place(self) -> RayPlace:
        return self._address or PrivateRay(self._machine, self._plan(None).pool)

    def _plan(self, nodes: Nodes | None, parts: int | None = None) -> Plan:
        return make_plan(self._job.spec.run, self._machine, self._address, nodes, parts)

    def _start_early(self, ray: RaySession) -> None:
        ray.start()
        self._session.events.phase("starting Ray")
        import pixelmill.pipelines.bulk.graph  # noqa: F401  # pyright: ignore[reportUnusedImport]  while Ray starts: importing ray.data takes as long as a short job

    def _connect(self, ray: RaySession, parts: int) -> Plan:
        connected = ray.connect()
        self._session.stopwatch.mark_once("ray")
        return self._plan(None if self._address is None else connected.nodes, parts)

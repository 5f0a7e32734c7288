"""Do the parts that are pending: run the graph on the connected Ray, watched, and count what it publishes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pixelmill.jobs import checks
from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.host.beside import beside
from pixelmill.jobs.job import Job
from pixelmill.jobs.metrics.metering import metered
from pixelmill.jobs.outcome import Outcome
from pixelmill.jobs.planning import Plan
from pixelmill.jobs.session import minimal_ray
from pixelmill.jobs.session.session import Session
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.watch import Watch, Watched, watching
from pixelmill.pipelines.bulk.mill import MillConfig
from pixelmill.pipelines.bulk.orders import orders_for
from pixelmill.pipelines.bulk.reports import BulkReports
from pixelmill.pipelines.events import PartPublished, SettingsChosen
from pixelmill.pipelines.inputs.requests import limits_for
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs.completion import Counted, Weights
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.decoders import DECODERS
from pixelmill.workers.models.licences import licence_warning

if TYPE_CHECKING:
    from pixelmill.pipelines.bulk.graph import Published


def mill_config(
    job: Job,
    out: Folder,
    source: Source,
    plan: Plan,
    segments: list[Segment],
    weights: Weights | None,
    *,
    rows: int,
    cache_dir: Path | None,
) -> MillConfig:
    """What each worker is given, of a job over so many rows."""
    options, run = job.spec.source_options, job.spec.run
    return MillConfig(
        out=out.uri,
        out_access=out.access,
        source_access=source.access,
        column=options.column,
        segments=tuple(segments),
        stages=job.spec.configs,
        context=plan.stage_context(rows // plan.pool.actors, cache_dir),
        fetch=limits_for(plan.device, options.in_flight, options.max_bytes),
        max_pixels=options.max_pixels,
        decoder=DECODERS[options.decoder],
        decodes_whole=source.decodes_whole,
        ct_index=source.uris[0] if source.format == "ct-index" else None,
        volumes=source.volumes,
        decode_threads=plan.decode_threads,
        decode_on=None if run.decode_on is None else run.decode_on.nodes(),
        weights=weights,
        memory_bytes=plan.memory_bytes,
        stall_s=run.stall_s,
    )


class Milling:
    """The work of one attempt, counted in its outcome."""

    def __init__(self, job: Job, source: Source, around: Surroundings, session: Session, outcome: Outcome) -> None:
        self._job, self._source, self._around = job, source, around
        self._session, self._outcome = session, outcome

    def do(
        self, parts: list[Part], segments: list[Segment], plan: Plan, before: Counted, weights: Weights | None
    ) -> None:
        """Publish every part. TooManyFailed where too much fails, ClaimLost where another attempt has taken over."""
        from pixelmill.pipelines.bulk import graph
        from pixelmill.pipelines.progress import ProgressStore

        out, events = self._session.out, self._session.events
        rows, cache_dir = sum(part.rows for part in parts), self._around.cache_dir
        checks.check_space(out, rows)
        config = mill_config(self._job, out, self._source, plan, segments, weights, rows=rows, cache_dir=cache_dir)
        options, store = self._job.spec.out_options, ProgressStore()
        compression = Compression(options.compression, row_group_bytes=options.row_group_mb << 20)
        bulk_job = graph.BulkJob(config, plan.pool, orders_for(parts), self._session.held.claim, compression)
        watched = Watched(plan.pool, plan.decode_threads, before, rows, self._job.spec.run.max_failed_fraction)
        events.phase("starting the workers")
        lean = minimal_ray.without_helpers() if plan.address is None else nullcontext()
        try:
            with lean, self._metered(plan), watching(watched, BulkReports(store), events) as watch:
                for published in beside(graph.run(bulk_job, store), lambda: self._check(watch)):
                    self._count(published)
                    watch.judge(self._outcome.done_now, self._outcome.failed_now, self._outcome.written_bytes)
        except Exception as error:
            if (cause := graph.cause_of(error)) is error:
                raise
            raise cause from None  # a sentence of ours says it all
        finally:
            shares = events.status.rows.busy_shares
            self._outcome.busy_shares = {name: round(share, 3) for name, share in shares.items()}
        self._session.stopwatch.mark("work")

    def _metered(self, plan: Plan) -> AbstractContextManager[None]:
        port, out = self._job.spec.run.metrics_port, self._session.out.uri
        return metered(self._session.events, out, port=port, is_cluster=plan.address is not None)

    def _check(self, watch: Watch) -> None:
        watch.raise_if_stopped()
        self._session.held.raise_if_over()

    def _count(self, published: Published) -> None:
        outcome, events = self._outcome, self._session.events
        self._session.stopwatch.mark_once("first_result")
        outcome.done_now += published.done
        outcome.failed_now += published.failed
        outcome.written_bytes += published.written_bytes
        outcome.settings = published.settings or outcome.settings
        events.emit(
            PartPublished(
                part=published.name,
                done=published.done,
                failed=published.failed,
                written_bytes=published.written_bytes,
            )
        )
        record_settings(events, published.settings)


def record_settings(events: EventStream, by_stage: Mapping[str, Mapping[str, object]]) -> None:
    """What stages run with, where that is new, and once a stage a warning of a licence that does not grant commercial use."""
    for stage, settings in by_stage.items():
        before = events.status.settings.get(stage, {})
        if before == settings:
            continue
        events.emit(SettingsChosen(stage=stage, settings=settings))
        licence = settings.get("licence")
        if (
            isinstance(licence, str)
            and licence != before.get("licence")
            and (warning := licence_warning(stage, licence))
        ):
            events.warn(warning)

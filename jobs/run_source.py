"""The source of a run: held against what the folder says it was, and listed into the manifest."""

from __future__ import annotations

from pixelmill.jobs.identity import resumed_source
from pixelmill.jobs.job import Job
from pixelmill.jobs.outcome import Outcome
from pixelmill.jobs.session.session import Session
from pixelmill.pipelines.events import InputsFound
from pixelmill.pipelines.inputs.relisting import as_now
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs import completion
from pixelmill.pipelines.outputs.attempt import Attempt
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.explain import explained


class RunSource:
    """The source of one attempt. `source` is as the attempt reads it, which is known once `sign` has returned."""

    def __init__(self, job: Job, source: Source, held: Session, outcome: Outcome, *, retry: bool) -> None:
        self.source = source
        self._job, self._session, self._outcome, self._retry = job, held, outcome, retry

    def sign(self, attempt: Attempt) -> None:
        """Say in the folder whose run this is. Raises RunRefused where it is another's."""
        with explained(self._session.out.uri, "writing to the output folder"):
            attempt.sign(dict(self._job.identity()), self._agree, None if self._retry else self._job.to_yaml())

    def _agree(self, stored: bytes) -> None:
        out, identity = self._session.out, self._job.identity()
        self.source = resumed_source(out, stored, identity, self.source, retry=self._retry)

    def list_into(self, attempt: Attempt, segments: list[Segment]) -> list[Segment]:
        """The manifest with what is new in the source, or for a retry with what failed, listed again."""
        self._session.events.phase("listing")
        with explained(self._session.out.uri, "writing the manifest"):
            if self._retry:
                listed = attempt.list_failed(segments, lambda rows: as_now(rows, self.source))
            else:
                listed = self._list_new(attempt, segments)
            return attempt.seal(listed)

    def _list_new(self, attempt: Attempt, segments: list[Segment]) -> list[Segment]:
        listed = completion.list_source(attempt, segments, self.source, self._count_found)
        self._outcome.add_listing(listed)
        self._session.stopwatch.mark("list")
        completion.require_inputs(self.source, listed)
        return listed.segments

    def _count_found(self, rows: int) -> None:
        events = self._session.events
        self._session.held.raise_if_over()
        events.emit(InputsFound(found=events.status.found + rows))

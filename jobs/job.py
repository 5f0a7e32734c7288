"""A bulk job as it was written and as it is run, checked before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from pixelmill.jobs.documents.parsing import Document, Parsed, to_yaml
from pixelmill.jobs.documents.reading import checked, read_document
from pixelmill.jobs.identity import RunIdentity, SourceIdentity, digest
from pixelmill.jobs.places import absolute
from pixelmill.jobs.spec import JobSpec, known_keys
from pixelmill.jobs.stage_assets import with_assets
from pixelmill.pipelines.inputs.name_groupings import grouping_of
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError, ModelError


@dataclass(frozen=True)
class Job:
    """A job: `document` holds the references to the environment, `spec` their values."""

    document: Document
    spec: JobSpec

    def identity(self) -> RunIdentity:
        """What must be the same for a run to be resumed. Raises ModelError where the model of a stage can't be
        loaded. Files are read once: what is planned, signed and compared is the same."""
        return self._identity

    @cached_property
    def _identity(self) -> RunIdentity:
        stages = [config.identity() for config in self.spec.configs]
        return {"version": self.spec.version, "source": self._source_identity(), "stages": stages}

    def _source_identity(self) -> SourceIdentity:
        source = self.spec.source_options
        identity: SourceIdentity = {
            "uri": [uri if "${" in uri else absolute(uri) for uri in self._written_uris()],
            "uri_sha256": digest([absolute(uri) for uri in self.spec.source_uris]),
            "format": source.format,
            "pattern": source.pattern,
            "column": source.column,
            "max_pixels": source.max_pixels,
            "max_bytes": source.max_bytes,
        }
        if source.decoder != "picture":
            identity["decoder"] = source.decoder
        elif source.decode != "full":
            identity["decode"] = source.decode
        if (volumes := source.volume_options()) is not None:
            identity["volumes"] = volumes.as_json()
        if source.group is not None:
            identity["group"] = source.group
        return identity

    def _written_uris(self) -> list[str]:
        written = self.document["source"]
        uris = cast("Document", written)["uri"] if isinstance(written, dict) else written
        return [uris] if isinstance(uris, str) else cast("list[str]", uris)

    def to_yaml(self) -> str:
        return to_yaml(self.document)

    def open_out(self) -> Folder:
        """The output folder, reached with the time limits of the job."""
        options, source = self.spec.out_options, self.spec.source_options
        access = Access(options.profile, timeout_s=source.timeout_s, retry_for_s=source.retry_for_s)
        return Folder(absolute(options.uri), access)

    def source(self, out: Folder) -> Source:
        """What is to be read, without the output folder where that lies within it."""
        source = self.spec.source_options
        return Source(
            tuple(absolute(uri) for uri in self.spec.source_uris),
            source.format,
            source.pattern,
            source.column,
            source.limit,
            Access(source.profile, source.anon, source.timeout_s, source.retry_for_s),
            exclude=out.uri,
            volumes=source.volume_options(),
            grouping=None if source.group is None else grouping_of(source.group),
            decodes_whole=source.decode == "full",
        )


def read_job(text: str, *, name: str, overrides: list[str], environment: Mapping[str, str]) -> Job:
    """The job of a file with its overrides. Raises JobError with every fault, and where a model can't be loaded."""
    what = "a job file is a mapping with version, source, out and stages"
    parsed = read_document(text, name=name, what=what, overrides=overrides)
    return _checked_job(parsed, name, environment)


def check_document(document: Document, *, name: str, environment: Mapping[str, str]) -> Job:
    """The job of a document that was never a file. Raises JobError as `read_job` does."""
    return _checked_job(Parsed(document), name, environment)


def _checked_job(parsed: Parsed, name: str, environment: Mapping[str, str]) -> Job:
    with checked(parsed, JobSpec, known_keys(), name=name, kind="job", environment=environment) as spec:
        try:
            job = Job(parsed.document, with_assets(spec, environment))
            job.identity()
        except ModelError as error:
            raise JobError(f"{name}: {error}") from error
        return job

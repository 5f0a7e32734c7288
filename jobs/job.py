"""A bulk job as it was written and as it is run: read, overridden, checked, before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from pydantic import ValidationError

from pixelmill.jobs.documents.credentials import refuse_credentials
from pixelmill.jobs.documents.faults import faults
from pixelmill.jobs.documents.overrides import override_key
from pixelmill.jobs.documents.parsing import Document, Parsed, parse, to_yaml
from pixelmill.jobs.documents.references import expanded, hidden_values
from pixelmill.jobs.identity import RunIdentity, SourceIdentity, digest
from pixelmill.jobs.places import absolute
from pixelmill.jobs.spec import JobSpec, known_keys
from pixelmill.jobs.stage_assets import with_assets
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError, ModelError


@dataclass(frozen=True)
class Job:
    """`document` has the references to the environment, `spec` their values."""

    document: Document
    spec: JobSpec

    def identity(self) -> RunIdentity:
        """What must be the same for a run to be resumed. ModelError when a stage's model can't be loaded."""
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
        return identity

    def _written_uris(self) -> list[str]:
        written = self.document["source"]
        uris = cast("Document", written)["uri"] if isinstance(written, dict) else written
        return [uris] if isinstance(uris, str) else cast("list[str]", uris)

    def to_yaml(self) -> str:
        return to_yaml(self.document)

    def open_out(self) -> Folder:
        """The output folder, with the patience that the job asks for."""
        options, source = self.spec.out_options, self.spec.source_options
        access = Access(options.profile, timeout_s=source.timeout_s, retry_for_s=source.retry_for_s)
        return Folder(absolute(options.uri), access)

    def source(self, out: Folder) -> Source:
        """What is to be read; nothing of the output, where that lies within."""
        source = self.spec.source_options
        return Source(
            tuple(absolute(uri) for uri in self.spec.source_uris),
            source.format,
            source.pattern,
            source.column,
            source.limit,
            Access(source.profile, source.anon, source.timeout_s, source.retry_for_s),
            exclude=out.uri,
        )


def read_job(text: str, *, name: str, overrides: list[str], environment: Mapping[str, str]) -> Job:
    """Parse, override, check; JobError with every fault, each with the key's path, its line and a suggestion."""
    parsed = parse(text, name=name, what="a job file is a mapping with version, source, out and stages")
    for override in overrides:
        override_key(parsed.document, override)
    return check_job(parsed, name=name, environment=environment)


def check_document(document: Document, *, name: str, environment: Mapping[str, str]) -> Job:
    """As `read_job`, of a document that was never a file."""
    return check_job(Parsed(document), name=name, environment=environment)


def check_job(parsed: Parsed, *, name: str, environment: Mapping[str, str]) -> Job:
    refuse_credentials(parsed.document, name=name, environment=environment)
    with hidden_values(parsed.document, environment, name):
        return _checked(parsed, name, environment)


def _checked(parsed: Parsed, name: str, environment: Mapping[str, str]) -> Job:
    try:
        spec = JobSpec.model_validate(expanded(parsed.document, environment, name))
    except ValidationError as error:
        lines = faults(error, known_keys(), parsed.root, written=parsed.document)
        raise JobError(f"{name}: this job can't be run\n" + "\n".join(lines)) from error
    try:
        job = Job(parsed.document, with_assets(spec))
        job.identity()
    except ModelError as error:
        raise JobError(f"{name}: {error}") from error
    return job

"""A file of a user as it is sent to a cluster: checked here, with complete paths, its references kept as names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from pixelmill.jobs.documents.kinds import Kind, kind_of
from pixelmill.jobs.documents.parsing import Document, to_yaml
from pixelmill.jobs.documents.references import REFERENCE, texts
from pixelmill.jobs.places import absolute
from pixelmill.jobs.stage_entries import spelled_out
from pixelmill.pipelines.inputs.names import is_local
from pixelmill.pipelines.stores.folder import Folder


@dataclass(frozen=True)
class Prepared:
    """What is sent. `places` are all that it reads and writes, with the values of its references: they never leave this process
    but as a digest."""

    kind: Kind
    document: Document
    out: Folder
    places: tuple[str, ...]
    extras: Mapping[str, bytes]
    """Further files beside it, by name: the jobs that a flow names."""
    own_names: frozenset[str] = frozenset()
    """The references that it fills in itself: the parameters of a flow."""

    @property
    def text(self) -> str:
        return to_yaml(self.document)

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that must be set where it runs."""
        written = [*texts(self.document), *(data.decode() for data in self.extras.values())]
        found = {match[1] for text in written for match in REFERENCE.finditer(text) if match[2] is None}
        return tuple(sorted(found - self.own_names))

    @property
    def places_digest(self) -> str:
        return digest_of_places(self.places)

    @property
    def local_places(self) -> tuple[str, ...]:
        """The paths of local disks, which nodes of the cluster must see too."""
        return tuple(place for place in self.places if is_local(place))


def digest_of_places(places: Iterable[str]) -> str:
    """A hash by which two processes can tell that they mean the same places, without showing them."""
    return hashlib.sha256(json.dumps(list(places)).encode()).hexdigest()


def prepared(text: str, *, name: str, overrides: list[str], environment: Mapping[str, str]) -> Prepared:
    """Read and check a file as its command would. Raises PixelmillError with every fault."""
    kind = kind_of(text, name)
    return {"job": _job, "training": _training, "flow": _flow}[kind](text, name, overrides, environment)


def _job(text: str, name: str, overrides: list[str], environment: Mapping[str, str]) -> Prepared:
    from pixelmill.jobs.job import read_job

    job = read_job(text, name=name, overrides=overrides, environment=environment)
    out = job.open_out()
    document = _on_the_cluster({**job.document})
    document["source"] = _absolute(document["source"])
    document["out"] = _absolute(document["out"])
    document["stages"] = [_with_places(stage) for stage in cast("list[object]", document["stages"])]
    places = (out.uri, *map(absolute, job.spec.source_uris))
    return Prepared("job", document, out, places, {})


def _training(text: str, name: str, overrides: list[str], environment: Mapping[str, str]) -> Prepared:
    from pixelmill.jobs.training.job import read_recipe_file, with_places

    job = read_recipe_file(text, name=name, overrides=overrides, environment=environment)
    out = job.open_out()
    document = _on_the_cluster({**job.document})
    for key in ("data", "validation", "test", "out"):
        if isinstance(document.get(key), str | list):
            document[key] = _absolute(document[key])
    if isinstance(settings := document.get("settings"), dict):
        document["settings"] = with_places(job.recipe, cast("Document", settings))
    places = (out.uri, *map(absolute, job.spec.data_uris))
    return Prepared("training", document, out, places, {})


def _flow(text: str, name: str, overrides: list[str], environment: Mapping[str, str]) -> Prepared:
    from pixelmill.jobs.flows.sent import sent_flow

    sent = sent_flow(text, name=name, overrides=overrides, environment=environment)
    return Prepared("flow", sent.document, sent.out, (sent.out.uri,), sent.files, sent.own_names)


def _on_the_cluster(document: Document) -> Document:
    """Without an address: the command runs within the cluster, which says what its address is."""
    run = {**cast("Document", document.get("run") or {})}
    run.pop("address", None)
    return {**document, "run": run} if run else {key: value for key, value in document.items() if key != "run"}


def _absolute(written: object) -> object:
    """A place, several, or a mapping with `uri`, with complete paths; a reference stays, since the cluster has its value."""
    if isinstance(written, str):
        return written if "${" in written else absolute(written)
    if isinstance(written, list):
        return [_absolute(each) for each in cast("list[object]", written)]
    if isinstance(written, dict):
        options = cast("Document", written)
        return {**options, "uri": _absolute(options.get("uri"))}
    return written


def _with_places(stage: object) -> object:
    """A stage whose local files have complete paths."""
    import os

    spelled = spelled_out(stage)
    if not isinstance(spelled, dict):
        return stage
    made: Document = {}
    for kind, options in cast("Document", spelled).items():
        given = cast("Document", options or {})
        made[kind] = {
            key: absolute(value) if isinstance(value, str) and "/" in value and os.path.exists(value) else value
            for key, value in given.items()
        }
    return made

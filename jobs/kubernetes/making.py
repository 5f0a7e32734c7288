"""From a job file to a manifest: the file as the cluster sees it, and the objects around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from pixelmill.jobs.documents.parsing import Document, read_file
from pixelmill.jobs.documents.reading import checked, read_document
from pixelmill.jobs.documents.references import texts
from pixelmill.jobs.kubernetes.manifest import objects, require_name
from pixelmill.jobs.kubernetes.names import name_of_file
from pixelmill.jobs.kubernetes.pods import Object, as_node_group, scales
from pixelmill.jobs.kubernetes.schedules import cron_job_objects, ray_cron_job_objects
from pixelmill.jobs.kubernetes.spec import KubernetesSpec, known_keys
from pixelmill.jobs.work_file import WorkFile, read_work_file
from pixelmill.workers.errors import JobError

ONE_GROUP = "groups: [{}]"
"""The cluster where no file says another, so that --set groups.0.max=8 has what to change."""


@dataclass(frozen=True)
class Asked:
    """The arguments of `pixelmill kubernetes`."""

    job: str
    cluster: str | None = None
    schedule: str | None = None
    overrides: list[str] = field(default_factory=list[str])
    is_ray_cron_job: bool = False


def make(asked: Asked, environment: Mapping[str, str]) -> list[Object]:
    """The objects to apply. Raises JobError with every fault, before anything is printed."""
    with _cluster_spec(asked, environment) as given:
        spec = given.model_copy(update={"name": given.name or name_of_file(asked.job)})
    if not spec.name:
        raise JobError(f"{asked.job}: no name for Kubernetes can be made of this; give one with --set name=NAME")
    require_name(spec)
    work = _work(asked.job, spec, environment)
    if asked.schedule is None:
        return objects(spec, work)
    if asked.is_ray_cron_job:
        return ray_cron_job_objects(spec, work, asked.schedule)
    return cron_job_objects(spec, work, asked.schedule)


def _cluster_spec(asked: Asked, environment: Mapping[str, str]) -> Any:
    text, name = (read_file(asked.cluster), asked.cluster) if asked.cluster else (ONE_GROUP, "--set")
    what = "a cluster file is a mapping with image, groups and so on"
    parsed = read_document(text, name=name, what=what, overrides=asked.overrides)
    return checked(parsed, KubernetesSpec, known_keys(), name=name, kind="cluster", environment=environment)


def _work(path: str, spec: KubernetesSpec, environment: Mapping[str, str]) -> WorkFile:
    work = read_work_file(path, environment)
    lost = [
        *(text for text in texts(work.document) if text not in work.beside and _lies_here(text, spec)),
        *(text for text in _places(work.document) if not _is_elsewhere(text, spec)),
    ]
    if lost:
        raise JobError(
            f"{path}: {lost[0]} is a place on this machine, which the pods do not see; put it on a store (s3://, gs://, "
            "az://), or on a volume: --set 'volumes=[{claim: NAME, path: /data}]'"
        )
    return work if work.kind == "flow" else replace(work, document=_sized(work.document, spec))


def _lies_here(text: str, spec: KubernetesSpec) -> bool:
    """Whether a text of the job names a file or folder of this machine, or could only be one."""
    if "\n" in text or _is_elsewhere(text, spec):
        return False
    if text.startswith(("/", "./", "../", "~")):
        return True
    return "/" in text and (Path(text).exists() or Path(text.split("/")[0]).is_dir())


def _places(document: Document) -> Iterator[str]:
    """What a job or a training reads and writes. A bare name is a folder there, on whichever machine it runs."""
    for key in ("source", "out", "data"):
        found: object = document.get(key)
        if isinstance(found, dict):
            found = cast("Document", found).get("uri")
        yield from (text for text in texts(found) if "$" not in text)  # what a variable says is not known here


def _is_elsewhere(text: str, spec: KubernetesSpec) -> bool:
    """Whether the pods find it: on a store, or on a volume."""
    return "://" in text or any(_is_below(text, volume.path) for volume in spec.volumes)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _sized(document: Document, spec: KubernetesSpec) -> Document:
    """The job or training with the groups that the cluster may start, so that its plan does not depend on what is up at first."""
    run = dict(cast("Document", document.get("run") or {}))
    if scales(spec) and "node_groups" not in run:
        run["node_groups"] = [_written(as_node_group(group).model_dump()) for group in spec.groups]
    return {**document, "run": run} if run else document


def _written(group: Mapping[str, Any]) -> Document:
    """A group as a person would write it: without what is the default, and whole numbers as such."""
    kept = {key: value for key, value in group.items() if value not in (None, {}, 0)}
    return {
        key: int(value) if isinstance(value, float) and value.is_integer() else value for key, value in kept.items()
    }

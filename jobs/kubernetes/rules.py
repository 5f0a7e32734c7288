"""Apply the rules of KubeRay's operator, and of Kubernetes where a job depends on them, to a manifest: offline, with every fault.

The published JSON schemas take nearly anything: no closed sets, and unknown fields are dropped. The operator's own rules act only
once the object is there: the RayJob is accepted and then never runs.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import cast

import yaml

from pixelmill.jobs.documents import yamlfile
from pixelmill.jobs.kubernetes.cluster_rules import cluster_faults
from pixelmill.jobs.kubernetes.fields import CLUSTER, RAY_CRON_JOB, field_faults
from pixelmill.jobs.kubernetes.names import (
    LONGEST_CLUSTER,
    LONGEST_CRON_JOB,
    LONGEST_LABEL,
    LONGEST_RAY_CRON_JOB,
    label_fault,
    subdomain_fault,
)
from pixelmill.jobs.kubernetes.pod_rules import label_faults, template_faults
from pixelmill.jobs.kubernetes.ray_job_rules import ray_job_faults, spec_faults
from pixelmill.jobs.kubernetes.walking import Fault, ManifestPart
from pixelmill.jobs.scheduling import cron
from pixelmill.workers.errors import JobError

VERSIONS = {
    "RayJob": "ray.io/v1",
    "RayCluster": "ray.io/v1",
    "RayCronJob": "ray.io/v1",
    "CronJob": "batch/v1",
    "ConfigMap": "v1",
    "ServiceAccount": "v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
}
"""The kinds that are checked; others are left to the API server."""
MOST_CONFIG_BYTES = 1 << 20
MOST_CHARACTERS = 4 << 20


def documents(text: str, name: str) -> list[ManifestPart]:
    """The objects of a file with one or more documents. Raises JobError where it is no YAML, or holds none."""
    try:
        found = [yamlfile.read(each) for each in _split(text)]
    except yamlfile.NotYaml as error:
        raise JobError(f"{name}: {error}") from error
    objects = [each for each in found if each is not None]
    if not objects or not all(isinstance(each, dict) for each in objects):
        raise JobError(
            f"{name}: holds no object of Kubernetes; each document is a mapping with apiVersion, kind, metadata and spec"
        )
    return [ManifestPart(each, _named(cast("dict[str, object]", each))) for each in objects]


def _split(text: str) -> list[str]:
    """The documents as texts: YAML separates them by lines of three hyphens."""
    if len(text) > MOST_CHARACTERS:
        raise yamlfile.NotYaml(f"has {len(text):,} characters, more than {MOST_CHARACTERS:,}")
    try:
        events = list(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise yamlfile.NotYaml(f"is not YAML: {error}") from error
    marks = [event.start_mark for event in events if isinstance(event, yaml.DocumentStartEvent)]
    begins = [mark.index for mark in marks if mark is not None]
    return [text[begin:end].removeprefix("---") for begin, end in pairwise([*begins, len(text)])]


def _named(value: dict[str, object]) -> str:
    metadata = value.get("metadata")
    name = cast("dict[str, object]", metadata).get("name") if isinstance(metadata, dict) else None
    return f"{value.get('kind', 'object')}/{name or '?'}"


def faults_of(objects: list[ManifestPart]) -> list[Fault]:
    """Everything that is wrong in them, each fault once."""
    found = [fault for each in objects for fault in _object_faults(each)]
    return list(dict.fromkeys([*found, *_reference_faults(objects)]))


def _object_faults(each: ManifestPart) -> Iterator[Fault]:
    kind, version = each["kind"].text, each["apiVersion"].text
    if not kind or not version:
        yield each.fault("has no kind or no apiVersion")
        return
    if (expected := VERSIONS.get(kind)) is None:
        if version.startswith("ray.io/"):
            yield each["kind"].fault(
                f"{kind} is no kind of KubeRay that runs jobs; there are RayJob, RayCluster and RayCronJob"
            )
        return
    if version != expected:
        yield each["apiVersion"].fault(f"{version}: write {expected}")
    if not each.at("metadata.name").text:
        yield each.at("metadata.name").fault(
            "is missing; with generateName each run has another name, and none excludes the next"
        )
        return
    namespace = each.at("metadata.namespace")
    if namespace.is_set and (fault := label_fault(namespace.text, LONGEST_LABEL)):
        yield namespace.fault(f"{namespace.text!r} {fault}")
    yield from label_faults(each.at("metadata.labels"))
    yield from _RULES[kind](each)


def _ray_cluster_faults(each: ManifestPart) -> Iterator[Fault]:
    name = each.at("metadata.name")
    if fault := label_fault(name.text, LONGEST_CLUSTER, letter_first=True):
        yield name.fault(f"{name.text!r} {fault}")
    yield from field_faults(each["spec"], CLUSTER)
    yield from cluster_faults(each["spec"], each.at("metadata.annotations"))


def _ray_cron_job_faults(each: ManifestPart) -> Iterator[Fault]:
    name, spec = each.at("metadata.name"), each["spec"]
    if fault := label_fault(name.text, LONGEST_RAY_CRON_JOB, letter_first=True):
        yield name.fault(f"{name.text!r} {fault}")
    yield from field_faults(
        ManifestPart({key: part.value for key, part in spec.pairs() if key != "jobTemplate"}, spec.path), RAY_CRON_JOB
    )
    yield from _schedule_faults(spec)
    yield from spec_faults(spec["jobTemplate"], each.at("metadata.annotations"))


def _cron_job_faults(each: ManifestPart) -> Iterator[Fault]:
    name, spec = each.at("metadata.name"), each["spec"]
    if fault := subdomain_fault(name.text, LONGEST_CRON_JOB):
        yield name.fault(f"{name.text!r} {fault}")
    yield from _schedule_faults(spec)
    policy = spec["concurrencyPolicy"]
    if policy.is_set and policy.value not in ("Allow", "Forbid", "Replace"):
        yield policy.fault(f"{policy.value} is none of Allow, Forbid, Replace")
    job = spec.at("jobTemplate.spec")
    template = job["template"]
    if not template.is_set:
        yield job.fault("has no template of a pod")
        return
    yield from template_faults(template)
    restarts = template.at("spec.restartPolicy")
    if restarts.value not in ("Never", "OnFailure"):
        yield restarts.fault(f"{restarts.value}: a Job takes Never or OnFailure")
    elif job["podFailurePolicy"].is_set and restarts.value != "Never":
        yield restarts.fault(f"{restarts.value}: podFailurePolicy needs Never")


def _schedule_faults(spec: ManifestPart) -> Iterator[Fault]:
    schedule, zone = spec["schedule"], spec["timeZone"]
    try:
        cron.parse(schedule.text, sunday_is_7=False)
    except JobError as error:
        yield schedule.fault(str(error))
    if zone.is_set and zone.text not in zoneinfo.available_timezones():
        yield zone.fault(f"there is no time zone {zone.value!r}; write one such as Europe/Berlin, or leave it out")


def _subdomain_faults(each: ManifestPart) -> Iterator[Fault]:
    name = each.at("metadata.name")
    if fault := subdomain_fault(name.text):
        yield name.fault(f"{name.text!r} {fault}")


def _config_map_faults(each: ManifestPart) -> Iterator[Fault]:
    yield from _subdomain_faults(each)
    size = 0
    for key, value in each["data"].pairs():
        if not isinstance(value.value, str):
            yield value.fault(f"{key} is no text")
        size += len(value.text.encode())
    if size > MOST_CONFIG_BYTES:
        yield each["data"].fault(f"has {size:,} bytes, and at most {MOST_CONFIG_BYTES:,} are taken")


def _role_faults(each: ManifestPart) -> Iterator[Fault]:
    yield from _subdomain_faults(each)
    for rule in each["rules"].items():
        for key in ("apiGroups", "resources", "verbs"):
            if not isinstance(rule[key].value, list):
                yield rule[key].fault("is no list")
        if "create" in [verb.text for verb in rule["verbs"].items()] and rule["resourceNames"]:
            yield rule["resourceNames"].fault("create can't be granted for a name: no object has one before it is made")


_RULES: dict[str, Callable[[ManifestPart], Iterator[Fault]]] = {
    "RayJob": ray_job_faults,
    "RayCluster": _ray_cluster_faults,
    "RayCronJob": _ray_cron_job_faults,
    "CronJob": _cron_job_faults,
    "ConfigMap": _config_map_faults,
    "ServiceAccount": _subdomain_faults,
    "Role": _role_faults,
    "RoleBinding": _subdomain_faults,
}


def _reference_faults(objects: list[ManifestPart]) -> Iterator[Fault]:
    """Names that a CronJob or a binding refers to within the same file, where objects of that kind are in it."""
    there = {(each["kind"].text, each.at("metadata.name").text) for each in objects}
    kinds = {kind for kind, _ in there}
    for each in objects:
        if each["kind"].text == "RoleBinding":
            wanted = [("Role", each.at("roleRef.name"))]
            wanted += [("ServiceAccount", subject["name"]) for subject in each["subjects"].items()]
        elif each["kind"].text == "CronJob":
            wanted = [("ServiceAccount", each.at("spec.jobTemplate.spec.template.spec.serviceAccountName"))]
        else:
            continue
        for kind, name in wanted:
            if kind in kinds and name.text and (kind, name.text) not in there:
                yield name.fault(f"there is no {kind} {name.text} in this file")

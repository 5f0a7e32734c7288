"""Rules for a RayJob, as the operator's ValidateRayJobSpec and ValidateRayJobMetadata (KubeRay 1.6) have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from pixelmill.jobs.documents import yamlfile
from pixelmill.jobs.kubernetes.cluster_rules import cluster_faults
from pixelmill.jobs.kubernetes.fields import RAY_JOB, field_faults
from pixelmill.jobs.kubernetes.names import LONGEST_RAY_JOB, label_fault
from pixelmill.jobs.kubernetes.pod_rules import template_faults
from pixelmill.jobs.kubernetes.walking import Fault, ManifestPart

SELECTOR = "ray.io/cluster"
KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
KUEUE_ELASTIC = "kueue.x-k8s.io/elastic-job"
MOST_KUEUE_GROUPS = 7
"""Kueue admits at most eight kinds of pods, and the head is one."""
POLICIES = ("DeleteCluster", "DeleteWorkers", "DeleteSelf", "DeleteNone")
ORDER = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")


def ray_job_faults(job: ManifestPart) -> Iterator[Fault]:
    """Of the whole object."""
    name = job.at("metadata.name")
    if fault := label_fault(name.text, LONGEST_RAY_JOB, letter_first=True):
        yield name.fault(f"{name.text!r} {fault}")
    yield from spec_faults(job["spec"], job.at("metadata.annotations"))
    if job.at("metadata.labels")[KUEUE_QUEUE].is_set:
        yield from _kueue_faults(job["spec"], job.at("metadata.annotations"))


def spec_faults(spec: ManifestPart, annotations: ManifestPart) -> Iterator[Fault]:
    """Of a RayJob's spec, which may stand in a RayCronJob; `annotations` are those of the object around it."""
    yield from field_faults(spec, RAY_JOB)
    yield from _ending_faults(spec)
    yield from _selector_faults(spec)
    yield from _mode_faults(spec)
    yield from _number_faults(spec)
    yield from _entrypoint_faults(spec)
    yield from _deletion_faults(spec)
    if spec["rayClusterSpec"].is_set:
        yield from cluster_faults(spec["rayClusterSpec"], annotations)


def _ending_faults(spec: ManifestPart) -> Iterator[Fault]:
    shuts_down = spec["shutdownAfterJobFinishes"].value is True
    if spec["suspend"].value is True and not shuts_down:
        yield spec["suspend"].fault("needs shutdownAfterJobFinishes: true")
    ttl = spec["ttlSecondsAfterFinished"]
    if ttl.number is not None and ttl.number < 0:
        yield ttl.fault(f"{ttl.value} is negative")
    elif ttl.number and not shuts_down:
        yield ttl.fault("needs shutdownAfterJobFinishes: true")


def _selector_faults(spec: ManifestPart) -> Iterator[Fault]:
    selector = spec["clusterSelector"]
    if not selector:
        if not spec["rayClusterSpec"].is_set:
            yield spec.fault("needs rayClusterSpec, or clusterSelector for a cluster that is there")
        return
    if not selector[SELECTOR]:
        yield selector.fault(f"names no cluster; write {SELECTOR}: NAME")
    if spec["suspend"].value is True:
        yield spec["suspend"].fault("is not taken beside clusterSelector")
    if spec["submissionMode"].value == "SidecarMode":
        yield spec["submissionMode"].fault("SidecarMode is not taken beside clusterSelector")
    if spec["backoffLimit"]:
        yield spec["backoffLimit"].fault("is not taken beside clusterSelector: a retry is a new cluster")


def _mode_faults(spec: ManifestPart) -> Iterator[Fault]:
    mode = spec["submissionMode"].value
    if mode == "InteractiveMode" and spec["backoffLimit"]:
        yield spec["backoffLimit"].fault("is not taken in InteractiveMode")
    if mode == "SidecarMode":
        for key in ("submitterPodTemplate", "submitterConfig"):
            if spec[key].is_set:
                yield spec[key].fault("is not taken in SidecarMode, which has no submitter")
        policy = spec.at("rayClusterSpec.headGroupSpec.template.spec.restartPolicy")
        if policy.is_set and policy.value != "Never":
            yield policy.fault(f"{policy.value}: SidecarMode wants Never, or none")
    elif spec["submitterPodTemplate"].is_set:
        yield from template_faults(spec["submitterPodTemplate"])
        policy = spec.at("submitterPodTemplate.spec.restartPolicy")
        if policy.value == "Always":
            yield policy.fault("Always: Kubernetes refuses it for a Job; write Never or OnFailure")


def _number_faults(spec: ManifestPart) -> Iterator[Fault]:
    for key in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if (seconds := spec[key].number) is not None and seconds <= 0:
            yield spec[key].fault(f"{spec[key].value} is not more than 0")
    for part in (
        spec["backoffLimit"],
        spec.at("submitterConfig.backoffLimit"),
        spec["entrypointNumCpus"],
        spec["entrypointNumGpus"],
    ):
        if part.number is not None and part.number < 0:
            yield part.fault(f"{part.value} is negative")


def _entrypoint_faults(spec: ManifestPart) -> Iterator[Fault]:
    if not spec["entrypoint"].text.strip() and spec["submissionMode"].value != "InteractiveMode":
        yield spec["entrypoint"].fault("is missing: it is the command that the job is")
    try:
        document = yamlfile.read(spec["runtimeEnvYAML"].text)
    except yamlfile.NotYaml as error:
        yield spec["runtimeEnvYAML"].fault(str(error).splitlines()[0])
        return
    if document is not None and not isinstance(document, dict):
        yield spec["runtimeEnvYAML"].fault("is no mapping")
    for key, value in ManifestPart(cast("object", document), spec["runtimeEnvYAML"].path)["env_vars"].pairs():
        if not isinstance(value.value, str):
            yield value.fault(f"{key} is {value.value}, and Ray takes texts only; write it in quotes")


def _kueue_faults(spec: ManifestPart, annotations: ManifestPart) -> Iterator[Fault]:
    cluster = spec["rayClusterSpec"]
    if spec["clusterSelector"]:
        yield spec["clusterSelector"].fault("Kueue admits no job for a cluster that is there")
    if spec["shutdownAfterJobFinishes"].value is not True:
        yield spec["shutdownAfterJobFinishes"].fault("Kueue needs true, or the quota is never given back")
    if cluster["enableInTreeAutoscaling"] and annotations[KUEUE_ELASTIC].text != "true":
        yield cluster["enableInTreeAutoscaling"].fault(
            f'Kueue admits a fixed number of pods; write false, or the annotation {KUEUE_ELASTIC}: "true"'
        )
    groups = len(list(cluster["workerGroupSpecs"].items()))
    if groups > MOST_KUEUE_GROUPS:
        yield cluster["workerGroupSpecs"].fault(f"has {groups} groups, and Kueue admits {MOST_KUEUE_GROUPS}")


def _deletion_faults(spec: ManifestPart) -> Iterator[Fault]:
    """KubeRay's strategies of deletion, which a gate of the operator guards."""
    strategy = spec["deletionStrategy"]
    if not strategy.is_set:
        return
    rules, legacy = list(strategy["deletionRules"].items()), [strategy["onSuccess"], strategy["onFailure"]]
    if rules and spec["shutdownAfterJobFinishes"].value is True:
        yield strategy["deletionRules"].fault("is not taken beside shutdownAfterJobFinishes: true")
    if rules and any(each.is_set for each in legacy):
        yield strategy.fault("has deletionRules beside onSuccess or onFailure; keep the rules")
    elif rules:
        yield from _rule_faults(spec, rules)
    elif not all(each["policy"].is_set for each in legacy):
        yield strategy.fault("needs a policy for both onSuccess and onFailure, or deletionRules")
    else:
        yield from _policy_faults(spec, [each["policy"] for each in legacy])


def _policy_faults(spec: ManifestPart, policies: list[ManifestPart]) -> Iterator[Fault]:
    for policy in policies:
        yield from _unfit_policy(spec, policy)
        if policy.value == "DeleteNone" and spec["shutdownAfterJobFinishes"].value is True:
            yield policy.fault("DeleteNone contradicts shutdownAfterJobFinishes: true")


def _unfit_policy(spec: ManifestPart, policy: ManifestPart) -> Iterator[Fault]:
    if policy.value not in POLICIES:
        yield policy.fault(f"{policy.value} is none of {', '.join(POLICIES)}")
    if spec["clusterSelector"] and policy.value in {"DeleteCluster", "DeleteWorkers"}:
        yield policy.fault(f"{policy.value} is not taken beside clusterSelector")
    if spec.at("rayClusterSpec.enableInTreeAutoscaling") and policy.value == "DeleteWorkers":
        yield policy.fault("DeleteWorkers is not taken where the cluster scales")


def _rule_faults(spec: ManifestPart, rules: list[ManifestPart]) -> Iterator[Fault]:
    seen: dict[tuple[object, object], dict[str, float]] = {}
    for rule in rules:
        yield from _unfit_policy(spec, rule["policy"])
        condition, seconds = rule["condition"], rule.at("condition.ttlSeconds")
        when = (condition["jobStatus"].value, condition["jobDeploymentStatus"].value)
        if sum(each is not None for each in when) != 1:
            yield condition.fault("names one of jobStatus and jobDeploymentStatus")
        if (seconds.number or 0) < 0:
            yield seconds.fault(f"{seconds.value} is negative")
        known, policy = seen.setdefault(when, {}), str(rule["policy"].value)
        if policy in known:
            yield rule.fault(f"a rule before has {policy} for the same status")
        known[policy] = seconds.number or 0
    for known in seen.values():
        waits = [known[policy] for policy in ORDER if policy in known]
        if waits != sorted(waits):
            yield spec.at("deletionStrategy.deletionRules").fault(
                "workers go first, then the cluster, then the job: their ttlSeconds may not fall in this order"
            )

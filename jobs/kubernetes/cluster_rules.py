"""Rules for the cluster of a RayJob, as the operator's ValidateRayClusterSpec (KubeRay 1.6) has them.

https://github.com/ray-project/kuberay/blob/master/ray-operator/controllers/ray/utils/validation.go
"""

from __future__ import annotations

from collections.abc import Iterator

from pixelmill.jobs.kubernetes.pod_rules import label_faults, template_faults, variable
from pixelmill.jobs.kubernetes.walking import Fault, ManifestPart

AUTOSCALER_V2, REDIS_ADDRESS, REDIS_PASSWORD, REDIS_USERNAME = (
    "RAY_enable_autoscaler_v2",
    "RAY_REDIS_ADDRESS",
    "REDIS_PASSWORD",
    "REDIS_USERNAME",
)
FAULT_TOLERANCE = "ray.io/ft-enabled"
RESOURCE_PARAMS = ("num-cpus", "num-gpus", "memory", "resources")
TOKENS_SINCE, PRIORITIES_SINCE = (2, 52, 0), (2, 56, 0)
GENERATED_START = "KUBERAY_GEN_AUTOSCALER_START_CMD"


def cluster_faults(cluster: ManifestPart, annotations: ManifestPart) -> Iterator[Fault]:
    """Of a rayClusterSpec; `annotations` are those of the object around it."""
    head, groups = cluster["headGroupSpec"], list(cluster["workerGroupSpecs"].items())
    if not head.is_set:
        yield head.fault("is missing: every cluster has a head")
        return
    yield from _group_faults(head)
    for group in groups:
        yield from _group_faults(group)
        yield from _size_faults(cluster, group)
        yield from _worker_faults(cluster, group)
    yield from _twice(groups)
    yield from _redis_faults(cluster, annotations)
    yield from _autoscaler_faults(cluster, groups)
    yield from _auth_faults(cluster)


def is_v2(cluster: ManifestPart) -> bool:
    """Whether the second version of the autoscaler is asked for, in either of the two ways."""
    found = variable(_ray_container(cluster["headGroupSpec"]), AUTOSCALER_V2)
    by_variable = found is not None and found["value"].text in {"1", "true"}
    return cluster.at("autoscalerOptions.version").value == "v2" or by_variable


def _ray_container(group: ManifestPart) -> ManifestPart:
    return next(
        group.at("template.spec.containers").items(), ManifestPart({}, f"{group.path}.template.spec.containers[0]")
    )


def _group_faults(group: ManifestPart) -> Iterator[Fault]:
    yield from template_faults(group["template"])
    params = group["rayStartParams"]
    if group["resources"] and any(params[name] for name in RESOURCE_PARAMS):
        yield group["resources"].fault("resources stand here and in rayStartParams; keep one of the two")
    if params["labels"].is_set:
        yield params["labels"].fault("labels are not taken here; write them as the group's labels")
    yield from label_faults(group["labels"])


def _size_faults(cluster: ManifestPart, group: ManifestPart) -> Iterator[Fault]:
    least, most = group["minReplicas"], group["maxReplicas"]
    if not cluster["enableInTreeAutoscaling"] and not (least.is_set and most.is_set):
        yield group.fault("needs minReplicas and maxReplicas where the cluster does not scale")
    for bound in (least, most, group["replicas"]):
        if bound.number is not None and bound.number < 0:
            yield bound.fault(f"{bound.value} is negative")
    if least.number is not None and most.number is not None and least.number > most.number:
        yield least.fault(f"{least.value} is more than maxReplicas, {most.value}")


def _worker_faults(cluster: ManifestPart, group: ManifestPart) -> Iterator[Fault]:
    if not group["groupName"].text:
        yield group["groupName"].fault("is missing: groups are distinguished by it")
    if group["suspend"].value is True:
        why = (
            "a cluster that scales"
            if cluster["enableInTreeAutoscaling"]
            else "an operator without the gate RayJobDeletionPolicy"
        )
        yield group["suspend"].fault(f"{why} takes no suspended group")
    idle = group["idleTimeoutSeconds"]
    if idle.number is not None and (idle.number < 0 or not is_v2(cluster)):
        yield idle.fault(f"{idle.value} is negative" if idle.number < 0 else "needs autoscalerOptions.version: v2")
    if group["priority"]:
        if (_version(cluster) or ()) < PRIORITIES_SINCE:
            yield group["priority"].fault(f"needs rayVersion 2.56.0 or newer, and it is {cluster['rayVersion'].value}")
        elif not is_v2(cluster):
            yield group["priority"].fault("needs autoscalerOptions.version: v2")


def _twice(groups: list[ManifestPart]) -> Iterator[Fault]:
    seen: set[str] = set()
    for group in groups:
        name = group["groupName"].text
        if name and name in seen:
            yield group["groupName"].fault(f"a group before is called {name} too")
        seen.add(name)


def _redis_faults(cluster: ManifestPart, annotations: ManifestPart) -> Iterator[Fault]:
    options, head = cluster["gcsFaultToleranceOptions"], cluster["headGroupSpec"]
    params, container = head["rayStartParams"], _ray_container(head)
    if annotations[FAULT_TOLERANCE].text and options.is_set:
        yield options.fault(f"stands beside the annotation {FAULT_TOLERANCE}; keep this alone")
    if not options.is_set and annotations[FAULT_TOLERANCE].text != "true" and variable(container, REDIS_ADDRESS):
        yield container["env"].fault(f"{REDIS_ADDRESS} needs gcsFaultToleranceOptions")
    if options.is_set:
        if params["redis-password"]:
            yield params["redis-password"].fault("belongs in gcsFaultToleranceOptions.redisPassword")
        for name in (REDIS_PASSWORD, REDIS_ADDRESS):
            if variable(container, name):
                yield container["env"].fault(f"{name} belongs in gcsFaultToleranceOptions")
    if params["redis-username"] or variable(container, REDIS_USERNAME):
        yield params["redis-username"].fault("belongs in gcsFaultToleranceOptions.redisUsername")


def _autoscaler_faults(cluster: ManifestPart, groups: list[ManifestPart]) -> Iterator[Fault]:
    options, head = cluster["autoscalerOptions"], cluster["headGroupSpec"]
    found = variable(_ray_container(head), AUTOSCALER_V2)
    if not cluster["enableInTreeAutoscaling"]:
        if found is not None and found["value"].text in {"1", "true"}:
            yield found["value"].fault(f"{AUTOSCALER_V2} needs enableInTreeAutoscaling: true")
    elif options["version"].is_set and found is not None:
        yield options["version"].fault(f"stands beside the variable {AUTOSCALER_V2}; keep this alone")
    elif is_v2(cluster):
        for group in (head, *groups):
            policy = group.at("template.spec.restartPolicy")
            if policy.is_set and policy.value != "Never":
                yield policy.fault(f"{policy.value}: the second autoscaler replaces pods; write Never")
    idle = options["idleTimeoutSeconds"]
    if idle.number is not None and idle.number < 0:
        yield idle.fault(f"{idle.value} is negative")
    if any(each["name"].text == GENERATED_START for each in options["env"].items()):
        yield options["env"].fault(f"{GENERATED_START} is set by the operator; take it out")


def _auth_faults(cluster: ManifestPart) -> Iterator[Fault]:
    auth = cluster["authOptions"]
    if auth["enableK8sTokenAuth"]:
        yield auth["enableK8sTokenAuth"].fault("is not taken for a RayJob")
    if auth["mode"].value != "token":
        return
    version, written = _version(cluster), cluster["rayVersion"].value
    if version is None:
        yield cluster["rayVersion"].fault(f"authOptions.mode: token needs the version of Ray, and {written!r} is none")
    elif version < TOKENS_SINCE:
        yield cluster["rayVersion"].fault(f"authOptions.mode: token needs Ray 2.52.0 or newer, and this is {written}")


def _version(cluster: ManifestPart) -> tuple[int, ...] | None:
    words = cluster["rayVersion"].text.split("+")[0].split("-")[0].split(".")
    return tuple(int(word) for word in words) if len(words) > 1 and all(map(str.isdigit, words)) else None

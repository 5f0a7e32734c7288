"""The pods of a Ray cluster on Kubernetes: the head, which computes nothing, and groups of workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixelmill.jobs.kubernetes.spec import GroupSpec, KubernetesSpec
from pixelmill.jobs.spec import NodeGroup

Object = dict[str, Any]
"""An object of Kubernetes, or a part of one."""

CONFIG, CONFIG_PATH, JOB_FILE = "pixelmill-job", "/etc/pixelmill", "job.yaml"
SPOT_LABELS: Mapping[str, str] = {
    "eks.amazonaws.com/capacityType": "SPOT",
    "karpenter.sh/capacity-type": "spot",
    "cloud.google.com/gke-spot": "true",
    "kubernetes.azure.com/scalesetpriority": "spot",
}
"""How clouds mark nodes that they may take away."""
SPOT_TAINTS = ("cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority")
FOR_RAY = 0.9
"""The share of a pod's memory that Ray may give out: its own processes take the rest."""
USER = 1000


def head_group(spec: KubernetesSpec, image: str) -> Object:
    """One pod, never on a node that may be taken away: with it the whole cluster goes."""
    head = spec.head
    pod = _pod(spec, image, "ray-head", {"cpu": _cpus(head.cpus), "memory": _memory(head.memory_gb)})
    pod["affinity"] = {"nodeAffinity": _required(_never_on_spot())}
    if head.node_selector:
        pod["nodeSelector"] = dict(head.node_selector)
    return {
        "rayStartParams": {"num-cpus": "0", "num-gpus": "0", "dashboard-host": "0.0.0.0"},
        "template": {"spec": pod},
    }


def worker_group(spec: KubernetesSpec, group: GroupSpec, image: str) -> Object:
    """Nodes between bounds; all of them at once where a queue admits the cluster as a whole."""
    resources = {"cpu": _cpus(group.cpus), "memory": _memory(group.memory_gb)}
    if group.gpus:
        resources[group.gpu_resource] = str(group.gpus)
    pod = _pod(spec, image, "ray-worker", resources)
    tolerations = _tolerations(group)
    if tolerations:
        pod["tolerations"] = tolerations
    if group.node_selector:
        pod["nodeSelector"] = dict(group.node_selector)
    pod["affinity"] = {"nodeAffinity": _preferred_on_spot() if group.spot else _required(_never_on_spot())}
    fewest = group.min if scales(spec) else group.max
    made = {
        "groupName": group.name,
        "replicas": fewest,
        "minReplicas": fewest,
        "maxReplicas": group.max,
        "rayStartParams": _memory_params(group),
    }
    return made | ({"labels": dict(group.labels)} if group.labels else {}) | {"template": {"spec": pod}}


def scales(spec: KubernetesSpec) -> bool:
    """Whether the cluster starts and ends nodes by itself. Kueue admits a fixed number of pods."""
    is_whole = spec.queue is not None and spec.queue.kueue is not None
    return not is_whole and any(group.min < group.max for group in spec.groups)


def as_node_group(group: GroupSpec) -> NodeGroup:
    """The nodes of a group as a plan counts them."""
    memory_bytes = int(_memory_params(group)["memory"])
    labels = dict(group.labels)
    made: Object = {"max": group.max, "cpus": group.cpus, "gpus": group.gpus, "labels": labels}
    return NodeGroup.model_validate({**made, "memory_gb": round(memory_bytes / (1 << 30), 3)})


def _memory_params(group: GroupSpec) -> dict[str, str]:
    """What Ray may give out, in bytes: objects lie in shared memory, which counts as the pod's."""
    usable = int(group.memory_gb * FOR_RAY * (1 << 30))
    objects = min(usable // 8, 4 << 30)
    return {"memory": str(usable - objects), "object-store-memory": str(objects)}


def _pod(spec: KubernetesSpec, image: str, name: str, resources: Mapping[str, str]) -> Object:
    container: Object = {
        **plain_container(name, image, resources),
        "volumeMounts": [
            {"name": CONFIG, "mountPath": CONFIG_PATH, "readOnly": True},
            *({"name": volume.claim, "mountPath": volume.path} for volume in spec.volumes),
        ],
    }
    if spec.secret:
        container["envFrom"] = [{"secretRef": {"name": spec.secret}}]
    pod: Object = {
        **plain_pod([container]),
        "terminationGracePeriodSeconds": spec.grace_s,
        "volumes": [
            {"name": CONFIG, "configMap": {"name": config_name(spec)}},
            *({"name": each.claim, "persistentVolumeClaim": {"claimName": each.claim}} for each in spec.volumes),
        ],
    }
    return pod | ({"serviceAccountName": spec.service_account} if spec.service_account else {})


def plain_container(name: str, image: str, resources: Mapping[str, str]) -> Object:
    """A container with so much of each resource and no rights that it does not need."""
    return {
        "name": name,
        "image": image,
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def plain_pod(containers: list[Object]) -> Object:
    """A pod that Kubernetes' strictest standard admits, and that is replaced and not restarted."""
    security = {"runAsNonRoot": True, "runAsUser": USER, "fsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"restartPolicy": "Never", "securityContext": security, "containers": containers}


def config_name(spec: KubernetesSpec) -> str:
    return f"{spec.name}-job"


def _tolerations(group: GroupSpec) -> list[Object]:
    gpus = [{"key": group.gpu_resource, "operator": "Exists", "effect": "NoSchedule"}] if group.gpus else []
    spot = [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in SPOT_TAINTS] if group.spot else []
    return [*gpus, *spot]


def _never_on_spot() -> list[Object]:
    """Also true of a node without such a label."""
    return [{"key": key, "operator": "NotIn", "values": [value]} for key, value in SPOT_LABELS.items()]


def _preferred_on_spot() -> Object:
    terms = [{"key": key, "operator": "In", "values": [value]} for key, value in SPOT_LABELS.items()]
    preferences = [{"weight": 100, "preference": {"matchExpressions": [term]}} for term in terms]
    return {"preferredDuringSchedulingIgnoredDuringExecution": preferences}


def _required(expressions: list[Object]) -> Object:
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}
    }


def _cpus(count: float) -> str:
    return f"{count:g}" if float(count).is_integer() else f"{int(count * 1000)}m"


def _memory(gb: float) -> str:
    return f"{gb:g}Gi" if float(gb).is_integer() else f"{int(gb * 1024)}Mi"

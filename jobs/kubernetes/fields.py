"""The fields of KubeRay's objects: their kinds of value, and which values a closed set has.

The published schemas drop a misspelt field in silence, and take any word where a few are meant. Here they are refused. Fields are
those of KubeRay 1.6; what stands within pod templates is checked in `pod_rules.py` as far as a Ray cluster depends on it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, cast

from pixelmill.jobs.kubernetes.walking import Fault, ManifestPart

INTEGER, NUMBER, TEXT, FLAG, TEXTS, MAPPING, LIST = (
    "an integer",
    "a number",
    "a text",
    "true or false",
    "texts",
    "a mapping",
    "a list",
)

Fields = dict[str, Any]

GROUP: Fields = {
    "template": MAPPING,
    "rayStartParams": TEXTS,
    "resources": TEXTS,
    "labels": TEXTS,
}
HEAD: Fields = {
    **GROUP,
    "headService": MAPPING,
    "enableIngress": FLAG,
    "ingressOptions": MAPPING,
    "serviceType": ("ClusterIP", "NodePort", "LoadBalancer"),
}
WORKERS: Fields = {
    **GROUP,
    "groupName": TEXT,
    "replicas": INTEGER,
    "minReplicas": INTEGER,
    "maxReplicas": INTEGER,
    "numOfHosts": INTEGER,
    "idleTimeoutSeconds": INTEGER,
    "priority": INTEGER,
    "suspend": FLAG,
    "scaleStrategy": MAPPING,
}
AUTOSCALER: Fields = {
    "resources": MAPPING,
    "image": TEXT,
    "imagePullPolicy": ("Always", "Never", "IfNotPresent"),
    "env": LIST,
    "envFrom": LIST,
    "volumeMounts": LIST,
    "securityContext": MAPPING,
    "idleTimeoutSeconds": INTEGER,
    "upscalingMode": ("Default", "Aggressive", "Conservative"),
    "version": ("v1", "v2"),
    "command": LIST,
    "args": LIST,
}
AUTH: Fields = {"mode": ("disabled", "token"), "secretName": TEXT, "enableK8sTokenAuth": FLAG}
CLUSTER: Fields = {
    "headGroupSpec": HEAD,
    "workerGroupSpecs": [WORKERS],
    "rayVersion": TEXT,
    "enableInTreeAutoscaling": FLAG,
    "autoscalerOptions": AUTOSCALER,
    "authOptions": AUTH,
    "gcsFaultToleranceOptions": MAPPING,
    "headServiceAnnotations": TEXTS,
    "suspend": FLAG,
    "managedBy": TEXT,
    "upgradeStrategy": MAPPING,
    "networkPolicy": MAPPING,
    "tlsOptions": MAPPING,
    "historyServerOptions": MAPPING,
}
MANAGERS = ("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue")
RAY_JOB: Fields = {
    "entrypoint": TEXT,
    "entrypointNumCpus": NUMBER,
    "entrypointNumGpus": NUMBER,
    "entrypointResources": TEXT,
    "runtimeEnvYAML": TEXT,
    "jobId": TEXT,
    "metadata": TEXTS,
    "submissionMode": ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    "submitterPodTemplate": MAPPING,
    "submitterConfig": {"backoffLimit": INTEGER},
    "shutdownAfterJobFinishes": FLAG,
    "ttlSecondsAfterFinished": INTEGER,
    "backoffLimit": INTEGER,
    "activeDeadlineSeconds": INTEGER,
    "preRunningDeadlineSeconds": INTEGER,
    "suspend": FLAG,
    "managedBy": MANAGERS,
    "clusterSelector": TEXTS,
    "deletionStrategy": MAPPING,
    "rayClusterSpec": CLUSTER,
}
RAY_CRON_JOB: Fields = {"schedule": TEXT, "timeZone": TEXT, "suspend": FLAG, "jobTemplate": RAY_JOB}


def field_faults(part: ManifestPart, fields: Fields) -> Iterator[Fault]:
    """Unknown fields, and values of another kind, at any depth."""
    if not isinstance(part.value, dict):
        yield part.fault("is no mapping")
        return
    for key, child in part.pairs():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            yield child.fault(
                f"there is no such field, and the API server drops it in silence{f'; did you mean {near[0]}?' if near else ''}"
            )
        elif child.is_set:
            yield from _value_faults(child, fields[key])


def _value_faults(part: ManifestPart, kind: Any) -> Iterator[Fault]:
    if isinstance(kind, dict):
        yield from field_faults(part, cast("Fields", kind))
    elif isinstance(kind, list):
        if not isinstance(part.value, list):
            yield part.fault("is no list")
        for each in part.items():
            yield from field_faults(each, cast("list[Fields]", kind)[0])
    elif isinstance(kind, tuple):
        words = cast("tuple[str, ...]", kind)
        if part.value not in words:
            yield part.fault(f"{part.value} is none of {', '.join(words)}")
    elif not _is(part, kind):
        yield part.fault(f"{str(part.value)[:60]!r} is not {kind}{_quoted_hint(part, kind)}")


def _is(part: ManifestPart, kind: str) -> bool:
    value = part.value
    match kind:
        case "an integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "a number":
            return part.number is not None
        case "a text":
            return isinstance(value, str)
        case "true or false":
            return isinstance(value, bool)
        case "texts":
            return isinstance(value, dict) and all(isinstance(child.value, str) for _, child in part.pairs())
        case "a list":
            return isinstance(value, list)
        case _:
            return isinstance(value, dict)


def _quoted_hint(part: ManifestPart, kind: str) -> str:
    if kind == TEXTS and isinstance(part.value, dict):
        wrong = [key for key, child in part.pairs() if not isinstance(child.value, str)]
        return f" for {', '.join(wrong)}: write it in quotes"
    if kind == INTEGER and isinstance(part.value, str):
        return ": write it without quotes"
    return ""

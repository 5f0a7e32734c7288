"""A job that runs again and again on Kubernetes: a CronJob that applies one RayJob and waits, or a RayCronJob.

A CronJob that only created RayJobs would be done at once, and `concurrencyPolicy: Forbid` would forbid nothing. So its pod
applies a RayJob whose name never changes, and waits for its end; while one runs, the next does not begin.
"""

from __future__ import annotations

import json

from pixelmill.jobs.kubernetes.manifest import (
    MANAGED,
    SMALL,
    config_map,
    files_of,
    image_of,
    ray_job,
    ray_job_spec,
    require_name,
)
from pixelmill.jobs.kubernetes.names import LONGEST_RAY_CRON_JOB
from pixelmill.jobs.kubernetes.pods import (
    CONFIG,
    CONFIG_PATH,
    Object,
    config_name,
    plain_container,
    plain_pod,
)
from pixelmill.jobs.kubernetes.spec import KubernetesSpec
from pixelmill.jobs.scheduling import cron
from pixelmill.jobs.work_file import WorkFile

RAY_JOB_FILE = "rayjob.json"
STARTS_WITHIN_S = 3600
"""How late a run may begin, where the controller was away at its time."""


def cron_job_objects(spec: KubernetesSpec, work: WorkFile, schedule: str) -> list[Object]:
    """What is applied to run the job at each time of the schedule. Raises JobError for a line that is none or never fires."""
    line = cron.parse(schedule, sunday_is_7=False).line
    applied = json.dumps(ray_job(spec, work), indent=1)
    files = {**files_of(work), RAY_JOB_FILE: applied}
    account = f"{spec.name}-apply"
    return [
        config_map(spec, config_name(spec), files),
        _object("v1", "ServiceAccount", spec, account),
        _role(spec, account),
        _binding(spec, account),
        _cron_job(spec, account, line),
    ]


def ray_cron_job_objects(spec: KubernetesSpec, work: WorkFile, schedule: str) -> list[Object]:
    """The same by KubeRay itself: alpha in KubeRay 1.6, behind the gate RayCronJob, and without a policy for runs that
    overlap: the claim of the output folder refuses the second."""
    line = cron.parse(schedule, sunday_is_7=False).line
    require_name(spec, LONGEST_RAY_CRON_JOB)
    zone = {"timeZone": spec.time_zone} if spec.time_zone else {}
    made = _object("ray.io/v1", "RayCronJob", spec, spec.name or "")
    made["spec"] = {"schedule": line, **zone, "jobTemplate": ray_job_spec(spec, work)}
    return [config_map(spec, config_name(spec), files_of(work)), made]


def _cron_job(spec: KubernetesSpec, account: str, line: str) -> Object:
    made = _object("batch/v1", "CronJob", spec, spec.name or "")
    made["spec"] = {
        "schedule": line,
        **({"timeZone": spec.time_zone} if spec.time_zone else {}),
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": STARTS_WITHIN_S,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"spec": _apply_job(spec, account)},
    }
    return made


def _apply_job(spec: KubernetesSpec, account: str) -> Object:
    """A pod that was moved away is made again and waits for the same RayJob; one whose RayJob failed is not."""
    command = ["python", "-m", "pixelmill.jobs.kubernetes.apply", f"{CONFIG_PATH}/{RAY_JOB_FILE}"]
    container = plain_container("apply", image_of(spec), SMALL) | {
        "command": command,
        "volumeMounts": [{"name": CONFIG, "mountPath": CONFIG_PATH, "readOnly": True}],
    }
    pod = plain_pod([container]) | {
        "serviceAccountName": account,
        "volumes": [{"name": CONFIG, "configMap": {"name": config_name(spec)}}],
    }
    failed = {"containerName": "apply", "operator": "In", "values": [1, 2]}
    moved = [{"type": "DisruptionTarget"}]
    rules = [{"action": "Ignore", "onPodConditions": moved}, {"action": "FailJob", "onExitCodes": failed}]
    return {
        "backoffLimit": 6,
        "podFailurePolicy": {"rules": rules},
        "template": {"metadata": {"labels": dict(MANAGED)}, "spec": pod},
    }


def _role(spec: KubernetesSpec, name: str) -> Object:
    """No more than applying and watching this one RayJob; `create` can't be granted for a name."""
    made = _object("rbac.authorization.k8s.io/v1", "Role", spec, name)
    jobs = {"apiGroups": ["ray.io"], "resources": ["rayjobs"]}
    made["rules"] = [jobs | {"verbs": ["create"]}, jobs | {"verbs": ["get", "delete"], "resourceNames": [spec.name]}]
    return made


def _binding(spec: KubernetesSpec, name: str) -> Object:
    made = _object("rbac.authorization.k8s.io/v1", "RoleBinding", spec, name)
    made["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    made["subjects"] = [{"kind": "ServiceAccount", "name": name, "namespace": spec.namespace}]
    return made


def _object(version: str, kind: str, spec: KubernetesSpec, name: str) -> Object:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": spec.namespace, "labels": dict(MANAGED)},
    }

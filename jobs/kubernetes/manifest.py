"""A job as objects of Kubernetes: its file in a ConfigMap, and a RayJob that runs it on a cluster of its own."""

from __future__ import annotations

from pixelmill.jobs.documents.parsing import to_yaml
from pixelmill.jobs.kubernetes.names import LONGEST_RAY_JOB, label_fault
from pixelmill.jobs.kubernetes.pods import (
    CONFIG_PATH,
    JOB_FILE,
    Object,
    config_name,
    head_group,
    plain_container,
    plain_pod,
    scales,
    worker_group,
)
from pixelmill.jobs.kubernetes.spec import KubernetesSpec
from pixelmill.jobs.versions import versions
from pixelmill.jobs.work_file import WorkFile
from pixelmill.workers.errors import JobError

COMMAND = f"pixelmill supervise {CONFIG_PATH}/{JOB_FILE} --stopped ok"
"""One command of words that a shell leaves as they are. A run that was stopped cleanly is no failure to KubeRay, which would
begin it again on a new cluster."""
FAILURES_OK = " --set run.failures=ok"
"""Of a job: nor is a complete run in which some inputs failed."""

MOST_CONFIG_BYTES = 1 << 20
STOP_WAIT_S = 60
MANAGED = {"app.kubernetes.io/managed-by": "pixelmill"}
SMALL = {"cpu": "500m", "memory": "512Mi"}


def ray_job(spec: KubernetesSpec, work: WorkFile) -> Object:
    """The RayJob, of KubeRay 1.5 and newer."""
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": _metadata(spec, spec.name or "") | ({"labels": MANAGED | _queue_labels(spec)}),
        "spec": ray_job_spec(spec, work),
    }


def ray_job_spec(spec: KubernetesSpec, work: WorkFile) -> Object:
    made: Object = {
        "entrypoint": command_of(work),
        "entrypointNumCpus": 1,
        "runtimeEnvYAML": to_yaml({"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)}}),
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": spec.ttl_s,
        "backoffLimit": spec.retries,
        "submitterPodTemplate": {"spec": plain_pod([plain_container("ray-job-submitter", image_of(spec), SMALL)])},
        "rayClusterSpec": _cluster(spec),
    }
    if spec.deadline_s is not None:
        made["activeDeadlineSeconds"] = spec.deadline_s
    if spec.starts_within_s is not None:
        made["preRunningDeadlineSeconds"] = spec.starts_within_s
    if spec.queue is not None and spec.queue.kueue is not None:
        made["suspend"] = True  # until Kueue admits it
    return made


def _cluster(spec: KubernetesSpec) -> Object:
    image = image_of(spec)
    made: Object = {"rayVersion": versions()["ray"]}
    if spec.auth == "token":
        made["authOptions"] = {"mode": "token"}
    made["enableInTreeAutoscaling"] = scales(spec)
    if scales(spec):
        made["autoscalerOptions"] = {"version": "v2", "idleTimeoutSeconds": 120}
    made["headGroupSpec"] = head_group(spec, image)
    made["workerGroupSpecs"] = [worker_group(spec, group, image) for group in spec.groups]
    return made


def image_of(spec: KubernetesSpec) -> str:
    """The image of every pod."""
    return spec.image or f"pixelmill:{versions()['pixelmill']}"


def command_of(work: WorkFile) -> str:
    """What the driver runs."""
    return COMMAND + (FAILURES_OK if work.kind == "job" else "")


def files_of(work: WorkFile) -> dict[str, str]:
    """The file and those that it names, as they lie in CONFIG_PATH."""
    return {JOB_FILE: to_yaml(work.document), **work.beside}


def config_map(spec: KubernetesSpec, name: str, files: dict[str, str]) -> Object:
    """Files for the pods. Raises JobError where they are more than a ConfigMap holds."""
    size = sum(len(text.encode()) for text in files.values())
    if size > MOST_CONFIG_BYTES:
        raise JobError(
            f"{name}: the job file has {size:,} bytes, more than the {MOST_CONFIG_BYTES:,} of a ConfigMap; "
            "name many inputs in a list of URIs"
        )
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(spec, name), "data": files}


def objects(spec: KubernetesSpec, work: WorkFile) -> list[Object]:
    """What is applied to run the job once."""
    return [config_map(spec, config_name(spec), files_of(work)), ray_job(spec, work)]


def require_name(spec: KubernetesSpec, longest: int = LONGEST_RAY_JOB) -> None:
    """Raises JobError where KubeRay would refuse the name."""
    if fault := label_fault(spec.name or "", longest, letter_first=True):
        raise JobError(f"name {spec.name}: {fault}; choose another with --set name=NAME")


def _metadata(spec: KubernetesSpec, name: str) -> Object:
    return {"name": name, "namespace": spec.namespace, "labels": dict(MANAGED)}


def _queue_labels(spec: KubernetesSpec) -> dict[str, str]:
    queue = spec.queue
    if queue is None:
        return {}
    if queue.kueue is not None:
        priority = {"kueue.x-k8s.io/priority-class": queue.priority_class} if queue.priority_class else {}
        return {"kueue.x-k8s.io/queue-name": queue.kueue, **priority}
    priority = {"ray.io/priority-class-name": queue.priority_class} if queue.priority_class else {}
    if queue.volcano is not None:
        return {"ray.io/scheduler-name": "volcano", "volcano.sh/queue-name": queue.volcano, **priority}
    gang = {"ray.io/gang-scheduling-enabled": "true", "yunikorn.apache.org/app-id": f"{spec.namespace}-{spec.name}"}
    return {**gang, "yunikorn.apache.org/queue": str(queue.yunikorn), **priority}

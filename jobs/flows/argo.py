"""A flow as an Argo Workflow, for those who already run one: a DAG whose tasks are the steps, each one container.

Argo then decides what runs when. A step that is done says so within seconds when it runs again, as it does anywhere.
"""

from __future__ import annotations

import re
from typing import Any, cast

from pixelmill.jobs.documents.parsing import read_file
from pixelmill.jobs.documents.references import REFERENCE
from pixelmill.jobs.flows.graph import OF_A_STEP, checked_order, file_of, needs_of
from pixelmill.jobs.flows.spec import STAGE_COMMANDS, Flow
from pixelmill.jobs.supervision.exit_codes import EXIT_TRY_AGAIN
from pixelmill.workers.errors import JobError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,56}[a-z0-9])?")
GRACE_S = 90
FILES = "/pixelmill/steps"


def workflow_of(flow: Flow, *, name: str, image: str, secret: str | None, file_name: str) -> dict[str, Any]:
    """The manifest. Raises JobError for what a Workflow can't say, and for a name that Kubernetes refuses."""
    if not _NAME.fullmatch(name):
        raise JobError(f"--name {name}: Kubernetes takes a-z, 0-9 and - within, at most 58 characters")
    if not image.strip():
        raise JobError("--image: name the image that holds Pixelmill, as registry/pixelmill:0.1.0")
    order = checked_order(flow, file_name)
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": f"{name}-"},
        "spec": {
            "entrypoint": "flow",
            "templates": [
                {"name": "flow", "dag": {"tasks": [_task(flow, step) for step in order]}},
                *(_template(flow, step, image, secret, file_name) for step in order),
            ],
            "volumes": [{"name": "steps", "configMap": {"name": f"{name}-steps"}}] if _files(flow) else [],
        },
    }


def config_map_of(flow: Flow, *, name: str) -> dict[str, Any] | None:
    """The job files that steps name, as the Workflow mounts them; None where there are none."""
    files = _files(flow)
    if not files:
        return None
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-steps"}, "data": files}


def _files(flow: Flow) -> dict[str, str]:
    found = {step: file_of(flow, spec) for step, spec in flow.spec.steps.items()}
    return {f"{step}.yaml": read_file(str(path)) for step, path in found.items() if path is not None}


def _task(flow: Flow, step: str) -> dict[str, Any]:
    needs = [_argo_name(need) for need in needs_of(flow.spec.steps[step])]
    task: dict[str, Any] = {"name": _argo_name(step), "template": _argo_name(step)}
    return {**task, "dependencies": needs} if needs else task


def _template(flow: Flow, step: str, image: str, secret: str | None, file_name: str) -> dict[str, Any]:
    spec = flow.spec.steps[step]
    container: dict[str, Any] = {"image": image, "command": ["pixelmill"], "args": _words(flow, step, file_name)}
    if secret is not None:
        container["envFrom"] = [{"secretRef": {"name": secret}}]
    if file_of(flow, spec) is not None:
        container["volumeMounts"] = [{"name": "steps", "mountPath": FILES, "readOnly": True}]
    if spec.cpus is not None or spec.gpus:
        wanted = ({"cpu": str(spec.cpus)} if spec.cpus else {}) | (
            {"nvidia.com/gpu": f"{spec.gpus:g}"} if spec.gpus else {}
        )
        container["resources"] = {"requests": wanted, "limits": wanted}
    return {
        "name": _argo_name(step),
        # A bad job (2) is never tried again; Argo itself tries again what its pod's node lost.
        "retryStrategy": {
            "limit": 10,
            "retryPolicy": "Always",
            "expression": f"asInt(lastRetry.exitCode) in [1, {EXIT_TRY_AGAIN}, 130, 137, 143, -1]",
            "backoff": {"duration": "10s", "factor": 2, "maxDuration": "1h"},
        },
        "podSpecPatch": f"terminationGracePeriodSeconds: {GRACE_S}",
        "container": container,
    }


def _words(flow: Flow, step: str, file_name: str) -> list[str]:
    """The words with folders and parameters filled in. References to the environment become those of Kubernetes: no value of this
    process is written. Every exit code but 0 fails a task, so inputs that failed are accepted, and named by the run."""

    def folder(match: re.Match[str]) -> str:
        if match[2] != "out":
            raise JobError(
                f"{file_name}: steps.{step}: {match[0]} is a value of a _SUCCESS, which a Workflow can't pass on; write it as a "
                "parameter, or run the flow with `pixelmill run`"
            )
        return flow.step_out(match[1])

    parameters = cast("dict[str, object]", flow.document.get("parameters") or {})

    def value(match: re.Match[str]) -> str:
        if match[1] in parameters:
            return REFERENCE.sub(value, str(parameters[match[1]]))
        return f"$({match[1]})" if match[2] is None else str(match[2])

    words = [word.replace("${out}", flow.step_out(step)) for word in flow.written(step)]
    words = [REFERENCE.sub(value, OF_A_STEP.sub(folder, word)) for word in words]
    if file_of(flow, flow.spec.steps[step]) is not None:
        words[1] = f"{FILES}/{step}.yaml"
    is_bulk = words[0] in {"run", *STAGE_COMMANDS} or words[:2] == ["ct", "ingest"]
    return [*words, "--failures", "ok"] if is_bulk and "--failures" not in words else words


def _argo_name(step: str) -> str:
    return step.replace("_", "-")

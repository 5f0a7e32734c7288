"""What `--check` says of a manifest."""

from __future__ import annotations

import re

from pixelmill.jobs.kubernetes.manifest import image_of
from pixelmill.jobs.kubernetes.pods import Object
from pixelmill.jobs.kubernetes.rules import VERSIONS, documents, faults_of
from pixelmill.jobs.kubernetes.spec import KubernetesSpec
from pixelmill.workers.errors import JobError


def is_manifest(text: str) -> bool:
    """Whether a file holds objects of Kubernetes; a job file has neither of these keys at its top."""
    return all(re.search(rf"^{key}\s*:", text, re.MULTILINE) for key in ("kind", "apiVersion"))


def verdict(text: str, name: str) -> str:
    """One line for a manifest that the operator takes. Raises JobError with every fault of one that it does not."""
    objects = documents(text, name)
    if faults := faults_of(objects):
        raise JobError(f"{name}: this manifest is refused, or does not do what it says\n" + "\n".join(map(str, faults)))
    kinds = ", ".join(each["kind"].text for each in objects)
    unknown = sorted({each["kind"].text for each in objects} - VERSIONS.keys())
    left = f"; {', '.join(unknown)} is not checked here" if unknown else ""
    return f"{name}: {kinds}: the operator's rules (KubeRay 1.6) find no fault{left}"


def notes(objects: list[Object]) -> list[str]:
    """What a person should know who applies them."""
    default = image_of(KubernetesSpec.model_validate({}))
    if re.search(rf"(?<![\w./-]){re.escape(default)}(?![\w.-])", str(objects)):  # and not REGISTRY/pixelmill:VERSION
        return [
            f"every pod runs the image {default}: push it where the nodes find it, and name it with --set image=IMAGE"
        ]
    return []

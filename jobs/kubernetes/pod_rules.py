"""Rules for the pods of a Ray cluster: what the operator needs of a template, and what the API server refuses."""

from __future__ import annotations

from collections.abc import Iterator

from pixelmill.jobs.kubernetes.names import (
    is_quantity,
    label_fault,
    label_key_fault,
    label_value_fault,
    subdomain_fault,
)
from pixelmill.jobs.kubernetes.walking import Fault, ManifestPart

LEAST_GRACE_S = 60
RESTART_POLICIES = ("Always", "OnFailure", "Never")
LONGEST_NAME = 63


def template_faults(template: ManifestPart) -> Iterator[Fault]:
    """Of a pod template with at least one container."""
    pod = template["spec"]
    if not list(pod["containers"].items()):
        yield pod["containers"].fault("has no container; the first one is Ray's")
    volumes = {volume["name"].text for volume in pod["volumes"].items()}
    for container in pod["containers"].items():
        yield from _container_faults(container, volumes)
    for volume in pod["volumes"].items():
        if fault := label_fault(volume["name"].text, LONGEST_NAME):
            yield volume["name"].fault(f"{volume['name'].text!r} {fault}")
    policy = pod["restartPolicy"]
    if policy.is_set and policy.value not in RESTART_POLICIES:
        yield policy.fault(f"{policy.value} is none of {', '.join(RESTART_POLICIES)}")
    grace = pod["terminationGracePeriodSeconds"]
    if grace.is_set and (grace.number is None or grace.number < 0):
        yield grace.fault(f"{grace.value} is no number of seconds")


def _container_faults(container: ManifestPart, volumes: set[str]) -> Iterator[Fault]:
    name = container["name"]
    if fault := label_fault(name.text, LONGEST_NAME):
        yield name.fault(f"{name.text!r} {fault}")
    if not container["image"].text.strip() or container["image"].text != container["image"].text.strip():
        yield container["image"].fault("names no image")
    yield from _resource_faults(container["resources"])
    for mount in container["volumeMounts"].items():
        if mount["name"].text not in volumes and volumes:
            yield mount["name"].fault(
                f"there is no volume {mount['name'].text!r}; there are {', '.join(sorted(volumes))}"
            )
        elif not volumes:
            yield mount["name"].fault(f"there is no volume {mount['name'].text!r}, and no other")
    for source in container["envFrom"].items():
        for key in ("secretRef", "configMapRef"):
            if source[key].is_set and (fault := subdomain_fault(source[key]["name"].text)):
                yield source[key]["name"].fault(f"{source[key]['name'].text!r} {fault}")
    for variable in container["env"].items():
        if variable["value"].is_set and not isinstance(variable["value"].value, str):
            yield variable["value"].fault(f"{variable['value'].value} is no text; write it in quotes")


def _resource_faults(resources: ManifestPart) -> Iterator[Fault]:
    for kind in ("requests", "limits"):
        for name, amount in resources[kind].pairs():
            if not is_quantity(str(amount.value)):
                yield amount.fault(f"{amount.value} is no amount; write it as 500m, 8 or 32Gi")
            elif (
                "/" in name
                and resources["requests"][name].is_set
                and (str(resources["requests"][name].value) != str(resources["limits"][name].value))
            ):
                yield amount.fault(f"{name} has another request than limit; the API server takes only equal ones")


def label_faults(labels: ManifestPart) -> Iterator[Fault]:
    """Of labels, of Kubernetes or of Ray: both have the same form."""
    for key, value in labels.pairs():
        if fault := label_key_fault(key):
            yield value.fault(f"key {key!r} {fault}")
        if not isinstance(value.value, str):
            yield value.fault(f"{value.value} is no text; write it in quotes")
        elif fault := label_value_fault(value.text):
            yield value.fault(f"value {value.text!r} {fault}")


def variable(container: ManifestPart, name: str) -> ManifestPart | None:
    """A variable of a container's environment."""
    return next((each for each in container["env"].items() if each["name"].text == name), None)

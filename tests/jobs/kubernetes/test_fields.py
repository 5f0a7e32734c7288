"""Manifests and the fields that `--check` knows, held against the published schemas of KubeRay 1.6."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pixelmill.jobs.kubernetes.fields import RAY_CRON_JOB, RAY_JOB, Fields
from tests.jobs.kubernetes.manifests import RIGHT, made, one
from tests.shared_data import SHARED_DATA

SCHEMAS = SHARED_DATA.parent / "kuberay"
TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "number": (int, float),
    "array": list,
    "object": dict,
}

pytestmark = pytest.mark.skipif(not SCHEMAS.is_dir(), reason="needs shared/kuberay beside the checkout")


def published(kind: str) -> dict[str, Any]:
    return json.loads((SCHEMAS / f"{kind.lower()}.schema.json").read_text())["schema"]


def differences(schema: dict[str, Any], fields: Fields, path: str) -> Iterator[str]:
    """Fields that only one of the two has, at any depth that is known here."""
    there: dict[str, Any] = schema["properties"]
    yield from (f"{path}.{name}" for name in there.keys() ^ fields.keys())
    for name, kind in fields.items():
        if isinstance(kind, dict):
            yield from differences(there[name], kind, f"{path}.{name}")
        elif isinstance(kind, list):
            yield from differences(there[name]["items"], kind[0], f"{path}.{name}[]")


def faults(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    """What the schema does not know or takes in another form; a cluster would drop or refuse it."""
    if schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string"):
        return
    if not isinstance(value, TYPES.get(schema.get("type", ""), object)):
        yield f"{path}: {value!r} is no {schema['type']}"
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from faults(schema["items"], each, f"{path}[{index}]")
    elif isinstance(value, dict):
        yield from _faults_within(schema, value, path)
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"


def _faults_within(schema: dict[str, Any], value: dict[str, Any], path: str) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    yield from (f"{path}.{name}: is missing" for name in schema.get("required", ()) if name not in value)
    for name, each in value.items():
        if name in known or others:
            yield from faults(known.get(name, others), each, f"{path}.{name}")
        elif known:
            yield f"{path}.{name}: is unknown"


@pytest.mark.parametrize(("kind", "fields"), [("RayJob", RAY_JOB), ("RayCronJob", RAY_CRON_JOB)])
def test_the_fields_are_the_published_ones(kind: str, fields: Fields) -> None:
    assert list(differences(published(kind)["properties"]["spec"], fields, kind)) == []


@pytest.mark.parametrize("asked", RIGHT, ids=range(len(RIGHT)))
def test_a_manifest_holds_nothing_that_the_published_schema_does_not_know(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    objects = made(tmp_path, **asked)
    applied = [json.loads(text) for name, text in one(objects, "ConfigMap")["data"].items() if name.endswith(".json")]
    ours = [each for each in [*objects, *applied] if each["kind"] in {"RayJob", "RayCronJob"}]
    assert ours
    for each in ours:
        assert list(faults(published(each["kind"]), each, each["kind"])) == []


def test_what_a_schema_does_not_know_is_found_at_any_depth(tmp_path: Path) -> None:
    job = one(made(tmp_path), "RayJob")
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]
    pod = head["template"]["spec"]
    pod["terminationGracePeriod"], head["rayStartParams"]["num-cpus"] = pod.pop("terminationGracePeriodSeconds"), 0
    found = list(faults(published("RayJob"), job, "RayJob"))
    assert [fault.rpartition(".")[2] for fault in found] == [
        "num-cpus: 0 is no string",
        "terminationGracePeriod: is unknown",
    ]

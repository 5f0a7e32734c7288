"""Every manifest that we make passes the operator's rules, and each of many wrong ones is refused for its reason."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from pixelmill.jobs.kubernetes.rules import documents, faults_of
from pixelmill.workers.errors import JobError
from tests.jobs.kubernetes.manifests import RIGHT, made, written

CORPUS: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "wrong_manifests.yaml").read_text())

OF: dict[str, tuple[str, dict[str, Any]]] = {
    "rayjob": ("RayJob", {}),
    "kueue": ("RayJob", {"overrides": ["queue.kueue=vision"]}),
    "twogroups": ("RayJob", {"overrides": ["groups=[{name: workers}, {name: gpu, gpus: 1}]"]}),
    "cronjob": ("CronJob", {"schedule": "0 2 * * *"}),
    "eightgroups": (
        "RayJob",
        {"overrides": ["queue.kueue=vision", f"groups=[{', '.join(f'{{name: g{number}}}' for number in range(8))}]"]},
    ),
    "raycluster": ("RayJob", {}),
    "configmap": ("ConfigMap", {}),
    "account": ("ServiceAccount", {"schedule": "0 2 * * *"}),
    "role": ("Role", {"schedule": "0 2 * * *"}),
    "raycronjob": ("RayCronJob", {"schedule": "0 2 * * *", "is_ray_cron_job": True}),
}


def changed(entry: dict[str, Any], folder: Path) -> str:
    """The right manifest with the changes of an entry."""
    kind, asked = OF[entry["of"]]
    objects = copy.deepcopy(made(folder, **asked))
    (one,) = [each for each in objects if each["kind"] == kind]
    if entry["of"] == "raycluster":
        one |= {"kind": "RayCluster", "spec": one["spec"]["rayClusterSpec"]}
    for path in entry.get("drop", ()):
        holder, key = _place(one, path)
        del holder[key]
    for path, value in entry.get("set", {}).items():
        holder, key = _place(one, path)
        holder[key] = value
    return written(objects)


def _place(value: Any, path: str) -> tuple[Any, Any]:
    """What holds the value of a path, and its key; keys may hold dots where they stand last."""
    words = path.split(".")
    for index, word in enumerate(words[:-1]):
        if isinstance(value, dict) and ".".join(words[index:]) in value:
            return value, ".".join(words[index:])
        value = value[int(word)] if isinstance(value, list) else value.setdefault(word, {})
    return value, int(words[-1]) if isinstance(value, list) else words[-1]


def test_the_corpus_is_large_and_says_what_each_is() -> None:
    assert len(CORPUS) >= 120
    assert len({entry["what"] for entry in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("entry", CORPUS, ids=[entry["what"].replace(" ", "-") for entry in CORPUS])
def test_a_wrong_manifest_is_refused_for_its_reason_and_for_no_other(entry: dict[str, Any], tmp_path: Path) -> None:
    faults = [str(fault) for fault in faults_of(documents(changed(entry, tmp_path), "m.yaml"))]
    assert any(entry["says"] in fault for fault in faults), faults
    others = [fault for fault in faults if not any(says in fault for says in (entry["says"], *entry.get("also", ())))]
    assert not others


@pytest.mark.parametrize("asked", RIGHT, ids=range(len(RIGHT)))
def test_every_manifest_that_we_make_passes(asked: dict[str, Any], tmp_path: Path) -> None:
    assert faults_of(documents(written(made(tmp_path, **asked)), "m.yaml")) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no object of Kubernetes"),
        ("- a", "holds no object of Kubernetes"),
        ("kind: [", "is not YAML"),
        ("--- \n---\n", "holds no object"),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, why: str) -> None:
    with pytest.raises(JobError, match=f"m.yaml: {why}"):
        documents(text, "m.yaml")


def test_objects_of_other_kinds_are_left_to_the_api_server() -> None:
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\n---\napiVersion: apps/v1\nkind: Deployment\n"
    assert faults_of(documents(text, "m.yaml")) == []


def test_a_config_map_that_is_too_large_is_refused() -> None:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{a: {'x' * 1_100_000}}}\n"
    with pytest.raises(JobError, match="more than"):
        documents(text, "m.yaml")
    text = text.replace("data: {a: ", "data: {a: &a ").replace("x" * 1_100_000, "x" * 400_000 + ", b: *a, c: *a")
    (fault,) = faults_of(documents(text, "m.yaml"))
    assert "has 1,200,000 bytes, and at most 1,048,576 are taken" in str(fault)

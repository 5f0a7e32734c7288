"""Manifests for tests, made of one small job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pixelmill.jobs.kubernetes.comments import plain
from pixelmill.jobs.kubernetes.making import Asked, make

JOB = """\
version: 1
source: s3://archive/photos
out: s3://archive/embeddings
stages:
  - embed: {model: torchvision:resnet18/random}
"""

RIGHT: list[dict[str, Any]] = [
    {},
    {
        "overrides": [
            "groups.0.gpus=1",
            "groups.0.spot=true",
            "groups.0.labels={zone: a}",
            "groups.0.node_selector={pool: a}",
        ]
    },
    {"overrides": ["groups=[{name: cpu, max: 2}, {name: gpu, gpus: 4, min: 1, max: 3}]", "deadline_s=3600"]},
    {"overrides": ["groups.0.min=2", "groups.0.max=2"]},
    {"overrides": ["secret=store-keys", "service_account=vision", "auth=disabled", "retries=0", "ttl_s=0"]},
    {
        "overrides": [
            "volumes=[{claim: scans, path: /data}]",
            "starts_within_s=900",
            "head.node_selector={pool: stable}",
        ]
    },
    {"overrides": ["queue.kueue=vision", "queue.priority_class=low"]},
    {"overrides": ["queue.volcano=vision", "queue.priority_class=low"]},
    {"overrides": ["queue.yunikorn=root.vision"]},
    {"schedule": "0 2 * * *", "overrides": ["time_zone=Europe/Berlin", "secret=store-keys"]},
    {"schedule": "@weekly"},
    {"schedule": "*/30 6-20 * * 1-5", "is_ray_cron_job": True, "overrides": ["queue.volcano=vision"]},
]
"""What may be asked of `made`; each gives a manifest that must pass."""


def made(folder: Path, job: str = JOB, name: str = "embed.yaml", **asked: Any) -> list[dict[str, Any]]:
    """The objects of a job file in this folder."""
    path = folder / name
    path.write_text(job)
    return make(Asked(str(path), **asked), {})


def written(objects: list[dict[str, Any]]) -> str:
    return plain(objects)


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The only object of this kind."""
    (found,) = [each for each in objects if each["kind"] == kind]
    return found

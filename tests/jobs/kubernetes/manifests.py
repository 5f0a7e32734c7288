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

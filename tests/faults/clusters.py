"""Jobs on a Ray cluster of several nodes: what is submitted, who drives it, and what is done to it."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import yaml

from pixelmill.jobs.id_keys import VARIABLE
from tests.faults.conftest import MODEL, Mine
from tests.faults.suspended import SUSPENSION
from tests.servers.ray_cluster import RayCluster
from tests.support import Home

PATIENCE_S = 900.0
"""For one thing to happen; a machine that others use too takes minutes to import torch on each node."""


def nodes_of(mine: Mine) -> dict[str, str]:
    """The environment of nodes that reach the store through the proxy that counts, and hold the key of CT. They can be suspended
    at named moments."""
    python_path = os.pathsep.join(filter(None, [str(SUSPENSION), os.environ.get("PYTHONPATH")]))
    return {**mine.proxy.env, VARIABLE: "a key for tests only", "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path}


def client(mine: Mine, cluster: RayCluster) -> Home:
    return Home(mine.home.folder, {**mine.home.environment, **cluster.client})


def job_of(mine: Mine, folder: Path, **run: object) -> str:
    document = {
        "version": 1,
        "source": mine.source,
        "out": mine.out,
        "stages": [{"embed": {"model": MODEL}}],
        "run": {"actors": 2, **run},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(document))
    return str(folder / "job.yaml")


def drivers(cluster: RayCluster) -> list[psutil.Process]:
    """The processes of the submitted command, on whichever node it runs."""
    return [each for each in _everything(cluster) if _is_a_driver(each)]


def _everything(cluster: RayCluster) -> list[psutil.Process]:
    nodes = [node for node in [cluster.head, *cluster.nodes] if node is not None]
    return [process for node in nodes for process in node.processes()]


def _is_a_driver(process: psutil.Process) -> bool:
    try:
        words = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "pixelmill supervise" in words or "pixelmill.jobs.child" in words


def kill_driver(cluster: RayCluster) -> None:
    found = drivers(cluster)
    assert found
    for process in found:
        process.kill()


def suspended(cluster: RayCluster) -> list[psutil.Process]:
    """What stopped itself at its moment, or was stopped."""
    return [each for each in _everything(cluster) if _status(each) == psutil.STATUS_STOPPED]


def _status(process: psutil.Process) -> str:
    try:
        return process.status()
    except psutil.Error:
        return psutil.STATUS_DEAD


def suspend_driver(cluster: RayCluster) -> None:
    for process in drivers(cluster):
        process.suspend()


def wake(cluster: RayCluster) -> None:
    for process in suspended(cluster):
        process.resume()


def finished(mine: Mine) -> int:
    return len(mine.output.finished_uris())


def attempts(mine: Mine) -> int:
    return len({name.split("/")[2] for name in mine.output.files("_run/attempts") if "/claim" in name})

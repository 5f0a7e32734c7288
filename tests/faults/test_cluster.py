"""Jobs and flows on a cluster of several nodes, with data behind an S3 server, that loses its parts one after another.

python -m pytest tests/faults/test_cluster.py -s    prints the figures of docs/cluster.md
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from tests.architecture import ROOT
from tests.faults.conftest import MODEL, Mine
from tests.servers.ray_cluster import RayCluster
from tests.support import Home, Output, Run, assert_every_input_in_one_row, pixelmill
from tests.waiting import comes

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(1800)]
ROWS = 1400
PATIENCE_S = 400.0


@pytest.fixture
def cluster(mine: Mine) -> Iterator[RayCluster]:
    """A head and two workers of one CPU, whose nodes reach the store through the proxy that counts."""
    with RayCluster({**mine.proxy.env, "OMP_NUM_THREADS": "1"}, head_cpus=1) as made:
        made.add_node(1)
        made.add_node(1)
        yield made


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
    nodes = [node for node in [cluster.head, *cluster.nodes] if node is not None]
    everything = [process for node in nodes for process in node.processes()]
    return [each for each in everything if _is_a_driver(each)]


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


def finished(mine: Mine) -> int:
    return len(mine.output.finished_uris())


def attempts(mine: Mine) -> int:
    return len({name.split("/")[2] for name in mine.output.files("_run/attempts") if "/claim" in name})


class Figures:
    """What each fault cost: seconds until the next part was published, and inputs that were fetched once more."""

    def __init__(self, mine: Mine) -> None:
        self._mine = mine

    def _fetches(self) -> int:
        return sum(self._mine.gets(uri) for uri in self._mine.uris)

    def after(self, fault: str, do: Callable[[], object], *, in_a_new_attempt: bool = False) -> None:
        """Do the damage, and wait until the run is at work again: a part is published, where it needs one by a new attempt."""
        self._mine.seal()
        before, fetched, at_s = finished(self._mine), self._fetches(), time.monotonic()
        began = attempts(self._mine)
        do()
        if in_a_new_attempt:
            assert comes(lambda: attempts(self._mine) > began, PATIENCE_S), f"no attempt began after {fault}"
            before = finished(self._mine)
        assert comes(lambda: finished(self._mine) > before, PATIENCE_S), f"nothing was published after {fault}"
        seconds, done = time.monotonic() - at_s, f"{before} of {len(self._mine.uris)}"
        sys.stdout.write(f"\n{fault}: {seconds:.0f} s, at {done}, {self._fetches() - fetched} GETs\n")


def test_a_job_outlives_a_worker_node_its_driver_the_shell_and_at_last_its_cluster(
    mine: Mine, cluster: RayCluster, tmp_path: Path
) -> None:
    mine.fill(ROWS)
    user, job, figures = client(mine, cluster), job_of(mine, tmp_path), Figures(mine)
    with Run(user, "submit", job, "--address", cluster.address, "--wait") as waiting:
        waiting.wait_until(lambda: mine.output.parts() >= 2, "two parts were published", PATIENCE_S)
        figures.after("a worker node was killed", cluster.nodes[-1].kill)
        figures.after("the driver was killed", lambda: kill_driver(cluster), in_a_new_attempt=True)
        figures.after("the submitting shell was killed", waiting.kill)
    said = pixelmill(user, "status", mine.out, "--json")
    assert json.loads(said.stdout)["state"] == "running", said.stderr
    mine.seal()
    cluster.stop()
    said = pixelmill(user, "status", mine.out, "--json")
    assert json.loads(said.stdout)["state"] == "interrupted", said.stdout
    ended = pixelmill(mine.home, "resume", mine.out)
    assert ended.code == 0, ended.stderr
    assert assert_every_input_in_one_row(mine.output, inputs=ROWS) == {}
    assert mine.fetched_again() == {}
    twice = sum(mine.gets(uri) > 1 for uri in mine.uris)
    sys.stdout.write(f"\n{twice} of {ROWS} inputs were fetched more than once in all, in {mine.output.parts()} parts")
    assert json.loads(pixelmill(user, "status", mine.out, "--json").stdout)["state"] == "complete"


def test_a_run_that_was_begun_here_is_finished_on_a_cluster_whose_head_dies_and_comes_back(
    mine: Mine, cluster: RayCluster, tmp_path: Path
) -> None:
    mine.fill(ROWS)
    user, job, figures = client(mine, cluster), job_of(mine, tmp_path), Figures(mine)
    with Run(mine.home, "run", job) as here:
        here.wait_until(lambda: mine.output.parts() >= 1, "a part was published", PATIENCE_S)
        here.kill()
    mine.seal()
    with Run(user, "submit", job, "--address", cluster.address, "--wait") as waiting:
        begun = finished(mine)
        waiting.wait_until(lambda: finished(mine) > begun, "a part was published on the cluster", PATIENCE_S)

        def lose_the_head() -> None:
            for node in [*cluster.nodes, cluster.head]:
                assert node is not None
                node.kill()
            cluster.nodes.clear()
            cluster.start_head()
            cluster.add_node(1)

        figures.after("the head was killed, with its cluster, and started again", lose_the_head, in_a_new_attempt=True)
        assert waiting.wait(PATIENCE_S) == 0, waiting.stderr
    assert assert_every_input_in_one_row(mine.output, inputs=ROWS) == {}
    assert mine.fetched_again() == {}


FLOW = ROOT / "jobs/examples/flow-photos.yaml"


def test_a_flow_that_loses_a_node_and_its_driver_is_resumed_from_its_folder_and_ends_complete(
    mine: Mine, cluster: RayCluster
) -> None:
    mine.fill(300)
    user = client(mine, cluster)
    values = {"PHOTOS_BUCKET": mine.bucket, "RESULTS_BUCKET": mine.bucket, "EMBED_MODEL": MODEL}
    user.environment.update(values)
    there = ["--address", cluster.address, *(word for name in values for word in ("--env", name))]
    submitted = pixelmill(user, "submit", str(FLOW), *there)
    assert submitted.code == 0, submitted.stderr
    mine.out = f"s3://{mine.bucket}/flow-photos"
    embedded, styled = (Output(f"{mine.out}/{step}", mine.gateway.env) for step in ("embed", "stylize"))
    assert comes(lambda: embedded.parts() + styled.parts() >= 1, PATIENCE_S)
    cluster.nodes[-1].kill()
    before = embedded.parts() + styled.parts()
    assert comes(lambda: embedded.parts() + styled.parts() > before or "_SUCCESS" in styled.files(), PATIENCE_S)
    kill_driver(cluster)
    ended = pixelmill(user, "resume", mine.out, *there, "--wait")
    assert ended.code == 0, ended.stderr
    for output, vector in ((embedded, "embedding"), (styled, None)):
        assert assert_every_input_in_one_row(output, inputs=300, vector=vector) == {}
    assert sum(not name.startswith("_") for name in Output(f"{mine.out}/export", mine.gateway.env).files()) == 300
    assert json.loads(pixelmill(user, "status", mine.out, "--json").stdout)["state"] == "complete"

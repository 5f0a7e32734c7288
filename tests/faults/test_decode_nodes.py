"""A job whose pictures are decoded on another node than that of its worker, and which loses that node.

python -m pytest tests/faults/test_decode_nodes.py -s    prints the figures of docs/cluster.md
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from tests.faults.test_deaths import patching
from tests.jpegs import make_jpegs
from tests.servers.ray_cluster import RayCluster
from tests.support import Home, Output, Run, assert_every_input_in_one_row, home, pixelmill

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(3600)]
ROWS = 300
PATIENCE_S = 900.0
WHERE, LOG = "PIXELMILL_TEST_WHERE", "PIXELMILL_TEST_DECODED"
DECODES = f"""
import os, time

def patch(module):
    for name in ("decode_picture", "decode_reduced"):
        setattr(module, name, recorded(getattr(module, name)))

def recorded(decode):
    def decoded(*args, **options):
        with open(os.environ["{LOG}"], "a") as log:
            log.write(os.environ["{WHERE}"] + "\\n")
        time.sleep(0.03)  # a run that is over before a node is lost shows nothing
        return decode(*args, **options)
    return decoded
"""


@dataclass
class Place:
    """A cluster of a head, where the worker is, and of a node that decodes; and who submits to it."""

    cluster: RayCluster
    user: Home
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "decoded.txt"

    def decoded(self) -> Counter[str]:
        """How many pictures were decoded on which node."""
        return Counter(self.log.read_text().split())

    def job(self, name: str, **run: object) -> tuple[str, Output]:
        self.log.write_text("")
        stage = {"model": "torchvision:resnet18/random", "precision": "float32", "backend": "torch"}
        document = {
            "version": 1,
            "source": str(self.folder / "in"),
            "out": str(self.folder / name),
            "stages": [{"embed": stage}],
            "run": {"actors": 1, **run},
        }
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(document))
        return str(self.folder / f"{name}.yaml"), Output(str(self.folder / name))

    def submit(self, job: str) -> list[str]:
        return ["submit", job, "--address", self.cluster.address, "--wait"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    make_jpegs(tmp_path / "in", ROWS)
    (tmp_path / "sitecustomize.py").write_text(patching("pixelmill.workers.codecs.decode", DECODES))
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    nodes = {"PYTHONPATH": path, WHERE: "worker", LOG: str(tmp_path / "decoded.txt"), "OMP_NUM_THREADS": "1"}
    with RayCluster(nodes, head_cpus=2) as cluster, home(cluster.client) as user:
        cluster.add_node(0, {"decoder": 2}, **{WHERE: "decoder"})
        yield Place(cluster, user, tmp_path)


ON = {"tasks": 2, "cpus": 0, "resources": {"decoder": 1}, "in_flight_mb": 16}


def embeddings(output: Output) -> pa.Table:
    return output.table("data").select(["id", "width", "height", "embedding"]).sort_by("id").combine_chunks()


def test_pictures_are_decoded_on_the_node_that_is_declared_for_it_and_by_the_worker_once_that_is_lost(
    place: Place,
) -> None:
    job, refused = place.job("refused", decode_on={"tasks": 2, "resources": {"decodre": 1}})
    ended = pixelmill(place.user, *place.submit(job), timeout_s=PATIENCE_S)
    assert ended.code == 2, ended.stderr
    assert "run.decode_on: none of 2 nodes offers 1 CPU, 1 decodre" in ended.stderr
    assert not any(name.startswith("data") for name in refused.files())

    job, here = place.job("here")
    assert pixelmill(place.user, *place.submit(job), timeout_s=PATIENCE_S).code == 0
    assert place.decoded() == {"worker": ROWS}

    job, there = place.job("there", decode_on=ON)
    ended = pixelmill(place.user, *place.submit(job), timeout_s=PATIENCE_S)
    assert ended.code == 0, ended.stderr
    assert place.decoded() == {"decoder": ROWS}
    assert embeddings(there).equals(embeddings(here))
    assert assert_every_input_in_one_row(there, inputs=ROWS) == {}

    job, lost = place.job("lost", decode_on=ON)
    with Run(place.user, *place.submit(job)) as waiting:
        waiting.wait_until(lambda: place.decoded()["decoder"] >= ROWS // 3, "a third was decoded", PATIENCE_S)
        place.cluster.nodes[-1].kill()
        at_s, before = time.monotonic(), place.decoded()
        waiting.wait_until(lambda: place.decoded()["worker"] > 0, "the worker decodes", PATIENCE_S)
        seconds = time.monotonic() - at_s
        assert waiting.wait(PATIENCE_S) == 0, waiting.stderr
    found = place.decoded()
    assert found["decoder"] == before["decoder"]
    assert found["worker"] >= ROWS - found["decoder"]
    assert embeddings(lost).equals(embeddings(here))
    assert assert_every_input_in_one_row(lost, inputs=ROWS) == {}
    sys.stdout.write(
        f"\nthe only node that decodes was killed at {found['decoder']} of {ROWS}: the worker decodes {seconds:.0f} s later, "
        f"{found.total() - ROWS} are decoded once more\n"
    )

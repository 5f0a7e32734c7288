"""Jobs and trainings on a cluster that begins with no node that could work: they come once they are waited for, as an autoscaler
brings them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.support import Home, Output, Run, assert_every_input_in_one_row, home, pictures, pixelmill

MODEL = "torchvision:mobilenet_v3_small/random"
SMALL = {"object_store_memory": 80 << 20}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head that gives no CPU."""
    with tempfile.TemporaryDirectory(prefix="pma-", dir="/tmp") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        (Path(folder) / "ray").mkdir()
        head = {**SMALL, "num_cpus": 0, "temp_dir": folder, "include_dashboard": False}
        nodes = Cluster(initialize_head=True, head_node_args=head)
        yield nodes
        nodes.shutdown()


@pytest.fixture
def user(cluster: Cluster) -> Iterator[Home]:
    with home({"RAY_ADDRESS": cluster.address}) as made:
        yield made


@pytest.mark.slow
def test_a_job_begins_with_no_node_and_ends_on_those_that_come(cluster: Cluster, user: Home, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 24)
    command = ["embed", str(tmp_path / "in"), str(tmp_path / "out"), "--model", MODEL]
    refused = pixelmill(user, *command)
    assert refused.code == 2
    assert "room for 0 on 1 node: 1 of 0 CPUs" in refused.stderr
    assert "a cluster that starts nodes when they are asked for has them in run.node_groups" in refused.stderr
    assert not (tmp_path / "out").exists()
    with Run(user, *command, "--set", "run.node_groups=[{max: 2, cpus: 2}]") as run:
        run.wait_until(lambda: "waiting for 1 CPU, 0 free" in run.stderr, "waiting for a node")
        for _ in range(2):
            cluster.add_node(**SMALL, num_cpus=2)
        assert run.wait() == 0, run.stderr
    assert_every_input_in_one_row(Output(str(tmp_path / "out")), inputs=24)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_training_begins_with_no_node_and_ends_on_those_that_come(
    cluster: Cluster, user: Home, tmp_path: Path
) -> None:
    pictures(tmp_path / "in", 24, size=(16, 16))
    small = ["steps=20", "batch=8", "size_px=16", "latent_size=4", "hidden=32", "channels=3"]
    command = ["train", "vae", "--data", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    command += [word for setting in small for word in ("--set", setting)]
    refused = pixelmill(user, *command)
    assert refused.code == 2
    assert "a cluster that starts nodes when they are asked for has them in run.node_groups" in refused.stderr
    with Run(user, *command, "--set", "run.node_groups=[{max: 1, cpus: 2}]") as run:
        run.wait_until(lambda: "starting the workers, 5 s" in run.stderr, "waiting for a node")
        cluster.add_node(**SMALL, num_cpus=2)
        assert run.wait() == 0, run.stderr
    assert json.loads(Output(str(tmp_path / "out")).read("_SUCCESS"))["steps"] == 20

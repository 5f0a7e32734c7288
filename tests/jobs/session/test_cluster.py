"""Jobs on a Ray that is there: two nodes of two CPUs each, so that more than two workers are on both; and it stays up."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.support import Home, Output, assert_every_input_in_one_row, home, pictures, pixelmill

MODEL = "torchvision:mobilenet_v3_small/random"
NODE = {"num_cpus": 2, "object_store_memory": 100 << 20}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="pmc-", dir="/tmp") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_raylet_start_wait_time_s", "400")  # a machine that others use too is slow
        patch.setenv("RAY_agent_register_timeout_ms", "400000")
        patch.setenv("RAY_TMPDIR", folder)  # short, as a socket's path has to be; the address is noted there for "auto"
        (Path(folder) / "ray").mkdir()
        nodes = Cluster(initialize_head=True, head_node_args={**NODE, "temp_dir": folder, "include_dashboard": False})
        nodes.add_node(**NODE)
        yield nodes
        nodes.shutdown()


@pytest.fixture(scope="module")
def user(cluster: Cluster) -> Iterator[Home]:
    with home({"RAY_ADDRESS": cluster.address}) as made:
        yield made


def assert_is_up(cluster: Cluster) -> None:
    assert [node.remaining_processes_alive() for node in cluster.list_all_nodes()] == [True, True]


@pytest.mark.slow
def test_a_job_takes_every_node_and_goes_on_where_it_was(user: Home, cluster: Cluster, tmp_path: Path) -> None:
    command = ["embed", str(tmp_path / "in"), str(tmp_path / "out"), "--model", MODEL]
    pictures(tmp_path / "in", 40)
    planned = pixelmill(user, *command, "--dry-run")
    assert "workers  4 on cpu" in planned.stdout, planned.stdout + planned.stderr
    done = pixelmill(user, *command)
    assert done.code == 0, done.stderr
    assert_every_input_in_one_row(Output(str(tmp_path / "out")), inputs=40)
    pictures(tmp_path / "in", 48)
    again = pixelmill(user, *command)
    assert again.code == 0, again.stderr
    assert_every_input_in_one_row(Output(str(tmp_path / "out")), inputs=48)
    assert json.loads((tmp_path / "out/_run/attempts/0002/record.json").read_text())["done"] == 8
    assert_is_up(cluster)


@pytest.mark.slow
def test_more_workers_than_the_cluster_holds_are_refused_in_figures(
    user: Home, cluster: Cluster, tmp_path: Path
) -> None:
    pictures(tmp_path / "in", 2)
    refused = pixelmill(user, "embed", str(tmp_path / "in"), str(tmp_path / "out"), "--set", "run.actors=5")
    assert refused.code == 2
    assert (
        "5 workers can't be placed: 5 times 1 CPU are needed, and there is room for 4 on 2 nodes: 2 of 2 CPUs; lower"
        in refused.stderr
    )
    assert_is_up(cluster)


@pytest.mark.slow  # two starts of a training
@pytest.mark.timeout(600)
def test_a_training_over_two_nodes_learns_as_on_one_machine(user: Home, cluster: Cluster, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 48, size=(16, 16))
    pictures_and_out = ["--data", str(tmp_path / "in"), "--out", str(tmp_path / "full")]
    full = pixelmill(user, "train", "vae", *pictures_and_out, "--set", "run.workers=4")
    assert full.code == 2
    assert "4 workers, and a CPU to read the data, can't be placed: 5 times 1 CPU" in full.stderr
    settings = ["batch=8", "size_px=16", "latent_size=4", "hidden=32", "channels=3", "steps=40", "run.workers=2"]
    losses = []
    with home() as alone:
        for where, person in (("cluster", user), ("machine", alone)):
            command = ["train", "vae", "--data", str(tmp_path / "in"), "--out", str(tmp_path / where)]
            done = pixelmill(person, *command, *(word for each in settings for word in ("--set", each)))
            assert done.code == 0, done.stderr
            losses.append((tmp_path / where / "log.csv").read_text())
    assert losses[0] == losses[1]
    assert_is_up(cluster)

"""Jobs on nodes that differ: many cores without GPUs beside nodes with one GPU each make a plan that runs.

The nodes are local raylets with declared resources. No GPU is here, so the workers that hold one compute on the CPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.support import Output, assert_every_input_in_one_row, home, pictures

MODEL = "torchvision:mobilenet_v3_small/random"
SMALL = {"object_store_memory": 80 << 20}

COMPUTES_ON_THE_CPU = """
import dataclasses, os, pathlib
from pixelmill.jobs import checks, cli, run

planned = run.make_plan

def on_the_cpu(*given):
    plan = planned(*given)
    pool = plan.pool
    made = f"{pool.least} to {pool.actors} on {plan.device}: {pool.cpus:g} CPUs, {pool.gpus:g} GPU"
    pathlib.Path(os.environ["PLANNED"]).write_text(made)
    return dataclasses.replace(plan, device="cpu", threads=1, decode_threads=1)

run.make_plan = checks.make_plan = on_the_cpu
cli.main()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="pmn-", dir="/tmp") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        (Path(folder) / "ray").mkdir()
        head = {**SMALL, "num_cpus": 100, "temp_dir": folder, "include_dashboard": False}
        nodes = Cluster(initialize_head=True, head_node_args=head)
        for number in range(4):
            nodes.add_node(**SMALL, num_cpus=8, num_gpus=1, labels={"pool": "blue" if number < 3 else "green"})
        yield nodes
        nodes.shutdown()


def embed(cluster: Cluster, folder: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    words = [word for each in settings for word in ("--set", each)]
    command = ["embed", str(folder / "in"), str(folder / "out"), "--model", MODEL, *words]
    with home({"RAY_ADDRESS": cluster.address, "PLANNED": str(folder / "planned")}) as user:
        return subprocess.run(
            [sys.executable, "-c", COMPUTES_ON_THE_CPU, *command],
            env=user.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )


@pytest.mark.slow
def test_a_hundred_cores_beside_four_gpu_nodes_make_a_plan_that_runs(cluster: Cluster, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 40)
    done = embed(cluster, tmp_path)
    assert done.returncode == 0, done.stderr
    # One worker a GPU, with the cores of its node; the hundred others publish.
    assert (tmp_path / "planned").read_text() == "4 to 4 on cuda: 8 CPUs, 1 GPU"
    assert_every_input_in_one_row(Output(str(tmp_path / "out")), inputs=40)


@pytest.mark.slow
def test_a_pool_between_bounds_and_on_labelled_nodes_runs(cluster: Cluster, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 24)
    done = embed(cluster, tmp_path, "run.actors={min: 1, max: 9}", "run.label_selector={pool: blue}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "planned").read_text() == "1 to 3 on cuda: 8 CPUs, 1 GPU"
    assert_every_input_in_one_row(Output(str(tmp_path / "out")), inputs=24)


@pytest.mark.slow
def test_what_no_node_has_is_refused_in_figures_before_anything_is_written(cluster: Cluster, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 2)
    refused = embed(cluster, tmp_path, "run.actors=4", "run.cpus_per_actor=32")
    assert refused.returncode == 2, refused.stderr
    assert "room for 0 on 5 nodes: 4 of 8 CPUs and 1 GPU, 1 of 100 CPUs; lower run.actors" in refused.stderr
    assert not (tmp_path / "out").exists()


GREEN = "run.label_selector={pool: green}"
"""The one node with these labels has one GPU."""


@pytest.mark.slow
def test_two_workers_share_one_gpu_and_work_at_once(cluster: Cluster, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 40)
    done = embed(cluster, tmp_path, "run.num_gpus=0.5", "run.actors=2", "run.cpus_per_actor=2", GREEN)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "planned").read_text() == "2 to 2 on cuda: 2 CPUs, 0.5 GPU"
    assert_every_input_in_one_row(Output(str(tmp_path / "out")), inputs=40)
    files = (tmp_path / "out/_run/attempts/0001/events").glob("*.jsonl")
    events = [json.loads(line) for file in sorted(files) for line in file.read_text().splitlines()]
    assert max(event.get("workers", 0) for event in events) == 2


@pytest.mark.slow
def test_parts_of_which_two_do_not_fit_on_one_gpu_are_refused(cluster: Cluster, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 2)
    refused = embed(cluster, tmp_path, "run.num_gpus=0.6", "run.actors=2", "run.cpus_per_actor=2", GREEN)
    assert refused.returncode == 2, refused.stderr
    assert "2 times 2 CPUs with 0.6 GPUs" in refused.stderr
    assert "room for 1 on 1 node" in refused.stderr

"""A node of a cluster that is taken away after a notice, as providers give one for spot machines.

python -m pytest tests/faults/test_cluster_nodes.py -s    prints the figures of docs/cluster.md
"""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from pixelmill.pipelines.events import StepsCounted, parsed
from tests.faults.clusters import PATIENCE_S, client, drivers, job_of, nodes_of
from tests.faults.conftest import Mine
from tests.servers import networks
from tests.servers.ray_cluster import Node, RayCluster
from tests.support import Run, assert_every_input_in_one_row, pixelmill
from tests.waiting import comes

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(3600)]
ROWS = 500
NOTICE_S = 10
STEPS = 6000
ELASTIC_STEPS = 20_000
GROWING_STEPS = 1_000_000
"""More than are taken until Ray Train looks for room, which it does once a minute."""


def node_of(cluster: RayCluster, worker: str) -> Node:
    """The first node with a worker of this title."""
    return next(node for node in cluster.nodes if any(worker in title for title in node.titles()))


def test_a_node_that_is_taken_away_after_a_notice_costs_at_most_a_part_for_its_worker(
    mine: Mine, tmp_path: Path
) -> None:
    mine.fill(ROWS)
    with RayCluster(nodes_of(mine), head_cpus=0) as cluster:
        for _ in range(2):
            cluster.add_node(1)
        job = job_of(mine, tmp_path)
        with Run(client(mine, cluster), "submit", job, "--address", cluster.address, "--wait") as waiting:
            waiting.wait_until(lambda: mine.output.parts() >= 2, "two parts were published", PATIENCE_S)
            taken = node_of(cluster, "MillActor")
            cluster.announce_the_loss_of(taken, NOTICE_S)
            time.sleep(NOTICE_S)
            mine.seal()
            assert "_SUCCESS" not in mine.output.files(), "the run was over before the node was"
            taken.kill()
            assert waiting.wait(PATIENCE_S) == 0, waiting.stderr
    assert assert_every_input_in_one_row(mine.output, inputs=ROWS) == {}
    assert mine.fetched_again() == {}
    again, largest = sum(mine.gets(uri) > 1 for uri in mine.uris), max(part_rows(mine))
    sys.stdout.write(f"\na node with a notice of {NOTICE_S} s: {again} of {ROWS} read again, a part has {largest}\n")
    assert again <= largest


def part_rows(mine: Mine) -> list[int]:
    segments = [name for name in mine.output.files("_run/manifest") if name.endswith("000000.json")]
    return json.loads(mine.output.read(segments[0]))["part_rows"]


def steps_of(mine: Mine) -> list[int]:
    """The steps that the first worker reported, in order, over all attempts."""
    pieces = [name for name in mine.output.files("_run/attempts") if name.endswith(".jsonl")]
    events = parsed("".join(mine.output.read(name).decode() for name in pieces))
    return [event.step for event in events if isinstance(event, StepsCounted)]


def test_a_training_saves_a_checkpoint_when_its_node_is_to_be_taken_away_and_loses_no_step_before_it(
    mine: Mine, tmp_path: Path
) -> None:
    mine.fill(64)
    small = {"batch": 8, "size_px": 16, "latent_size": 4, "hidden": 32, "channels": 3, "steps": STEPS}
    recipe = {"recipe": "vae", "data": mine.source, "out": mine.out, "settings": small}
    run = {"checkpoint_every_s": 3600, "threads": 1, "log_every_steps": 1}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "run": run}))
    with RayCluster(nodes_of(mine), head_cpus=0) as cluster:
        for _ in range(2):
            cluster.add_node(2)
        words = ["submit", str(tmp_path / "recipe.yaml"), "--address", cluster.address, "--wait"]
        with Run(client(mine, cluster), *words) as waiting:
            waiting.wait_until(lambda: steps_of(mine), "a step was taken", PATIENCE_S)
            taken, at_s = node_of(cluster, "RayTrainWorker"), time.monotonic()
            assert "_run/last.json" not in mine.output.files()
            cluster.announce_the_loss_of(taken, 120)
            assert comes(lambda: "_run/last.json" in mine.output.files(), PATIENCE_S), "no checkpoint was saved"
            noticed_s = time.monotonic() - at_s
            assert "_SUCCESS" not in mine.output.files(), "the training was over before its node was"
            saved = json.loads(mine.output.read("_run/last.json"))["step"]
            taken.kill()
            assert waiting.wait(PATIENCE_S) == 0, waiting.stderr
    steps = steps_of(mine)
    after = steps[next(place for place, step in enumerate(steps) if step >= saved) :]
    lost = max((before - step for before, step in pairwise(after)), default=0)
    sys.stdout.write(f"\nsaved at step {saved}, {noticed_s:.0f} s after the notice; {max(0, lost)} steps taken again\n")
    assert min(after) >= saved, "a step before the checkpoint was taken again"
    assert after[-1] == STEPS


def elastic_of(mine: Mine, folder: Path, steps: int, most_workers: int) -> str:
    """A recipe file of a training by one worker or several."""
    small = {"batch": 12, "size_px": 16, "latent_size": 4, "hidden": 32, "channels": 3, "steps": steps}
    recipe = {"recipe": "vae", "data": mine.source, "out": mine.out, "settings": small}
    run = {"workers": {"min": 1, "max": most_workers}, "checkpoint_every_s": 2, "threads": 1, "log_every_steps": 1}
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "run": run}))
    return str(folder / "recipe.yaml")


def test_an_elastic_training_grows_when_a_node_comes(mine: Mine, tmp_path: Path) -> None:
    mine.fill(64)
    recipe = elastic_of(mine, tmp_path, GROWING_STEPS, 3)
    with RayCluster(nodes_of(mine), head_cpus=0) as cluster:
        cluster.add_node(2)
        words = ["submit", recipe, "--address", cluster.address, "--wait"]
        with Run(client(mine, cluster), *words) as waiting:
            waiting.wait_until(lambda: has_saved(mine) and bool(steps_of(mine)), "two workers train", PATIENCE_S)
            assert workers_of(cluster) == 2
            cluster.add_node(1)
            at_s = time.monotonic()
            waiting.wait_until(lambda: workers_of(cluster) == 3, "three workers are there", PATIENCE_S)
            there = steps_of(mine)[-1]
            waiting.wait_until(
                lambda: workers_of(cluster) == 3 and steps_of(mine)[-1] > there, "three workers train", PATIENCE_S
            )
            grown_s = time.monotonic() - at_s
            sys.stdout.write(f"\na node came: three workers are past step {there} {grown_s:.0f} s later\n")
            assert "was asked to stop" in pixelmill(client(mine, cluster), "stop", mine.out).stdout
            assert waiting.wait(PATIENCE_S) == 4, waiting.stderr
    assert there < steps_of(mine)[-1] < GROWING_STEPS


def test_an_elastic_training_goes_on_with_the_workers_that_are_left(mine: Mine, tmp_path: Path) -> None:
    """Each node has room for one worker alone: two could never train again on the one that is left."""
    mine.fill(64)
    recipe = elastic_of(mine, tmp_path, ELASTIC_STEPS, 2)
    with RayCluster(nodes_of(mine), head_cpus=0) as cluster:
        for _ in range(2):
            cluster.add_node(2)
        words = ["submit", recipe, "--address", cluster.address, "--wait"]
        with Run(client(mine, cluster), *words) as waiting:
            waiting.wait_until(lambda: workers_of(cluster) == 2, "two workers train", PATIENCE_S)
            waiting.wait_until(lambda: has_saved(mine) and bool(steps_of(mine)), "a checkpoint", PATIENCE_S)
            assert "_SUCCESS" not in mine.output.files(), "the training was over before its node was"
            driving = {process.pid for process in drivers(cluster)}
            taken = next(node for node in cluster.nodes if driving.isdisjoint(each.pid for each in node.processes()))
            taken.kill()
            at_s, lost = time.monotonic(), steps_of(mine)[-1]
            waiting.wait_until(
                lambda: workers_of(cluster) == 1 and steps_of(mine)[-1] > lost, "one worker trains", PATIENCE_S
            )
            gone_s = time.monotonic() - at_s
            sys.stdout.write(f"\na node of two lost at step {lost}: one worker is past it {gone_s:.0f} s later\n")
            assert "_SUCCESS" not in mine.output.files()
            assert waiting.wait(PATIENCE_S) == 0, waiting.stderr
    assert steps_of(mine)[-1] == ELASTIC_STEPS


def has_saved(mine: Mine) -> bool:
    return "_run/last.json" in mine.output.files()


def workers_of(cluster: RayCluster) -> int:
    return sum("RayTrainWorker" in title for node in cluster.nodes for title in node.titles())


def test_a_node_that_is_cut_off_and_comes_back_after_it_was_believed_dead_changes_nothing(tmp_path: Path) -> None:
    if not networks.is_possible():
        pytest.skip("a network can't be made here")
    ended = networks.in_its_own_network([sys.executable, "-m", "tests.faults.partitioned", str(tmp_path)])
    assert ended.returncode == 0, ended.stdout + ended.stderr
    sys.stdout.write(f"\n{ended.stdout}")

"""What a flow counts of its steps while they run."""

from __future__ import annotations

import json
from pathlib import Path

from pixelmill.jobs.flows.running import nodes_of_steps
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder


def at_work(folder: Path, nodes: int) -> Folder:
    """The folder of a step whose attempt has said that it uses so many nodes."""
    made = Folder(str(folder), Access())
    made.publish("_run/attempts/0001/claim.json", b"{}")
    made.publish("_run/attempts/0001/beat.json", json.dumps({"beat": 1, "nodes": nodes}).encode())
    return made


def test_a_flow_uses_the_nodes_of_the_steps_at_work_and_at_least_the_one_that_it_is_on(tmp_path: Path) -> None:
    assert nodes_of_steps({}) == 1
    steps = {"embed": at_work(tmp_path / "embed", 3), "stylize": at_work(tmp_path / "stylize", 2)}
    assert nodes_of_steps(steps) == 5
    steps["embed"].publish("_run/attempts/0001/record.json", b"{}")
    assert nodes_of_steps(steps) == 2
    assert nodes_of_steps({"new": Folder(str(tmp_path / "new"), Access())}) == 1

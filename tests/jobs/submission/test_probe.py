"""What is asked of a cluster's node, and its answer, as text."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pixelmill.jobs import checks
from pixelmill.jobs.documents.kinds import Kind
from pixelmill.jobs.submission.probe import Answer, Question, lack_of
from pixelmill.pipelines.placement import Node
from tests.servers.ray_cluster import RayCluster
from tests.support import home, job_file, pictures, pixelmill

JOB = {"version": 1, "source": "s3://b/in", "out": "s3://b/out", "stages": ["embed"]}
TRAINING = {"recipe": "vae", "data": "s3://b/in", "out": "s3://b/out"}
FLOW = {"version": 1, "out": "s3://b/flow", "steps": {"a": {"run": ["embed", "s3://b/in", "${out}"]}}}


def test_a_question_arrives_as_it_was_asked() -> None:
    question = Question("flow", ("BUCKET", "KEY"), ("/data",), "abc")
    assert Question.from_json(question.to_json()) == question


def test_an_answer_is_found_among_what_else_was_printed() -> None:
    answer = Answer("3.11.7", "0.1.0", ("KEY",), ("/data",), 'a "fault"\nof two lines', True, "no GPUs")
    log = f"INFO setting up\n{answer.to_line()}\nWARNING something\n"
    assert Answer.from_log(log) == answer
    assert Answer.from_log("INFO setting up\n") is None


@pytest.mark.parametrize(
    ("kind", "document", "run", "lack"),
    [
        ("job", JOB, {}, None),
        ("job", JOB, {"num_gpus": 1}, "1 worker can't be placed"),
        ("job", JOB, {"actors": 3}, "3 workers can't be placed"),
        ("job", JOB, {"num_gpus": 1, "node_groups": [{"max": 1, "cpus": 8, "gpus": 1}]}, None),
        ("training", TRAINING, {}, None),
        ("training", TRAINING, {"workers": 2}, "2 workers, and a CPU to read the data, can't be placed"),
        ("flow", FLOW, {"retries": 1}, None),
    ],
)
def test_what_the_nodes_lack_for_the_workers_is_found(
    kind: Kind, document: dict[str, object], run: dict[str, object], lack: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "nodes_of", lambda _: [Node({"CPU": 2.0})])
    text = yaml.safe_dump({**document, "run": run})
    found = lack_of(kind, text, {"RAY_ADDRESS": "head:6379"})
    assert (found is None) == (lack is None)
    assert lack is None or lack in str(found)
    assert lack_of(kind, text, {}) is None, "outside of a cluster"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cluster_without_the_gpus_that_are_asked_for_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 2)
    job = job_file(tmp_path / "job.yaml", str(tmp_path / "in"), str(tmp_path / "out"), num_gpus=1)
    with RayCluster(head_cpus=2) as cluster, home(cluster.client) as user:
        refused = pixelmill(user, "submit", job, "--address", cluster.address, "--wait")
        assert refused.code == 2, refused.stderr
        assert "can't be placed" in refused.stderr
        assert "with 1 GPU" in refused.stderr
        assert not (tmp_path / "out").exists()
        fitting = pixelmill(user, "submit", job, "--address", cluster.address, "--wait", "--set", "run.num_gpus=0")
        assert fitting.code == 0, fitting.stderr

"""Files as they are sent: complete paths, references as names, and nothing of their values."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pixelmill.jobs import spec
from pixelmill.jobs.submission.prepared import Prepared, prepared

EXAMPLES = Path(spec.__file__).parent / "examples"
JOB = {"version": 1, "source": "in", "out": "out", "stages": [{"embed": {"model": "torchvision:resnet18/random"}}]}


def sent(text: str, environment: dict[str, str] | None = None, name: str = "job.yaml") -> Prepared:
    return prepared(text, name=name, overrides=[], environment=environment or {})


def test_paths_are_those_of_the_one_who_submits_and_the_address_stays_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = sent(yaml.safe_dump({**JOB, "run": {"address": "auto", "actors": 2}}))
    assert made.document["source"] == str(tmp_path / "in")
    assert made.document["out"] == str(tmp_path / "out")
    assert made.document["run"] == {"actors": 2}
    assert made.local_places == (str(tmp_path / "out"), str(tmp_path / "in"))


def test_references_stay_names_that_must_be_set_there() -> None:
    made = sent(
        yaml.safe_dump({**JOB, "source": "s3://${BUCKET}/in", "out": "s3://${OUT:-b}/x"}), {"BUCKET": "hunter2"}
    )
    assert made.names == ("BUCKET",)
    assert "hunter2" not in made.text
    other = sent(yaml.safe_dump({**JOB, "source": "s3://${BUCKET}/in", "out": "s3://${OUT:-b}/x"}), {"BUCKET": "other"})
    assert other.places_digest != made.places_digest


def test_a_flow_fills_in_its_parameters_itself_and_carries_the_jobs_that_it_names() -> None:
    path = EXAMPLES / "flow-photos.yaml"
    made = sent(path.read_text(), name=str(path))
    assert made.names == ()
    assert made.extras == {"steps/embed.yaml": (EXAMPLES / "embed-cluster.yaml").read_bytes()}
    assert "steps/embed.yaml" in made.text


def test_a_training_is_sent_with_complete_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = sent(yaml.safe_dump({"version": 1, "recipe": "vae", "data": "in", "out": "out"}))
    assert (made.kind, made.document["data"], made.document["out"]) == ("training", f"{tmp_path}/in", f"{tmp_path}/out")

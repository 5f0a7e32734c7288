"""The recipe file: its keys, what each may be, and places in their one spelling."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from pixelmill.jobs.training.spec import TrainSpec, known_keys, paths_of_all_keys
from pixelmill.pipelines.stores.access import Access

SMALLEST: dict[str, object] = {"recipe": "vae", "data": "photos", "out": "runs/vae"}


def spec(**keys: object) -> TrainSpec:
    return TrainSpec.model_validate(SMALLEST | keys)


def test_places_are_lists_of_absolute_ones_however_many_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert spec().data_uris == [f"{tmp_path}/photos"]
    assert spec(data=["photos/", "s3a://b/k/"]).data_uris == [f"{tmp_path}/photos", "s3://b/k"]
    assert spec().validation_uris == []
    assert spec(validation="held").validation_uris == [f"{tmp_path}/held"]
    assert spec(validation=["held", "more"]).validation_uris == [f"{tmp_path}/held", f"{tmp_path}/more"]


def test_stores_are_reached_with_the_profile_and_the_patience_of_the_file() -> None:
    access = spec(profile="lab", run={"timeout_s": 3, "retry_for_s": 0}).access
    assert access == Access("lab", timeout_s=3, retry_for_s=0)
    assert spec().access == Access()


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ({"version": 2}, ("version",)),
        ({"run": {"num_gpus": 1.5}}, ("run", "num_gpus")),
        ({"data": ""}, ("data",)),
        ({"out": " "}, ("out",)),
        ({"hold_out": -0.1}, ("hold_out",)),
        ({"epochs": 3}, ("epochs",)),
        ({"run": {"workers": 0}}, ("run", "workers")),
        ({"run": {"timeout_s": 0}}, ("run", "timeout_s")),
        ({"run": {"wrokers": 1}}, ("run", "wrokers")),
    ],
)
def test_what_a_key_may_not_be_is_refused_at_its_key(keys: dict[str, object], where: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as raised:
        spec(**keys)
    assert {fault["loc"][: len(where)] for fault in raised.value.errors()} == {where}


def test_a_wrong_key_is_held_against_its_neighbours_and_known_paths_are_keys_that_there_are() -> None:
    known = known_keys()
    assert "recipe" in known.beside(["recpie"])
    assert "workers" in known.beside(["run", "wrokers"])
    assert "recipe" not in known.beside(["run", "wrokers"])
    assert {"run.workers", "settings"} <= set(known.everywhere)
    assert list(known.everywhere) == paths_of_all_keys()

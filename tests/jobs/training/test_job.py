"""The recipe file: what it may say, and what is said of a wrong one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelmill.jobs import catalogue
from pixelmill.jobs.identity import TrainingIdentity, protocol_of, require_same_training
from pixelmill.jobs.training.job import TrainJob, read_recipe_file
from pixelmill.jobs.training.resuming import MAY_CHANGE
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.protocol import Protocol
from pixelmill.workers.errors import JobError, RunRefused

RECIPE_FILES = sorted(catalogue.SHIPPED.glob("*.yaml"))


def test_an_unknown_recipe_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(JobError, match="there is no resnet; there are autoencoder, vae"):
        read_recipe_file("recipe: resnet\ndata: x\nout: y\n", name="file", overrides=[], environment={})


def test_set_means_a_setting_where_the_file_has_no_such_key() -> None:
    text = "recipe: vae\ndata: x\nout: y\n"
    job = read_recipe_file(text, name="f", overrides=["epochs=3", "run.workers=2", "out=z"], environment={})
    assert (job.settings.epochs, job.spec.run.workers, job.spec.out) == (3, 2, "z")


@pytest.mark.parametrize("file", RECIPE_FILES, ids=lambda file: file.stem)
def test_each_recipe_file_is_valid(file: Path) -> None:
    job = read_recipe_file(file.read_text(), name=file.name, overrides=[], environment={"PIXELMILL_DATA": "/data"})
    assert job.spec.out == f"runs/{file.stem}"


def job_with(*overrides: str) -> TrainJob:
    text = "recipe: vae\ndata: x\nout: y\n"
    return read_recipe_file(text, name="f", overrides=list(overrides), environment={})


def refused(stored: TrainingIdentity, job: TrainJob, protocol: Protocol) -> str:
    try:
        out = Folder("/out", Access())
        require_same_training(json.dumps(stored).encode(), job.identity(protocol), out, job.completed, MAY_CHANGE)
    except RunRefused as error:
        return str(error)
    return ""


def test_a_training_of_an_earlier_version_keeps_its_identity_and_its_one_held_out_part() -> None:
    before = job_with().identity(1)
    assert set(before) == {"recipe", "settings", "data", "validation", "hold_out"}
    assert protocol_of(json.dumps(before).encode()) == 1
    assert not refused(before, job_with(), 1)
    assert protocol_of(None) == 2
    assert protocol_of(json.dumps(job_with().identity()).encode()) == 2
    assert "protocol: None there, 2 here" in refused(before, job_with(), 2)


def test_another_test_part_is_another_training_and_another_spelling_of_it_is_not(tmp_path: Path) -> None:
    now = job_with(f"test={tmp_path}").identity()
    assert not refused(now, job_with(f"test={tmp_path}/"), 2)
    assert "test: " in refused(now, job_with(), 2)
    assert "test: 20.0 there, 30.0 here" in refused(job_with("test=20").identity(), job_with("test=30"), 2)
    assert job_with("test=0").identity() == job_with().identity()

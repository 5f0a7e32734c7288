"""The recipe file: what it may say, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.jobs import catalogue
from pixelmill.jobs.training_job import read_recipe_file
from pixelmill.workers.errors import JobError

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

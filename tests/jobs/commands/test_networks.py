"""`train`, `recipes`, `eval`, `generate`: what they are given arrives, and a wrong word is answered before torch is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.workers.errors import JobError


def test_train_gives_its_options_to_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Any] = []

    def train(job: Any, around: object) -> str:
        jobs.append(job)
        return "trained"

    monkeypatch.setattr("pixelmill.jobs.train.train_job", train)
    given = ["train", "vae", "--data", "a", "--data", "b", "--out", str(tmp_path / "out"), "--set", "epochs=3"]
    shown = CliRunner().invoke(cli.app, given)
    assert (shown.exit_code, shown.stdout) == (0, "trained\n")
    assert (len(jobs[0].spec.data), jobs[0].settings.epochs) == (2, 3)


def test_recipes_are_listed_and_one_is_described() -> None:
    listed = json.loads(CliRunner().invoke(cli.app, ["recipes", "--json"]).stdout)
    assert {"vae", "segnet"} <= {each["name"] for each in listed["recipes"]}
    assert "settings (--set KEY=VALUE):" in CliRunner().invoke(cli.app, ["recipes", "vae"]).stdout


def test_a_kind_of_picture_that_there_is_not_is_answered() -> None:
    with pytest.raises(JobError, match="generate dreams: there are samples"):
        cli.app(["generate", "dreams", "--checkpoint", "vae-mnist"], standalone_mode=False)

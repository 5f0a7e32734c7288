"""A tracker that can't follow a training is refused before anything starts, with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.jobs.training.job import read_recipe_file
from pixelmill.jobs.training.trackers import tracking_of
from pixelmill.workers.errors import JobError
from tests.pipelines.training.trackers.packages import installed


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wandb", "mlflow"):
        installed(name, tmp_path, monkeypatch)
    monkeypatch.setattr("pixelmill.jobs.training.trackers.find_spec", lambda name: name)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_package_that_is_missing_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelmill.jobs.training.trackers.find_spec", lambda _: None)
    with pytest.raises(
        JobError, match=rf"run.trackers: {name} is not installed here; pip install 'pixelmill\[{name}\]'"
    ):
        tracking_of([name], {"WANDB_API_KEY": "x", "MLFLOW_TRACKING_URI": "x"})  # type: ignore[list-item]
    assert tracking_of(["tensorboard"], {}).names == ("tensorboard",)


@pytest.mark.usefixtures("packages")
def test_wandb_needs_a_key_a_login_or_to_be_offline(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    with pytest.raises(
        JobError, match=r"nobody is logged in to api\.wandb\.ai: run `wandb login`, or set WANDB_API_KEY; "
    ):
        tracking_of(["wandb"], home)
    assert tracking_of(["wandb"], {**home, "WANDB_API_KEY": "hunter2"}).projects == {"wandb": "pixelmill"}
    assert "hunter2" not in str(tracking_of(["wandb"], {**home, "WANDB_API_KEY": "hunter2"}))
    offline = tracking_of(["wandb"], {**home, "WANDB_MODE": "offline", "WANDB_PROJECT": "eyes"})
    assert (offline.is_offline, offline.projects) == (True, {"wandb": "eyes"})
    (tmp_path / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password hunter2\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert not tracking_of(["wandb"], home).is_offline
    with pytest.raises(JobError, match=r"nobody is logged in to wandb\.example"):
        tracking_of(["wandb"], {**home, "WANDB_BASE_URL": "https://wandb.example"})


@pytest.mark.usefixtures("packages")
def test_mlflow_needs_a_server_and_both_parts_of_a_login(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no server is named: set MLFLOW_TRACKING_URI"):
        tracking_of(["mlflow"], {})
    server = {"MLFLOW_TRACKING_URI": "http://localhost:5000"}
    assert tracking_of(["mlflow"], server).projects == {"mlflow": "pixelmill"}
    with pytest.raises(JobError, match="MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD belong together"):
        tracking_of(["mlflow"], {**server, "MLFLOW_TRACKING_USERNAME": "me"})
    with pytest.raises(JobError, match="nobody is logged in to Databricks"):
        tracking_of(["mlflow"], {"MLFLOW_TRACKING_URI": "databricks", "HOME": str(tmp_path)})


def test_a_recipe_file_names_trackers_and_no_others() -> None:
    def trackers(*overrides: str) -> list[str]:
        text = "recipe: vae\ndata: in\nout: out\n"
        job = read_recipe_file(text, name="vae", overrides=list(overrides), environment={})
        return list(job.spec.run.trackers)

    assert trackers() == ["tensorboard"]
    assert trackers("run.trackers=[wandb, tensorboard]") == ["wandb", "tensorboard"]
    with pytest.raises(
        JobError, match=r"run\.trackers\.0: should be 'tensorboard', 'wandb' or 'mlflow', not 'neptune'"
    ):
        trackers("run.trackers=[neptune]")

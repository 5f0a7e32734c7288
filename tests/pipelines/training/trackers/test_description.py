"""Trackers get settings and names, and neither credentials nor paths."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from pixelmill.pipelines.inputs.entries import Entry
from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.plan import TrainingPlan
from pixelmill.pipelines.training.trackers.description import described


def test_paths_and_credentials_stay_here(tmp_path: Path) -> None:
    table: pa.Table = table_of([Entry(f"{tmp_path}/a.png")])
    settings: dict[str, object] = {
        "vgg": f"{tmp_path}/weights/vgg.safetensors", "steps": 5, "patience": None, "scales": [1.0, 2.0],
        "checkpoint": "https://user:hunter2@host/x/enc.safetensors?token=hunter2", "loss": {"ce": 1.0},
    }  # fmt: skip
    plan = TrainingPlan(
        recipe="segnet", settings=settings, train=DataSet({"image": table}, Access()), held_out=None, split="by folders",
        trained_on=(), data=f"{tmp_path}/camvid, faces", data_licence="", out=f"{tmp_path}/runs/eyes", access=Access(),
        versions={"torch": "2"}, git_revision="abc",
    )  # fmt: skip
    run = described(plan, 7)
    assert (run.name, run.resumed_at) == ("eyes", 7)
    assert run.config == {
        "recipe": "segnet", "data": "camvid, faces", "split": "by folders", "samples": 1, "git_revision": "abc",
        "versions.torch": "2", "settings.vgg": "vgg.safetensors", "settings.steps": 5, "settings.scales": [1.0, 2.0],
        "settings.checkpoint": "enc.safetensors", "settings.loss": {"ce": 1.0},
    }  # fmt: skip

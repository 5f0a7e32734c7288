"""A log is whole after each checkpoint, and a resumed one continues where its curve ends."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.training_log import TrainingLog


def rows(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((out / "log.csv").read_text())))


def test_rows_behind_the_checkpoint_are_forgotten_when_a_training_is_resumed(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), Access())
    log = TrainingLog(folder, "mse", resumed_at=0)
    for step in (1, 2, 3):
        log.add(step, "train", {"loss": 1 / step})
    log.add(3, "evaluation", {"mse": 0.5})
    log.publish(with_curve=True)
    log.close()
    assert [(row["step"], row["kind"]) for row in rows(tmp_path)] == [
        ("1", "train"), ("2", "train"), ("3", "train"), ("3", "evaluation"),
    ]  # fmt: skip
    assert float(rows(tmp_path)[2]["loss"]) == 1 / 3
    again = TrainingLog(folder, "mse", resumed_at=2)
    again.add(3, "train", {"loss": 7.0})
    again.publish(with_curve=False)
    again.close()
    assert [row["loss"] for row in rows(tmp_path)] == ["1.0", "0.5", "7.0"]


def test_a_curve_and_sample_pictures_are_pictures(tmp_path: Path) -> None:
    log = TrainingLog(Folder(str(tmp_path), Access()), "mse", resumed_at=0)
    log.publish(with_curve=True)  # of no rows at all
    picture_CHW = torch.arange(2 * 3 * 4, dtype=torch.uint8).reshape(1, 4, 6)
    log.show(12, picture_CHW)
    log.close()
    with Image.open(tmp_path / "curve.png") as curve:
        assert curve.size == (880, 495)
    with Image.open(tmp_path / "samples/00000012.png") as shown:
        assert (shown.size, shown.mode) == ((6, 4), "L")
        assert np.asarray(shown).ravel().tolist() == list(range(24))


def test_the_rows_are_json_lines_too_and_a_resumed_training_rewrites_them(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), Access())
    log = TrainingLog(folder, "mse", resumed_at=0)
    log.add(1, "train", {"loss": 0.1})
    log.add(2, "train", {"loss": float("nan")})
    log.publish(with_curve=False)
    again = TrainingLog(folder, "mse", resumed_at=1)
    again.add(2, "evaluation", {"mse": 1e-9})
    again.publish(with_curve=False)
    first, second = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert first == {"step": 1, "kind": "train", "loss": 0.1}
    assert second == {"step": 2, "kind": "evaluation", "mse": 1e-9}
    log.publish(with_curve=False)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {"step": 2, "kind": "train", "loss": None}

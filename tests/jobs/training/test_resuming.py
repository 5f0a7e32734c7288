"""A training that is resumed: longer, shorter, and with settings that may or may not change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pixelmill.jobs.identity import require_same_training
from pixelmill.jobs.training.job import TrainJob, read_recipe_file
from pixelmill.jobs.training.resuming import LENGTH, MAY_CHANGE, Resumption
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.checkpoints import TrainingProgress
from pixelmill.workers.errors import RunRefused

LATER = {"betas", "decay_biases", "layer_decay", "rates", "final_rate", "warmup_share", "poly_power", "step_at"}
"""Settings that vae did not have at first."""


def job(*overrides: str, recipe: str = "vae") -> TrainJob:
    return read_recipe_file(
        f"recipe: {recipe}\ndata: x\nout: y\n", name="f", overrides=["steps=100", *overrides], environment={}
    )


def changed(tmp_path: Path, stored: dict[str, Any], now: TrainJob) -> frozenset[str]:
    out = Folder(str(tmp_path), Access())
    return require_same_training(json.dumps(stored).encode(), now.identity(), out, now.completed, MAY_CHANGE)


def resumed(now: TrainJob, step: int, of: int | None, *, complete: bool = False) -> Resumption:
    return Resumption(now, TrainingProgress(step=step, steps=of, is_complete=complete), 1000, frozenset())


def test_a_folder_of_before_a_setting_existed_holds_the_training_with_its_default(tmp_path: Path) -> None:
    stored: dict[str, Any] = {**job().identity()}
    stored["settings"] = {key: value for key, value in stored["settings"].items() if key not in LATER}
    assert changed(tmp_path, stored, job()) == frozenset()
    with pytest.raises(RunRefused, match=r"settings\.layer_decay: 1\.0 there, 0\.5 here"):
        changed(tmp_path, stored, job("layer_decay=0.5"))


def test_an_older_vdsr_with_adam_keeps_its_cosine(tmp_path: Path) -> None:
    now = job("optimizer=adam", recipe="vdsr")
    stored: dict[str, Any] = {**now.identity()}
    stored["settings"] = {key: value for key, value in stored["settings"].items() if key not in {"schedule", *LATER}}
    assert changed(tmp_path, stored, now) == frozenset()
    assert now.settings.schedule == "cosine"


@pytest.mark.parametrize(
    ("override", "name"),
    [("steps=150", "steps"), ("epochs=9", "epochs"), ("patience=3", "patience"), ("evaluate_every_steps=5",) * 2],
)
def test_settings_of_the_table_may_change(tmp_path: Path, override: str, name: str) -> None:
    expected = {name.partition("=")[0]}
    assert changed(tmp_path, {**job().identity()}, job(override)) == expected
    assert expected <= MAY_CHANGE.keys()


@pytest.mark.parametrize("override", ["learning_rate=0.5", "seed=3", "batch=4", "schedule=cosine", "optimizer=sgd"])
def test_all_other_settings_are_refused_with_those_that_may_change(tmp_path: Path, override: str) -> None:
    name = override.partition("=")[0]
    with pytest.raises(RunRefused, match=rf"settings\.{name}: .*only steps, epochs, .* may change; .*init_from="):
        changed(tmp_path, {**job().identity()}, job(override, "steps=200"))


def test_other_initial_weights_are_another_training(tmp_path: Path) -> None:
    stored = {**job("init_from=vae-mnist").identity()}
    assert changed(tmp_path, stored, job("init_from=vae-mnist")) == frozenset()
    with pytest.raises(RunRefused, match="init_from: vae-mnist there, autoencoder-photos here"):
        changed(tmp_path, stored, job("init_from=autoencoder-photos"))
    with pytest.raises(RunRefused, match="init_from: vae-mnist there, None here"):
        changed(tmp_path, stored, job())
    stored = {**job("init_from=weights/one").identity()}
    assert changed(tmp_path, stored, job("init_from=./weights/one/")) == frozenset()


def test_every_key_of_run_may_change(tmp_path: Path) -> None:
    now = job("run.workers=2", "run.threads=1", "run.cache_gb=0", "run.checkpoint_every_s=1")
    assert changed(tmp_path, {**job().identity()}, now) == frozenset()


def test_a_schedule_that_ends_before_the_resumed_step_is_refused(tmp_path: Path) -> None:
    out = Folder(str(tmp_path), Access())
    with pytest.raises(RunRefused, match="is at step 60, and the schedule would end at step 50; give more than 60"):
        resumed(job("steps=50"), 60, 100).check(out)
    with pytest.raises(RunRefused, match="at step 60"):
        resumed(job("steps=60"), 60, 100).check(out)
    resumed(job("steps=61"), 60, 100).check(out)
    resumed(job("steps=60"), 60, 60, complete=True).check(out)
    Resumption(job(), None, 1000, frozenset()).check(out)


def test_a_complete_training_is_over_at_its_length_and_goes_on_at_a_longer_one() -> None:
    assert resumed(job("steps=60"), 60, 60, complete=True).is_over
    assert not resumed(job("steps=90"), 60, 60, complete=True).is_over
    assert not resumed(job("steps=60"), 30, 60, complete=True).is_over  # patience ended it
    assert MAY_CHANGE.keys() >= LENGTH


def test_the_jump_of_a_schedule_is_stated() -> None:
    (note,) = resumed(job("schedule=cosine", "steps=200"), 100, 100).notes()
    assert "from step 100 to 200 in place of 100" in note
    assert "jumps from 0.000247 to 0.5" in note
    (note,) = resumed(job("steps=200"), 100, 100).notes()
    assert "stays at 1" in note
    assert resumed(job(), 50, 100).notes() == []
    assert resumed(job("steps=200"), 50, None).notes() == []  # a checkpoint of before lengths were kept

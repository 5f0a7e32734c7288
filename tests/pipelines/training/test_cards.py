"""The card of what a training made."""

from __future__ import annotations

from pathlib import Path

from tests.pipelines.training.trainings import plan_of, train


def test_facts_that_settings_stand_for_are_on_the_card(pictures: str, tmp_path: Path) -> None:
    made = train(plan_of(pictures, tmp_path / "out"))
    made.progress.prepared = {"latent_size": 7, "stranger": 1}
    settings = made.card().settings
    assert settings["latent_size"] == 7
    assert "stranger" not in settings

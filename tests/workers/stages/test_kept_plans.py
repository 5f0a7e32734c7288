"""A kept plan is read as long as nothing that it follows from has changed, and is never a reason to fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pixelmill.workers.stages import StageConfig, StageContext, config_class
from pixelmill.workers.stages.kept_plans import KeptPlan

LINES = ["model vae-mnist", "column embedding"]
IDENTITY = {"weights": "abc"}


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(device="cpu", threads=1, job_images=1000, cache_dir=tmp_path)


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A file of the cache of settings."""
    path = tmp_path / "settings-1.json"
    path.write_text("{}")
    return path


def config(**options: object) -> StageConfig:
    return config_class("embed").model_validate({"model": "vae-mnist", **options})


def test_a_plan_is_read_again_by_the_next_command(context: StageContext, settings: Path) -> None:
    KeptPlan(config(), IDENTITY, context).keep(LINES, settings)
    assert KeptPlan(config(), dict(IDENTITY), context).read() == LINES
    assert sorted(path.suffix for path in settings.parent.iterdir()) == [".json", ".json"]


def test_settings_that_were_chosen_anew_or_removed_end_it(context: StageContext, settings: Path) -> None:
    kept = KeptPlan(config(), IDENTITY, context)
    kept.keep(LINES, settings)
    settings.write_text('{"batch": 2}')
    assert kept.read() is None
    settings.unlink()
    assert kept.read() is None


def test_another_configuration_model_or_machine_has_none(context: StageContext, settings: Path) -> None:
    KeptPlan(config(), IDENTITY, context).keep(LINES, settings)
    others = [
        KeptPlan(config(batch=2), IDENTITY, context),
        KeptPlan(config(), {"weights": "other"}, context),
        KeptPlan(config(), IDENTITY, replace(context, threads=2)),
        KeptPlan(config(), IDENTITY, replace(context, job_images=2000)),
    ]
    assert [each.read() for each in others] == [None] * len(others)


@pytest.mark.parametrize("changes", [{"device": "cuda:0"}, {"cache_dir": None}])
def test_nothing_is_kept_for_a_gpu_or_without_a_cache(
    context: StageContext, settings: Path, changes: dict[str, str | None]
) -> None:
    kept = KeptPlan(config(), IDENTITY, replace(context, **changes))  # type: ignore[arg-type]
    kept.keep(LINES, settings)
    assert kept.read() is None
    assert list(settings.parent.iterdir()) == [settings]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"settings": 3, "digest": "", "lines": []}', "\xff"])
def test_a_broken_file_is_no_plan(context: StageContext, settings: Path, text: str) -> None:
    kept = KeptPlan(config(), IDENTITY, context)
    kept.keep(LINES, settings)
    (path,) = settings.parent.glob("plan-*.json")
    path.write_bytes(text.encode("latin-1"))
    assert kept.read() is None


def test_settings_that_are_gone_or_a_cache_that_can_not_be_written_keep_nothing(
    context: StageContext, tmp_path: Path
) -> None:
    kept = KeptPlan(config(), IDENTITY, context)
    kept.keep(LINES, tmp_path / "gone.json")
    assert list(tmp_path.iterdir()) == []
    elsewhere = KeptPlan(config(), IDENTITY, replace(context, cache_dir=tmp_path / "absent"))
    (tmp_path / "settings.json").write_text("{}")
    elsewhere.keep(LINES, tmp_path / "settings.json")
    assert elsewhere.read() is None

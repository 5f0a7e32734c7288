"""A kept choice of settings is for one network, one device, one agreement, and is never misread."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelmill.workers.runtime.agreement import Agreement, Cosine, Decibels
from pixelmill.workers.runtime.settings import Choice, Pins, Settings, Trial
from pixelmill.workers.runtime.settings_cache import cache_file, keep_choice, kept_choice

NO_PINS = Pins()
COSINE = Cosine()


def test_a_cache_is_for_one_network_one_device_one_agreement_and_the_same_pins(tmp_path: Path) -> None:
    def file(key: str = "a", threads: int = 1, pins: Pins = NO_PINS, agreement: Agreement = COSINE) -> Path:
        return cache_file(tmp_path, key, "cpu", threads, pins, agreement)

    assert file() == file()
    others = [file("b"), file(threads=2), file(pins=Pins(microbatch=8)), file(agreement=Cosine(0.9))]
    assert len({file(), *others, file(agreement=Decibels())}) == 6


def test_cached_settings_are_read_back_unchanged(tmp_path: Path) -> None:
    choice = Choice(Settings(microbatch=7), "probed", 12.5, (Trial(Settings(), 3.0, 0.9999),))
    keep_choice(tmp_path / "c.json", choice)
    assert kept_choice(tmp_path / "c.json") == Choice(choice.settings, "cached", 12.5, choice.trials)
    assert [file.name for file in tmp_path.iterdir()] == ["c.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"settings": {"unknown": 1}, "trials": []}', "\0"])
def test_a_cache_that_cant_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    assert kept_choice(tmp_path / "c.json") is None


def test_a_choice_of_an_older_version_is_not_misread(tmp_path: Path) -> None:
    choice = Choice(Settings(), "probed", 12.5, (Trial(Settings(), 3.0, 0.9999),))
    older = json.loads(choice.to_json())
    older["trials"] = [
        {"settings": trial["settings"], "images_per_s": 3.0, "min_cosine": 0.5} for trial in older["trials"]
    ]
    (tmp_path / "c.json").write_text(json.dumps(older))
    assert kept_choice(tmp_path / "c.json") is None

"""Files that a job names beside its inputs: whole, by their names, or refused with what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.assets import checkpoint_at, file_at
from pixelmill.workers.errors import ModelError, StoreError

ACCESS = Access(retry_for_s=0.0)


def fill(folder: Path, **files: str) -> str:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return str(folder)


def test_a_file_is_its_bytes_under_its_name(tmp_path: Path) -> None:
    fill(tmp_path, a_jpg="pixels")
    assert file_at(f"{tmp_path}/a.jpg", ACCESS) == {"a.jpg": b"pixels"}
    with pytest.raises(ModelError, match=r"b\.jpg: no such file"):
        file_at(f"{tmp_path}/b.jpg", ACCESS)
    with pytest.raises(StoreError):
        file_at(str(tmp_path), ACCESS)


@pytest.mark.parametrize("card", ["style.json", "card.json"])
def test_a_named_checkpoint_comes_with_the_card_beside_it(tmp_path: Path, card: str) -> None:
    folder = fill(tmp_path, **{"style_safetensors": "weights", card.replace(".", "_"): "card"})
    assert list(checkpoint_at(f"{folder}/style.safetensors", ACCESS).items()) == [
        ("style.safetensors", b"weights"),
        (card, b"card"),
    ]


def test_a_folder_is_a_checkpoint(tmp_path: Path) -> None:
    folder = fill(tmp_path, model_safetensors="weights", card_json="card")
    assert checkpoint_at(f"{folder}/", ACCESS) == {"model.safetensors": b"weights", "card.json": b"card"}


@pytest.mark.parametrize("missing", ["model_safetensors", "card_json"])
def test_what_lacks_weights_or_card_is_no_checkpoint(tmp_path: Path, missing: str) -> None:
    files = {"model_safetensors": "weights", "card_json": "card"}
    del files[missing]
    with pytest.raises(ModelError, match=f"{missing.replace('_', '.')}: no such file; a checkpoint is"):
        checkpoint_at(fill(tmp_path, **files), ACCESS)


def test_marks_come_along_where_they_are_asked_for_and_there(tmp_path: Path) -> None:
    folder = fill(tmp_path, model_safetensors="weights", card_json="card")
    assert "model.marks" not in checkpoint_at(folder, ACCESS, with_marks=True)
    fill(tmp_path, model_marks="marks")
    assert checkpoint_at(folder, ACCESS, with_marks=True)["model.marks"] == b"marks"
    assert "model.marks" not in checkpoint_at(folder, ACCESS)

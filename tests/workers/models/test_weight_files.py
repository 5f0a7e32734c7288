"""Weights are read safely: never a pickle, and shapes before any tensor."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.card import read_card
from pixelmill.workers.models.checkpoint import load_checkpoint, save_checkpoint
from pixelmill.workers.models.libraries import resolve
from pixelmill.workers.networks.autoencoder import ConvAutoencoder
from tests.workers.saved import CONFIG, change, make_card, weights_of


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin", ".pkl", ".PT"])
def test_a_pickle_is_refused_unread_with_the_next_step(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    for touch in (load_checkpoint, read_card):
        with pytest.raises(ModelError, match=r"pickle .*save_file"):
            touch(path)
    with pytest.raises(ModelError, match="pickle"):
        save_checkpoint(path, ConvAutoencoder(CONFIG), make_card())
    assert not path.exists()


def test_a_pickle_under_the_name_of_safetensors_is_never_run(saved: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    weights_of(saved).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelError, match=r"safetensors: not a whole safetensors file"):
        load_checkpoint(saved)
    assert not (tmp_path / "ran").exists()


def test_a_truncated_file_is_refused(saved: Path) -> None:
    weights_of(saved).write_bytes(weights_of(saved).read_bytes()[:-10])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        load_checkpoint(saved)


def test_the_hash_follows_the_weights_and_nothing_else(saved: Path) -> None:
    def sha256() -> str | None:
        return resolve(str(saved)).sha256

    first = sha256()
    assert first is not None
    save_checkpoint(saved, load_checkpoint(saved)[0], make_card(split="another"))
    assert sha256() == first
    change(saved, lambda state: state | {"encoder.0.bias": state["encoder.0.bias"] + 1})
    assert sha256() != first


def test_a_header_that_claims_to_be_endless_is_refused_unread(saved: Path) -> None:
    weights_of(saved).write_bytes((2**40).to_bytes(8, "little") + b"{}")
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        load_checkpoint(saved)

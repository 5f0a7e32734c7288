"""The laws of measured activations: tensors that live at once are counted, and grow with pixels as the network's do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pixelmill.workers.runtime.activations import SPARE, Activations, activations_of, memory_for_batches
from pixelmill.workers.runtime.settings_cache import keep_activations, kept_activations, measured_file

SIZES = ((64, 64), (128, 128))
SEEN = 3 * 3 * 4
"""Bytes of a pixel of the picture itself: three numbers, three times."""


class Steps(nn.Module):
    """A map of `width` channels, made `count` times of the one before, which is freed or kept."""

    def __init__(self, width: int, count: int, *, kept: bool) -> None:
        super().__init__()
        self.width, self.count, self.kept = width, count, kept

    def forward(self, images_BCHW: Tensor) -> Tensor:
        made = [torch.cat([images_BCHW] * (self.width // 3), dim=1)]
        for _ in range(self.count):
            made.append(functional.relu(made[-1]))
            if not self.kept:
                del made[0]
        return made[-1]


@pytest.mark.parametrize("width", [3, 96])
def test_what_lives_at_once_is_counted_and_what_was_freed_is_not(width: int) -> None:
    freed = activations_of(Steps(width, 5, kept=False), 3, SIZES)
    kept = activations_of(Steps(width, 5, kept=True), 3, SIZES)
    assert freed is not None
    assert kept is not None
    assert freed.linear == pytest.approx(SPARE * (2 * 4 * width + SEEN), rel=0.01)
    assert kept.linear == pytest.approx(SPARE * (6 * 4 * width + SEEN), rel=0.01)
    assert freed.quadratic == kept.quadratic == 0


def test_attention_grows_with_the_square_of_the_pixels() -> None:
    class Attention(nn.Module):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            tokens_BTC = images_BCHW.flatten(2).transpose(1, 2)
            return (tokens_BTC @ tokens_BTC.transpose(1, 2)).softmax(-1) @ tokens_BTC

    measured = activations_of(Attention(), 3, ((16, 16), (32, 32)))
    assert measured is not None
    assert measured.quadratic == pytest.approx(SPARE * 2 * 4, rel=0.1)
    assert measured.bytes_at(64**2) == pytest.approx(SPARE * 2 * 4 * 64**4, rel=0.1)


@pytest.mark.parametrize("measured", [Activations(100), Activations(8, 0.5), Activations(1, 3)], ids=repr)
def test_the_most_pixels_fit_and_one_more_does_not(measured: Activations) -> None:
    for available_bytes in (4, 1000, 1 << 30):
        most = measured.most_pixels(available_bytes)
        assert most == 1 or measured.bytes_at(most) <= available_bytes < measured.bytes_at(most + 1)


def test_a_network_that_torch_cannot_see_into_or_that_fails_is_not_measured() -> None:
    class Hidden(nn.Identity):
        has_hidden_activations = True

    assert activations_of(Hidden(), 3, SIZES) is None
    assert activations_of(nn.Linear(7, 7), 3, SIZES) is None


def test_what_was_measured_is_kept_for_the_same_sizes(tmp_path: Path) -> None:
    file, measured = measured_file(tmp_path / "new", "k"), Activations(5.5, 0.25)
    assert kept_activations(file, SIZES) is None
    keep_activations(file, SIZES, measured)
    assert kept_activations(file, SIZES) == measured
    assert kept_activations(file, SIZES[:1]) is None
    assert measured_file(tmp_path / "new", "other") != file
    file.write_text("[]")
    assert kept_activations(file, SIZES) is None


def test_the_cpu_has_what_the_worker_is_given() -> None:
    assert memory_for_batches("cpu", 5) == 5
    assert memory_for_batches("cpu", None) is None


def test_a_worker_with_a_part_of_a_gpu_has_a_share_of_that_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (70, 80))
    assert memory_for_batches("cuda", None) == 35
    assert memory_for_batches("cuda", None, 0.5) == 20
    assert memory_for_batches("cuda", None, 0.25) == 10
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10, 80))  # others hold the rest
    assert memory_for_batches("cuda", None, 0.5) == 5

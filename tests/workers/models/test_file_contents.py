"""The laws of reading a model's files: once for each content, and every weight is a number."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models import file_contents
from pixelmill.workers.models.file_contents import require_finite_weights, sha256_of

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_weight_that_is_no_number_is_refused_by_name(tmp_path: Path, dtype: torch.dtype, value: float) -> None:
    values = torch.arange(-4, 4, dtype=torch.float32)
    good, bad = values.to(dtype), values.index_fill(0, torch.tensor(7), value).to(dtype)
    save_file({"a": good, "steps": torch.arange(9)}, tmp_path / "good.safetensors")
    require_finite_weights([tmp_path / "good.safetensors"])
    save_file({"a": good, "b.weight": bad}, tmp_path / "bad.safetensors")
    with pytest.raises(ModelError, match=r"bad\.safetensors: b\.weight hold values that are no numbers"):
        require_finite_weights([tmp_path / "bad.safetensors"])


def test_the_largest_numbers_are_numbers(tmp_path: Path) -> None:
    for dtype in FLOATS:
        save_file(
            {"a": torch.tensor([torch.finfo(dtype).max, torch.finfo(dtype).min], dtype=torch.float64).to(dtype)},
            tmp_path / "x",
        )
        require_finite_weights([tmp_path / "x"])


def test_a_number_beyond_the_first_chunk_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_contents, "CHUNK_BYTES", 16)
    save_file({"a": torch.tensor([0.0] * 9 + [torch.nan])}, tmp_path / "x")
    with pytest.raises(ModelError, match="a hold values"):
        require_finite_weights([tmp_path / "x"])


def test_a_file_is_read_once_and_again_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[object] = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: reads.append(given) or digest(*given))
    file = tmp_path / "x"
    for content in (b"one", b"two"):
        file.write_bytes(content)
        os.utime(file, ns=(0, 0))  # as a copy that keeps its times
        assert {sha256_of(file) for _ in range(3)} == {hashlib.sha256(content).hexdigest()}
    assert len(reads) == 2

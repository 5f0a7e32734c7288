"""A cut or foreign file of weights is found by its header, without torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.safetensors_header import MOST_HEADER_BYTES, require_whole


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "whole.safetensors"
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(2, dtype=torch.half)}, path, metadata={"format": "pt"})
    return path


def test_a_whole_file_gives_the_names_of_its_tensors(whole: Path) -> None:
    assert require_whole(whole) == {"a", "b"}


@given(st.data())
def test_a_file_of_any_other_length_is_refused(whole: Path, data: st.DataObject) -> None:
    contents = whole.read_bytes()
    other = data.draw(
        st.one_of(st.integers(0, len(contents) - 1).map(lambda end: contents[:end]), st.just(contents + b"x"))
    )
    with pytest.raises(ModelError, match=r"not a whole safetensors file .*; fetch or convert it again"):
        require_whole(_written(whole, other))


@pytest.mark.parametrize(
    "header", [b"[]", b"{]", b'{"a": 1}', b'{"a": {"data_offsets": [0]}}', b"[" * 100_000, b"\xff\xfe", b"   "]
)
def test_a_header_that_states_no_tensors_is_refused(whole: Path, header: bytes) -> None:
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        require_whole(_written(whole, len(header).to_bytes(8, "little") + header))


def test_a_header_that_would_fill_the_memory_is_not_read(whole: Path) -> None:
    far = whole.with_name("far.safetensors")
    with far.open("wb") as file:
        file.write((MOST_HEADER_BYTES + 1).to_bytes(8, "little"))
        file.truncate(MOST_HEADER_BYTES * 2)  # a hole, which takes no disk
    with pytest.raises(ModelError, match="does not begin with a header"):
        require_whole(far)


def test_a_file_without_tensors_is_whole(whole: Path) -> None:
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    assert require_whole(_written(whole, len(header).to_bytes(8, "little") + header)) == frozenset()


def _written(whole: Path, contents: bytes) -> Path:
    other = whole.with_name("other.safetensors")
    other.write_bytes(contents)
    return other

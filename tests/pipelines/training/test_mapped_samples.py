"""Samples come back from a mapped file as they went in, and damage is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pixelmill.pipelines.training.mapped_samples import DATA, ENTRY, INDEX, Damaged, MappedSamples, write_samples
from pixelmill.workers.recipes import Sample

ARRAYS: Any = st.sampled_from(["u1", "<i2", "<f4", "?"]).flatmap(
    lambda kind: arrays(np.dtype(kind), array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
SAMPLES = st.none() | st.dictionaries(st.sampled_from(["image", "label", "depth"]), ARRAYS, max_size=3)


def kept(folder: Path, samples: list[Sample | None], otherwise: Any = None) -> MappedSamples:
    folder.mkdir(exist_ok=True)
    write_samples(folder, samples, list)
    return MappedSamples(folder, otherwise)


def digits() -> list[Sample | None]:
    return [{"pixels": np.full((4, 4), number, np.uint8)} for number in range(5)]


@given(st.lists(SAMPLES, max_size=6))
def test_samples_of_any_shape_come_back(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample | None]) -> None:
    found = kept(tmp_path_factory.mktemp("entry"), samples)
    assert len(found) == len(samples)
    for wrote, read in zip(samples, found, strict=True):
        assert (wrote is None) == (read is None)
        for name, array in (wrote or {}).items():
            assert read is not None
            assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
            assert np.array_equal(read[name], array, equal_nan=array.dtype.kind == "f")


def test_a_sample_may_be_written_to_and_the_file_stays(tmp_path: Path) -> None:
    first = kept(tmp_path, digits())[1]
    assert first is not None
    first["pixels"][:] = 99
    again = MappedSamples(tmp_path, lambda _: None)[1]
    assert again is not None
    assert again["pixels"].max() == 1


def test_a_sample_with_a_damaged_byte_is_taken_from_elsewhere_and_only_that_one(tmp_path: Path) -> None:
    asked: list[int] = []

    def otherwise(index: int) -> Sample:
        asked.append(index)
        return {"pixels": np.zeros(1)}

    kept(tmp_path, digits())
    data = bytearray((tmp_path / DATA).read_bytes())
    data[2 * 64 + 3] ^= 1
    (tmp_path / DATA).write_bytes(data)
    found = MappedSamples(tmp_path, otherwise)
    assert [sample["pixels"].size for sample in found if sample is not None] == [16, 16, 1, 16, 16]
    assert found[2] is found[2]
    assert asked == [2]


@pytest.mark.parametrize("file", [DATA, INDEX, ENTRY])
@pytest.mark.parametrize("cut", [True, False])
def test_files_that_do_not_fit_together_are_noticed(tmp_path: Path, file: str, cut: bool) -> None:
    kept(tmp_path, digits())
    path = tmp_path / file
    content = path.read_bytes()
    path.unlink()
    if cut:
        path.write_bytes(content[:-7])
    with pytest.raises(Damaged):
        MappedSamples(tmp_path, lambda _: None)


def test_objects_are_never_kept_since_they_would_be_pickled(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="label holds objects"):
        write_samples(tmp_path, [{"label": np.array([{}], object)}], list)

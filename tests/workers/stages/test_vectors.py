"""Vectors become a column of one size in the type that is stored, and crops a batch as they lie in memory."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pytest
import torch
from torch import Tensor

from pixelmill.workers.stages.vectors import Crops, NumberType, by_shape, stacked, vector_column, vector_type


@pytest.mark.parametrize("output", ["float32", "float16"])
def test_a_column_holds_the_vectors_in_their_order(output: NumberType) -> None:
    vectors_BD = torch.arange(12.0).view(3, 4) / 8
    column, errors = vector_column(vectors_BD, output, "embed", "embedding")
    assert column.type == vector_type(output, 4) == pa.list_(getattr(pa, output)(), 4)
    assert column.to_pylist() == vectors_BD.tolist()
    assert errors == {}


@pytest.mark.parametrize(("output", "spoilt"), [("float32", {1, 2}), ("float16", {1, 2, 3})])
def test_a_vector_that_is_not_finite_in_the_stored_type_is_an_error(output: NumberType, spoilt: set[int]) -> None:
    vectors_BD = torch.ones(5, 3)
    vectors_BD[1, 2], vectors_BD[2, 0], vectors_BD[3, 1] = float("nan"), float("-inf"), 1e6  # too large for float16
    column, errors = vector_column(vectors_BD, output, "encode", "code")
    assert set(errors) == spoilt
    assert {(error.stage, error.error_type) for error in errors.values()} == {("encode", "NotFinite")}
    assert "the code has a NaN or infinite value" in str(errors[1])
    assert len(column) == 5


def test_crops_are_stacked_with_the_channels_of_a_pixel_side_by_side() -> None:
    crops = [torch.randint(0, 256, (6, 5, 3), dtype=torch.uint8).permute(2, 0, 1) for _ in range(2)]
    batch_BCHW = stacked(crops)
    assert torch.equal(batch_BCHW, torch.stack(crops))
    assert batch_BCHW.is_contiguous(memory_format=torch.channels_last)


def test_a_slice_of_crops_is_a_batch_of_those_alone_as_they_lie_in_memory() -> None:
    crops = [torch.full((3, 4, 5), number, dtype=torch.uint8) for number in range(7)]
    batch_BCHW = Crops(crops)[4:9]
    assert len(Crops(crops)) == 7
    assert batch_BCHW[:, 0, 0, 0].tolist() == [4, 5, 6]
    assert batch_BCHW.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(Crops(crops)[:], stacked(crops))


def test_samples_of_several_shapes_are_run_by_shape_and_keep_their_order() -> None:
    ran = list[int]()

    def run(samples: Sequence[Tensor]) -> Tensor:
        ran.append(len(samples))
        return torch.stack([sample.flatten()[:1] for sample in samples])

    samples = [torch.full((depth, 2, 2), float(number)) for number, depth in enumerate((3, 1, 3, 2, 1))]
    assert by_shape(samples, run).flatten().tolist() == [0, 1, 2, 3, 4]
    assert ran == [2, 2, 1]

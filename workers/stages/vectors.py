"""Shared by the stages that make vectors: the column of vectors, and batches of crops of one size.

Legend: B batch, C channels, H height, W width, D dimension of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pixelmill.workers.errors import RowError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

NumberType = Literal["float32", "float16"]


def vector_type(output: NumberType, dim: int) -> pa.DataType:
    """fixed_size_list<float32 or float16>[D]."""
    import pyarrow as pa

    return pa.list_(pa.float32() if output == "float32" else pa.float16(), dim)


def stacked(crops: Sequence[Tensor]) -> Tensor:
    """Crops CHW of one size as a batch BCHW."""
    import torch

    # Stacked in their memory order, HWC, which channels_last needs; stacked as CHW they would be transposed twice.
    return torch.stack([crop_CHW.permute(1, 2, 0) for crop_CHW in crops]).permute(0, 3, 1, 2)


class Crops:
    """Crops CHW of one size, of which a slice is a batch BCHW: a GPU computes the first while the next is stacked."""

    def __init__(self, crops: Sequence[Tensor]) -> None:
        self._crops = crops

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, part: slice) -> Tensor:
        return stacked(self._crops[part])


def by_shape(samples: Sequence[Tensor], run: Callable[[Sequence[Tensor]], Tensor]) -> Tensor:
    """What `run` makes of samples of one shape, BD, in the order of the samples; blocks of several runs have several shapes."""
    import torch

    shapes = list(dict.fromkeys(sample.shape for sample in samples))
    if len(shapes) == 1:
        return run(samples)
    order = [index for shape in shapes for index, sample in enumerate(samples) if sample.shape == shape]
    made_BD = torch.cat([run([sample for sample in samples if sample.shape == shape]) for shape in shapes])
    return made_BD[torch.tensor(order).argsort()]


def vector_column(
    vectors_BD: Tensor, output: NumberType, stage: str, called: str
) -> tuple[pa.Array[Any], dict[int, RowError]]:
    """The column of vectors, with an error for each vector that is not finite in the stored type."""
    import pyarrow as pa
    import torch

    vectors_BD = vectors_BD.to(torch.float32 if output == "float32" else torch.float16)
    spoilt_B = ~torch.isfinite(vectors_BD).all(dim=1)
    errors = {
        int(index): RowError(stage, "NotFinite", f"the {called} has a NaN or infinite value as {vectors_BD.dtype}")
        for index in spoilt_B.nonzero()
    }
    values = pa.array(vectors_BD.flatten().numpy(), pa.float32() if output == "float32" else pa.float16())
    lists: Any = pa.FixedSizeListArray  # its stubs leave the type of the values open
    return lists.from_arrays(values, vectors_BD.shape[1]), errors

"""Hounsfield units are stored exactly, row by row, whatever the sizes of the slices in a batch."""

from __future__ import annotations

import pyarrow as pa
import pytest
import torch

from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.hu import HuConfig

CONTEXT = StageContext(device="cpu", threads=1, job_images=4, cache_dir=None)


def _slice(height: int, width: int, seed: int) -> Picture:
    torch.manual_seed(seed)
    return Picture(torch.randint(-32768, 32768, (1, height, width), dtype=torch.int16), "hu16")


@pytest.mark.parametrize("sizes", [[(3, 5)], [(3, 5), (2, 2), (1, 9)]])
def test_every_value_comes_back_in_its_row(sizes: list[tuple[int, int]]) -> None:
    slices = [_slice(*size, seed) for seed, size in enumerate(sizes)]
    stage = HuConfig.model_validate({"column": "units"}).build(CONTEXT)
    column = stage.run([stage.prepare(each) for each in slices]).columns["units"]
    assert isinstance(column, pa.Array)
    assert column.type == pa.list_(pa.int16())
    assert column.to_pylist() == [each.pixels.flatten().tolist() for each in slices]


def test_the_card_says_what_the_column_holds() -> None:
    assert "Hounsfield" in (HuConfig.meaning_of("units", {"column": "units"}) or "")

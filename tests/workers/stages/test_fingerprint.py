"""The fingerprints of pictures of any size: equal pixels give equal columns, and a thumbnail is a small picture of the same."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import skimage.data
import torch
from PIL import Image

from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Stage, StageContext
from pixelmill.workers.stages.fingerprint import FingerprintConfig

CONTEXT = StageContext(device="cpu", threads=1, job_images=4, cache_dir=None)


def built(**options: object) -> Stage:
    return FingerprintConfig.model_validate(options).build(CONTEXT)


def row_of(stage: Stage, pixels_CHW: torch.Tensor) -> dict[str, Any]:
    columns = stage.run([stage.prepare(Picture(pixels_CHW))]).columns
    return {name: column[0].as_py() for name, column in columns.items() if isinstance(column, pa.Array)}


def photograph() -> torch.Tensor:
    return torch.from_numpy(skimage.data.astronaut().transpose(2, 0, 1).copy())


def test_the_memory_order_of_a_picture_is_no_part_of_its_fingerprint() -> None:
    pixels_CHW = photograph()
    other = pixels_CHW.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert row_of(built(), pixels_CHW) == row_of(built(), other)


def test_one_changed_pixel_changes_the_content_and_not_the_looks() -> None:
    pixels_CHW = photograph()
    changed = pixels_CHW.clone()
    changed[0, 5, 5] ^= 1
    first, second = row_of(built(), pixels_CHW), row_of(built(), changed)
    assert first["fingerprint_sha256"] != second["fingerprint_sha256"]
    assert first["fingerprint_phash"] == second["fingerprint_phash"] != 0
    assert first["fingerprint_brightness"] == pytest.approx(second["fingerprint_brightness"], abs=1e-4)


@pytest.mark.parametrize(("size", "shown"), [((512, 512), (48, 48)), ((300, 30), (48, 5)), ((7, 1), (7, 1))])
def test_a_thumbnail_fits_its_side_and_a_small_picture_is_not_enlarged(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    pixels_CHW = photograph()[:, : size[0], : size[1]]
    row = row_of(built(thumbnail_px=48, column="print"), pixels_CHW)
    with Image.open(io.BytesIO(row["print_thumbnail"]["bytes"])) as picture:
        assert (picture.format, picture.height, picture.width) == ("JPEG", *shown)
        difference = np.asarray(picture, float).mean() - pixels_CHW.double().mean().item()
        assert abs(difference) < 4


def test_a_grey_picture_has_a_grey_thumbnail() -> None:
    grey = photograph()[:1]
    stage = built()
    columns = stage.run([stage.prepare(Picture(grey, "grey8"))]).columns
    cell = columns["fingerprint_thumbnail"]
    assert isinstance(cell, pa.Array)
    assert Image.open(io.BytesIO(cell[0].as_py()["bytes"])).mode == "L"


def test_a_picture_without_pixels_is_an_error_of_its_row() -> None:
    with pytest.raises(RowError, match="has no pixels"):
        built().prepare(Picture(torch.zeros((3, 0, 4), dtype=torch.uint8)))

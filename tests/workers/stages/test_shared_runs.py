"""What stages with one network share: what is encoded is what later stages see, and batches count what is made."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Deferred, SortsBySize, StageContext, config_class
from pixelmill.workers.stages.shared_runs import MakesMaps, MakesPictures, SeesOneSize, to_levels
from pixelmill.workers.stages.sized import MADE_PIXELS

CONTEXT = StageContext("cpu", 1, 1, None)


def built(kind: str, **options: Any) -> Any:
    return config_class(kind).model_validate(options).build(CONTEXT)


def picture(height: int, width: int, seed: int = 0) -> Picture:
    generator = torch.Generator().manual_seed(seed)
    return Picture(torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator))


@pytest.mark.parametrize(("kind", "options"), [("upscale", {"scale": 2}), ("stylize", {"style": "wave"})])
def test_what_is_encoded_is_what_later_stages_see(kind: str, options: dict[str, Any]) -> None:
    stage = built(kind, **options)
    assert isinstance(stage, MakesPictures)
    milled = stage.run([stage.prepare(picture(20, 30, seed)) for seed in range(2)])
    column = milled.columns[stage.fields[0].name]
    assert isinstance(column, Deferred)
    assert len(column.jobs) == len(milled.pictures) == 2
    for job, made in zip(column.jobs, milled.pictures, strict=True):
        assert made is not None
        encoded = cast("dict[str, bytes]", job())
        assert torch.equal(decode_picture(encoded["bytes"]), made.pixels)


@pytest.mark.parametrize("kind", ["depth", "segment"])
def test_a_map_is_bounded_by_the_pixels_of_the_picture_and_not_of_what_the_network_sees(kind: str) -> None:
    stage = built(kind)
    assert isinstance(stage, MakesMaps)
    assert isinstance(stage, SortsBySize)
    sample = stage.prepare(picture(70, 40))
    assert sample.frame_1HW.shape == (1, 70, 40)
    assert sample.frame_1HW.untyped_storage().nbytes() == 1
    assert stage.batch_pixels == MADE_PIXELS


def test_a_stage_whose_network_sees_one_size_is_bounded_in_pictures_alone() -> None:
    stage = built("encode")
    assert isinstance(stage, SeesOneSize)
    assert not isinstance(stage, SortsBySize)
    assert stage.batch_pixels is None
    assert stage.prepare(picture(70, 40)).shape == stage.prepare(picture(9, 200)).shape


def test_floats_become_the_nearest_levels() -> None:
    assert to_levels(torch.tensor([0.0, 0.5 / 255, 0.501 / 255, 1.0])).tolist() == [0, 0, 1, 255]

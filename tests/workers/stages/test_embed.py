"""Embed: vectors in the type that is asked for, and an error for each that is not finite in it."""

from __future__ import annotations

import pytest
import torch

from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.embed import EmbedConfig

CONTEXT = StageContext(device="cpu", threads=1, job_images=4, cache_dir=None)
QUICK = {"model": "torchvision:squeezenet1_1/random"}


@pytest.mark.parametrize("output", ["float32", "float16"])
def test_a_vector_that_is_not_finite_is_an_error_at_its_place(output: str) -> None:
    stage = EmbedConfig.model_validate({**QUICK, "output": output}).build(CONTEXT)
    vectors_BD = torch.ones(6, stage.fields[0].type.list_size)
    vectors_BD[1, 5], vectors_BD[2, 0], vectors_BD[4, 3] = float("nan"), float("inf"), 1e6  # too large for float16
    milled = stage.milled(vectors_BD)
    assert set(milled.errors) == ({1, 2} if output == "float32" else {1, 2, 4})
    assert {(error.stage, error.error_type) for error in milled.errors.values()} == {("embed", "NotFinite")}
    assert len(milled.columns["embedding"]) == 6


def test_a_batch_that_is_pinned_is_wanted_from_the_start() -> None:
    stage = EmbedConfig.model_validate({**QUICK, "batch": 3}).build(CONTEXT)
    assert stage.batch == 3


def test_a_crop_of_a_small_picture_is_not_a_view_of_a_large_one() -> None:
    stage = EmbedConfig.model_validate(QUICK).build(CONTEXT)
    crop_CHW = stage.prepare(Picture(torch.zeros(3, 2000, 3000, dtype=torch.uint8)))
    assert crop_CHW.untyped_storage().nbytes() == crop_CHW.nbytes


def test_a_plan_for_this_machine_says_what_was_tried_and_how_it_agrees() -> None:
    context = StageContext(device="cpu", threads=1, job_images=1000, cache_dir=None)
    lines = EmbedConfig.model_validate({**QUICK, "precision": "float32", "channels_last": True}).describe(
        context, here=True
    )
    assert any("chosen probed" in line for line in lines)
    assert any("tried float32, channels_last" in line and "cosine 1.0" in line for line in lines)

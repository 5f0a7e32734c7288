"""Facts of a network that contradict each other are refused, and a model at several scales is one model."""

from __future__ import annotations

import pytest
from torch import nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.picture_model import Classes, PictureModel, SizeFacts, require_task


def model(scale: int = 1, licence: str | None = None, **facts: object) -> PictureModel:
    return PictureModel(
        "upscale",  # type: ignore[arg-type]
        nn.Identity(),
        (0.0,) * 3,
        (1.0,) * 3,
        SizeFacts(scale=scale),
        "abc",
        licence,
        **facts,  # type: ignore[arg-type]
    )


def test_exact_tiles_need_a_reach() -> None:
    with pytest.raises(ValueError, match="state reach_px"):
        SizeFacts(tiling="exact")
    assert SizeFacts(tiling="exact", reach_px=0).reach_px == 0


@pytest.mark.parametrize(
    ("colours", "said"),
    [
        (((0, 0, 0),), "there are 1 colours for 2 classes"),
        (((0, 0, 0), (0, 256, 0)), "from 0 to 255"),
        (((0, 0, 0), (0, -1, 0)), "from 0 to 255"),
    ],
)
def test_colours_belong_to_classes_and_are_bytes(colours: tuple[tuple[int, int, int], ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Classes(("a", "b"), colours)
    assert Classes(("a", "b"), ((0, 0, 0), (255, 0, 0))).colours


def test_a_model_is_itself_at_its_one_scale_and_another_at_each_of_several() -> None:
    alone = model(4)
    assert (alone.scales, alone.at_scale(4)) == ((4,), alone)
    several = model(2, at_scales={4: model(4), 2: model(2)})
    assert several.scales == (2, 4)
    assert several.at_scale(4).size.scale == 4


def test_a_licence_is_given_to_every_scale_that_states_none() -> None:
    licensed = model(2, at_scales={2: model(2), 4: model(4, "mit")}).licensed("apache-2.0")
    assert licensed.licence == "apache-2.0"
    assert {scale: each.licence for scale, each in licensed.at_scales.items()} == {2: "apache-2.0", 4: "mit"}
    assert model(2, "mit").licensed("apache-2.0").licence == "mit"
    assert model(2).licensed(None).licence is None


def test_a_model_that_can_not_do_the_task_says_what_it_can() -> None:
    require_task("m", "fcn", "segment", {"segment"})  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"model m: holds the network fcn, which can't .*; it can "):
        require_task("m", "fcn", "depth", {"segment"})  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="it can nothing that a stage does"):
        require_task("m", "fcn", "depth", set())  # type: ignore[arg-type]

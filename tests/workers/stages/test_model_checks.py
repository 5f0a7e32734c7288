"""What stages ask of their models is checked before a job starts, and only where a key asks for it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.stages import StageConfig, config_class
from pixelmill.workers.stages.model_checks import check_models
from tests.saved_networks import saved

TINY = "torchvision:squeezenet1_1/random"


def stage(kind: str, **keys: object) -> StageConfig:
    return config_class(kind).model_validate(keys)


def chain(made: Sequence[str] | None, known: Sequence[str] | None, **keys: object) -> list[StageConfig]:
    """A network that makes masks and one that makes pictures of them, with these classes in their cards."""
    three = len(made or "xyz")
    masks = saved("segnet", f"m-{made}", made and Classes(tuple(made)), classes=three, variant="basic", width=2)
    count = len(known or "xyz")
    drawn = saved("crn", f"d-{known}", known and Classes(tuple(known)), classes=count, start_px=(2, 2), widths=(2,))
    first = stage("segment", model=str(masks))
    return [first, stage("synthesize", model=str(drawn), **{"from": "segment"}, **keys)]


@pytest.mark.parametrize(
    ("made", "known"),
    [
        (("sky", "road", "car"), ("sky", "road", "car")),
        (("sky", "road"), ("Sky", "ROAD", "car")),
        (("sky", "road", "car"), None),
        (None, ("sky", "road", "car")),
    ],
)
def test_masks_of_the_same_classes_are_taken(made: Sequence[str] | None, known: Sequence[str] | None) -> None:
    check_models(chain(made, known), "rgb8")


def test_masks_of_other_classes_are_refused_by_id_and_a_palette_names_what_means_the_same() -> None:
    made, known = ("sky", "road", "car"), ("sky", "street", "car")
    with pytest.raises(ModelError, match="id 1 is road there and street here; take models of the same classes"):
        check_models(chain(made, known), "rgb8")
    with pytest.raises(ModelError, match="id 0 is sky there and road here, 1 is road there and sky here"):
        check_models(chain(made, ("road", "sky", "car")), "rgb8")
    palette = {name: [number, 0, 0] for number, name in enumerate(made)}
    check_models(chain(made, known, palette=palette), "rgb8")


@pytest.mark.parametrize("known", [("sky", "road"), None])
def test_masks_of_more_classes_are_refused(known: Sequence[str] | None) -> None:
    made = ("sky", "road", "car", "pole")
    with pytest.raises(ModelError, match=r"have 4 classes, and its model knows [23]: it lacks"):
        check_models(chain(made, known), "rgb8")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (stage("classify", model=TINY, top=1001), "top is 1001, and model .* has 1000 classes"),
        (stage("embed", model=TINY, layer="nope"), "has no layer nope"),
        (stage("embed", model="segnet-camvid", layer="code"), "has no code"),
    ],
)
def test_what_a_network_lacks_is_reported_before_anything_starts(wrong: StageConfig, words: str) -> None:
    wrong.identity()  # which knows nothing of it
    with pytest.raises(ModelError, match=words):
        check_models([wrong], "rgb8")


def test_a_stage_that_asks_for_nothing_special_is_not_built() -> None:
    plain = [stage("embed", model=TINY), stage("segment"), stage("classify", model=TINY), stage("stylize")]
    assert not any(config.needs_trial() for config in plain)

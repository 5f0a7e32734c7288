"""Settings that no labelled data or training can have are refused by the name of the setting."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pixelmill.workers.recipes.segmentation.labels import MOST_CLASSES
from pixelmill.workers.recipes.segmentation.settings import LabelledSettings, SegmentationSettings, TrunkSettings


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (LabelledSettings, {"classes": 1}),
        (LabelledSettings, {"classes": MOST_CLASSES + 1}),
        (LabelledSettings, {"class_names": ["sky"]}),
        (LabelledSettings, {"ignore_index": 65536}),
        (LabelledSettings, {"map_ids": {"255": -1}}),
        (LabelledSettings, {"turned_labels": "upright"}),
        (LabelledSettings, {"class_weights": [1.0, -0.1]}),
        (LabelledSettings, {"crop_px": [0, 64]}),
        (LabelledSettings, {"size_px": [64]}),
        (LabelledSettings, {"scales": [0, 1]}),
        (LabelledSettings, {"brightness": 1}),
        (LabelledSettings, {"optimizer": "lion"}),
        (SegmentationSettings, {"optimizer": "lbfgs"}),
        (SegmentationSettings, {"momentum": 1}),
        (SegmentationSettings, {"weight_decay": -1e-4}),
        (SegmentationSettings, {"step_at": [0.5, 1.0]}),
        (SegmentationSettings, {"step_factor": 0}),
        (SegmentationSettings, {"warmup_steps": -1}),
        (SegmentationSettings, {"vgg": "weights.safetensors"}),
        (TrunkSettings, {"trunk_rate": -0.1}),
        (TrunkSettings, {"vgg_convention": "keras"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_a_setting_out_of_its_range_is_refused_by_name(kind: type[LabelledSettings], wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        kind.model_validate(wrong)


def test_the_ends_of_the_ranges_are_allowed() -> None:
    most = {"classes": MOST_CLASSES, "ignore_index": 65535, "map_ids": {"65535": 0}, "class_weights": [0, 1]}
    settings = TrunkSettings.model_validate(
        {**most, "brightness": 0, "momentum": 0, "weight_decay": 0, "step_factor": 1, "step_at": [], "trunk_rate": 0}
    )
    assert settings.map_ids == {65535: 0}  # a job file's keys are text
    assert (settings.classes, settings.class_weights, settings.step_at) == (MOST_CLASSES, (0, 1), ())


def test_without_a_word_classes_come_from_the_data_and_nothing_but_mirrors_is_augmented() -> None:
    settings = TrunkSettings()
    assert (settings.classes, settings.class_names, settings.ignore_index, settings.vgg) == (None,) * 4
    assert (settings.flip, settings.scales, settings.brightness, settings.crop_px) == (True, (1, 1), 0, None)


def test_settings_come_back_from_the_json_of_a_card() -> None:
    settings = TrunkSettings(map_ids={255: 1}, crop_px=(32, 48), class_names=("sky", "road"), step_at=(0.5,))
    assert TrunkSettings.model_validate_json(settings.model_dump_json()) == settings

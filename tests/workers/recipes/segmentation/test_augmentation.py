"""A picture and its label stay on each other however they are cut, scaled and mirrored."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.segmentation.augmentation import DRAWS, nearest_places, window
from pixelmill.workers.recipes.segmentation.labels import VOID
from tests.workers.labelled import NAMES, agreement, recipe, sample, samples


def test_a_flip_mirrors_both_half_of_the_time() -> None:
    one = sample()
    batch = recipe().batch([one] * 100, np.random.default_rng(0))
    plain, mirrored = torch.from_numpy(one["label"]).long(), torch.from_numpy(one["label"][:, ::-1].copy()).long()
    is_mirrored = [torch.equal(label_HW, mirrored) for label_HW in batch["labels"]]
    assert all(
        flipped or torch.equal(label_HW, plain) for flipped, label_HW in zip(is_mirrored, batch["labels"], strict=True)
    )
    assert 30 < sum(is_mirrored) < 70
    red_W = torch.from_numpy(one["image"][20, :, 0] / 255.0).float()
    assert torch.equal(batch["images"][is_mirrored.index(True), 0, 20], red_W.flip(0))


def test_a_sample_is_augmented_alike_in_every_batch() -> None:
    kind = recipe(crop_px=(24, 32), scales=(0.7, 1.4), brightness=0.3)
    four, random = samples(4), np.random.default_rng(5)
    together, alone = kind.batch(four, np.random.default_rng(5)), [kind.batch([one], random) for one in four]
    for name, tensor in together.items():
        assert torch.equal(tensor, torch.cat([batch[name] for batch in alone]))


def test_outside_of_a_picture_is_its_mirror_image_and_void() -> None:
    places, inside = window(10, 10, 0.5, 0, 0.99)
    assert len(places) == 20
    assert places[inside].tolist() == list(range(10))
    assert places.tolist() == places_mirrored(20, first=list(inside).index(True))
    batch = recipe(scales=(0.5, 0.5), flip=False).batch([sample()], np.random.default_rng(0))
    assert 0.7 < (batch["labels"] == VOID).float().mean() < 0.85
    assert batch["images"].min() > 0.05


def places_mirrored(count: int, first: int) -> list[int]:
    """0 to 9 and back, again and again, such that `first` steps lead to the first 0."""
    there_and_back = [*range(10), *range(8, 0, -1)]
    return [there_and_back[(step - first) % 18] for step in range(count)]


def plainly(one: Sample, kind: Any, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Picture (float HWC) and label of one sample: every step on whole arrays of single pixels, in the paper's order."""
    settings = kind.settings
    kept_HW, margin_px = kind.grid(settings.crop_px or one["label"].shape)
    mirror, scale, *places, brightness = draws.tolist()
    low, high = np.log(settings.scales)
    factor = math.exp(low + scale * (high - low))
    axes = [
        window(*each) for each in zip(one["label"].shape, kept_HW, [factor] * 2, [margin_px] * 2, places, strict=True)
    ]
    (rows, rows_inside), (columns, columns_inside) = axes
    image_CHW = torch.from_numpy(one["image"][np.ix_(rows, columns)]).permute(2, 0, 1).contiguous()
    label_HW = np.where(np.outer(rows_inside, columns_inside), one["label"][np.ix_(rows, columns)], VOID)
    sides = [kept + 2 * margin_px for kept in kept_HW]
    if [len(rows), len(columns)] != sides:
        image_CHW = torch.nn.functional.interpolate(image_CHW[None], sides, mode="bilinear", antialias=True)[0]
        label_HW = label_HW[
            np.ix_(*(nearest_places(len(p), side) for p, side in zip((rows, columns), sides, strict=True)))
        ]
    label_HW = label_HW[margin_px : sides[0] - margin_px, margin_px : sides[1] - margin_px]
    image_HWC = image_CHW.permute(1, 2, 0).numpy().astype(np.float32) / np.float32(255)
    if settings.flip and mirror < 0.5:
        image_HWC, label_HW = image_HWC[:, ::-1], label_HW[:, ::-1]
    return np.minimum(image_HWC * np.float32(1 + settings.brightness * (2 * brightness - 1)), 1), label_HW


@pytest.mark.parametrize("scales", [(1.0, 1.0), (0.4, 2.5)])
@pytest.mark.parametrize("brightness", [0.0, 0.3])
@pytest.mark.parametrize("name", ["segnet", "unet"])
def test_a_batch_is_what_plain_arithmetic_on_single_pixels_gives(
    name: str, brightness: float, scales: tuple[float, float]
) -> None:
    kind = recipe(name, crop_px=(26, 36), scales=scales, brightness=brightness)
    several = samples(6)
    batch, random = kind.batch(several, np.random.default_rng(7)), np.random.default_rng(7)
    for image_CHW, label_HW, one in zip(batch["images"], batch["labels"], several, strict=True):
        expected_HWC, expected_HW = plainly(one, kind, random.random(DRAWS))
        assert torch.equal(image_CHW.permute(1, 2, 0), torch.from_numpy(expected_HWC.copy()))
        assert torch.equal(label_HW, torch.from_numpy(expected_HW.copy()).long())
    assert batch["images"].is_contiguous(memory_format=torch.channels_last)


def test_window_places_cover_every_position() -> None:
    starts = {int(window(20, 5, 1.0, 0, draw)[0][0]) for draw in np.linspace(0, 0.9999, 200)}
    assert starts == set(range(16))
    assert all(window(20, 5, 1.0, 0, draw)[1].all() for draw in (0.0, 0.5, 0.9999))
    assert nearest_places(4, 8).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert nearest_places(9, 3).tolist() == [1, 4, 7]


def test_brightness_is_drawn_around_one() -> None:
    batch = recipe(brightness=0.5, flip=False).batch([sample()] * 200, np.random.default_rng(0))
    factors_B = batch["images"][:, 1, 0, 0] * 255 / 30
    assert 0.5 <= factors_B.min() < 0.55
    assert 1.45 < factors_B.max() <= 1.5


def test_pictures_that_do_not_stack_are_refused_with_a_way_out() -> None:
    with pytest.raises(DataError, match="pictures of 64x40, 64x48 px don't fit into one batch; set crop_px"):
        recipe().batch([sample(), sample(height=40)], np.random.default_rng(0))


def test_valid_convolutions_get_a_margin_and_labels_of_the_size_of_their_logits() -> None:
    kind = recipe("unet", crop_px=(30, 34), flip=False, classes=3)
    batch = kind.batch(samples(2), np.random.default_rng(0))
    network = kind.network()
    margin_px = network.config.margin_px
    assert batch["labels"].shape == (2, 32, 36)
    assert batch["images"].shape == (2, 3, 32 + 2 * margin_px, 36 + 2 * margin_px)
    assert network(batch["images"]).shape == (2, 3, 32, 36)
    inner = batch["images"][:, 0, margin_px:-margin_px, margin_px:-margin_px].numpy()
    assert agreement(255 * inner, batch["labels"].numpy()) == 1


def test_classes_are_weighted_by_median_frequency() -> None:
    one, two = sample(), sample()
    one["label"] = np.array([[0, 0, 0, 1], [VOID, 0, 0, 1]], np.uint8)  # 5 of 7, 2 of 7
    two["label"] = np.array([[0, 2, 2, 2], [0, 2, 2, 2]], np.uint8)  # 2 of 8, 6 of 8
    kind = recipe("segnet", class_weights="median")
    facts = kind.prepare([one, two])
    assert facts == {"class_names": list(NAMES), "pixels": [7, 2, 6], "seen_pixels": [15, 7, 8], "ignore_index": None}
    frequencies = [7 / 15, 2 / 7, 6 / 8]
    assert kind.class_weights() == pytest.approx([7 / 15 / frequency for frequency in frequencies])
    again = recipe("segnet", class_weights="median")
    again.restore(json.loads(json.dumps(facts)))
    assert again.class_weights() == kind.class_weights()
    assert again.network().config.classes == 3

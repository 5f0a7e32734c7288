"""The recipes of FCN, SegNet and U-Net: labels read as ids, pictures and labels that stay on each other, one pooled score.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.encode import encode_jpeg, encode_png, encode_png16, encode_png_palette
from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.models.card import Card
from pixelmill.workers.networks.registry import network_types
from pixelmill.workers.networks.vgg import Vgg, VggConfig
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.registry import recipe_of, recipe_type
from pixelmill.workers.recipes.segmentation import (
    CAMVID_COLOURS,
    VOID,
    FcnRecipe,
    FcnSettings,
    LabelFacts,
    SegNetRecipe,
    SegNetSettings,
    UNetRecipe,
    UNetSettings,
    nearest_places,
    palette,
    read_ids,
    scores,
    window,
)
from tests.learning import descend

NAMES = ("sky", "road", "kiosk")
CLASSES = json.dumps({"classes": NAMES, "ignore_index": 11}).encode()
CAMVID = Path(__file__).parents[3] / "shared" / "data" / "camvid"

SLIM: dict[str, dict[str, Any]] = {
    "fcn": {"width": 2, "fc_width": 8, "batch": 4},
    "segnet": {"width": 2, "batch": 4, "class_weights": "none"},
    "unet": {"base": 2, "levels": 2, "batch": 4},
}


def recipe(name: str = "fcn", assets: dict[str, Path] | None = None, **settings: Any) -> Any:
    kind = cast(Any, recipe_type(name))
    return kind(kind.Settings(**SLIM[name] | settings), assets or {})


def ids(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """Blocks of 8 px of the three classes, and a frame of void."""
    coarse_HW = np.random.default_rng(seed).integers(0, 3, (-(-height // 8), -(-width // 8)), np.uint8)
    ids_HW = np.kron(coarse_HW, np.ones((8, 8), np.uint8))[:height, :width]
    ids_HW[:2] = VOID
    return ids_HW


def sample(height: int = 48, width: int = 64, seed: int = 0) -> Sample:
    """A picture whose colours tell the ids: 100 times the id plus 20 in red, void too."""
    label_HW = ids(height, width, seed)
    image_HWC = np.full((height, width, 3), 30, np.uint8)
    image_HWC[..., 0] = np.where(label_HW == VOID, 220, 100 * label_HW.astype(int) % 256 + 20)
    return {"image": image_HWC, "label": label_HW, "classes": np.frombuffer(json.dumps(NAMES).encode(), np.uint8)}


def samples(count: int = 4, **size: int) -> list[Sample]:
    return [sample(seed=seed, **size) for seed in range(count)]


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def files(label_HW: np.ndarray | None = None, **more: bytes) -> dict[str, bytes]:
    image_HWC = sample()["image"]
    label_HW = np.where(ids() == VOID, 11, ids()).astype(np.uint8) if label_HW is None else label_HW
    return {"image": encode_png(image_HWC), "label": encode_png(label_HW), "classes": CLASSES} | more


# Labels


def test_a_sample_has_the_picture_the_ids_and_void_for_what_is_ignored() -> None:
    decoded = recipe().decode(files())
    assert np.array_equal(decoded["image"], sample()["image"])
    assert np.array_equal(decoded["label"], ids())
    assert {name: array.dtype.name for name, array in decoded.items()} == dict.fromkeys(decoded, "uint8")
    assert json.loads(decoded["classes"].tobytes()) == list(NAMES)


def test_ids_are_what_a_file_stores_whatever_its_colours_and_bits() -> None:
    ids_HW = ids(8, 9) % 3
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    stored = {
        "grey": encode_png(ids_HW),
        "palette": encode_png_palette(ids_HW, colours),
        "16 bits": encode_png16(ids_HW.astype(np.uint16)),
    }
    for kind, data in stored.items():
        assert np.array_equal(read_ids(data), ids_HW), kind
    assert decode_picture(stored["palette"])[0].max() == 200  # as a picture it would be colours


@pytest.mark.parametrize(
    ("label", "message"),
    [
        pytest.param(encode_png(sample()["image"]), "holds colours, not class ids", id="colours"),
        pytest.param(png(Image.new("1", (64, 48))), "1-bit grey levels, not class ids", id="bits"),
        pytest.param(encode_jpeg(torch.zeros(3, 48, 64, dtype=torch.uint8)), "is no PNG", id="JPEG"),
        pytest.param(encode_png(ids())[:-30], "can't be read: the end of the file is missing", id="cut"),
        pytest.param(encode_png(ids(47, 64) % 3), "has 64x47 px and its picture 64x48", id="size"),
        pytest.param(encode_png(ids() // 9), r"ids \[28\], but there are only 0 to 2 and 11", id="range"),
    ],
)
def test_a_label_that_cannot_be_learned_from_is_refused(label: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        recipe().decode(files(label=label))


def test_a_picture_without_label_and_one_that_is_damaged_are_refused() -> None:
    whole = files()
    with pytest.raises(DataError, match="has no label"):
        recipe().decode({name: data for name, data in whole.items() if name != "label"})
    with pytest.raises(DataError, match="the end of the file is missing"):
        recipe().decode(whole | {"image": whole["image"][:-20]})


def test_the_settings_stand_in_for_classes_json_and_may_not_contradict_it() -> None:
    without = {name: data for name, data in files(ids() % 3).items() if name != "classes"}
    with pytest.raises(DataError, match=r"add classes\.json, or set classes"):
        recipe().decode(without)
    decoded = recipe(classes=3).decode(without)
    assert json.loads(decoded["classes"].tobytes()) == ["class_0", "class_1", "class_2"]
    with pytest.raises(DataError, match=r"classes is 4, but classes\.json names 3"):
        recipe(classes=4).decode(files())
    with pytest.raises(DataError, match=r"classes\.json: classes"):
        recipe().decode(files(classes=b'{"names": []}'))
    void_HW = recipe(classes=3, ignore_index=0).decode(without)["label"] == VOID
    assert np.array_equal(void_HW, ids() % 3 == 0)


def test_pictures_are_resized_once_and_labels_never_blended() -> None:
    decoded = recipe(size_px=(30, 36)).decode(files())
    assert decoded["image"].shape == (30, 36, 3)
    assert decoded["label"].shape == (30, 36)
    assert set(np.unique(decoded["label"])) <= {0, 1, 2, VOID}
    assert agreement(decoded["image"][..., 0].astype(float), decoded["label"]) > 0.85


def agreement(red_HW: np.ndarray, label_HW: np.ndarray) -> float:
    """Share of the pixels whose red is nearest to that of their id; blended ones at the edges of blocks are not."""
    reds = np.array([20, 120, 220])
    inside = label_HW != VOID
    return float((np.abs(red_HW[inside][:, None] - reds).argmin(1) == label_HW[inside]).mean())


# Batches


def test_a_picture_and_its_label_stay_on_each_other_however_they_are_cut_and_scaled() -> None:
    kind = recipe(crop_px=(40, 40), scales=(0.5, 2.0))
    batch = kind.batch(samples(40), np.random.default_rng(0))
    assert batch["images"].shape == (40, 3, 40, 40)
    assert batch["labels"].shape == (40, 40, 40)
    assert batch["labels"].dtype == torch.long
    found = [
        agreement(255 * image_CHW[0].numpy(), label_HW.numpy())
        for image_CHW, label_HW in zip(batch["images"], batch["labels"], strict=True)
    ]
    assert np.mean(found) > 0.9
    assert min(found) > 0.75


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


# Counting


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


def test_a_class_that_no_picture_shows_weighs_nothing_and_does_not_move_the_median() -> None:
    facts = LabelFacts(class_names=("a", "b", "c"), pixels=(10, 0, 30), seen_pixels=(40, 0, 40))
    assert facts.median_weights() == pytest.approx((2, 0, 2 / 3))


def test_labels_without_anything_to_learn_are_refused() -> None:
    blank = sample()
    blank["label"] = np.full_like(blank["label"], VOID)
    for given in ([], [blank]):
        with pytest.raises(DataError, match="nothing to learn from"):
            recipe().prepare(given)
    other = sample()
    other["classes"] = np.frombuffer(b'["a", "b"]', np.uint8)
    with pytest.raises(DataError, match=r"different classes\.json"):
        recipe().prepare([sample(), other])


def test_what_needs_the_labels_counted_says_so() -> None:
    with pytest.raises(ModelError, match="before `prepare`"):
        recipe().network()
    with pytest.raises(ModelError, match="needs the labels counted"):
        recipe("segnet", class_weights="median", classes=3).class_weights()
    with pytest.raises(ModelError, match="class_weights are 2 for 3 classes"):
        recipe(class_weights=(1.0, 2.0), classes=3).class_weights()
    with pytest.raises(ModelError, match="scales"):
        recipe(scales=(2.0, 1.0))


# Training


class Fixed(nn.Module):
    """Logits that are given, and how often they were asked for."""

    def __init__(self, logits_BKHW: Tensor) -> None:
        super().__init__()
        self.logits_BKHW = nn.Parameter(logits_BKHW)
        self.calls = 0

    def forward(self, images_BCHW: Tensor) -> Tensor:
        self.calls += 1
        return self.logits_BKHW


def test_void_has_no_loss_and_no_gradient_and_the_network_is_called_once() -> None:
    network = Fixed(torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)))
    labels_BHW = torch.randint(0, 3, (2, 4, 4), generator=torch.Generator().manual_seed(1))
    labels_BHW[:, 0] = VOID
    loss = recipe(classes=3).losses(network, {"images": torch.zeros(2, 3, 4, 4), "labels": labels_BHW})["loss"]
    loss.backward()
    assert network.calls == 1
    assert network.logits_BKHW.grad is not None
    assert not network.logits_BKHW.grad[:, :, 0].any()
    assert network.logits_BKHW.grad[:, :, 1:].all()
    expected = nn.functional.cross_entropy(network.logits_BKHW[:, :, 1:], labels_BHW[:, 1:], reduction="sum") / 32
    torch.testing.assert_close(loss, expected)


def test_a_loss_of_half_precise_logits_is_float32() -> None:
    batch = {"images": torch.zeros(1, 3, 4, 4), "labels": torch.zeros(1, 4, 4, dtype=torch.long)}
    loss = recipe(classes=3).losses(Fixed(torch.zeros(1, 3, 4, 4, dtype=torch.bfloat16)), batch)["loss"]
    assert loss.dtype == torch.float32


@pytest.mark.parametrize("weights", ["none", (1.0, 0.25, 4.0)])
def test_the_loss_of_a_batch_is_the_mean_of_that_of_its_parts(weights: Any) -> None:
    kind = recipe(classes=3, class_weights=weights)
    torch.manual_seed(0)
    logits_BKHW, labels_BHW = torch.randn(4, 3, 6, 6), torch.randint(0, 3, (4, 6, 6))
    labels_BHW[0, :5], labels_BHW[3, 2:] = VOID, 1  # void and classes are spread unevenly

    def loss(part: slice) -> Tensor:
        return kind.losses(Fixed(logits_BKHW[part]), {"images": torch.zeros(1), "labels": labels_BHW[part]})["loss"]

    torch.testing.assert_close(loss(slice(4)), (loss(slice(2)) + loss(slice(2, 4))) / 2)


@pytest.mark.parametrize("name", ["fcn", "segnet", "unet"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_few_steps_learn_one_batch_and_the_loss_is_float32(name: str, precision: Any) -> None:
    wider: dict[str, Any] = {"fcn": {"width": 8, "fc_width": 16}, "segnet": {"width": 8}, "unet": {"base": 8}}[name]
    kind = recipe(
        name, **wider, precision=precision, optimizer="adamw", learning_rate=3e-3, crop_px=(48, 48), flip=False
    )
    torch.manual_seed(0)
    kind.prepare(samples(2))
    network, batch = kind.network().train(), kind.batch(samples(2), np.random.default_rng(0))

    def loss() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            value = kind.losses(network, batch)["loss"]
        assert value.dtype == torch.float32
        return value

    losses = descend(kind.optimizer(network), loss, steps=40)
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("name", ["fcn", "segnet", "unet"])
def test_the_same_seed_gives_the_same_training(name: str) -> None:
    def weights(seed: int) -> Tensor:
        kind = recipe(name, crop_px=(40, 48), scales=(0.8, 1.2))
        torch.manual_seed(seed)
        kind.prepare(samples(2))
        network, random = kind.network().train(), np.random.default_rng(seed)
        optimizer = kind.optimizer(network)
        for _ in range(2):
            optimizer.zero_grad()
            kind.losses(network, kind.batch(samples(2), random))["loss"].backward()
            optimizer.step()
        return torch.cat([value.detach().flatten() for value in network.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_the_trunk_learns_at_its_own_rate() -> None:
    for name in ("fcn", "segnet"):
        kind = recipe(name, classes=3, learning_rate=0.5, trunk_rate=0.1)
        network = kind.network()
        rest, trunk = kind.optimizer(network).param_groups
        assert (rest["lr"], trunk["lr"]) == (0.5, pytest.approx(0.05))
        assert len(trunk["params"]) == 26
        assert len(rest["params"]) + 26 == len(list(network.parameters()))
        assert (rest["momentum"], rest["weight_decay"]) == (0.9, 5e-4)
    unet = recipe("unet", classes=3, optimizer="adamw")
    optimizer = unet.optimizer(unet.network())
    assert len(optimizer.param_groups) == 1
    assert isinstance(optimizer, torch.optim.AdamW)


def test_rates_stay_or_fall_as_told() -> None:
    assert [recipe().rate(step, 100) for step in (0, 50, 99)] == [1, 1, 1]
    poly = [recipe(schedule="poly").rate(step, 100) for step in range(100)]
    assert poly == sorted(poly, reverse=True)
    assert poly[0] == 1
    assert poly[50] == pytest.approx(0.5**0.9)
    stepped = recipe(schedule="step", step_at=(0.5, 0.8))
    assert [stepped.rate(step, 100) for step in (49, 50, 80)] == pytest.approx([1, 0.1, 0.01])
    warm = recipe(warmup_steps=3)
    assert [warm.rate(step, 100) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_statistics_of_batch_normalisation_are_those_of_the_training_pictures() -> None:
    kind, given = recipe("segnet", classes=3), samples(4)
    torch.manual_seed(0)
    network = kind.network().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(torch.as_tensor(module.running_mean), 7.0)
    kind.finish(network, given)
    assert not network.training
    pixels_BHWC = torch.from_numpy(np.stack([one["image"] for one in given])).float() / 255
    maps_BCHW = network.encoder["conv1_1"](network.preprocessing(pixels_BHWC.permute(0, 3, 1, 2)))
    norm = network.norms["conv1_1"]
    torch.testing.assert_close(norm.running_mean, maps_BCHW.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(norm.running_var, maps_BCHW.transpose(0, 1).flatten(1).var(1), rtol=1e-3, atol=1e-4)
    assert norm.momentum == 0.1


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_statistics_of_a_unet_are_renewed_with_either_padding(padding: str) -> None:
    kind = recipe("unet", classes=3, batch_norm=True, padding=padding)
    network = kind.network()
    before = {name: value.clone() for name, value in network.named_buffers() if name.endswith("running_mean")}
    kind.finish(network, samples(3))
    assert all(not torch.equal(value, before[name]) for name, value in network.named_buffers() if name in before)
    assert len(before) == 10


def test_a_network_without_batch_normalisation_is_left_alone() -> None:
    kind = recipe(classes=3)
    network = kind.network()
    kind.finish(network, samples(2))
    assert network.training


# Judging


def test_scores_are_pooled_over_all_pixels() -> None:
    confusion_KK = torch.tensor([[6, 2, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    metrics = scores(confusion_KK, ["a", "b", "c", "d"])
    assert metrics == pytest.approx(
        {
            "miou": (6 / 9 + 3 / 6) / 2,
            "pixel_accuracy": 9 / 12,
            "class_accuracy": (6 / 8 + 3 / 4) / 2,
            "iou_a": 6 / 9,
            "iou_b": 3 / 6,
        }
    )


def test_a_class_that_is_said_and_never_true_counts_as_a_failure() -> None:
    metrics = scores(torch.tensor([[3, 1], [0, 0]]), ["a", "b"])
    assert metrics["iou_b"] == 0
    assert metrics["miou"] == pytest.approx(3 / 8)
    assert metrics["class_accuracy"] == 3 / 4


class Says(nn.Module):
    """Says what the red of a picture tells, but for what `mistake` makes of it."""

    def __init__(self, mistake: dict[int, int] | None = None) -> None:
        super().__init__()
        self.config = type("Config", (), {"classes": 3})()
        self.reds_K111 = nn.Parameter(torch.tensor([20, 120, 220]).view(3, 1, 1) / 255)
        self.mistake = mistake or {}

    def forward(self, images_BCHW: Tensor) -> Tensor:
        logits_BKHW = -(images_BCHW[:, :1] - self.reds_K111).abs()
        said_BHW = logits_BKHW.argmax(1)
        for true, said in self.mistake.items():
            said_BHW[logits_BKHW.argmax(1) == true] = said
        return nn.functional.one_hot(said_BHW, 3).permute(0, 3, 1, 2).float()


def test_a_perfect_network_scores_one_whatever_it_says_of_void() -> None:
    metrics = recipe().evaluate(Says(), samples(5))
    assert metrics == dict.fromkeys(("miou", "pixel_accuracy", "class_accuracy", *map("iou_{}".format, NAMES)), 1.0)
    assert all(type(value) is float for value in metrics.values())


def test_evaluation_is_that_of_all_pixels_together_and_not_a_mean_over_pictures() -> None:
    given, network = samples(3), Says({0: 1})
    given[0]["label"][4:, 20:] = 2
    given[1]["label"][:] = VOID
    labels = np.concatenate([one["label"].ravel() for one in given])
    said = np.concatenate([said_by(network, one).ravel() for one in given])
    counted = labels != VOID
    ious = [
        ((said == k) & (labels == k))[counted].sum() / ((said == k) | (labels == k))[counted].sum() for k in range(3)
    ]
    pooled = recipe(batch=2).evaluate(network, given)
    assert pooled["miou"] == pytest.approx(np.mean(ious))
    assert pooled["pixel_accuracy"] == pytest.approx((said == labels)[counted].mean())
    each = [recipe().evaluate(network, [one])["miou"] for one in (given[0], given[2])]
    assert abs(np.mean(each) - pooled["miou"]) > 0.01


def said_by(network: nn.Module, one: Sample) -> np.ndarray:
    image_BCHW = torch.from_numpy(one["image"]).permute(2, 0, 1)[None].float() / 255
    return network(image_BCHW).argmax(1)[0].numpy()


def test_pictures_of_several_sizes_are_judged_together() -> None:
    given = [sample(), sample(height=40), sample(width=72, seed=3), sample(seed=4)]
    assert recipe().evaluate(Says(), iter(given))["miou"] == 1


def test_labels_of_other_classes_and_none_at_all_are_refused() -> None:
    other = sample()
    other["classes"] = np.frombuffer(b'["a", "b"]', np.uint8)
    with pytest.raises(DataError, match="2 classes and the network 3"):
        recipe().evaluate(Says(), [other])
    with pytest.raises(DataError, match="no held-out pictures"):
        recipe().evaluate(Says(), [])
    blank = sample()
    blank["label"] = np.full_like(blank["label"], VOID)
    with pytest.raises(DataError, match="all are ignored"):
        recipe().evaluate(Says(), [blank])


@pytest.mark.parametrize("name", ["fcn", "segnet", "unet"])
def test_an_evaluation_changes_nothing_and_gives_the_same_again(name: str) -> None:
    kind = recipe(name, classes=3)
    torch.manual_seed(0)
    network = kind.network().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.inference_mode():
        first, again = (kind.evaluate(network, samples(3, height=45)) for _ in range(2))
    assert first == again
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["fcn", "segnet", "unet"])
def test_pictures_show_the_input_the_truth_and_the_prediction(name: str) -> None:
    kind, given = recipe(name, classes=3), samples(2)
    shown_CHW = kind.pictures(kind.network().eval(), given)
    assert shown_CHW.dtype == torch.uint8
    assert shown_CHW.shape == (3, 2 * 48, 3 * 64)
    assert np.array_equal(shown_CHW[:, :48, :64].permute(1, 2, 0).numpy(), given[0]["image"])
    truth_HWC = shown_CHW[:, 48:, 64:128].permute(1, 2, 0).numpy()
    assert tuple(truth_HWC[given[1]["label"] == 0][0]) == CAMVID_COLOURS["sky"]
    assert not truth_HWC[given[1]["label"] == VOID].any()


def test_every_class_has_a_colour_of_its_own() -> None:
    assert len({tuple(colour) for colour in palette(list(CAMVID_COLOURS))[:11].tolist()}) == 11
    assert len({tuple(colour) for colour in palette(list(map(str, range(100))))[:100].tolist()}) == 100
    assert not palette(["a"])[VOID].any()


# Networks


@pytest.mark.parametrize("name", ["fcn", "segnet"])
def test_a_training_starts_from_the_weights_it_is_given(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    vgg, state = Vgg(VggConfig(width=2)), dict[str, Tensor]()
    for layer, convolution in vgg.convolutions.items():
        block, number = layer.removeprefix("conv").split("_")
        state |= {f"block{block}_conv{number}.{kind}": value.detach() for kind, value in convolution.named_parameters()}
    save_file(state, tmp_path / "vgg.safetensors")
    kind = recipe(name, assets={"vgg": tmp_path / "vgg.safetensors"}, classes=3, vgg="weights/vgg.safetensors")
    network = kind.network()
    trunk = network.trunk.convolutions if name == "fcn" else network.encoder
    assert network.config.convention == "caffe"
    assert kind.report is not None
    assert len(kind.report.matched) == 26
    assert torch.equal(trunk["conv4_1"].weight, state["block4_conv1.weight"])
    with pytest.raises(ModelError, match="under 95% is refused"):
        recipe(name, assets={"vgg": tmp_path / "vgg.safetensors"}, classes=3, width=3).network()


@pytest.mark.parametrize("name", ["fcn", "segnet", "unet"])
def test_a_network_is_rebuilt_from_its_config_as_json(name: str) -> None:
    kind = recipe(name, classes=3)
    network = kind.network()
    config_type, network_type = network_types(kind.NETWORK)
    config = config_type(**json.loads(json.dumps(vars(network.config))))
    assert config == network.config
    network_type(config).load_state_dict(network.state_dict())


def test_the_defaults_are_the_papers() -> None:
    fcn, segnet, unet = FcnSettings(), SegNetSettings(), UNetSettings()
    assert (fcn.skips, fcn.width, fcn.fc_width, fcn.batch, fcn.momentum, fcn.weight_decay) == (
        (3, 4),
        64,
        4096,
        20,
        0.9,
        5e-4,
    )
    assert (segnet.learning_rate, segnet.momentum, segnet.batch, segnet.class_weights) == (0.1, 0.9, 12, "median")
    assert (unet.base, unet.padding, unet.upsampling, unet.momentum, unet.batch) == (
        64,
        "valid",
        "transposed_k2",
        0.99,
        1,
    )
    assert [kind.NAME for kind in (FcnRecipe, SegNetRecipe, UNetRecipe)] == ["fcn", "segnet", "unet"]


# Real data


@pytest.mark.shared_data
@pytest.mark.skipif(not CAMVID.exists(), reason="the development data set is not here")
def test_camvid_is_read_and_its_rare_classes_weigh_more() -> None:
    kind = recipe("segnet", class_weights="median")
    facts = kind.prepare(camvid(kind, sorted((CAMVID / "train" / "images").iterdir())[::20]))
    assert len(facts["class_names"]) == 11
    weights = dict(zip(facts["class_names"], kind.class_weights(), strict=True))
    assert weights["bicyclist"] > 1 > weights["road"]
    assert weights["pole"] > 1 > weights["building"]


def camvid(kind: Any, paths: Sequence[Path]) -> Iterator[Sample]:
    for path in paths:
        label = path.parents[1] / "labels" / f"{path.stem}.png"
        classes = (CAMVID / "classes.json").read_bytes()
        yield kind.decode({"image": path.read_bytes(), "label": label.read_bytes(), "classes": classes})


def test_settings_that_do_not_fit_the_samples_are_found_before_a_training(tmp_path: Path) -> None:
    recipe("fcn").check(samples(), together=4)
    mixed = [*samples(1), *samples(1, height=32)]
    recipe("unet", padding="same").check(mixed, together=1)
    recipe("unet", padding="same", crop_px=(32, 32)).check(mixed, together=4)
    with pytest.raises(DataError, match="pictures of 64x32, 64x48 px don't fit into one batch"):
        recipe("unet", padding="same").check(mixed, together=2)
    with pytest.raises(ModelError, match="class_weights are 2 for 3 classes"):
        recipe("segnet", class_weights=(1.0, 2.0)).check(samples(), together=4)
    with pytest.raises(ModelError, match="no such file"):
        recipe("fcn", {"vgg": tmp_path / "gone.safetensors"}, vgg="x").check(samples(), together=4)


# Labels that do not fit at once


def test_a_mask_of_black_and_white_is_told_to_write_1_for_255_and_can_be_mapped() -> None:
    mask_HW, two = np.where(ids() == 1, 255, 0).astype(np.uint8), json.dumps({"classes": ["ground", "cell"]}).encode()
    with pytest.raises(
        DataError, match=r"holds the ids \[255\].*: a mask of black and white .*write 1 for 255, or set map_ids"
    ) as raised:
        recipe().decode(files(mask_HW, classes=two))
    assert "ignore_index" not in str(raised.value)
    mapped = recipe(map_ids={255: 1}).decode(files(mask_HW, classes=two))
    assert np.array_equal(mapped["label"], mask_HW // 255)


def test_other_strangers_are_told_what_they_may_be() -> None:
    with pytest.raises(DataError, match="where 255 stands for no class, set ignore_index to 255"):
        recipe().decode(files(np.where(ids() == 1, 255, 0).astype(np.uint8)))
    with pytest.raises(DataError, match="set classes, or give the right ids with map_ids"):
        recipe().decode(files(np.where(ids() == 1, 77, 2).astype(np.uint8)))


def turned(orientation: int, height: int, width: int) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A JPEG that EXIF turns, and its ids as the pixels are stored and as it is shown."""
    stored_HW = np.where(ids(height, width) == VOID, 0, ids(height, width)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(stored_HW * 100).convert("RGB").save(file, "JPEG", quality=100, subsampling=0, exif=exif)
    shown_HW = (decode_picture(file.getvalue())[0].numpy() / 100).round().astype(np.uint8)
    return file.getvalue(), stored_HW, shown_HW


@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_of_pictures_that_exif_turns_are_read_as_they_lie(orientation: int) -> None:
    data, stored_HW, shown_HW = turned(orientation, 48, 64)
    as_stored, as_shown = (encode_png(label_HW) for label_HW in (stored_HW, shown_HW))
    for settings, label in (({"turned_labels": "stored"}, as_stored), ({"turned_labels": "shown"}, as_shown)):
        decoded = recipe(**settings).decode(files(image=data) | {"label": label})
        assert np.array_equal(decoded["label"], shown_HW)
    if orientation == 1:
        assert np.array_equal(recipe().decode(files(image=data) | {"label": as_stored})["label"], shown_HW)
    elif orientation < 5:
        with pytest.raises(
            DataError,
            match=rf"EXIF turns the picture \(orientation {orientation}\).*: set turned_labels to shown where",
        ):
            recipe().decode(files(image=data) | {"label": as_stored})
    else:
        assert np.array_equal(recipe().decode(files(image=data) | {"label": as_shown})["label"], shown_HW)
        with pytest.raises(
            DataError, match=r"EXIF turns the picture .*, which is 48x64 px as it is shown, and its label is 64x48"
        ):
            recipe().decode(files(image=data) | {"label": as_stored})


def test_a_label_of_another_size_says_so_whether_exif_turns_its_picture_or_not() -> None:
    label = encode_png(np.zeros((10, 10), np.uint8))
    with pytest.raises(DataError, match="the label has 10x10 px and its picture 64x48; make them the same size"):
        recipe().decode(files() | {"label": label})
    with pytest.raises(DataError, match=r"EXIF turns the picture.*10x10; make them the same size"):
        recipe(turned_labels="stored").decode(files(image=turned(6, 48, 64)[0]) | {"label": label})


# What the card knows


def test_names_and_the_ignored_id_go_where_classes_json_is_not() -> None:
    first = recipe()
    facts = first.prepare([first.decode(files())])
    assert (facts["class_names"], facts["ignore_index"]) == (list(NAMES), 11)
    later = recipe(class_names=facts["class_names"], ignore_index=facts["ignore_index"])
    without = {name: data for name, data in files().items() if name != "classes"}
    for name, array in first.decode(files()).items():
        assert np.array_equal(later.decode(without)[name], array)


def test_a_card_that_knows_only_how_many_classes_there_are_numbers_them() -> None:
    card = Card(
        network="fcn", config={"classes": 3}, recipe="fcn", settings={}, data="d", data_licence="l", split="s", metrics={},
        preprocess=None, trained_on=(), versions={}, git_revision=None,
    )  # fmt: skip
    assert recipe_of(card).settings.classes == 3

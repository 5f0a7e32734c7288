"""What FCN, SegNet and U-Net have in common: the loss, the schedule, the weights that they start from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.palette import class_colours
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.networks.registry import network_types
from pixelmill.workers.networks.vgg import Vgg, VggConfig
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.registry import recipe_of
from pixelmill.workers.recipes.scoring import evaluate
from pixelmill.workers.recipes.segmentation.labels import VOID
from tests.learning import descend
from tests.shared_data import SHARED_DATA
from tests.workers.labelled import NAMES, Says, agreement, files, recipe, samples

CAMVID = SHARED_DATA / "camvid"


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


@pytest.mark.parametrize("loss", ["focal", "dice", {"ce": 1, "dice": 0.5}])
def test_a_few_steps_learn_with_every_loss_and_report_its_terms(loss: Any) -> None:
    kind = recipe("unet", base=8, loss=loss, optimizer="adamw", learning_rate=3e-3, crop_px=(48, 48), flip=False)
    torch.manual_seed(0)
    kind.prepare(samples(2))
    network, batch = kind.network().train(), kind.batch(samples(2), np.random.default_rng(0))
    losses = descend(kind.optimizer(network), lambda: kind.losses(network, batch)["loss"], steps=40)
    assert losses[-1] < 0.75 * losses[0]
    assert set(kind.losses(network, batch)) == ({"loss", "ce", "dice"} if isinstance(loss, dict) else {"loss"})


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


def test_a_network_without_batch_normalisation_is_left_alone() -> None:
    kind = recipe(classes=3)
    network = kind.network()
    kind.finish(network, samples(2))
    assert network.training


def test_a_perfect_network_scores_one_for_any_prediction_at_void() -> None:
    metrics = evaluate(recipe(), Says(), samples(5))
    assert metrics == dict.fromkeys(("miou", "pixel_accuracy", "class_accuracy", *map("iou_{}".format, NAMES)), 1.0)
    assert all(type(value) is float for value in metrics.values())


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


def test_names_and_the_ignored_id_go_where_classes_json_is_not() -> None:
    first = recipe()
    facts = first.prepare([first.decode(files())])
    assert (facts["class_names"], facts["ignore_index"]) == (list(NAMES), 11)
    later = recipe(class_names=facts["class_names"], ignore_index=facts["ignore_index"])
    without = {name: data for name, data in files().items() if name != "classes"}
    for name, array in first.decode(files()).items():
        assert np.array_equal(later.decode(without)[name], array)


def test_the_names_of_the_labels_are_those_of_the_network() -> None:
    assert recipe().classes() is None
    first, later = recipe(), recipe()
    later.restore(first.prepare([first.decode(files())]))
    assert first.classes() == later.classes() == Classes(NAMES, class_colours(NAMES))


def test_a_card_that_knows_only_how_many_classes_there_are_numbers_them() -> None:
    card = Card(
        network="fcn", config={"classes": 3}, recipe="fcn", settings={}, data="d", data_licence="l", split="s", metrics={},
        preprocess=None, trained_on=(), versions={}, git_revision=None,
    )  # fmt: skip
    assert recipe_of(card).settings.classes == 3

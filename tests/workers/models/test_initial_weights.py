"""A network begins with a checkpoint's weights: all of them, or all but the head, whose rows follow the names of classes."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.initial_weights import fill_from, matched, start_of
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.models.weight_files import shapes_of
from pixelmill.workers.networks.registry import NETWORKS, network_types

UNET: dict[str, Any] = {"base": 4, "levels": 2, "skips": (1, 2), "padding": "same", "batch_norm": True}
FCN: dict[str, Any] = {"width": 4, "fc_width": 8, "upsampling": "learned"}
CRN: dict[str, Any] = {"start_px": (4, 4), "widths": (8, 8)}
ABC = ("a", "b", "c")


def network(name: str, seed: int, **config: Any) -> nn.Module:
    kind, built = network_types(name)
    torch.manual_seed(seed)
    made = built(kind(**config))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made


def card(name: str, made: Any, names: tuple[str, ...] | None) -> Card:
    return Card(
        network=name, config=json.loads(json.dumps(asdict(made.config))),
        recipe=name, settings={}, data="noise", data_licence="none",
        split="none", metrics={}, preprocess=None, trained_on=(), versions={}, git_revision=None,
        classes=None if names is None else Classes(names),
    )  # fmt: skip


def begun(
    name: str,
    config: dict[str, Any],
    before: tuple[str, ...] | None,
    now: tuple[str, ...] | None,
    counts: tuple[int, int] = (0, 0),
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor], Any]:
    """The weights of the checkpoint, of the network before and after, and the report."""
    there = network(name, 1, **config, classes=len(before or ()) or counts[0])
    here = network(name, 2, **config, classes=len(now or ()) or counts[1])
    initial = {key: tensor.clone() for key, tensor in here.state_dict().items()}
    start = start_of(name, here, None if now is None else Classes(now))
    report = fill_from(here, start, there.state_dict(), card(name, there, before), "source")
    return dict(there.state_dict()), initial, dict(here.state_dict()), report


def test_the_same_classes_take_every_tensor() -> None:
    there, _, now, report = begun("unet", UNET, ABC, ABC)
    assert all(torch.equal(there[key], now[key]) for key in there)
    assert (report.head, report.new_classes) == ((), ())
    assert set(report.loaded) == set(there)


def test_new_classes_have_a_new_head_and_all_else_is_loaded() -> None:
    there, initial, now, report = begun("unet", UNET, ABC, ("x", "y"))
    assert report.head == ("score.bias", "score.weight")
    assert all(torch.equal(there[key], now[key]) for key in report.loaded)
    assert all(torch.equal(initial[key], now[key]) for key in report.head)
    assert report.new_classes == ("x", "y")
    assert "new head score.bias, score.weight" in str(report)


def test_classes_of_the_same_name_keep_their_rows_wherever_they_are() -> None:
    there, initial, now, report = begun("unet", UNET, ABC, ("x", "c", "a", "y"))
    for key in report.head:
        assert torch.equal(now[key][1], there[key][2])
        assert torch.equal(now[key][2], there[key][0])
        assert torch.equal(now[key][[0, 3]], initial[key][[0, 3]])
    assert report.kept_classes == ("c", "a")
    assert report.facts()["new_classes"] == ["x", "y"]


def test_the_same_classes_in_another_order_are_put_into_it_and_the_report_says_so() -> None:
    there, _, now, report = begun("unet", UNET, ABC, ("b", "c", "a"))
    assert torch.equal(now["score.weight"], there["score.weight"][[1, 2, 0]])
    assert report.is_reordered
    assert "the same in another order" in str(report)
    assert report.facts()["new_head"] == []


def test_the_order_of_classes_reaches_every_axis_of_a_kernel_between_classes() -> None:
    there, _, now, report = begun("fcn", FCN, ABC, ("b", "c", "a"))
    assert set(report.head) == {
        *(f"scores.{name}.{kind}" for name in ("fc7", "pool3", "pool4") for kind in ("weight", "bias")),
        *(f"ups.{number}.weight_KJHW" for number in range(3)),
    }
    order = [1, 2, 0]
    assert torch.equal(now["ups.0.weight_KJHW"], there["ups.0.weight_KJHW"][order][:, order])


@pytest.mark.parametrize(("before", "now"), [(None, None), (ABC, None), (None, ABC)])
def test_classes_without_names_are_the_same_where_they_are_as_many(before: Any, now: Any) -> None:
    _, _, _, report = begun("unet", UNET, before, now, (3, 3))
    assert report.head == ()
    _, _, _, other = begun("unet", UNET, before, None, (3, 4))
    assert other.head == ("score.bias", "score.weight")


def test_layers_that_take_classes_with_other_channels_are_new_as_a_whole() -> None:
    there, initial, now, report = begun("crn", CRN, ABC, ("a", "b", "x", "y"))
    assert "to_pictures.weight" in report.loaded
    assert report.head
    assert all(torch.equal(initial[key], now[key]) for key in report.head if key.startswith("finer"))
    assert torch.equal(now["to_pictures.weight"], there["to_pictures.weight"])


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"finetuned"}))
def test_every_network_takes_its_own_weights(name: str) -> None:
    small = {"unet": UNET, "fcn": FCN | {"classes": 3}, "crn": CRN | {"classes": 3}}
    slim = {"segnet": {"width": 4}, "monodepth": {"width": 4}, "faststyle": {"width": 4}, "vdsr": {"width": 4}}
    there, here = (network(name, seed, **{**small, **slim}.get(name, {})) for seed in (1, 2))
    report = fill_from(here, start_of(name, here, None), there.state_dict(), card(name, there, None), "source")
    assert set(report.loaded) == set(here.state_dict())
    assert all(torch.equal(tensor, here.state_dict()[key]) for key, tensor in there.state_dict().items())


def test_a_tensor_without_a_match_is_refused_by_its_name_before_any_is_copied() -> None:
    there, here = network("unet", 1, **UNET | {"base": 8}), network("unet", 2, **UNET)
    before = {key: tensor.clone() for key, tensor in here.state_dict().items()}
    with pytest.raises(
        ModelError, match=r"init_from source: \d+ of \d+ tensors of this unet have no match: contracting\.0"
    ):
        fill_from(here, start_of("unet", here, None), there.state_dict(), card("unet", there, None), "source")
    assert all(torch.equal(before[key], tensor) for key, tensor in here.state_dict().items())
    found = shapes_of(here.state_dict())
    del found["expanding.0.0.weight"]
    with pytest.raises(ModelError, match=r"expanding\.0\.0\.weight missing"):
        matched(start_of("unet", here, None), found, card("unet", here, None), "source")


def test_tensors_that_have_no_place_are_reported() -> None:
    here = network("unet", 2, **UNET)
    found = {**shapes_of(here.state_dict()), "extra.weight": (1,)}
    report = matched(start_of("unet", here, None), found, card("unet", here, None), "source")
    assert report.not_used == ("extra.weight",)
    assert "not used extra.weight" in str(report)

"""A network is judged by all pixels together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pixelmill.workers.errors import DataError
from pixelmill.workers.models.palette import CAMVID_COLOURS
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.scoring import evaluate
from pixelmill.workers.recipes.segmentation.labels import VOID
from tests.workers.labelled import Says, recipe, sample, samples


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
    pooled = evaluate(recipe(batch=2), network, given)
    assert pooled["miou"] == pytest.approx(np.mean(ious))
    assert pooled["pixel_accuracy"] == pytest.approx((said == labels)[counted].mean())
    each = [evaluate(recipe(), network, [one])["miou"] for one in (given[0], given[2])]
    assert abs(np.mean(each) - pooled["miou"]) > 0.01


def said_by(network: nn.Module, one: Sample) -> np.ndarray:
    image_BCHW = torch.from_numpy(one["image"]).permute(2, 0, 1)[None].float() / 255
    return network(image_BCHW).argmax(1)[0].numpy()


def test_pictures_of_several_sizes_are_judged_together() -> None:
    given = [sample(), sample(height=40), sample(width=72, seed=3), sample(seed=4)]
    assert evaluate(recipe(), Says(), iter(given))["miou"] == 1


def test_labels_of_other_classes_and_none_at_all_are_refused() -> None:
    other = sample()
    other["classes"] = np.frombuffer(b'["a", "b"]', np.uint8)
    with pytest.raises(DataError, match="2 classes and the network 3"):
        evaluate(recipe(), Says(), [other])
    with pytest.raises(DataError, match="no held-out pictures"):
        evaluate(recipe(), Says(), [])
    blank = sample()
    blank["label"] = np.full_like(blank["label"], VOID)
    with pytest.raises(DataError, match="all are ignored"):
        evaluate(recipe(), Says(), [blank])


@pytest.mark.parametrize("name", ["fcn", "segnet", "unet"])
def test_an_evaluation_changes_nothing_and_gives_the_same_again(name: str) -> None:
    kind = recipe(name, classes=3)
    torch.manual_seed(0)
    network = kind.network().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.inference_mode():
        first, again = (evaluate(kind, network, samples(3, height=45)) for _ in range(2))
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

"""Labels are the best class and its softmax probability; settings agree where they change nothing that float32 is sure of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.prediction.labels import (
    CERTAIN,
    LabelAgreement,
    Labels,
    labels_of,
    mean_confidence,
    shares_of,
)
from pixelmill.workers.runtime.agreement import MaskAgreement


def logits(seed: int = 0, classes: int = 7) -> Tensor:
    return torch.randn(2, classes, 9, 13, generator=torch.Generator().manual_seed(seed)) * 4


def two_classes(probability: float) -> Tensor:
    """Logits B2HW that give the first class this probability everywhere."""
    return torch.tensor([probability, 1 - probability]).log().view(1, 2, 1, 1).expand(2, 2, 10, 10).clone()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("classes", [1, 2, 7, 256])
def test_labels_are_the_best_class_and_its_probability(classes: int, precision: torch.dtype) -> None:
    given = logits(classes=classes).to(precision)
    labels = labels_of(given)
    probabilities, ids = given.float().softmax(1).max(1)
    assert torch.equal(labels[:, 0].long(), ids)
    assert (labels[:, 1] / CERTAIN - probabilities).abs().max() < 2e-5
    assert torch.equal(labels_of(given[0]), labels[0])
    assert torch.equal(Labels(nn.Identity())(given), labels)


def test_a_score_that_is_no_number_is_marked_and_no_other_pixel_with_it() -> None:
    given = logits()
    for place, spoilt in enumerate((float("nan"), float("inf"))):
        given[0, 3, 2, place] = spoilt
    given[1, 2] = -float("inf")  # a class that is ruled out is none
    labels = labels_of(given)
    assert (labels[:, 1] < 0).nonzero().tolist() == [[0, 2, 0], [0, 2, 1]]


def test_shares_add_up_to_one_and_confidence_is_a_mean() -> None:
    labels = labels_of(logits()[0])
    shares = shares_of(labels[:1].byte(), 9)
    assert sum(shares) == pytest.approx(1)
    assert shares[7:] == [0, 0]
    assert shares[2] == pytest.approx(float((labels[0] == 2).float().mean()))
    assert mean_confidence(labels[1]) == pytest.approx(float(logits()[0].softmax(0).amax(0).mean()), abs=1e-5)


def test_settings_that_change_a_clear_class_do_not_agree_and_a_tie_may_turn() -> None:
    agreement = LabelAgreement()
    clear, tie = labels_of(two_classes(0.9)), labels_of(two_classes(0.51))
    assert agreement.measure(clear, clear) == agreement.measure(labels_of(two_classes(0.51).flip(1)), tie) == 1
    turned = clear.clone()
    turned[1, 0, :1] = 1  # 10 of 100 pixels of the second picture
    assert agreement.measure(turned, clear) == pytest.approx(0.9)
    half_clear = tie.clone()
    half_clear[1, 1, :2] = clear[1, 1, :2]
    turned = half_clear.clone()
    turned[1, 0, :1] = 1  # 10 of the 20 pixels that are clear
    assert agreement.measure(turned, half_clear) == pytest.approx(0.5)
    assert not agreement.accepts(0.99)


def test_settings_that_shift_the_confidence_do_not_agree() -> None:
    agreement, truth = LabelAgreement(), labels_of(two_classes(0.9))
    assert agreement.measure(labels_of(two_classes(0.898)), truth) == pytest.approx(0.998, abs=1e-4)
    assert not agreement.accepts(agreement.measure(labels_of(two_classes(0.92)), truth))


def test_it_is_as_strict_as_the_agreement_of_masks() -> None:
    """On the same scores, but for pixels that are clear by their second best class alone."""
    truth, fast = logits(), logits() + logits(seed=1) / 20
    on_labels = LabelAgreement().measure(labels_of(fast), labels_of(truth))
    assert on_labels == pytest.approx(MaskAgreement().measure(fast, truth), abs=0.03)

"""Losses of class maps against formulas written another way, in double precision and pixel by pixel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pixelmill.workers.losses.segmentation import cross_entropy, dice_loss, focal_loss, segmentation_losses

VOID = 255


def case(seed: int, classes: int = 3, batch: int = 2, side: int = 5, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    """Logits BKHW and labels BHW, about a quarter of them void."""
    random = np.random.default_rng(seed)
    logits_BKHW = torch.from_numpy(scale * random.standard_normal((batch, classes, side, side))).float()
    labels_BHW = random.integers(0, classes, (batch, side, side))
    labels_BHW[random.random(labels_BHW.shape) < 0.25] = VOID
    return logits_BKHW, torch.from_numpy(labels_BHW)


def pixels(logits_BKHW: Tensor, labels_BHW: Tensor) -> list[tuple[list[float], int]]:
    """The probabilities of each pixel and its label."""
    rows = logits_BKHW.double().permute(0, 2, 3, 1).reshape(-1, logits_BKHW.shape[1]).tolist()
    shares = []
    for row in rows:
        powers = [math.exp(value - max(row)) for value in row]
        shares.append([power / sum(powers) for power in powers])
    return list(zip(shares, labels_BHW.flatten().tolist(), strict=True))


def dice_by_hand(logits_BKHW: Tensor, labels_BHW: Tensor) -> float:
    there = [(share, label) for share, label in pixels(logits_BKHW, labels_BHW) if label != VOID]
    losses = []
    for k in sorted({label for _, label in there}):
        overlap = sum(share[k] for share, label in there if label == k)
        losses.append(1 - 2 * overlap / (sum(share[k] for share, _ in there) + sum(label == k for _, label in there)))
    return sum(losses) / len(losses) if losses else 0.0


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 1 << 30), classes=st.integers(2, 5), gamma=st.sampled_from([0.0, 0.5, 2.0, 5.0]))
def test_the_losses_are_their_formulas(seed: int, classes: int, gamma: float) -> None:
    logits_BKHW, labels_BHW = case(seed, classes)
    weights_K = torch.from_numpy(np.random.default_rng(seed).uniform(0.2, 3, classes)).float()
    seen = pixels(logits_BKHW, labels_BHW)
    labelled = [(share[label], float(weights_K[label])) for share, label in seen if label != VOID]
    ce = sum(-weight * math.log(p) for p, weight in labelled) / len(seen)
    focal = sum(-weight * (1 - p) ** gamma * math.log(p) for p, weight in labelled) / len(seen)
    assert float(cross_entropy(logits_BKHW, labels_BHW, weights_K, VOID)) == pytest.approx(ce, rel=1e-4, abs=1e-6)
    assert float(focal_loss(logits_BKHW, labels_BHW, weights_K, gamma, VOID)) == pytest.approx(
        focal, rel=1e-4, abs=1e-6
    )
    assert float(dice_loss(logits_BKHW, labels_BHW, VOID)) == pytest.approx(
        dice_by_hand(logits_BKHW, labels_BHW), abs=1e-5
    )


def test_dice_is_0_for_the_truth_and_1_for_no_overlap_and_counts_pixels_of_the_whole_batch() -> None:
    labels_BHW = torch.tensor([[[0, 0, 1]], [[1, VOID, 1]]])
    right_BKHW = 100.0 * torch.nn.functional.one_hot(labels_BHW.where(labels_BHW != VOID, 0), 2).movedim(-1, 1)
    assert float(dice_loss(right_BKHW, labels_BHW, VOID)) == pytest.approx(0, abs=1e-6)
    assert float(dice_loss(-right_BKHW, labels_BHW, VOID)) == pytest.approx(1, abs=1e-6)
    half_BKHW = right_BKHW.clone()
    half_BKHW[1] *= -1  # the second picture is all wrong: 2 right pixels of 0, 1 of 1; 2 of 1 are called 0
    # class 0: 2 * 2 / (4 + 2), class 1: 2 * 1 / (1 + 3); a mean over pictures would give 0.5
    assert float(dice_loss(half_BKHW, labels_BHW, VOID)) == pytest.approx(1 - (4 / 6 + 2 / 4) / 2, abs=1e-6)


def test_a_class_without_labels_is_left_out_of_dice_and_a_batch_of_void_has_no_loss() -> None:
    logits_BKHW, labels_BHW = case(1)
    labels_BHW[labels_BHW == 2] = 1
    assert float(dice_loss(logits_BKHW, labels_BHW, VOID)) == pytest.approx(
        dice_by_hand(logits_BKHW, labels_BHW), abs=1e-5
    )
    logits_BKHW.requires_grad_()
    for terms in ({"dice": 1.0}, {"ce": 1.0, "dice": 0.5, "focal": 2.0}):
        void_BHW = torch.full_like(labels_BHW, VOID)
        loss = segmentation_losses(logits_BKHW, void_BHW, torch.ones(3), terms, focal_gamma=2, void=VOID)["loss"]  # type: ignore[arg-type]
        (gradient_BKHW,) = torch.autograd.grad(loss, logits_BKHW)
        assert loss.item() == 0
        assert not gradient_BKHW.any()


@pytest.mark.parametrize("term", ["ce", "focal", "dice"])
def test_void_has_no_gradient_and_every_labelled_pixel_has_one(term: Any) -> None:
    logits_BKHW, labels_BHW = case(2, scale=1)
    logits_BKHW.requires_grad_()
    segmentation_losses(logits_BKHW, labels_BHW, torch.ones(3), {term: 1.0}, focal_gamma=2, void=VOID)[
        "loss"
    ].backward()
    assert logits_BKHW.grad is not None
    has_BHW = logits_BKHW.grad.any(1)
    assert torch.equal(has_BHW, labels_BHW != VOID)


@pytest.mark.parametrize("term", ["ce", "focal"])
def test_ce_and_focal_of_a_batch_are_the_means_of_their_parts(term: Any) -> None:
    logits_BKHW, labels_BHW = case(3, batch=4)
    labels_BHW[0] = VOID

    def loss(part: slice) -> Tensor:
        weights_K = torch.tensor([1.0, 0.5, 3.0])
        terms = {term: 1.0}
        return segmentation_losses(logits_BKHW[part], labels_BHW[part], weights_K, terms, focal_gamma=2, void=VOID)[
            "loss"
        ]

    torch.testing.assert_close(loss(slice(4)), (loss(slice(2)) + loss(slice(2, 4))) / 2)


def test_a_sum_is_the_weighted_sum_of_its_terms_which_are_reported_too() -> None:
    logits_BKHW, labels_BHW = case(4)
    found = segmentation_losses(
        logits_BKHW, labels_BHW, torch.ones(3), {"ce": 1.0, "dice": 0.5}, focal_gamma=2, void=VOID
    )
    assert list(found) == ["loss", "ce", "dice"]
    torch.testing.assert_close(found["ce"], cross_entropy(logits_BKHW, labels_BHW, torch.ones(3), VOID))
    torch.testing.assert_close(found["dice"], dice_loss(logits_BKHW, labels_BHW, VOID))
    torch.testing.assert_close(found["loss"], found["ce"] + 0.5 * found["dice"])


def test_cross_entropy_alone_is_the_loss_to_the_last_bit() -> None:
    logits_BKHW, labels_BHW = case(5)
    weights_K = torch.tensor([1.0, 0.3, 2.0])
    found = segmentation_losses(logits_BKHW, labels_BHW, weights_K, {"ce": 1.0}, focal_gamma=2, void=VOID)
    plain = torch.nn.functional.cross_entropy(logits_BKHW, labels_BHW, weights_K, ignore_index=VOID, reduction="none")
    assert list(found) == ["loss"]
    assert torch.equal(found["loss"], plain.mean())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("scale", [0.0, 1e3, 1e30])
def test_losses_of_half_precise_logits_are_finite_float32_and_so_are_their_gradients(
    gamma: float, scale: float
) -> None:
    logits_BKHW, labels_BHW = case(6, side=9)
    logits_BKHW = (scale * logits_BKHW).bfloat16().requires_grad_()
    terms: Any = {"ce": 1.0, "dice": 1.0, "focal": 1.0}
    with torch.autocast("cpu", torch.bfloat16):
        found = segmentation_losses(logits_BKHW, labels_BHW, torch.ones(3), terms, focal_gamma=gamma, void=VOID)
    assert {value.dtype for value in found.values()} == {torch.float32}
    found["loss"].backward()
    assert logits_BKHW.grad is not None
    assert logits_BKHW.grad.isfinite().all()

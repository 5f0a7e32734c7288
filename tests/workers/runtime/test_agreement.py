"""Each measure of agreement: what it is of known outputs, and that nothing that is not a number agrees."""

from __future__ import annotations

import math

import pytest
import torch

from pixelmill.workers.runtime.agreement import (
    Agreement,
    Cosine,
    Decibels,
    MaskAgreement,
    RelativeError,
    figure_of,
)

TRUTH_BK = torch.tensor([[3.0, 4.0], [1.0, 0.0]])


def test_cosine_is_of_the_worst_sample() -> None:
    assert Cosine().measure(TRUTH_BK * 7, TRUTH_BK) == pytest.approx(1)
    assert Cosine().measure(torch.tensor([[3.0, 4.0], [0.6, 0.8]]), TRUTH_BK) == pytest.approx(0.6)


def test_masks_count_pixels_of_ids_and_classes_of_scores() -> None:
    ids_BHW = torch.arange(8, dtype=torch.uint8).view(2, 2, 2)
    other_BHW = ids_BHW.clone()
    other_BHW[1, 0, 0] = 99
    assert MaskAgreement().measure(other_BHW, ids_BHW) == pytest.approx(0.75)
    scores_BKHW = torch.rand(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    assert MaskAgreement().measure(scores_BKHW * 3, scores_BKHW) == 1
    assert MaskAgreement().measure(-scores_BKHW, scores_BKHW) == 0


def scores_of(*probabilities: tuple[float, ...]) -> torch.Tensor:
    """Scores of one picture BKW, of which these are the probabilities of each pixel."""
    return torch.tensor(probabilities).log().T[None]


def test_a_mask_has_to_agree_where_the_class_is_clear() -> None:
    truth_BKW = scores_of((0.51, 0.48, 0.01), (0.2, 0.7, 0.1), (0.1, 0.1, 0.8), (0.9, 0.05, 0.05))
    unclear_differs = scores_of((0.48, 0.51, 0.01), (0.3, 0.6, 0.1), (0.3, 0.3, 0.4), (0.9, 0.05, 0.05))
    clear_differs = scores_of((0.51, 0.48, 0.01), (0.2, 0.7, 0.1), (0.6, 0.2, 0.2), (0.9, 0.05, 0.05))
    assert MaskAgreement(margin=0.05).measure(unclear_differs, truth_BKW) == 1
    assert MaskAgreement(margin=0.01).measure(unclear_differs, truth_BKW) == pytest.approx(3 / 4)
    assert MaskAgreement(margin=0.05).measure(clear_differs, truth_BKW) == pytest.approx(2 / 3)


def test_a_mask_of_which_no_pixel_is_clear_agrees_and_the_worst_sample_counts() -> None:
    nothing_clear, clear = scores_of((0.5, 0.5), (0.51, 0.49)), scores_of((0.9, 0.1), (0.2, 0.8))
    assert MaskAgreement().measure(nothing_clear.flip(1), nothing_clear) == 1
    both = torch.cat([nothing_clear, clear])
    assert MaskAgreement().measure(torch.cat([nothing_clear, clear.flip(1)]), both) == 0


def test_ids_agree_pixel_by_pixel() -> None:
    ids_BW = torch.tensor([[1, 2, 3, 4]])
    assert MaskAgreement().measure(torch.tensor([[1, 2, 3, 5]]), ids_BW) == pytest.approx(3 / 4)


def test_relative_error_is_a_share_of_the_size_of_a_sample() -> None:
    assert RelativeError().measure(torch.tensor([[3.3, 4.4], [1.0, 0.0]]), TRUTH_BK) == pytest.approx(0.1)
    assert RelativeError().measure(torch.zeros(1, 2), torch.zeros(1, 2)) == 0
    assert RelativeError(0.1).accepts(0.09)
    assert not RelativeError(0.1).accepts(0.11)


def test_decibels_are_those_of_psnr() -> None:
    assert Decibels().measure(TRUTH_BK, TRUTH_BK) == math.inf
    assert Decibels(peak=255).measure(TRUTH_BK + 2.55, TRUTH_BK) == pytest.approx(40, abs=1e-4)


@pytest.mark.parametrize("agreement", [Cosine(), MaskAgreement(), RelativeError(), Decibels()], ids=repr)
def test_a_number_for_each_sample_is_compared_too(agreement: Agreement) -> None:
    assert agreement.accepts(agreement.measure(torch.tensor([1, 2]), torch.tensor([1, 2])))


@pytest.mark.parametrize("agreement", [Cosine(), MaskAgreement(), RelativeError(), Decibels()], ids=repr)
def test_outputs_agree_only_if_they_have_one_shape_and_are_finite(agreement: Agreement) -> None:
    same = figure_of(agreement, (TRUTH_BK, {"again": TRUTH_BK}), (TRUTH_BK, {"again": TRUTH_BK}))
    assert same is not None
    assert agreement.accepts(same)
    assert figure_of(agreement, TRUTH_BK[:1], TRUTH_BK) is None
    for bad in (math.nan, math.inf):
        spoilt_BK = TRUTH_BK.clone()
        spoilt_BK[1, 1] = bad
        assert figure_of(agreement, (TRUTH_BK, spoilt_BK), (TRUTH_BK, TRUTH_BK)) is None


@pytest.mark.parametrize("agreement", [Cosine(), MaskAgreement(), RelativeError(), Decibels()], ids=repr)
def test_one_output_of_several_that_does_not_agree_is_enough(agreement: Agreement) -> None:
    for fast in ((TRUTH_BK, -TRUTH_BK), (-TRUTH_BK, TRUTH_BK)):
        figure = figure_of(agreement, fast, (TRUTH_BK, TRUTH_BK))
        assert figure is not None
        assert not agreement.accepts(figure)

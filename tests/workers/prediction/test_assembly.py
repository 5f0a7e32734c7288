"""Windows are put together without a seam, and in pieces that are finished as soon as they can be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pixelmill.workers.models.picture_model import SizeFacts
from pixelmill.workers.prediction.assembly import Assembly, as_it_is
from pixelmill.workers.prediction.sizes import Plan, plan_of
from pixelmill.workers.runtime.outputs import Outputs

BLENDED = SizeFacts(multiple_px=4, tiling="blended", scale=2)
EXACT = SizeFacts(multiple_px=4, tiling="exact", reach_px=3, scale=2)
SIZE = (150, 203)


def whole(channels: int = 2) -> Tensor:
    """An output for all of the padded picture."""
    plan = plan_of(SIZE, EXACT, 4096)
    generator = torch.Generator().manual_seed(0)
    return torch.rand(channels, plan.padded[0] * 2, plan.padded[1] * 2, generator=generator)


def assembled(plan: Plan, output_CHW: Tensor, assembly: Assembly) -> Outputs:
    for rows in plan.rows:
        for columns in plan.columns:
            assembly.add(
                rows, columns, output_CHW[:, rows.start * 2 : rows.stop * 2, columns.start * 2 : columns.stop * 2]
            )
    return assembly.result


@pytest.mark.parametrize("facts", [BLENDED, EXACT], ids=["blended", "exact"])
@pytest.mark.parametrize("most_pixels", [4096, 1 << 20])
def test_windows_of_one_output_give_that_output(facts: SizeFacts, most_pixels: int) -> None:
    plan = plan_of(SIZE, facts, most_pixels)
    made_CHW = assembled(plan, whole(), Assembly(plan, SIZE, 2, as_it_is))
    torch.testing.assert_close(made_CHW, whole()[:, :300, :406])


def test_blended_windows_fade_into_each_other() -> None:
    plan = plan_of((64, 200), BLENDED, 4096)
    assembly = Assembly(plan, (64, 200), 2, as_it_is)
    for number, columns in enumerate(plan.columns):
        assembly.add(plan.rows[0], columns, torch.full((1, 128, (columns.stop - columns.start) * 2), float(number)))
    levels_W = assembly.result[0, 0]
    steps_W = levels_W.diff()
    assert len(plan.columns) > 2
    assert steps_W.min() >= 0
    assert steps_W.max() == pytest.approx(1 / (plan.ramp_px * 2), rel=1e-3)
    assert all(number in levels_W for number in range(len(plan.columns)))


def test_ids_are_cut_where_floats_fade() -> None:
    plan = plan_of(SIZE, BLENDED, 4096)
    ids_CHW = (whole(1) * 255).to(torch.uint8)
    assert torch.equal(assembled(plan, ids_CHW, Assembly(plan, SIZE, 2, as_it_is)), ids_CHW[:, :300, :406])


@pytest.mark.parametrize("facts", [BLENDED, EXACT], ids=["blended", "exact"])
def test_what_is_made_of_pixels_is_made_of_pieces(facts: SizeFacts) -> None:
    pieces: list[tuple[int, ...]] = []

    def rounded(output_CHW: Tensor) -> Tensor:
        pieces.append(tuple(output_CHW.shape))
        return (output_CHW * 255).round().to(torch.uint8)

    plan = plan_of(SIZE, facts, 4096)
    made_CHW = assembled(plan, whole(3), Assembly(plan, SIZE, 2, rounded))
    expected_CHW = (whole(3)[:, :300, :406] * 255).round()
    assert (made_CHW.float() - expected_CHW).abs().max() <= 1
    assert sum(height * width for _, height, width in pieces) == 300 * 406
    assert max(height * width for _, height, width in pieces) < 300 * 406 / 2
    assert made_CHW.permute(1, 2, 0).is_contiguous()

"""Near is bright and far is dark."""

from __future__ import annotations

import torch

from pixelmill.workers.evaluation.depth_colours import coloured


def test_near_is_bright_and_far_is_dark() -> None:
    colours_CHW = coloured(torch.tensor([[0.0, 0.5, 1.0]]))
    assert colours_CHW[:, 0].T.tolist() == [[0, 0, 4], [182, 54, 121], [252, 253, 191]]

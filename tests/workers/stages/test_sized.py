"""A frame counts as many pixels as the picture has, and keeps none of its memory."""

from __future__ import annotations

import torch

from pixelmill.pipelines.bulk.stage_runner import pixels_of
from pixelmill.workers.runtime.holdings import blocks_of
from pixelmill.workers.stages.sized import framed


def test_what_is_prepared_counts_as_the_picture_and_weighs_what_the_network_sees() -> None:
    pixels_CHW, seen_CHW = torch.zeros(3, 900, 700, dtype=torch.uint8), torch.zeros(3, 32, 32, dtype=torch.uint8)
    prepared = framed(pixels_CHW, seen_CHW)
    assert prepared.native == (900, 700)
    assert pixels_of(prepared) == 900 * 700
    assert sum(blocks_of(prepared).values()) == seen_CHW.nbytes + 1

"""Windows map Hounsfield units to [0, 1]."""

from __future__ import annotations

import pytest
import torch

from pixelmill.workers.ct.windows import WINDOWS, channels, windowed


def test_presets_are_the_usual_ones() -> None:
    assert (WINDOWS["soft-tissue"].low_hu, WINDOWS["soft-tissue"].high_hu) == (-160, 240)
    assert (WINDOWS["lung"].low_hu, WINDOWS["lung"].high_hu) == (-1350, 150)
    assert (WINDOWS["wide"].low_hu, WINDOWS["wide"].high_hu) == (-1000, 400)


def test_values_are_clamped_and_linear_between() -> None:
    hu = torch.tensor([[-3000, -160, 40, 240, 3000]], dtype=torch.int16)
    assert windowed(hu, WINDOWS["soft-tissue"]).tolist()[0] == pytest.approx([0, 0, 0.5, 1, 1])


def test_each_window_is_a_channel() -> None:
    hu_HW = torch.zeros(3, 4, dtype=torch.int16)
    seen_CHW = channels(hu_HW, [WINDOWS["lung"], WINDOWS["brain"]])
    assert seen_CHW.shape == (2, 3, 4)
    assert seen_CHW[0, 0, 0] == pytest.approx(0.9)

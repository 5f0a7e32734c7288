"""Settings of style transfer: their weights, and that planning reads them without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from pixelmill.workers.losses.style_choice import GatysSettings, StyleWeights


def test_weights_are_those_of_the_settings() -> None:
    assert GatysSettings(style_weight=3, tv_weight=0, scale="gatys").weights == StyleWeights(
        content_layers=("relu4_2",),
        style_layers=("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
        content=1.0,
        style=3.0,
        total_variation=0.0,
        scale="gatys",
    )


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"style_weight": -1}, {"scale": "other"}, {"stpes": 3}])
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GatysSettings.model_validate(wrong)


def test_they_are_read_without_torch() -> None:
    program = "import sys, pixelmill.workers.losses.style_choice; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

"""The eightfold average is the mean over the group of the square, and does not depend on how a picture is turned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.networks.vdsr import Vdsr, VdsrConfig
from pixelmill.workers.prediction.self_ensemble import SelfEnsemble, eightfold, self_ensemble
from pixelmill.workers.prediction.super_resolution import sharpen
from pixelmill.workers.runtime.execution import Float32Input


def picture(height: int = 7, width: int = 12) -> Tensor:
    return torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(1, 1, 3, padding=1).eval()


def test_the_average_is_over_eight_different_orientations() -> None:
    seen: list[Tensor] = []

    def see(images_BCHW: Tensor) -> Tensor:
        seen.append(images_BCHW)
        return images_BCHW

    torch.testing.assert_close(eightfold(see, picture()), picture())  # each is turned back
    square = torch.arange(9.0).view(1, 1, 3, 3)
    seen.clear()
    eightfold(see, square)
    assert len({tuple(each.flatten().tolist()) for each in seen}) == 8


@pytest.mark.parametrize("turn", [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: torch.rot90(x, 1, (2, 3))])
def test_a_turned_picture_has_the_turned_result(turn: object) -> None:
    assert callable(turn)
    with torch.no_grad():
        torch.testing.assert_close(eightfold(network(), turn(picture())), turn(eightfold(network(), picture())))
        assert not torch.allclose(network()(turn(picture())), turn(network()(picture())), atol=1e-3)


def test_a_network_that_takes_float32_still_does() -> None:
    class Careful(Float32Input):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            return images_BCHW

    assert isinstance(self_ensemble(Careful()), Float32Input)
    assert isinstance(self_ensemble(network()), SelfEnsemble)
    assert not isinstance(self_ensemble(network()), Float32Input)


def test_sharpening_in_tiles_is_the_same_as_of_the_whole_picture() -> None:
    torch.manual_seed(0)
    vdsr = Vdsr(VdsrConfig(depth=3, width=4)).eval()
    luma_HW = np.random.default_rng(0).uniform(0, 255, (30, 45))
    whole_HW = sharpen(vdsr, luma_HW, ensemble=8)
    np.testing.assert_allclose(sharpen(vdsr, luma_HW, tile_px=16, ensemble=8), whole_HW, atol=1e-3)
    assert np.abs(whole_HW - sharpen(vdsr, luma_HW)).max() > 0.01

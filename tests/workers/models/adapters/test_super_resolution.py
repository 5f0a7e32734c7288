"""VDSR upscales colour pictures as the paper's figures were made, in every precision and at every scale that it offers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import color
from torch import Tensor

from pixelmill.workers.evaluation.picture_quality import psnr
from pixelmill.workers.geometry import resampling
from pixelmill.workers.models.adapters.super_resolution import Enlarger
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.picture_model import PictureModel
from pixelmill.workers.networks.vdsr import Vdsr, VdsrConfig
from pixelmill.workers.prediction.super_resolution import sharpen
from pixelmill.workers.runtime.agreement import Decibels
from pixelmill.workers.runtime.execution import Executor
from pixelmill.workers.runtime.settings import Precision, Settings
from pixelmill.workers.stages.upscale import LEAST_DB
from pixelmill.workers.typed_torch import from_numpy
from tests.elsewhere import elsewhere
from tests.saved_networks import saved
from tests.shared_data import SHARED_DATA
from tests.workers.scenes import scene

MOST_CHANGE_DB = 0.02
PLAIN = Settings(channels_last=False, fold_batchnorm=False)


def published() -> PictureModel:
    return load_model(resolve("vdsr-t91", "upscale"), "upscale")


def picture() -> np.ndarray:
    """uint8 HWC with edges, another one in each channel."""
    return np.stack([scene(60, 71, seed) for seed in range(3)], axis=-1)


def enlarged(model: PictureModel, rgb_HWC: np.ndarray, settings: Settings = PLAIN) -> Tensor:
    """Floats 3HW."""
    return Executor(model.network, settings)(from_numpy(rgb_HWC.copy()).permute(2, 0, 1)[None])[0]


def by_way_of_ycbcr(network: Vdsr, rgb_HWC: np.ndarray, scale: int) -> np.ndarray:
    """The paper's figures, in float64 and with scikit-image's colours: uint8 HWC."""
    small_HWC = color.rgb2ycbcr(rgb_HWC)
    ycbcr_HWC = np.stack([resampling.enlarge(small_HWC[..., channel], scale) for channel in range(3)], axis=-1)
    ycbcr_HWC[..., 0] = sharpen(network, ycbcr_HWC[..., 0])
    return resampling.to_uint8(color.ycbcr2rgb(ycbcr_HWC) * 255)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_luma_is_sharpened_and_colour_interpolated_as_in_the_paper(scale: int) -> None:
    model = published().at_scale(scale)
    assert isinstance(model.module, Enlarger)
    made_HWC = (enlarged(model, picture()) * 255).round().byte().permute(1, 2, 0).numpy()
    expected_HWC = by_way_of_ycbcr(network_of("vdsr-t91"), picture(), scale)
    assert made_HWC.shape == expected_HWC.shape == (60 * scale, 71 * scale, 3)
    assert np.abs(made_HWC.astype(int) - expected_HWC).max() <= 1


def network_of(name: str) -> Vdsr:
    from pixelmill.workers.models.checkpoint import load_checkpoint

    path = resolve(name, "upscale").path
    assert path is not None
    network = load_checkpoint(path)[0]
    assert isinstance(network, Vdsr)
    return network


def test_a_grey_picture_stays_grey() -> None:
    grey_HWC = np.repeat(scene(30, 41)[..., None], 3, axis=-1)
    made_3HW = enlarged(published(), grey_HWC)
    torch.testing.assert_close(made_3HW, made_3HW[:1].expand(3, -1, -1), atol=1e-6, rtol=0)


def test_the_scales_are_those_of_its_card_and_the_papers_where_it_names_none() -> None:
    model = published()
    assert model.scales == (2, 3, 4)
    assert [model.at_scale(scale).size.scale for scale in model.scales] == [2, 3, 4]
    unnamed = load_model(resolve(str(saved("vdsr", "unnamed-scales", depth=2, width=2)), "upscale"), "upscale")
    assert unnamed.scales == (2, 3, 4)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_shorter_numbers_keep_what_the_stage_promises(precision: Precision) -> None:
    """All but the first convolution are in the shorter type: with all of them less would be left."""
    for scale in (2, 4):
        model = published().at_scale(scale)
        truth_13HW = enlarged(model, picture())[None]
        made_13HW = enlarged(model, picture(), Settings(precision=precision))[None]
        figure = Decibels().measure(made_13HW, truth_13HW)
        assert LEAST_DB <= figure < 110  # and it does compute in the shorter type


def test_the_first_convolution_has_the_numbers_of_the_network() -> None:
    network = Vdsr(VdsrConfig(depth=3, width=4)).eval()
    luma_B1HW = torch.rand(2, 1, 9, 8)
    torch.testing.assert_close(Enlarger(network, 2).residual(luma_B1HW), network.residual(luma_B1HW))


# --------------------------------------------------------------------------------------------------------- Set5


def set5() -> list[np.ndarray]:
    """Luma of each picture."""
    files = sorted((SHARED_DATA / "super_resolution" / "set5").glob("*.png"))
    assert len(files) == 5
    return [resampling.luma(np.asarray(Image.open(file).convert("RGB"))) for file in files]


def scores(model: PictureModel, scale: int, settings: Settings, noise_db: float | None = None) -> list[float]:
    """PSNR of Set5 enlarged from grey pictures of 8 bits; with noise of so many dB below the peak added to the result."""
    found: list[float] = []
    for number, luma_HW in enumerate(set5()):
        truth_HW = resampling.crop_to_multiple(luma_HW, scale)
        small_HW = resampling.to_uint8(resampling.shrink(truth_HW, scale))
        made_HW = enlarged(model, np.repeat(small_HW[..., None], 3, axis=-1), settings)[0].double().numpy() * 255
        if noise_db is not None:
            made_HW += 255 * 10 ** (-noise_db / 20) * np.random.default_rng(number).standard_normal(made_HW.shape)
        found.append(psnr(made_HW, truth_HW, scale))
    return found


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED_DATA.exists(), reason="needs Set5")
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_settings_that_agree_change_the_psnr_of_set5_by_less_than_is_promised(scale: int) -> None:
    model = published().at_scale(scale)
    exact = scores(model, scale, PLAIN)
    for other in (
        scores(model, scale, Settings(precision="bfloat16")),
        scores(model, scale, PLAIN, noise_db=LEAST_DB),
    ):
        assert max(abs(one - another) for one, another in zip(exact, other, strict=True)) < MOST_CHANGE_DB
    assert all(math.isfinite(each) and each > 25 for each in exact)


def test_nothing_is_left_on_the_cpu_when_it_runs_on_another_device() -> None:
    model = published().at_scale(3)
    here_3HW = enlarged(model, picture())
    with elsewhere() as device:
        there_3HW = enlarged(model, picture(), replace(PLAIN, device=str(device)))
    assert there_3HW.device.type == "cpu"
    torch.testing.assert_close(there_3HW, here_3HW)

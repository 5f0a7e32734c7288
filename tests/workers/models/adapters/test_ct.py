"""Networks of CT in stages: their input is that of their card, and their output lies over the slice."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pixelmill.workers.errors import ModelError
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages.classify import ClassifyConfig
from pixelmill.workers.stages.model_checks import TRIED, check_models
from pixelmill.workers.stages.reconstruct import ReconstructConfig
from pixelmill.workers.stages.segment import SegmentConfig
from tests.ct_networks import SIDE_PX, save_autoencoder, save_finetuned


def noisy(height: int, width: int) -> Picture:
    generator = torch.Generator().manual_seed(1)
    return Picture(torch.randint(-1400, 1200, (1, height, width), dtype=torch.int16, generator=generator), "hu16")


def run(config: Any, picture: Picture) -> dict[str, Any]:
    """The row that a stage makes of one picture."""
    stage = config.build(TRIED)
    milled = stage.run([stage.prepare(picture)])
    assert not milled.errors
    columns = {
        name: column.jobs[0]() if hasattr(column, "jobs") else column.to_pylist()[0]
        for name, column in milled.columns.items()
    }
    return columns | {"pictures": milled.pictures}


def test_a_mask_is_that_of_the_network_on_the_normalised_slice(tmp_path: Path) -> None:
    network = save_finetuned(tmp_path / "m")
    picture = noisy(SIDE_PX, SIDE_PX)
    (made,) = run(SegmentConfig(model=str(tmp_path / "m")), picture)["pictures"]
    with torch.inference_mode():
        logits = network(network.config.normalization.whole(picture.pixels[0].numpy())[None])
    assert (made.pixels == logits.argmax(1)).float().mean() > 0.99


def test_a_mask_lies_over_a_slice_that_is_not_square(tmp_path: Path) -> None:
    """A network that tells dark from bright: the border between both is where it is in the slice, whatever is padded."""
    network = save_finetuned(tmp_path / "m", windows=("wide",))
    _tell_bright(network)
    from pixelmill.workers.models.checkpoint import load_checkpoint, save_checkpoint

    save_checkpoint(tmp_path / "m", network, load_checkpoint(tmp_path / "m")[1])
    hu_1HW = torch.full((1, 96, 192), -1000, dtype=torch.int16)
    hu_1HW[:, 24:, 60:] = 400
    (made,) = run(SegmentConfig(model=str(tmp_path / "m")), Picture(hu_1HW, "hu16"))["pictures"]
    mask_HW = made.pixels[0].numpy()
    assert mask_HW.shape == (96, 192)
    wrong = mask_HW != (hu_1HW[0].numpy() > 0)
    assert wrong[:18].sum() == wrong[34:, 70:].sum() == wrong[:, :50].sum() == 0


def _tell_bright(network: Any) -> None:
    """Weights by which the second class is what is brighter than the middle of the window: only the finest level is used."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        first, norm, second, after = (network.encoder.levels[0][at] for at in (0, 1, 3, 4))
        for convolution in (first, second):
            convolution.weight[:, 0, 1, 1] = 1
        for each in (norm, after):
            each.weight.fill_(1)
        level = network.head.levels[0]
        for at in (0, 3):
            level[at].weight[:, -1, 1, 1] = 1
        for at in (1, 4):
            level[at].weight.fill_(1)
        network.head.output.weight[1] = 1
        network.head.output.bias.copy_(torch.tensor([0.5, 0.0]))


def test_scores_of_a_slice_are_those_of_the_network(tmp_path: Path) -> None:
    network = save_finetuned(tmp_path / "m", head="classify", names=("none", "blood"), windows=("brain",))
    picture = noisy(40, 48)
    row = run(ClassifyConfig(model=str(tmp_path / "m")), picture)
    with torch.inference_mode():
        shares = network(network.config.normalization.whole(picture.pixels[0].numpy())[None]).softmax(1)[0]
    assert sorted(row["class_name"]) == ["blood", "none"]
    assert row["class_score"] == pytest.approx(shares.sort(descending=True).values.tolist(), abs=2e-3)


def test_a_reconstruction_is_in_the_size_of_the_slice_through_the_first_window(tmp_path: Path) -> None:
    network = save_autoencoder(tmp_path / "m", windows=("lung", "bone", "brain"))
    picture = noisy(24, 48)
    row = run(ReconstructConfig(model=str(tmp_path / "m")), picture)
    drawn = np.asarray(Image.open(io.BytesIO(row["reconstruction"]["bytes"])))
    assert drawn.shape == (24, 48)
    image_CSS = network.config.normalization.whole(picture.pixels[0].numpy())
    with torch.inference_mode():
        made_CSS = network(image_CSS[None])[0].clamp(0, 1)
    error = (made_CSS - image_CSS)[:, 8:24].square().mean()  # of 32 rows, 16 show the slice
    assert row["reconstruction_error"] == pytest.approx(float(error), rel=0.02)


def test_a_network_that_sees_a_square_around_the_body_reconstructs_no_slice(tmp_path: Path) -> None:
    save_autoencoder(tmp_path / "m", body_crop=True)
    with pytest.raises(ModelError, match="trained without body_crop"):
        ReconstructConfig(model=str(tmp_path / "m")).build(TRIED)


def test_the_size_of_the_input_is_that_of_the_card(tmp_path: Path) -> None:
    save_finetuned(tmp_path / "m")
    with pytest.raises(ModelError, match="sees every slice at 32 px"):
        SegmentConfig(model=str(tmp_path / "m"), resize_px=64).build(TRIED)


def test_a_network_for_masks_names_no_class_of_a_slice(tmp_path: Path) -> None:
    save_finetuned(tmp_path / "m")
    with pytest.raises(ModelError, match="can't classify; it can embed, segment"):
        ClassifyConfig(model=str(tmp_path / "m")).build(TRIED)


def test_windowed_pictures_reach_a_network_of_hounsfield_units_where_its_one_window_makes_them_alike(
    tmp_path: Path,
) -> None:
    for windows, is_taken in ((("lung",), True), (("wide",), False), (("lung", "bone"), False)):
        save_finetuned(tmp_path / "m", windows=windows, values=("hu",))
        config = SegmentConfig(model=str(tmp_path / "m"))
        check_models([config], "hu16")
        if is_taken:
            check_models([config], "rgb8")
            continue
        with pytest.raises(ModelError, match=r"gives windowed pictures, and .* trained on Hounsfield units alone"):
            check_models([config], "rgb8")


def test_hounsfield_units_reach_a_network_of_windowed_pictures_as_little(tmp_path: Path) -> None:
    save_finetuned(tmp_path / "m", windows=("wide",), values=("windowed",))
    with pytest.raises(ModelError, match=r"train it with the one window .* windows=\[brain\]"):
        check_models([SegmentConfig(model=str(tmp_path / "m"))], "hu16")
    save_finetuned(tmp_path / "m", windows=("wide",), values=("hu", "windowed"))
    check_models([SegmentConfig(model=str(tmp_path / "m"))], "hu16")

"""Depth: metres and disparities are those of the network, come back from 16 bits, and a model that does not fit is refused.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor, nn

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import ModelError
from pixelmill.workers.evaluation.depth import depth_errors
from pixelmill.workers.models.card import read_card
from pixelmill.workers.models.libraries import LIBRARIES
from pixelmill.workers.models.zoo import zoo_path
from pixelmill.workers.pictures import Picture
from pixelmill.workers.prediction.depth import predict_depth
from pixelmill.workers.stages import Deferred, Milled, StageContext
from pixelmill.workers.stages.depth import Depth, DepthConfig
from tests.corpus import encode, photo
from tests.workers import toy_library
from tests.workers.pairs import KITTI, saved_network, seeded_network

CONTEXT = StageContext(device="cpu", threads=1, job_images=4, cache_dir=None)
CAMERA = {"focal_px": 300.0, "baseline_m": 0.5}


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIBRARIES, "toy", toy_library.PLACE)


def stage_of(**options: Any) -> Depth:
    return DepthConfig.model_validate({"precision": "float32", **options}).build(CONTEXT)


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def numbers(milled: Milled, name: str) -> list[float]:
    column = milled.columns[name]
    assert not isinstance(column, Deferred)
    return column.to_pylist()


def values(milled: Milled, name: str) -> list[np.ndarray]:
    """What a reader makes of the column: the PNG times its scale."""
    column = milled.columns[name]
    assert isinstance(column, Deferred)
    pngs = [Image.open(io.BytesIO(value["bytes"])) for value in (job() for job in column.jobs)]  # type: ignore[index]
    assert {png.mode for png in pngs} == {"I;16"}
    return [np.asarray(png) * scale for png, scale in zip(pngs, numbers(milled, f"{name}_scale"), strict=True)]


def run(stage: Depth, *pictures: Tensor) -> Milled:
    return stage.run([stage.prepare(Picture(pixels)) for pixels in pictures])


def test_metres_are_those_of_the_network_to_within_half_a_scale(tmp_path: Path) -> None:
    network, pixels_CHW = seeded_network().eval(), noise(64, 128)
    stage = stage_of(model=saved_network(tmp_path, network), camera=CAMERA)
    milled = run(stage, pixels_CHW)
    truth_B1HW = predict_depth(network, pixels_CHW[None].float() / 255, 300.0, 0.5, flip=False)
    (made_HW,), (scale,) = values(milled, "depth_m"), numbers(milled, "depth_m_scale")
    assert (
        np.abs(made_HW - truth_B1HW[0, 0].numpy()).max() <= scale * 0.6
    )  # half a scale, and what sums in another order differ by
    assert scale == pytest.approx(truth_B1HW.max().item() / 65535)
    assert numbers(milled, "depth_m_near") == pytest.approx([truth_B1HW.min().item()])
    assert numbers(milled, "depth_m_far") == pytest.approx([truth_B1HW.max().item()])


@pytest.mark.parametrize("flip", [True, False])
def test_a_picture_of_another_size_is_as_the_networks_own_prediction_has_it(tmp_path: Path, flip: bool) -> None:
    network, pixels_CHW = seeded_network().eval(), noise(75, 200)
    milled = run(stage_of(model=saved_network(tmp_path, network), camera=CAMERA, flip=flip), pixels_CHW)
    truth_B1HW = predict_depth(network, pixels_CHW[None].float() / 255, 300.0, 0.5, flip=flip)
    (made_HW,) = values(milled, "depth_m")
    assert made_HW.shape == (75, 200)
    assert np.abs(made_HW / truth_B1HW[0, 0].numpy() - 1).max() < 2e-3  # resized as 8 bits, and not as floats


def test_disparity_is_in_pixels_of_the_pictures_own_width(tmp_path: Path) -> None:
    network = seeded_network()
    for parameter in network.parameters():
        nn.init.zeros_(parameter)  # a disparity of 0.15 everywhere
    milled = run(stage_of(model=saved_network(tmp_path, network)), noise(40, 100), noise(10, 500), noise(1, 1))
    for made_HW, (height, width) in zip(values(milled, "disparity_px"), [(40, 100), (10, 500), (1, 1)], strict=True):
        np.testing.assert_allclose(made_HW, np.full((height, width), 0.15 * width), rtol=1e-4)


@pytest.mark.parametrize(("model", "column"), [("toy:metres", "depth_m"), ("toy:inverse", "inverse_depth")])
def test_models_of_metres_and_of_inverse_depth_are_stored_as_they_are(model: str, column: str) -> None:
    stage, pixels_CHW = stage_of(model=model), noise(37, 50)
    assert stage.fields[0].name == column
    assert DepthConfig(model=model).columns() == tuple(field.name for field in stage.fields)
    (made_HW,) = values(run(stage, pixels_CHW), column)
    np.testing.assert_allclose(made_HW, pixels_CHW.float().mean(0).numpy() / 25.5, atol=1e-4)


def test_the_unit_and_how_to_read_it_stand_in_the_schema() -> None:
    for options, unit in (({"model": "toy:metres"}, b"m"), ({}, b"pixels of the picture's width")):
        field = stage_of(**options).fields[0]
        assert field.metadata == {b"unit": unit, b"value": f"png * {field.name}_scale".encode()}


def test_later_stages_get_the_levels_of_the_file() -> None:
    milled = run(stage_of(model="toy:metres"), noise(9, 8))
    (picture,), (made_HW,), (scale,) = (
        milled.pictures,
        values(milled, "depth_m"),
        numbers(milled, "depth_m_scale"),
    )
    assert picture is not None
    assert (picture.kind, picture.pixels.dtype, picture.pixels.shape) == ("grey16", torch.uint16, (1, 9, 8))
    np.testing.assert_array_equal(picture.pixels[0].numpy() * scale, made_HW)


def test_a_map_that_is_not_finite_is_an_error_and_negative_values_become_zero() -> None:
    stage = stage_of(model="toy:inverse")
    maps = [torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 3), torch.tensor([[-1.0, 0.0, 4.0]])]
    maps[1][0, 1], maps[2][1, 2] = float("nan"), float("inf")
    milled = stage.milled(maps)
    assert {place: error.error_type for place, error in milled.errors.items()} == {1: "NotFinite", 2: "NotFinite"}
    assert [picture is None for picture in milled.pictures] == [False, True, True, False]
    np.testing.assert_allclose(values(milled, "inverse_depth")[3], [[0, 0, 4]])
    assert numbers(milled, "inverse_depth_near")[3] == -1


def test_a_picture_without_any_disparity_is_far_away_and_its_disparity_zero() -> None:
    black_CHW = torch.zeros(3, 5, 6, dtype=torch.uint8)
    milled = run(stage_of(model="toy:inverse"), black_CHW)
    assert numbers(milled, "inverse_depth_scale") == [0]
    assert values(milled, "inverse_depth")[0].max() == 0
    assert not milled.errors
    far = stage_of(model="toy:disparity", camera=CAMERA)
    assert np.allclose(values(run(far, black_CHW), "depth_m")[0], 80)


def test_a_batch_is_bounded_by_its_output_pixels() -> None:
    from pixelmill.pipelines.bulk.stage_runner import pixels_of

    stage = stage_of()
    sample = stage.prepare(Picture(noise(600, 500)))
    assert pixels_of(sample) == 600 * 500
    assert sample.frame_1HW.untyped_storage().nbytes() == 1
    assert stage.bucket_of(sample) == stage.bucket_of(stage.prepare(Picture(noise(1, 30))))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "toy:metres", "camera": CAMERA}, "this model gives metres itself; leave camera out"),
        ({"model": "toy:inverse", "camera": CAMERA}, "gives inverse depth of no unit; leave camera out"),
        ({"model": "toy:disparity", "camera": {"focal_px": 300}}, "is not known; give camera: baseline_m"),
        ({"model": "toy:late"}, "known only when it is loaded; give the stage a column: depth_m or inverse_depth"),
        ({"model": "toy:inverse", "column": "depth_m"}, "and column is depth_m; call it inverse_depth"),
        ({"column": "depth_m"}, "gives pixels of the picture's width, and column is depth_m; call it disparity_px"),
        ({"model": "segnet-camvid"}, "segnet-camvid: holds the network segnet, which can't estimate depth"),
        ({"model": "no-such"}, "model no-such: unknown"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(options: dict[str, Any], words: str) -> None:
    config = DepthConfig.model_validate(options)
    assert len(config.columns()) == 4  # the job file is checked for names that occur twice, whatever the model is
    with pytest.raises(ModelError) as raised:
        config.identity()
    assert words in str(raised.value)


def test_a_model_that_states_its_measure_late_is_checked_against_its_column_on_the_worker() -> None:
    assert DepthConfig(model="toy:late", column="how_near").identity()
    assert stage_of(model="toy:late", column="how_near").fields[0].name == "how_near"
    with pytest.raises(ModelError, match="column is depth_m; call it inverse_depth"):
        stage_of(model="toy:late", column="depth_m")


@pytest.mark.parametrize("camera", [{}, {"baseline_m": 0.5}, {"focal_px": 0}, {"focal_px": 300, "baseline_m": -1}])
def test_a_camera_has_a_focal_length_and_no_length_is_zero_or_less(camera: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="camera"):
        DepthConfig.model_validate({"camera": camera})


def test_the_baseline_of_what_ships_need_not_be_given() -> None:
    found = DepthConfig.model_validate({"camera": {"focal_px": 300}}).identity()
    assert found == DepthConfig.model_validate({"camera": {"focal_px": 300, "baseline_m": 0.5327}}).identity()
    assert found != DepthConfig.model_validate({"camera": {"focal_px": 300, "baseline_m": 0.54}}).identity()
    pixels_CHW = noise(128, 256)
    given = values(run(stage_of(camera={"focal_px": 300, "baseline_m": 0.5327}), pixels_CHW), "depth_m")
    assert np.array_equal(values(run(stage_of(camera={"focal_px": 300}), pixels_CHW), "depth_m"), given)


def test_who_names_no_model_is_reported_what_the_default_knows() -> None:
    assert "monodepth-kitti learned from one street of KITTI" in (DepthConfig.model_validate({}).note() or "")
    assert DepthConfig.model_validate({"model": "monodepth-kitti"}).note() is None


@pytest.mark.shared_data
@pytest.mark.parametrize(("flip", "metric"), [(True, "abs_rel"), (False, "abs_rel_no_flip")])
def test_on_kitti_the_stage_is_as_good_as_the_card_of_the_network_says(flip: bool, metric: str) -> None:
    weights = zoo_path("monodepth-kitti")
    assert weights is not None
    camera = json.loads((KITTI / "calib.json").read_text())
    stage = stage_of(flip=flip, camera={key: camera[key] for key in ("focal_px", "baseline_m")})
    held_out = sorted((KITTI / "left").iterdir())[100:]
    milled = run(stage, *(decode_picture(path.read_bytes()) for path in held_out))
    truths = [np.asarray(Image.open(KITTI / "depth" / f"{path.stem}.png")) / 256 for path in held_out]
    scores = [depth_errors(*pair)["abs_rel"] for pair in zip(values(milled, "depth_m"), truths, strict=True)]
    assert np.mean(scores) == pytest.approx(read_card(weights).metrics[metric], abs=2e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_fewer_bits_are_within_one_percent(precision: str) -> None:
    pixels_CHW = decode_picture(encode(photo("coffee", 256, 128)))
    (truth_HW,), (short_HW,) = (
        values(run(stage_of(precision=each), pixels_CHW), "disparity_px") for each in ("float32", precision)
    )
    assert 0 < np.abs(short_HW - truth_HW).mean() / truth_HW.mean() < 0.01

"""Stylize with networks and with paintings: valid configs, identity, and output."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Deferred, StageContext
from pixelmill.workers.stages.stylize import MOST_PIXELS, StylizeConfig
from tests.saved_networks import saved, saved_vgg

CONTEXT = StageContext(device="cpu", threads=1, job_images=4, cache_dir=None)


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "painting.png")
    return tmp_path / "painting.png"


def network_style(**options: object) -> StylizeConfig:
    return StylizeConfig.model_validate({"style": str(saved("faststyle", "style", width=4, blocks=1)), **options})


def painted_style(painting: Path, **options: object) -> StylizeConfig:
    small = {"size_px": 16, "steps": 2, "content_layers": ["relu2_1"], "style_layers": ["relu1_1", "relu2_1"]}
    return StylizeConfig.model_validate({"style": str(painting), "vgg": str(saved_vgg()), **small, **options})


def noise(height: int, width: int, seed: int = 0) -> Picture:
    generator = torch.Generator().manual_seed(seed)
    return Picture(torch.randint(0, 256, (3, height, width), generator=generator).byte())


def stylized(config: StylizeConfig, *pictures: Picture) -> list[torch.Tensor]:
    stage = config.build(CONTEXT)
    milled = stage.run([stage.prepare(picture) for picture in pictures])
    assert not milled.errors
    return [picture.pixels for picture in milled.pictures if picture is not None]


def test_a_network_paints_a_picture_as_it_does_by_itself() -> None:
    network, _ = load_checkpoint(saved("faststyle", "style", width=4, blocks=1))
    for picture in (noise(1, 1), noise(37, 50), noise(1, 90)):
        (made_3HW,) = stylized(network_style(), picture)
        with torch.inference_mode():
            expected_3HW = network(picture.pixels[None].float() / 255)[0].clamp(0, 1) * 255
        assert made_3HW.shape == picture.pixels.shape
        assert (made_3HW.float() - expected_3HW).abs().max() <= 0.51


def test_the_shorter_side_is_as_wished() -> None:
    (made_3HW,) = stylized(network_style(size_px=20), noise(60, 90))
    assert made_3HW.shape == (3, 20, 30)


def test_a_picture_with_too_many_pixels_is_seen_smaller_and_comes_out_in_its_own_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pixelmill.workers.stages.stylize.MOST_PIXELS", 64 * 64)
    stage = network_style().build(CONTEXT)
    sample = stage.prepare(noise(128, 256))
    assert sample.pixels_CHW.shape[1] * sample.pixels_CHW.shape[2] <= 64 * 64
    (made,) = stage.run([sample]).pictures
    assert made is not None
    assert made.pixels.shape == (3, 128, 256)
    assert MOST_PIXELS * 1200 < 3 << 30  # bytes that a network of width 32 takes of such a picture


@pytest.mark.parametrize(("file_format", "read"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_the_column_holds_the_pictures_in_the_format(file_format: str, read: str) -> None:
    stage = network_style(format=file_format, column="art").build(CONTEXT)
    milled = stage.run([stage.prepare(noise(20, 30))])
    column = milled.columns["art"]
    assert isinstance(column, Deferred)
    (value,) = pa.array([job() for job in column.jobs], stage.fields[0].type).to_pylist()
    shown = Image.open(io.BytesIO(value["bytes"]))
    assert (shown.format, shown.size, value["path"]) == (read, (30, 20), None)
    if file_format == "png":
        assert milled.pictures[0] is not None
        assert np.array_equal(np.asarray(shown), milled.pictures[0].pixels.permute(1, 2, 0).numpy())


def test_a_painting_is_painted_after_in_the_size_that_is_wished(painting: Path) -> None:
    first, second, other = stylized(painted_style(painting), noise(30, 40), noise(30, 40, 1), noise(50, 20))
    assert first.shape == second.shape == (3, 16, 21)
    assert other.shape == (3, 40, 16)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("start", ["noise", "content"])
def test_what_is_optimised_beside_others_comes_out_as_alone(painting: Path, start: str) -> None:
    config = painted_style(painting, batch=3, steps=6, start=start)
    pictures = [noise(20, 20, seed) for seed in range(3)]
    together = stylized(config, *pictures)
    for picture, expected_3HW in zip(pictures, together, strict=True):
        (alone_3HW,) = stylized(config, picture)
        assert torch.equal(alone_3HW, expected_3HW)


def test_what_a_picture_took_and_what_the_job_will_take_is_in_the_settings(painting: Path) -> None:
    stage = painted_style(painting).build(CONTEXT)
    assert "seconds_a_picture" not in stage.settings
    stage.run([stage.prepare(noise(20, 20))])
    measured = stage.settings["seconds_a_picture"]
    assert isinstance(measured, float)
    assert stage.settings["hours_a_worker"] == pytest.approx(measured * CONTEXT.job_images / 3600, abs=0.01)
    stage.run([stage.prepare(noise(20, 20))])
    assert stage.settings["seconds_a_picture"] == measured


def test_a_plan_states_the_time_of_a_painting(painting: Path) -> None:
    config = painted_style(painting, steps=70)
    assert "70 steps" in (config.note() or "")
    assert network_style().note() is None
    assert any("a picture takes about" in line for line in config.describe(CONTEXT, here=True))
    assert not any("takes about" in line for line in config.describe(CONTEXT, here=False))


def test_a_plan_says_that_a_large_picture_is_painted_smaller() -> None:
    assert any(
        "more than 2.1 megapixels is painted smaller" in line for line in network_style().describe(CONTEXT, here=False)
    )


def test_the_content_of_a_painting_is_the_identity_and_not_its_place(painting: Path, tmp_path: Path) -> None:
    config = painted_style(painting)
    (tmp_path / "elsewhere").mkdir()
    copy = painting.rename(tmp_path / "elsewhere" / "other.png")
    assert (
        painted_style(copy).identity() == config.with_assets({"style": {"painting.png": copy.read_bytes()}}).identity()
    )
    before = painted_style(copy).identity()
    assert painted_style(copy, pooling="max").identity() == before  # earlier versions lack the key
    assert "pooling" not in str(before)
    assert painted_style(copy, pooling="average").identity() != before
    Image.new("RGB", (24, 32), "red").save(copy)
    assert painted_style(copy).identity() != before
    assert painted_style(copy, vgg=str(saved_vgg("another", 5))).identity() != painted_style(copy).identity()


def test_a_default_that_is_written_down_is_the_same_run(painting: Path) -> None:
    written = {"optimizer": "lbfgs", "seed": 0, "scale": "relative", "style_weight": 10}
    assert painted_style(painting, **written).identity() == painted_style(painting).identity()


def test_a_painting_travels_as_bytes_and_a_network_on_a_store_with_its_card(painting: Path) -> None:
    config = painted_style(painting)
    assert config.assets() == {"style": "file"}
    carrying = config.with_assets({"style": {"painting.png": painting.read_bytes()}})
    painting.unlink()
    assert len(stylized(carrying, noise(16, 16))) == 1
    path = saved("faststyle", "style", width=4, blocks=1)
    remote = StylizeConfig.model_validate({"style": "s3://bucket/style.safetensors"})
    assert remote.assets() == {"style": "checkpoint"}
    files = {
        name: path.with_suffix(suffix).read_bytes()
        for name, suffix in (("style.safetensors", ".safetensors"), ("card.json", ".json"))
    }
    fetched = remote.with_assets({"style": files})
    assert fetched.identity() == network_style().identity()
    assert torch.equal(stylized(fetched, noise(16, 16))[0], stylized(network_style(), noise(16, 16))[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": "a.jpg"}, "is a painting, which takes VGG weights: set vgg"),
        ({"style": "wave", "vgg": "v.safetensors", "steps": 3}, "vgg, steps: for a painting alone"),
        ({"style": "a.jpg", "vgg": "v.safetensors", "style_layers": ["relu6_1"]}, "String should match pattern"),
        ({"style": "a.jpg", "vgg": "v.safetensors", "style_layers": []}, "at least 1 item"),
        ({"style": "a.jpg", "vgg": "v.safetensors", "content_layers": []}, "at least 1 item"),
        (
            {"style": "a.jpg", "vgg": "v.safetensors", "content_weight": 0, "style_weight": 0, "tv_weight": 0},
            "are all 0, which leaves nothing to optimise",
        ),
        ({"style": "a.jpg", "vgg": "v.safetensors", "precision": "bfloat16"}, "optimised in float32"),
    ],
)
def test_keys_that_do_not_fit_the_style_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        StylizeConfig.model_validate(options)


def test_files_that_are_not_there_or_no_picture_are_refused_before_the_run(painting: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"style .*gone.jpg: can't be read"):
        painted_style(tmp_path / "gone.jpg").identity()
    painting.write_bytes(b"<html>")
    with pytest.raises(ModelError, match=r"painting\.png"):
        painted_style(painting).identity()


def test_weights_that_are_no_vgg_are_refused_before_the_run(painting: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(saved_vgg().read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"cut\.safetensors: not a whole safetensors file"):
        painted_style(painting, vgg=str(tmp_path / "cut.safetensors")).identity()
    with pytest.raises(ModelError, match=r"no VGG's tensors are called .*; rename them"):
        painted_style(painting, vgg=str(saved("faststyle", "style", width=4, blocks=1))).identity()
    with pytest.raises(ModelError, match=r"VGG-16 has no layer relu3_4; block 3 ends with relu3_3"):
        painted_style(painting, style_layers=["relu3_4"]).identity()
    with pytest.raises(ModelError, match=r"VGG-16 has no layer conv1_3"):
        painted_style(painting, content_layers=["conv1_3"], vgg="torchvision:VGG16_Weights.IMAGENET1K_V1").identity()
    with pytest.raises(ModelError, match="is of another network; take torchvision:VGG16"):
        painted_style(painting, vgg="torchvision:ResNet18_Weights.DEFAULT").identity()


def test_a_picture_that_the_optimisation_loses_is_an_error_of_its_own(painting: Path) -> None:
    config = painted_style(painting, style_weight=1e38, scale="gatys", steps=4)
    stage = config.build(CONTEXT)
    milled = stage.run([stage.prepare(noise(16, 16))])
    assert milled.errors[0].error_type == "NotFinite"
    assert list(milled.pictures) == [None]

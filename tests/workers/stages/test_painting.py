"""Stylizing with a painting: the groups of pictures, and the loading of the painting."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from pixelmill.workers.errors import ModelError
from pixelmill.workers.losses.gatys import stylize
from pixelmill.workers.losses.style_choice import GatysSettings
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.painting import AT_ONCE, Painter, load_painting
from tests.saved_networks import saved_vgg

SETTINGS = GatysSettings(steps=3, content_layers=("relu2_1",), style_layers=("relu1_1",))
CONTEXT = StageContext(device="cpu", threads=1, job_images=4, cache_dir=None)


@pytest.fixture
def style(tmp_path: Path) -> Path:
    Image.radial_gradient("L").convert("RGB").resize((40, 20)).save(tmp_path / "style.png")
    return tmp_path / "style.png"


def painter(style: Path, batch: int | None = None) -> Painter:
    painting = load_painting(style, str(saved_vgg()), SETTINGS, 16)
    return Painter(painting, CONTEXT, "art", "png", batch)


def grey(height: int, width: int, level: int) -> Picture:
    return Picture(torch.full((3, height, width), level, dtype=torch.uint8))


def test_a_painting_is_resized_to_the_size_of_the_result(style: Path) -> None:
    painting = load_painting(style, str(saved_vgg()), SETTINGS, 16)
    assert painting.pixels_13HW.shape == (1, 3, 16, 32)
    assert 0 <= float(painting.pixels_13HW.min()) < float(painting.pixels_13HW.max()) <= 1


def test_a_picture_is_painted_as_the_optimisation_paints_it(style: Path) -> None:
    worker = painter(style)
    (made,) = worker.run([worker.prepare(grey(16, 16, 60))]).pictures
    painting = load_painting(style, str(saved_vgg()), SETTINGS, 16)
    photo_13HW = torch.full((1, 3, 16, 16), 60 / 255)
    expected_3HW = stylize(photo_13HW, painting.pixels_13HW, painting.loss_network, SETTINGS)[0]
    assert made is not None
    assert torch.equal(made.pixels, (expected_3HW * 255).round().byte())


def test_pictures_of_several_sizes_come_out_in_the_order_in_which_they_came(style: Path) -> None:
    worker = painter(style, batch=2)
    sizes = [(16, 16), (16, 24), (16, 16), (24, 16), (16, 16)]
    samples = [worker.prepare(grey(*size, 20 * place)) for place, size in enumerate(sizes)]
    assert len({worker.bucket_of(sample) for sample in samples}) == 3
    made = worker.run(samples).pictures
    for place, sample in enumerate(samples):
        (alone,) = worker.run([sample]).pictures
        picture = made[place]
        assert picture is not None
        assert alone is not None
        assert torch.equal(picture.pixels, alone.pixels)


def test_how_many_are_optimised_together_goes_by_the_device_or_the_user(style: Path) -> None:
    assert painter(style).batch == AT_ONCE["cpu"] == 1
    assert painter(style, batch=5).batch == 5


def test_the_weights_of_the_loss_network_are_those_of_the_stage(style: Path) -> None:
    assert painter(style).weights_sha256 == painter(style).weights_sha256
    painting = load_painting(style, str(saved_vgg("another", 5)), SETTINGS, 16)
    assert Painter(painting, CONTEXT, "art", "png", None).weights_sha256 != painter(style).weights_sha256


def test_a_painting_that_is_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_bytes(b"<html>")
    with pytest.raises(ModelError, match=r"style page.png: .*web page|style page.png: .*HTML"):
        load_painting(tmp_path / "page.png", str(saved_vgg()), SETTINGS, 16)


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_the_loss_network_pools_as_the_settings_say(style: Path, pooling: str) -> None:
    settings = GatysSettings.model_validate({"pooling": pooling})
    assert load_painting(style, str(saved_vgg()), settings, 16).loss_network.config.pooling == pooling

"""A wish that can't be met is refused before anything is painted or written; pictures are read and written as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pixelmill.jobs import stylize as module
from pixelmill.jobs.stylize import Wish, optimized, read_picture, stylize, stylized, to_bytes
from pixelmill.workers.errors import DataError, JobError, ModelError, PixelmillError
from tests.support import pictures


def silent(text: str) -> None:
    """Hears nothing."""


def refusal(act: Callable[[], object], kind: type[PixelmillError] = JobError) -> str:
    with pytest.raises(kind) as raised:
        act()
    return str(raised.value)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    return str(pictures(tmp_path / "photos", 1, size=(40, 30))[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "give --checkpoint for a trained style, or --style and --vgg to optimise"),
        ({"checkpoint": "a", "style": "b"}, "give --checkpoint for a trained style, or --style and --vgg"),
        ({"style": "b"}, "--style needs --vgg"),
        ({"checkpoint": "a", "vgg": "b"}, "--vgg and --set are of the optimisation"),
        ({"checkpoint": "a", "overrides": ["steps=3"]}, "--vgg and --set are of the optimisation"),
        ({"style": "b", "vgg": "v", "overrides": ["steps=none", "stpes=3"]}, "did you mean steps?"),
        ({"checkpoint": "a", "content": ["x/a.jpg", "b.jpg", "y/a.png"]}, "two photographs would become a.png"),
        ({"checkpoint": "a", "out": ""}, "is no path or URI"),
    ],
)
def test_a_wish_that_can_not_be_met_is_refused_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    wish = Wish(**{"content": ["a.jpg"], "out": str(tmp_path / "out")} | changes)  # type: ignore[arg-type]
    assert message in refusal(lambda: stylize(wish, silent))
    assert not (tmp_path / "out").exists()


def test_an_output_that_can_not_be_written_is_found_before_anything_is_painted(
    photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(module, "stylized", lambda *_: pytest.fail("it was painted"))
    wish = Wish([photo], str(tmp_path / "file" / "out"), checkpoint="faststyle-wave")
    assert "choose another place" in refusal(lambda: stylize(wish, silent))


def test_each_photograph_becomes_a_png_of_its_name_in_its_order(tmp_path: Path) -> None:
    wish = Wish(["x/b.jpg", "y/a.jpeg"], str(tmp_path), checkpoint="style")
    shades = {"x/b.jpg": 10, "y/a.jpeg": 200}

    def paint(checkpoint: str, content: str, shorter_px: int | None) -> Tensor:
        assert (checkpoint, shorter_px) == ("style", None)
        return torch.full((3, 4, 5), shades[content], dtype=torch.uint8)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "stylized", paint)
        places = stylize(wish, silent)
    assert places == [f"{tmp_path}/b.png", f"{tmp_path}/a.png"]
    assert [int(np.asarray(Image.open(path))[0, 0, 0]) for path in places] == [10, 200]


@pytest.mark.parametrize(("shorter_px", "shape"), [(None, (3, 30, 40)), (15, (3, 15, 20))])
def test_a_picture_is_floats_of_three_channels_with_its_shorter_side_as_wished(
    photo: str, shorter_px: int | None, shape: tuple[int, ...]
) -> None:
    image_CHW = read_picture(photo, shorter_px)
    assert image_CHW.shape == shape
    assert image_CHW.dtype == torch.float32
    assert 0 <= float(image_CHW.min()) < float(image_CHW.max()) <= 1


def test_a_grey_picture_has_its_one_channel_three_times(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 51).save(tmp_path / "grey.png")
    assert torch.equal(read_picture(str(tmp_path / "grey.png")), torch.full((3, 4, 4), 0.2))


def test_what_is_no_picture_is_named_and_what_is_not_there_too(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("taken on a rainy day\n")
    for kind, name in ((DataError, "notes.jpg"), (PixelmillError, "gone.jpg")):
        message = refusal(lambda name=name: read_picture(str(tmp_path / name)), kind)
        assert name in message
    assert "hunter2" not in refusal(lambda: read_picture("https://user:hunter2@host/a.jpg"))


def test_floats_beyond_the_range_are_clamped_and_the_others_rounded() -> None:
    values = to_bytes(torch.tensor([-0.5, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 1.5]))
    assert values.tolist() == [0, 0, 0, 1, 255, 255]
    assert values.dtype == torch.uint8


def test_a_network_of_no_style_is_refused_with_the_next_step(photo: str) -> None:
    assert "and no style; train one with" in refusal(lambda: stylized("autoencoder-photos", photo, None), ModelError)


def test_a_network_that_ships_paints_a_picture_of_the_same_size(photo: str) -> None:
    painted_CHW = stylized("faststyle-wave", photo, 32)
    assert painted_CHW.dtype == torch.uint8
    assert painted_CHW.shape == read_picture(photo, 32).shape


def test_settings_are_checked_before_any_picture_is_read() -> None:
    message = refusal(lambda: optimized(["gone.jpg"], "gone.jpg", "gone", {"steps": 0}, 16, silent))
    assert message.startswith("stylize: its settings\n")
    assert "steps" in message

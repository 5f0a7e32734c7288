"""Synthesize: layouts of ids and of colours, invalid layouts, and the size of the picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pixelmill.workers.drawn_classes import VOID
from pixelmill.workers.errors import ModelError, RowError
from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.networks.crn import one_hot
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.synthesize import SynthesizeConfig
from tests.contracts.examples.synthesize import CLASSES, QUICK

CONTEXT = StageContext(device="cpu", threads=1, job_images=4, cache_dir=None)
IDS_HW = np.random.default_rng(0).integers(0, 3, (16, 16), np.uint8)
COLOURS = CLASSES.colours or ()
PALETTE = {"lawn": (9, 9, 9), "path": (99, 99, 99), "pond": (200, 9, 9)}


def config(**options: object) -> SynthesizeConfig:
    return SynthesizeConfig.model_validate({**QUICK, **options})


def layout(ids_HW: np.ndarray) -> Picture:
    return Picture(torch.from_numpy(ids_HW)[None], "ids8")


def drawn(ids_HW: np.ndarray, colours: object = COLOURS, off: int = 0) -> Picture:
    pixels_HWC = np.array(colours, np.uint8)[ids_HW] + np.uint8(off)
    return Picture(torch.from_numpy(pixels_HWC).permute(2, 0, 1))


def synthesized(made_by: SynthesizeConfig, *pictures: Picture) -> list[torch.Tensor]:
    stage = made_by.build(CONTEXT)
    milled = stage.run([stage.prepare(picture) for picture in pictures])
    assert not milled.errors
    return [picture.pixels for picture in milled.pictures if picture is not None]


def refusal(made_by: SynthesizeConfig, picture: Picture) -> RowError:
    with pytest.raises(RowError) as caught:
        made_by.build(CONTEXT).prepare(picture)
    return caught.value


def test_ids_become_what_the_network_makes_of_them() -> None:
    network, _ = load_checkpoint(Path(str(QUICK["model"])))
    with torch.inference_mode():
        expected_3HW = network(one_hot(torch.from_numpy(IDS_HW)[None], 3))[0, 0].clamp(0, 1) * 255
    (made_3HW,) = synthesized(config(), layout(IDS_HW))
    assert (made_3HW.float() - expected_3HW).abs().max() <= 0.51


def test_a_layout_in_colours_is_the_same_as_one_of_ids() -> None:
    (expected_3HW,) = synthesized(config(), layout(IDS_HW))
    for picture, options in (
        (drawn(IDS_HW), {}),
        (drawn(IDS_HW, off=20), {}),
        (drawn(IDS_HW, list(PALETTE.values())), {"palette": PALETTE}),
    ):
        assert torch.equal(synthesized(config(**options), picture)[0], expected_3HW)


def test_void_is_of_no_class_and_changes_the_picture() -> None:
    ids_HW = np.where(IDS_HW == 1, VOID, IDS_HW).astype(np.uint8)
    with_void_3HW, without_3HW = synthesized(config(), layout(ids_HW), layout(IDS_HW))
    assert not torch.equal(with_void_3HW, without_3HW)


@pytest.mark.parametrize(("size", "expected"), [("layout", (3, 32, 48)), ("network", (3, 16, 16))])
def test_a_picture_has_the_size_of_its_layout_or_that_of_the_network(size: str, expected: tuple[int, ...]) -> None:
    ids_HW = IDS_HW.repeat(2, 0).repeat(3, 1)
    (made_3HW,) = synthesized(config(size=size), layout(ids_HW))
    assert made_3HW.shape == expected
    if size == "network":
        assert torch.equal(made_3HW, synthesized(config(), layout(IDS_HW))[0])


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (37, 5)])
def test_layouts_of_any_size_work(size: tuple[int, int]) -> None:
    (made_3HW,) = synthesized(config(), layout(np.zeros(size, np.uint8)))
    assert made_3HW.shape == (3, *size)


def test_a_layout_whose_colours_are_of_no_class_is_a_row_that_failed() -> None:
    photo = drawn(IDS_HW, [(255, 255, 255), (90, 60, 60), (250, 10, 250)])
    error = refusal(config(), photo)
    assert (error.stage, error.error_type) == ("synthesize", "NotALayout")
    assert "100% of its pixels have the colour of no class within 40 levels" in str(error)
    beside = Picture(torch.cat([photo.pixels, drawn(IDS_HW, off=40).pixels], 2))
    assert "source.decoder: ids" in str(refusal(config(), beside))


def test_the_tolerance_says_how_far_a_colour_may_be() -> None:
    assert refusal(config(tolerance=30), drawn(IDS_HW, off=20)).error_type == "NotALayout"
    assert len(synthesized(config(tolerance=35), drawn(IDS_HW, off=20))) == 1


def test_an_id_that_the_model_does_not_know_is_a_row_that_failed() -> None:
    error = refusal(config(), layout(np.where(IDS_HW == 0, 7, IDS_HW).astype(np.uint8)))
    assert error.error_type == "UnknownClass"
    assert "has the ids [7], and the model knows 0 to 2" in str(error)


def test_a_palette_of_another_number_of_classes_is_refused_before_the_run() -> None:
    with pytest.raises(ModelError, match=r"knows 3 classes, and palette has 2.*lawn, path, pond"):
        config(palette={"a": (0, 0, 0), "b": (9, 9, 9)}).identity()


def test_a_palette_may_stand_in_a_file_and_is_known_by_its_content(tmp_path: Path) -> None:
    colours = [list(colour) for colour in PALETTE.values()]
    written = {
        "named.json": PALETTE,
        "classes.json": {"classes": list(PALETTE), "colours": colours, "ignore_index": 255},
    }
    for name, content in written.items():
        (tmp_path / name).write_text(json.dumps(content))
        assert config(palette=str(tmp_path / name)).identity() == config(palette=PALETTE).identity()
    assert config(palette=json.dumps(PALETTE)).palette == PALETTE


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read"),
        ("[1, 2", "is no JSON"),
        ('{"classes": ["a", "b"]}', "not one entry of colours for each"),
        ("[1, 2]", "valid dictionary"),
    ],
)
def test_a_file_that_holds_no_palette_is_refused(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "p.json").write_text(content)
    with pytest.raises(ValidationError, match=message):
        config(palette=str(tmp_path / "p.json"))


def test_a_model_of_another_task_is_refused() -> None:
    with pytest.raises(ModelError, match="which can't synthesize"):
        config(model="faststyle-wave").identity()


def test_each_picture_of_a_network_that_makes_several_can_be_had_and_no_other() -> None:
    made = [synthesized(config(output=output, precision="float32"), layout(IDS_HW))[0] for output in (1, 2)]
    network, _ = load_checkpoint(Path(str(QUICK["model"])))
    with torch.inference_mode():
        both_OCHW = network(one_hot(torch.from_numpy(IDS_HW)[None], 3))[0].clamp(0, 1)
    for pixels_3HW, made_CHW in zip(made, both_OCHW, strict=True):
        assert torch.equal(pixels_3HW, (made_CHW * 255).round().byte())
    assert not torch.equal(*made)
    (plain,) = config().identity().values()
    assert "output" not in plain
    with pytest.raises(ModelError, match=r"makes 2 pictures for a layout, and output is 3; set output from 1 to 2"):
        config(output=3).identity()

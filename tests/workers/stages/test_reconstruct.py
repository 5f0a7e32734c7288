"""Reconstruct: pictures of their own size, and an error that is the recipe's and finds what does not belong.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.models.preprocess import Preprocess
from pixelmill.workers.models.zoo import zoo_path
from pixelmill.workers.pictures import Picture
from pixelmill.workers.recipes import squares
from pixelmill.workers.recipes.registry import recipe_of
from pixelmill.workers.recipes.scoring import evaluate
from pixelmill.workers.stages import Deferred, Milled, StageContext
from pixelmill.workers.stages.reconstruct import Reconstruct, ReconstructConfig
from tests.corpus import photo
from tests.shared_data import SHARED_DATA

CONTEXT = StageContext(device="cpu", threads=1, job_images=4, cache_dir=None)


def stage_of(model: str = "autoencoder-photos", **options: Any) -> Reconstruct:
    return ReconstructConfig.model_validate({"model": model, "precision": "float32", **options}).build(CONTEXT)


def run(stage: Reconstruct, *pictures: Tensor) -> Milled:
    return stage.run([stage.prepare(Picture(pixels)) for pixels in pictures])


def made(milled: Milled, name: str = "reconstruction") -> list[Image.Image]:
    column = milled.columns[name]
    assert isinstance(column, Deferred)
    return [Image.open(io.BytesIO(value["bytes"])) for value in (job() for job in column.jobs)]  # type: ignore[index]


def scores(milled: Milled, name: str = "reconstruction_error") -> list[float]:
    column = milled.columns[name]
    assert isinstance(column, pa.Array)
    return column.to_pylist()


def pixels_of(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["autoencoder-photos", "autoencoder-mnist", "vae-mnist"])
def test_the_error_of_a_picture_of_the_networks_size_is_what_its_recipe_evaluates(name: str) -> None:
    path = zoo_path(name)
    assert path is not None
    network, card = load_checkpoint(path)
    recipe: Any = recipe_of(card, {})
    size_px = 28 if "mnist" in name else 128
    pictures = [photo(seen, size_px, size_px) for seen in ("chelsea", "astronaut", "coffee")]
    files = [io.BytesIO() for _ in pictures]
    for picture, file in zip(pictures, files, strict=True):
        picture.save(file, "PNG")
    samples = [
        squares.decode({"image": file.getvalue()}, recipe.settings.channels, squares.whole(256)) for file in files
    ]
    stage = stage_of(name)
    for picture, sample in zip(pictures, samples, strict=True):
        expected = evaluate(recipe, network, [sample])["mse"]
        assert scores(run(stage, pixels_of(picture))) == pytest.approx([expected], rel=1e-3)


@pytest.mark.parametrize(
    ("name", "mode"), [("autoencoder-photos", "RGB"), ("autoencoder-mnist", "L"), ("vae-mnist", "L")]
)
def test_what_is_made_has_the_pictures_own_size_and_the_networks_colours(name: str, mode: str) -> None:
    sizes = [(1, 1), (1, 300), (31, 17), (128, 128), (240, 90)]
    milled = run(stage_of(name), *(torch.full((3, *size), 90, dtype=torch.uint8) for size in sizes))
    assert [(picture.height, picture.width) for picture in made(milled)] == sizes
    assert {picture.mode for picture in made(milled)} == {mode}
    for picture, encoded in zip(milled.pictures, made(milled), strict=True):
        assert picture is not None
        assert picture.kind == "rgb8"
        assert torch.equal(picture.pixels, pixels_of(encoded))


@pytest.mark.parametrize("size", [(96, 128), (200, 133)])
def test_a_reconstruction_looks_like_its_picture(size: tuple[int, int]) -> None:
    pixels_CHW = pixels_of(photo("chelsea", size[1], size[0]))
    ((again,), mirrored_CHW) = made(run(stage_of(), pixels_CHW)), pixels_CHW.flip(-1)
    error = (pixels_of(again).float() - pixels_CHW).square().mean().item() / 255**2
    assert error < 0.01
    assert error < (pixels_of(again).float() - mirrored_CHW).square().mean().item() / 255**2 / 5


@pytest.mark.parametrize("native", [(1, 1), (28, 28), (32, 9), (64, 32), (900, 1), (33, 31), (20, 26)])
def test_of_a_padded_picture_that_part_is_taken_which_the_network_was_shown(native: tuple[int, int]) -> None:
    seen = Preprocess(32, 32, "bilinear", (0.0,), (1.0,), "pad")
    shown_CHW = seen.applied_to(torch.full((3, *native), 255, dtype=torch.uint8))
    rows, columns = seen.shown_part(native)
    assert shown_CHW[:, rows, columns].min() == 255
    assert shown_CHW.count_nonzero() == shown_CHW[:, rows, columns].numel()


def test_a_reconstruction_that_is_not_finite_is_an_error_and_no_picture() -> None:
    stage = stage_of()
    samples = [stage.prepare(Picture(torch.zeros(3, 9, 7, dtype=torch.uint8))) for _ in range(3)]
    seen_BCSS = torch.zeros(3, 3, 128, 128, dtype=torch.uint8)
    made_BCSS = torch.zeros(3, 3, 128, 128)
    made_BCSS[1, 0, 5, 5], made_BCSS[2, 1, 0, 0] = float("nan"), float("inf")
    milled = stage.milled(samples, seen_BCSS, made_BCSS)
    assert {place: error.error_type for place, error in milled.errors.items()} == {1: "NotFinite", 2: "NotFinite"}
    assert [picture is None for picture in milled.pictures] == [False, True, True]
    assert scores(milled)[0] == 0


def test_another_column_takes_the_error_with_it() -> None:
    assert ReconstructConfig(column="again").columns() == ("again", "again_error")
    assert ReconstructConfig().columns() == ("reconstruction", "reconstruction_error")


@pytest.mark.parametrize("model", ["segnet-camvid", "monodepth-kitti", "vdsr-t91"])
def test_a_network_that_can_not_is_refused_before_anything_starts(model: str) -> None:
    with pytest.raises(ModelError, match=rf"{model}: holds the network \w+, which can't reconstruct"):
        ReconstructConfig(model=model).identity()


def area_under_curve(inliers: list[float], outliers: list[float]) -> float:
    """How often an outlier scores above an inlier."""
    wins = [outlier > inlier for outlier in outliers for inlier in inliers]
    return float(np.mean(wins))


def noise(height: int, width: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator) for _ in range(10)]


@pytest.mark.shared_data
def test_the_error_finds_what_does_not_belong_among_digits_and_noise_among_photographs() -> None:
    photos = [decode_picture(path.read_bytes()) for path in sorted((SHARED_DATA / "photos").rglob("*.jpg"))[7::38]]
    table = pq.read_table(SHARED_DATA / "mnist" / "test.parquet", columns=["image"]).slice(0, 40)
    digits = [decode_picture(row["bytes"]) for row in table["image"].to_pylist()]
    flat = [torch.full((3, 200, 200), level, dtype=torch.uint8) for level in range(0, 256, 51)]
    of_digits, of_photos = stage_of("autoencoder-mnist"), stage_of("autoencoder-photos")
    usual = scores(run(of_digits, *digits))
    for strangers in (photos, noise(150, 200)):
        assert area_under_curve(usual, scores(run(of_digits, *strangers))) > 0.99
    usual = scores(run(of_photos, *photos))
    assert area_under_curve(usual, scores(run(of_photos, *noise(128, 128)))) > 0.95
    assert area_under_curve(usual, scores(run(of_photos, *flat))) < 0.05  # what is empty is at the other end

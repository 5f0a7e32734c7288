"""Upscale over a folder of pictures of every kind: each comes out larger, with its colours, and sharper than interpolated."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch.nn import functional

from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import ModelError
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Deferred, StageContext
from pixelmill.workers.stages.upscale import UpscaleConfig
from pixelmill.workers.typed_torch import from_numpy
from tests.in_process_run import Job, live
from tests.saved_networks import saved
from tests.shared_data import SHARED_DATA
from tests.workers.scenes import scene

CONTEXT = StageContext(device="cpu", threads=1, job_images=1, cache_dir=None)
ACCESS = Access(retry_for_s=0.0)


def colours(height: int, width: int) -> np.ndarray:
    """uint8 HWC."""
    return np.stack([scene(height, width, seed) for seed in range(3)], axis=-1)


def config(**options: object) -> UpscaleConfig:
    return UpscaleConfig.model_validate(options)


def run(folder: Path, out: Path, **options: object) -> pa.Table:
    """What a run over a folder of pictures makes, in the order of their names."""
    stages = (config(**options),)
    job = Job(Source((str(folder),), access=ACCESS), Folder(str(out), ACCESS), stages, max_pixels=1 << 22)
    assert live(job).is_exact
    rows = pa.concat_tables([pq.read_table(file) for file in sorted((out / "data").glob("*.parquet"))])
    return rows.sort_by("uri")


def opened(row: dict[str, bytes]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(row["bytes"])))


@pytest.fixture
def kinds(tmp_path: Path) -> Path:
    """Pictures of every size and kind, named by it."""
    folder = tmp_path / "in"
    folder.mkdir()
    scene_HWC = colours(40, 56)
    alpha_HW1 = np.full((40, 56, 1), 128, np.uint8)
    pictures = {
        "16bit": Image.fromarray((scene_HWC[..., 0].astype(np.uint16) << 8) + 77),
        "1x1": Image.fromarray(np.full((1, 1, 3), (200, 100, 50), np.uint8)),
        "1x300": Image.fromarray(np.repeat(colours(1, 100), 3, axis=1)),
        "300x1": Image.fromarray(np.repeat(colours(100, 1), 3, axis=0)),
        "grey": Image.fromarray(scene_HWC[..., 0]),
        "rgb": Image.fromarray(scene_HWC),
        "rgba": Image.fromarray(np.concatenate([scene_HWC, alpha_HW1], axis=-1)),
    }
    for name, each in pictures.items():
        each.save(folder / f"{name}.png")
    return folder


def test_pictures_of_every_kind_come_out_larger(kinds: Path, tmp_path: Path) -> None:
    rows = run(kinds, tmp_path / "out", scale=3)
    assert rows.num_rows == len(list(kinds.iterdir()))
    for row in rows.to_pylist():
        made_HWC = opened(row["upscaled"])
        assert made_HWC.shape == (row["height"] * 3, row["width"] * 3, 3)
        assert made_HWC.dtype == np.uint8
    by_name = {Path(row["uri"]).stem: opened(row["upscaled"]).astype(int) for row in rows.to_pylist()}
    assert np.abs(by_name["1x1"] - (200, 100, 50)).max() <= 3
    for grey in ("grey", "16bit"):
        assert np.ptp(by_name[grey], axis=-1).max() <= 1
    small_hwc = by_name["rgb"].reshape(40, 3, 56, 3, 3).mean(axis=(1, 3))
    assert np.abs(small_hwc - colours(40, 56)).mean() < 4
    on_white = (colours(40, 56).astype(int) * 128 + 255 * 127) / 255
    assert np.abs(by_name["rgba"].reshape(40, 3, 56, 3, 3).mean(axis=(1, 3)) - on_white).mean() < 4


@pytest.mark.parametrize(("file_format", "name"), [("png", "PNG"), ("jpeg", "JPEG")])
def test_pictures_are_stored_in_the_format_that_is_asked_for(
    kinds: Path, tmp_path: Path, file_format: str, name: str
) -> None:
    options = {"model": str(saved("vdsr", "formats", depth=2, width=2)), "format": file_format, "column": "large"}
    for row in run(kinds, tmp_path / "out", **options).to_pylist():
        assert Image.open(io.BytesIO(row["large"]["bytes"])).format == name
        assert row["large"]["path"] is None


def test_a_large_picture_is_that_of_its_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    from pixelmill.workers.stages import upscale

    picture = Picture(from_numpy(colours(150, 131)).permute(2, 0, 1))
    made: list[torch.Tensor] = []
    for most_pixels in (1 << 30, 120 * 120):
        monkeypatch.setattr(upscale, "MOST_MADE_PIXELS", most_pixels)
        stage = config().build(CONTEXT)
        (large,) = stage.run([stage.prepare(picture)]).pictures
        assert large is not None
        made.append(large.pixels.int())
    assert (made[0] - made[1]).abs().max() <= 1
    assert (made[0] != made[1]).float().mean() < 1e-3


def test_a_scale_that_the_model_does_not_offer_is_refused_before_the_run_with_those_that_it_does() -> None:
    with pytest.raises(
        ModelError, match=r"model vdsr-t91: enlarges 2 or 3 or 4 times, and scale is 5; set scale: 2 or"
    ):
        config(scale=5).identity()
    with pytest.raises(ModelError, match="enlarges 2 or 3 or 4 times"):
        config(scale=5).build(CONTEXT)
    with pytest.raises(ValidationError):
        config(scale=0)


def test_a_model_that_is_not_for_this_is_refused_with_those_that_are() -> None:
    with pytest.raises(ModelError, match="can't upscale"):
        config(model="segnet-camvid").identity()
    with pytest.raises(ModelError, match="vdsr-t91"):
        config(model="vdsr-t92").identity()


def test_what_waits_to_be_encoded_is_the_picture_that_others_read() -> None:
    stage = config(model=str(saved("vdsr", "formats", depth=2, width=2))).build(CONTEXT)
    milled = stage.run([stage.prepare(Picture(from_numpy(colours(9, 8)).permute(2, 0, 1)))])
    column, (picture,) = milled.columns["upscaled"], milled.pictures
    assert isinstance(column, Deferred)
    assert picture is not None
    assert column.pixels[0] is picture.pixels  # the memory is there once
    assert picture.pixels.permute(1, 2, 0).is_contiguous()  # as encoders want it


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["png", "jpeg"])
def test_a_hundred_megapixels_are_doubled_in_less_than_four_gigabytes(file_format: str) -> None:
    """1.2 GB are the picture, and for JPEG 1.6 GB the copy that Pillow encodes; the floats of a network would be 4.8 GB."""
    model = str(saved("vdsr", "formats", depth=2, width=2))
    program = [sys.executable, "-m", "tests.workers.stages.upscaling", model, "10000", "10000", file_format]
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    peak_bytes, encoded_bytes = map(int, done.stdout.split())
    assert encoded_bytes > 20e6
    assert peak_bytes < 4e9


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED_DATA.exists(), reason="needs Set5")
def test_photographs_come_out_nearer_to_what_they_were_than_interpolation_brings_them(tmp_path: Path) -> None:
    folder, truths = tmp_path / "in", dict[str, np.ndarray]()
    folder.mkdir()
    for file in sorted((SHARED_DATA / "super_resolution" / "set5").glob("*.png")):
        picture = Image.open(file).convert("RGB")
        size = picture.width // 2, picture.height // 2
        truths[file.stem] = np.asarray(picture.crop((0, 0, size[0] * 2, size[1] * 2)), np.float64)
        picture.crop((0, 0, size[0] * 2, size[1] * 2)).resize(size, Image.Resampling.BICUBIC).save(folder / file.name)
    gains_db: list[float] = []
    for row in run(folder, tmp_path / "out").to_pylist():
        name = Path(row["uri"]).stem
        small_HWC = np.asarray(Image.open(folder / f"{name}.png"))
        plain_HWC = functional.interpolate(
            from_numpy(small_HWC.copy()).permute(2, 0, 1)[None].double(),
            scale_factor=2.0,
            mode="bicubic",
            antialias=True,
        )[0].permute(1, 2, 0)
        errors = [
            np.square(each.astype(np.float64) - truths[name]).mean()
            for each in (opened(row["upscaled"]), plain_HWC.round().clamp(0, 255).numpy())
        ]
        gains_db.append(10 * np.log10(errors[1] / errors[0]))
    assert len(gains_db) == 5
    assert min(gains_db) > 0.3
    assert np.mean(gains_db) > 1.2


def test_an_ensemble_is_the_mean_over_orientations_and_old_runs_keep_their_identity() -> None:
    model = str(saved("vdsr", "sharpener", depth=3, width=4))
    picture = Picture(from_numpy(colours(20, 30)).permute(2, 0, 1))

    def made(pixels_3HW: torch.Tensor, ensemble: int) -> torch.Tensor:
        stage = config(model=model, ensemble=ensemble, precision="float32").build(CONTEXT)
        (large,) = stage.run([stage.prepare(Picture(pixels_3HW))]).pictures
        assert large is not None
        return large.pixels.float()

    turned = made(torch.rot90(picture.pixels, 1, (1, 2)), 8)
    assert (turned - torch.rot90(made(picture.pixels, 8), 1, (1, 2))).abs().max() <= 1
    assert not torch.equal(made(picture.pixels, 8), made(picture.pixels, 1))
    (plain,), (eight,) = (config(model=model, **keys).identity().values() for keys in ({}, {"ensemble": 8}))
    assert "ensemble" not in plain
    assert eight["ensemble"] == 8

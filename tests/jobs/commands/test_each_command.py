"""Each command of a stage, as a user types it, over a folder of photographs: with what ships, and with models of others."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import skimage.data
import torch
from PIL import Image
from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

from tests.support import home, pixelmill
from tests.workers import onnx_files, tiny_transformers
from tests.workers.models.libraries.test_in_stages import onnx_classifier, state_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
LONGER_SIDE_PX = 120


def photographs(folder: Path) -> Path:
    folder.mkdir()
    for name in PHOTOGRAPHS:
        picture = Image.fromarray(getattr(skimage.data, name)())
        picture.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX))
        picture.save(folder / f"{name}.jpg", quality=92)
    return folder


def layouts(folder: Path) -> Path:
    """Masks of twelve classes, as palette PNG."""
    folder.mkdir()
    for number in range(2):
        ids_HW = np.random.default_rng(number).integers(0, 12, (8, 8), np.uint8).repeat(8, 0).repeat(8, 1)
        picture = Image.fromarray(ids_HW, "L").convert("P")
        picture.putdata(ids_HW.ravel().tolist())
        picture.save(folder / f"{number}.png")
    return folder


def rows_of(source: Path, tmp_path: Path, *command: str) -> list[dict[str, Any]]:
    """The rows that a command made of a folder; every input is done."""
    kind, *options = command
    with home() as user:
        ended = pixelmill(user, kind, str(source), str(tmp_path / "out"), *options)
    assert ended.code == 0, ended.stderr
    tables = [pq.read_table(path) for path in sorted((tmp_path / "out" / "data").glob("*.parquet"))]
    rows = [row for table in tables for row in table.to_pylist()]
    assert len(rows) == len(list(source.iterdir()))
    return rows


def size_of(value: dict[str, Any]) -> tuple[int, int]:
    return Image.open(io.BytesIO(value["bytes"])).size


@pytest.mark.parametrize(
    ("command", "column", "scale"),
    [
        (("segment",), "mask", 1),
        (("segment", "--model", "unet-camvid"), "mask", 1),
        (("segment", "--model", "torchvision:lraspp_mobilenet_v3_large/random"), "mask", 1),
        (("depth",), "disparity_px", 1),
        (("upscale", "--scale", "3"), "upscaled", 3),
        (("stylize", "--style", "the-scream"), "stylized", 1),
        (("reconstruct",), "reconstruction", 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_pictures_come_out_in_the_size_of_the_photographs(
    command: tuple[str, ...], column: str, scale: int, tmp_path: Path
) -> None:
    for row in rows_of(photographs(tmp_path / "in"), tmp_path, *command):
        assert size_of(row[column]) == (scale * row["width"], scale * row["height"])


def test_synthesize_makes_a_picture_of_each_layout(tmp_path: Path) -> None:
    rows = rows_of(layouts(tmp_path / "in"), tmp_path, "synthesize", "--set", "source.decoder=ids")
    assert [size_of(row["synthesized"]) for row in rows] == [(64, 64)] * len(rows)


@pytest.mark.parametrize(
    ("command", "column"),
    [
        (("encode",), "latent"),
        (("embed", "--model", "segnet-camvid"), "embedding"),
        (("embed", "--model", "vae-mnist"), "embedding"),
        (("classify", "--model", "torchvision:resnet18/random", "--top", "3"), "class_score"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_numbers_come_out_finite(command: tuple[str, ...], column: str, tmp_path: Path) -> None:
    for row in rows_of(photographs(tmp_path / "in"), tmp_path, *command):
        assert np.isfinite(row[column]).all()


def of_transformers(name: str) -> Callable[[Path], str]:
    def saved(folder: Path) -> str:
        tiny_transformers.saved(name, folder / "m")
        return f"hf:{folder / 'm'}"

    return saved


def of_spandrel(folder: Path) -> str:
    torch.manual_seed(0)
    network = SRVGGNetCompact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=2)
    return f"spandrel:{state_of(network, folder / 'x2.safetensors')}"


def of_onnx(folder: Path) -> str:
    return f"onnx:{onnx_files.saved(folder, onnx_files.convolution(), reach_px=1, tiling='exact')}"


@pytest.mark.parametrize(
    ("kind", "saved", "column"),
    [
        ("segment", of_transformers("segformer"), "mask"),
        ("segment", of_onnx, "mask"),
        ("depth", of_transformers("depth_anything"), "inverse_depth"),
        ("upscale", of_spandrel, "upscaled"),
        ("embed", of_transformers("dinov2"), "embedding"),
        ("classify", of_transformers("vit"), "class_name"),
        ("classify", onnx_classifier, "class_name"),
    ],
    ids=["segment hf", "segment onnx", "depth hf", "upscale spandrel", "embed hf", "classify hf", "classify onnx"],
)
def test_models_of_others_go_through_the_command(
    kind: str, saved: Callable[[Path], str], column: str, tmp_path: Path
) -> None:
    for row in rows_of(photographs(tmp_path / "in"), tmp_path, kind, "--model", saved(tmp_path)):
        assert row[column]

"""Stages that make pictures, in the mill: one fetch and one decode, each picture as large as its input, and chains of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pixelmill.pipelines.outputs.parts import Part
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.depth import DepthConfig
from pixelmill.workers.stages.embed import EmbedConfig
from pixelmill.workers.stages.encode import EncodeConfig
from pixelmill.workers.stages.reconstruct import ReconstructConfig
from tests.corpus import encode, faded, photo, png16
from tests.mills import mill_of, order, rows_by_name

STAGES: tuple[Any, ...] = (
    EncodeConfig.model_validate({"from": "reconstruct", "model": "vae-mnist"}),
    DepthConfig.model_validate({"camera": {"focal_px": 300}}),
    ReconstructConfig.model_validate({"model": "autoencoder-photos"}),
    EmbedConfig.model_validate({"model": "vae-mnist"}),
)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Eight inputs of every shape and kind, one of them no picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(encode(photo("astronaut", 200, 150)))
    (folder / "grey.png").write_bytes(encode(photo(width=60, height=90).convert("L"), "PNG"))
    (folder / "clear.png").write_bytes(encode(faded(), "PNG"))
    (folder / "point.png").write_bytes(encode(photo(width=1, height=1), "PNG"))
    (folder / "line.png").write_bytes(encode(photo(width=300, height=1), "PNG"))
    (folder / "pole.png").write_bytes(encode(photo(width=1, height=300), "PNG"))
    (folder / "deep.png").write_bytes(png16(np.arange(40 * 30, dtype=np.uint16).reshape(40, 30, 1) * 50))
    (folder / "page.png").write_bytes(b"<html>not found</html>")
    return folder


def opened(value: dict[str, Any]) -> Image.Image:
    assert value["path"] is None
    return Image.open(io.BytesIO(value["bytes"]))


@pytest.mark.parametrize("decode_threads", [0, 2])
def test_every_picture_has_the_size_of_its_input_and_goes_on_to_the_stage_that_reads_it(
    pictures: Path, decode_threads: int
) -> None:
    mill, reports = mill_of(pictures, *STAGES, decode_threads=decode_threads, max_pixels=10**6)
    rows = rows_by_name(mill(order(parts=(Part(0, 0, 0, 5), Part(1, 0, 5, 3)))))
    assert {name for name, row in rows.items() if row["error_type"]} == {"page.png"}
    assert (reports[-1].done, len(rows)) == (7, 8)
    encoding = EncodeConfig(model="vae-mnist").build(StageContext("cpu", 1, 8, None))
    for name in sorted(rows.keys() - {"page.png"}):
        row = rows[name]
        made, depth = opened(row["reconstruction"]), opened(row["depth_m"])
        assert made.size == depth.size == (row["width"], row["height"]), name
        assert (made.mode, depth.mode) == ("RGB", "I;16")
        metres_HW = np.asarray(depth) * row["depth_m_scale"]
        assert row["depth_m_near"] == pytest.approx(metres_HW.min(), abs=row["depth_m_scale"])
        assert row["depth_m_far"] == pytest.approx(metres_HW.max(), abs=row["depth_m_scale"])
        assert 1e-3 <= row["depth_m_near"] <= row["depth_m_far"] <= 80
        assert 0 <= row["reconstruction_error"] < 1
        pixels_CHW = torch.from_numpy(np.array(made)).permute(2, 0, 1)
        code = encoding.run([encoding.prepare(Picture(pixels_CHW))]).columns["latent"]
        assert row["latent"] == pytest.approx(code.to_pylist()[0], abs=1e-3)  # type: ignore[union-attr]
        assert len(row["embedding"]) == len(row["latent_deviation"]) == 20

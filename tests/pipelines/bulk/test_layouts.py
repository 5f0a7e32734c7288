"""Layouts through a whole run: read as ids, synthesized, the picture stylized; what is no layout is one failed row each."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
from PIL import Image

from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.codecs.encode import encode_png, encode_png_palette
from pixelmill.workers.stages import config_class
from tests.contracts.examples import stylize, synthesize
from tests.in_process_run import Job, live

CHAIN = (
    config_class("synthesize").model_validate(synthesize.QUICK),
    config_class("stylize").model_validate({**stylize.QUICK, "from": "synthesize", "format": "jpeg"}),
)


def layouts(folder: Path) -> None:
    folder.mkdir()
    ids_HW = np.random.default_rng(0).integers(0, 3, (16, 24), np.uint8)
    (folder / "indices.png").write_bytes(encode_png_palette(ids_HW, [(9, 0, 0), (0, 9, 0), (0, 0, 9)]))
    (folder / "levels.png").write_bytes(encode_png(ids_HW))
    (folder / "unknown.png").write_bytes(encode_png(ids_HW + 7))
    (folder / "colours.png").write_bytes(encode_png(np.zeros((16, 24, 3), np.uint8)))


def test_masks_become_pictures_and_other_files_are_filed_with_their_reason(tmp_path: Path) -> None:
    layouts(tmp_path / "in")
    out = Folder(str(tmp_path / "out"), Access())
    counted = live(Job(Source((str(tmp_path / "in"),)), out, CHAIN, decoder="ids"))
    assert (counted.done, counted.failed) == (2, 2)
    rows = ds.dataset(f"{tmp_path}/out/data").to_table().to_pylist()
    assert {Path(row["uri"]).name for row in rows} == {"indices.png", "levels.png"}
    made = [Image.open(io.BytesIO(row["synthesized"]["bytes"])) for row in rows]
    assert np.array_equal(np.asarray(made[0]), np.asarray(made[1]))
    for row in rows:
        painted = Image.open(io.BytesIO(row["stylized"]["bytes"]))
        assert (painted.format, painted.size) == ("JPEG", (24, 16))
    failed = ds.dataset(f"{tmp_path}/out/failed").to_table().to_pylist()
    assert {Path(row["uri"]).name: (row["stage"], row["error_type"]) for row in failed} == {
        "unknown.png": ("synthesize", "UnknownClass"),
        "colours.png": ("decode", "UnsupportedFormat"),
    }

"""A job whose stages read each other's pictures, through the real command: the toys, and embed behind one of them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.embed import EmbedConfig
from tests.support import Home, Output, job_file, pictures
from tests.toys.command import with_toys

MODEL = "torchvision:squeezenet1_1/random"


def test_embed_may_read_the_negative_that_another_stage_makes(user: Home, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    paths = pictures(folder, 12)
    Image.new("RGB", (64, 48)).save(folder / "black.png")
    stages: list[object] = [
        {"embed": {"model": MODEL, "from": "negative", "name": "of-negative", "precision": "float32"}},
        {"embed": {"model": MODEL, "column": "plain", "precision": "float32"}},
        {"threshold": {"refuse_black": True}},
        {"invert": {"name": "negative"}},
    ]
    job = job_file(tmp_path / "job.yaml", str(folder), str(tmp_path / "out"), stages, actors=1)
    ended = with_toys(user, "run", job)
    assert ended.code == 3, ended.stderr  # the black one
    found = Output(str(tmp_path / "out"))
    (failed,) = found.table("failed").to_pylist()
    assert (Path(str(failed["uri"])).name, failed["stage"], failed["error_type"]) == ("black.png", "threshold", "Black")
    negatives, plain = vectors(found, "embedding"), vectors(found, "plain")
    for path in paths:
        expected, other = in_this_process(path, negative=True), in_this_process(path, negative=False)
        assert np.allclose(negatives.pop(path.name), expected, atol=1e-4)
        assert np.allclose(plain.pop(path.name), other, atol=1e-4)
        assert not np.allclose(expected, other, atol=1e-4)
    assert not negatives
    assert not plain

    record = provenance(found)
    assert set(record["settings"]) == {"of-negative", "embed", "threshold", "negative"}
    assert set(record["weights"]) == {"0.of-negative", "1.embed", "2.threshold", "3.negative"}
    again = with_toys(user, "run", job)
    assert "nothing was left to do" in again.stdout, again.stderr


def vectors(output: Output, column: str) -> dict[str, np.ndarray]:
    rows = output.table("data").to_pylist()
    return {Path(str(row["uri"])).name: np.asarray(row[column], np.float32) for row in rows}


def in_this_process(path: Path, *, negative: bool) -> np.ndarray:
    stage = EmbedConfig.model_validate({"model": MODEL}).build(StageContext("cpu", 1, 1, None))
    pixels_CHW = decode_picture(path.read_bytes())
    milled = stage.run([stage.prepare(Picture(255 - pixels_CHW if negative else pixels_CHW))])
    return np.asarray(milled.columns["embedding"].to_pylist()[0], np.float32)


def provenance(output: Output) -> dict[str, Any]:
    (name, *_) = output.files("data")
    return json.loads(pq.read_metadata(io.BytesIO(output.read(name))).metadata[b"pixelmill"])

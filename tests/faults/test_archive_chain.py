"""A chain of five stages over an archive of mixed photographs, from S3 and back, killed on the way and resumed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from tests.faults.conftest import Mine
from tests.jpegs import make_jpegs
from tests.support import Run, assert_every_input_in_one_row

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(3600)]

PHOTOGRAPHS = 1000
BROKEN = 10
LEAST_PX, MOST_PX = 24, 240
STAGES = [
    {"upscale": {"name": "larger", "scale": 2}},
    {"segment": {"from": "larger"}},
    {"depth": {"from": "larger"}},
    {"embed": {}},
    {"classify": {"model": "torchvision:resnet18/random"}},
]
PICTURES = ("upscaled", "mask", "disparity_px")


def mixed_photographs(folder: Path, count: int) -> None:
    """JPEG, PNG, WebP, grey, with alpha, of any shape from LEAST_PX to MOST_PX a side."""
    originals = folder.with_name("originals")
    for number, name in enumerate(make_jpegs(originals, count)):
        draw = np.random.default_rng(number)
        size = tuple(int(side) for side in np.exp(draw.uniform(np.log(LEAST_PX), np.log(MOST_PX), 2)))
        picture = Image.open(originals / name).resize(size)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = number % 5
        if kind == 0:
            picture.convert("L").save(path, quality=90)
        elif kind == 1:
            picture.convert("RGBA").save(path.with_suffix(".png"))
        elif kind == 2:
            picture.save(path.with_suffix(".webp"), quality=90)
        else:
            picture.save(path, quality=90)


def start(mine: Mine, job: Path) -> Run:
    document = {"version": 1, "source": mine.source, "out": mine.out, "stages": STAGES}
    job.write_text(yaml.safe_dump(document), encoding="utf-8")
    return Run(mine.home, "run", str(job))


def test_1000_photographs_through_five_stages_killed_once_are_each_in_one_row(mine: Mine, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    mixed_photographs(archive, PHOTOGRAPHS)
    mine.gateway.put_folder(mine.bucket, "in", archive)
    for number in range(BROKEN):
        mine.put(f"photos/00/broken-{number}.jpg", b"\xff\xd8\xff" + bytes(100))
    with start(mine, tmp_path / "job.yaml") as run:
        run.wait_until(lambda: len(mine.output.finished_uris()) > 0.2 * PHOTOGRAPHS, "a fifth was done", 3000)
        run.kill()
        assert run.wait_until_gone() == []
    assert 0.2 * PHOTOGRAPHS < mine.seal() < PHOTOGRAPHS
    with start(mine, tmp_path / "job.yaml") as run:
        assert run.wait(3000) == 3, run.stderr
    assert mine.fetched_again() == {}
    reasons = assert_every_input_in_one_row(mine.output, inputs=PHOTOGRAPHS + BROKEN)
    assert sum(reasons.values()) == BROKEN
    assert json.loads(mine.output.read("_SUCCESS"))["done"] == PHOTOGRAPHS
    table = pq.read_table(mine.output.copy_to(tmp_path / "copy") / "data")
    assert table.num_rows == PHOTOGRAPHS
    assert_pictures_fit(table)


def assert_pictures_fit(table: pa.Table) -> None:
    """Every picture column holds what it should, at the size that follows from the input's."""
    rows = table.select(["width", "height", "class_fraction", *PICTURES]).to_pylist()
    for row in rows:
        larger = (2 * row["width"], 2 * row["height"])
        opened = {name: Image.open(io.BytesIO(row[name]["bytes"])) for name in PICTURES}
        assert {name: picture.size for name, picture in opened.items()} == dict.fromkeys(PICTURES, larger)
        ids_HW = np.asarray(opened["mask"])
        shares = np.bincount(ids_HW.ravel(), minlength=len(row["class_fraction"])) / ids_HW.size
        assert np.allclose(shares, row["class_fraction"], atol=1e-5)

"""PNG as we write it is PNG as others read it, and large pictures go through in bands."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pixelmill.workers.codecs import png_writer
from pixelmill.workers.codecs.png_writer import GREY, RGB, Header, Strategy, write_png
from pixelmill.workers.errors import RowError


@pytest.mark.parametrize("strategy", ["default", "runs"])
@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("height", [1, 2, 87, 88, 600])  # bands are of 87 rows here
def test_rows_are_read_back_from_every_band(height: int, level: int, strategy: Strategy) -> None:
    rows_HN = np.random.default_rng(height).integers(0, 256, (height, 3000), np.uint8)
    assert png_writer.BAND_BYTES // 3000 == 87
    data = write_png(rows_HN, Header(1000, height, 8, RGB), level=level, strategy=strategy)
    picture = Image.open(io.BytesIO(data))
    picture.verify()  # the checksums
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))).reshape(height, -1), rows_HN)


def test_a_smooth_picture_gets_small() -> None:
    ramp_HW = np.arange(256, dtype=np.uint8)[:, None].repeat(512, 1)
    assert len(write_png(ramp_HW, Header(512, 256, 8, GREY), level=1, strategy="default")) < ramp_HW.nbytes / 50


def test_more_than_a_chunk_can_hold_is_an_error_of_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_writer, "MOST_CHUNK_BYTES", 100)
    noise_HW = np.random.default_rng(0).integers(0, 256, (20, 20), np.uint8)
    with pytest.raises(RowError, match="20x20 px takes"):
        write_png(noise_HW, Header(20, 20, 8, GREY), level=1, strategy="default")

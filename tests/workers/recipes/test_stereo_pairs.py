"""Pairs are read with their depth and camera, or refused with a reason."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from pixelmill.workers.codecs.encode import encode_png, encode_png16
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes.stereo_pairs import depth_of
from tests.workers.pairs import (
    CALIBRATION,
    recipe,
)


def files(**changes: bytes | None) -> dict[str, bytes]:
    view_HWC = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    depth_HW = np.arange(40 * 90, dtype=np.uint16).reshape(40, 90) * 7
    found = {
        "left": encode_png(view_HWC),
        "right": encode_png(view_HWC[:, ::-1].copy()),
        "depth": encode_png16(depth_HW),
        "calibration": json.dumps(CALIBRATION).encode(),
        **changes,
    }
    return {name: data for name, data in found.items() if data is not None}


def test_decode_resizes_the_views_and_keeps_all_16_bits_of_the_depth() -> None:
    sample = recipe().decode(files())
    assert sample["left"].shape == sample["right"].shape == (64, 128, 3)
    assert sample["left"].dtype == np.uint8
    expected_HW = np.arange(40 * 90, dtype=np.float64).reshape(40, 90) * 7 / 256
    np.testing.assert_allclose(depth_of(sample), expected_HW, rtol=1e-6)
    assert sample["camera"].tolist() == [512, 300, 0.5, 256]


def test_a_pair_without_depth_is_a_sample() -> None:
    assert recipe().decode(files(depth=None, calibration=None)).keys() == {"left", "right"}


@pytest.mark.parametrize(
    ("stated", "scale"),
    [(None, 256), (100, 100), ("depth_m = value / 256, 0 = no LiDAR return", 256), ("v/ 1000", 1000)],
)
def test_the_depths_scale_is_256_or_what_the_calibration_says(stated: object, scale: float) -> None:
    calibration = {**CALIBRATION, "depth_png_scale": stated}
    if stated is None:
        del calibration["depth_png_scale"]
    sample = recipe().decode(files(calibration=json.dumps(calibration).encode()))
    assert sample["camera"][3] == scale


def _png8() -> bytes:
    file = io.BytesIO()
    Image.new("L", (90, 40)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"left": b""}, "left: the file has 0 bytes"),
        ({"right": encode_png(np.zeros((40, 80, 3), dtype=np.uint8))}, "90x40 and 80x40"),
        ({"depth": _png8()}, "16-bit"),
        ({"depth": encode_png16(np.ones((40, 90), dtype=np.uint16))[:60]}, "depth: not a whole PNG"),
        ({"depth": b"GIF89a"}, "depth: not a whole PNG"),
        ({"calibration": None}, "without calib.json"),
        ({"calibration": b"{"}, "not JSON"),
        ({"calibration": b"[]"}, "not a mapping"),
        ({"calibration": b'{"width_px": 512, "focal_px": 0, "baseline_m": 0.5}'}, "focal_px is 0"),
        ({"calibration": b'{"width_px": 512, "focal_px": 300}'}, "baseline_m is None"),
        (
            {"calibration": json.dumps({**CALIBRATION, "depth_png_scale": "metres"}).encode()},
            "depth_png_scale is 'metres'",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_refused_with_its_reason(changes: dict[str, bytes | None], fact: str) -> None:
    with pytest.raises(DataError, match=fact):
        recipe().decode(files(**changes))

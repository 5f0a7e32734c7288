"""libjpeg-turbo by itself: the same pixels and the same verdicts as through Pillow, for whole, broken and odd files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pixelmill.workers.codecs import jpeg, turbo_jpeg
from pixelmill.workers.codecs.decode import decode_picture, decode_reduced
from pixelmill.workers.errors import RowError
from tests.corpus import encode, photo
from tests.workers.fates import ITEMS

JPEGS = sorted(name for name in ITEMS if name.startswith("jpeg/"))
FRACTIONS_PX = (1, 5, 20, 60, 100_000)
VARIANTS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "grey": {"grey": True},
}


def _made(variant: str) -> bytes:
    options = dict(VARIANTS[variant])
    picture = photo().convert("L") if options.pop("grey", False) else photo()
    return encode(picture, **options)


def _outcome(data: bytes, least_px: int | None) -> object:
    """The pixels of a picture, or the type of its error."""
    try:
        if least_px is None:
            return decode_picture(data)
        pixels_CHW, reduced = decode_reduced(data, least_px)
        return pixels_CHW if reduced is None else torch.cat([pixels_CHW.flatten(), torch.tensor(reduced.extent)])
    except RowError as error:
        return error.error_type


def _assert_alike(monkeypatch: pytest.MonkeyPatch, data: bytes, least_px: int | None = None) -> None:
    found = _outcome(data, least_px)
    with monkeypatch.context() as patch:
        patch.setattr(turbo_jpeg, "simplejpeg", None)
        expected = _outcome(data, least_px)
    if isinstance(expected, torch.Tensor):
        assert isinstance(found, torch.Tensor)
        assert torch.equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("least_px", [None, *FRACTIONS_PX])
@pytest.mark.parametrize("name", JPEGS)
def test_every_file_of_the_corpus_is_decoded_as_by_pillow(
    monkeypatch: pytest.MonkeyPatch, name: str, least_px: int | None
) -> None:
    _assert_alike(monkeypatch, ITEMS[name].data, least_px)


@pytest.mark.parametrize("variant", VARIANTS)
def test_usual_files_do_not_need_pillow(monkeypatch: pytest.MonkeyPatch, variant: str) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("Pillow was asked")

    data = _made(variant)
    with Image.open(io.BytesIO(data)) as picture:
        expected_HWC = np.asarray(picture.convert("RGB"))
    monkeypatch.setattr(jpeg, "_by_pillow", refused)
    pixels_CHW = decode_picture(data)
    assert np.array_equal(pixels_CHW.permute(1, 2, 0).numpy(), expected_HWC)
    assert pixels_CHW.stride(0) == 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_damaged_file_has_the_fate_that_pillow_gives_it(monkeypatch: pytest.MonkeyPatch, variant: str) -> None:
    data = _made(variant)
    random = np.random.default_rng(len(variant))
    for _ in range(60):
        damaged = bytearray(data)
        for at in random.integers(2, len(data), random.integers(1, 4)):
            damaged[at] = random.integers(256)
        cut = int(random.integers(2, len(data)))
        for broken in (bytes(damaged), data[:cut] + b"\xff\xd9", data[:cut] + data[cut + 7 :]):
            _assert_alike(monkeypatch, broken)


@pytest.mark.parametrize("height", range(1, 20))
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 8, 17])
def test_the_smallest_pictures_are_reduced_as_by_pillow(
    monkeypatch: pytest.MonkeyPatch, width: int, height: int
) -> None:
    data = encode(photo().resize((width, height)))
    for least_px in (1, 2):
        _assert_alike(monkeypatch, data, least_px)


def test_what_libjpeg_warns_of_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data = _made("baseline")
    _outcome(data[: len(data) // 2] + b"\xff\xd9", None)
    assert capfd.readouterr() == ("", "")

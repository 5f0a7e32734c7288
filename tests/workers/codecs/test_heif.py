"""AVIF and HEIC are turned upright, or the error names the package to install."""

from __future__ import annotations

import sys

import pytest

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import RowError
from tests.corpus import encode, exif, photo, stored
from tests.pixels import as_pixels, distance


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_avif_is_turned_upright(orientation: int) -> None:
    upright = photo("coffee")
    data = encode(stored(upright, orientation), "AVIF", quality=95, speed=10, exif=b"Exif\0\0" + exif(orientation))
    assert distance(decode_picture(data), as_pixels(upright)).mean() < 3  # turned wrongly: over 40


def test_heic_without_its_decoder_is_filed_with_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)  # as if it were not there
    with pytest.raises(RowError, match=r"pip install 'pixelmill\[heic\]'") as caught:
        decode_picture(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    assert caught.value.error_type == "UnsupportedFormat"

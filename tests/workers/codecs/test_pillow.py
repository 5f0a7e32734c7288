"""Pillow gives a whole picture, says nothing, and is asked for no pixel of one that is too large."""

from __future__ import annotations

import io
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from pixelmill.workers.codecs.pillow import loaded, read_without_warnings
from pixelmill.workers.errors import RowError
from tests.corpus import encode, photo


class Loud(GifImageFile):
    """Warns when it is opened, as Pillow does of odd metadata."""

    def _open(self) -> None:
        time.sleep(0.002)  # long enough for another thread to come in between
        warnings.warn("odd metadata", stacklevel=1)
        super()._open()


class Unread(GifImageFile):
    """Must not be asked for its pixels."""

    def load(self) -> Image.core.PixelAccess | None:
        raise AssertionError("pixels were read")


GIF = encode(photo(width=40, height=30), "GIF")


def test_a_loaded_picture_needs_its_file_no_more() -> None:
    file = io.BytesIO(encode(photo(width=40, height=30), "PNG"))
    with Image.open(file) as picture:
        assert isinstance(picture, ImageFile)
        whole = loaded(picture)
        file.close()
        assert np.array_equal(np.asarray(whole), np.asarray(photo(width=40, height=30)))


def test_a_picture_of_too_many_pixels_is_refused_before_a_pixel_is_read() -> None:
    with pytest.raises(RowError, match="40 x 30 = 1,200 pixels") as caught:
        read_without_warnings(Unread, GIF, 1199)
    assert caught.value.error_type == "TooManyPixels"
    assert read_without_warnings(GifImageFile, GIF, 1200).size == (40, 30)


def test_a_cut_picture_raises_and_is_not_filled_up_with_grey() -> None:
    data = encode(photo(width=40, height=30), "TIFF")
    with pytest.raises(OSError, match="truncated"):
        read_without_warnings(TiffImageFile, data[:2000], 10**6)


def test_no_warning_escapes_from_any_thread_and_the_filters_are_as_before() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        with ThreadPoolExecutor(8) as pool:
            read = list(pool.map(lambda _: read_without_warnings(Loud, GIF, 10**6), range(40)))
        assert warnings.filters == before
        warnings.warn("after", stacklevel=1)
    assert len(read) == 40
    assert [str(warning.message) for warning in caught] == ["after"]

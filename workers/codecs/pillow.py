"""Load a whole picture with Pillow, without warnings; shared by all readers."""

from __future__ import annotations

import io
import threading
import warnings

from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from pixelmill.workers.codecs.decode_errors import check_size

_WARNING_FILTERS = threading.Lock()


def loaded(picture: ImageFile) -> Image.Image:
    picture.load()
    return picture


def read_without_warnings(plugin: type[GifImageFile | TiffImageFile], data: bytes, max_pixels: int) -> Image.Image:
    """Read with Pillow's warnings off. Warning filters belong to the whole process, so a lock serializes threads here."""
    with _WARNING_FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = plugin(io.BytesIO(data))
        check_size(*picture.size, max_pixels)
        return loaded(picture)

"""Read AVIF and HEIC, pictures in the container of MPEG-4; HEIC needs an extra (pi-heif)."""

from __future__ import annotations

import io
from typing import Protocol, cast

from PIL import AvifImagePlugin, Image
from PIL.AvifImagePlugin import AvifImageFile

from pixelmill.workers.codecs import headers
from pixelmill.workers.codecs.decode_errors import check_size, needs_extra
from pixelmill.workers.codecs.exif import exif_orientation
from pixelmill.workers.codecs.pillow import loaded

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # workers decode several pictures at a time


class _HeifPicture(Protocol):
    size: tuple[int, int]

    def to_pillow(self) -> Image.Image: ...


class _HeifFile(Protocol):
    primary_index: int

    def __getitem__(self, index: int) -> _HeifPicture: ...


def read_avif(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    """Pillow states the turns and mirrors of an AVIF as an EXIF orientation, whatever its EXIF says."""
    check_size(*headers.heif_size(data), max_pixels)
    picture = AvifImageFile(io.BytesIO(data))
    check_size(*picture.size, max_pixels)
    return loaded(picture), exif_orientation(picture.info.get("exif", b"").removeprefix(b"Exif\0\0"))


def read_heic(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    """The primary picture; libheif turns it upright."""
    try:
        import pi_heif  # pyright: ignore[reportMissingTypeStubs]  an extra
    except ImportError:
        raise needs_extra("HEIC", "heic") from None
    check_size(*headers.heif_size(data), max_pixels)
    pi_heif.options.DECODE_THREADS = 1  # workers decode several pictures at a time
    file = cast("_HeifFile", pi_heif.open_heif(data))  # pyright: ignore[reportUnknownMemberType]
    picture = file[file.primary_index]
    check_size(*picture.size, max_pixels)
    return picture.to_pillow(), 1

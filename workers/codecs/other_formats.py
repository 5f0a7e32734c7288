"""Read the formats that Pillow reads without preparation: WebP, BMP, GIF and JPEG 2000."""

from __future__ import annotations

import io

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pixelmill.workers.codecs import headers
from pixelmill.workers.codecs.decode_errors import check_size
from pixelmill.workers.codecs.exif import exif_orientation
from pixelmill.workers.codecs.pillow import loaded, read_without_warnings


def read_webp(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    header = headers.webp_header(data)
    check_size(header.width, header.height, max_pixels)  # the decoder allocates the canvas when it is opened
    picture = WebPImageFile(io.BytesIO(data))
    check_size(*picture.size, max_pixels)
    return loaded(picture), exif_orientation(picture.info.get("exif", b"").removeprefix(b"Exif\0\0"))


def read_bmp(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    header = headers.bmp_header(data)
    check_size(header.width, header.height, max_pixels)
    picture = loaded(BmpImageFile(io.BytesIO(data)))
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema()[1] == 0:
        picture = picture.convert("RGB")  # screenshots declare an alpha channel and leave it at 0
    return picture, 1


def read_gif(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    width, height = headers.gif_size(data)
    check_size(width, height, max_pixels)
    return read_without_warnings(GifImageFile, data, max_pixels), 1


def read_jpeg2000(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    header = headers.jpeg2000_header(data)
    check_size(header.width, header.height, max_pixels)
    picture = Jpeg2KImageFile(io.BytesIO(data))
    check_size(*picture.size, max_pixels)
    return loaded(picture), 1

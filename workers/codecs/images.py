"""Turn the bytes of one image into RGB pixels and back, or say in a RowError why it can't be done.

Legend: C = 3 channels (red, green, blue), H = height, W = width; pixels are uint8, 0 to 255.

What a decoded picture is:

- the first frame or page, three channels, EXIF orientation applied, so that H and W are what a viewer shows;
- alpha is laid on white; a transparent colour of a palette or of PNG is alpha too; alpha that is 0 in all of a BMP is none;
- 16 bits become 8 by keeping the high byte, as libpng, OpenCV and Pillow do; that is within 1 of value / 257. 12 bits and
  other depths are scaled likewise, by their own depth;
- CMYK and YCCK JPEG hold inverted inks, with an Adobe marker or without, as in browsers; R = (255 - C)(255 - K) / 255;
- colour profiles are not applied.

One decoder, Pillow, reads every format but HEIC and a few layouts of TIFF (`workers/codecs/tiff.py`). torchvision.io sits on the
same libjpeg-turbo and is a tenth faster (500x375 JPEG to contiguous pixels on one core: 0.70 ms, here 0.77), but it is
deprecated, and of a scan that ends early it makes a half-grey picture. Nothing is taken on trust from the file's name, and
nothing but what makes pixels reaches the decoder: metadata is cut out of JPEG and PNG first, so a broken EXIF block can't
lose a picture.

A file without its end marker is Truncated even where all of its pixels happen to be there: it is not what was written,
and no one can tell a lost marker from a lost last scan. Bytes after the end marker are ignored.
"""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from PIL import AvifImagePlugin, Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from torch.nn import functional

from pixelmill.workers.codecs import headers, tiff, tiff_layout
from pixelmill.workers.codecs.decode_errors import (
    DECODE_ERROR_TYPES,
    check_size,
    corrupt,
    decode_error,
    needs_extra,
    truncated,
    unsupported,
)
from pixelmill.workers.codecs.signatures import Format, find_format
from pixelmill.workers.errors import RowError

__all__ = [
    "DECODE_ERROR_TYPES",
    "MAX_PIXELS",
    "center_crop",
    "decode",
    "encode_jpeg",
    "encode_png",
    "encode_png16",
    "encode_png_palette",
    "resize_shorter_side",
]

Interpolation = Literal["bilinear", "bicubic"]

MAX_PIXELS = 2**27  # 134 megapixels, above the largest common camera; 400 MB as RGB
MAX_ASPECT = 64  # a picture longer than this is cut to its centre before it is resized

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # workers decode several pictures at a time

Reader = Callable[[bytes, int], tuple[Image.Image, int]]  # data, max_pixels -> picture, EXIF orientation 1 to 8


# ---------------------------------------------------------------------------------------------------------- decoding


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> torch.Tensor:
    """Decode JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000 or HEIC to uint8 pixels_CHW; its shape has width and height.

    HEIC needs an extra (pi-heif).

    They lie in memory as decoders give them, pixel by pixel (a contiguous HWC, permuted), which is what resizes, crops and
    batches for a network in channels_last work on fastest.

    `max_pixels` bounds width x height as the header states them. Raises RowError with stage "decode" and one of
    DECODE_ERROR_TYPES, and nothing else. Warns never; may be called from many threads.
    """
    file_format = find_format(data)
    try:
        picture, orientation = _READERS[file_format](data, max_pixels)
        return _apply_orientation(_to_pixels(_to_rgb_or_grey(picture)), orientation)
    except RowError:
        raise
    except MemoryError as error:
        fact = "no memory is left for its pixels: lower max_pixels or use fewer actors"
        raise decode_error("TooManyPixels", fact) from error
    except Exception as error:  # a decoder fed with broken bytes may raise anything, and any of it is this row's fate
        raise _explain(error) from error


def _explain(error: Exception) -> RowError:
    """Put a decoder's exception into the closed set."""
    fact = f"{type(error).__name__}: {error}".strip(": ")
    if isinstance(error, Image.DecompressionBombError):
        return decode_error("TooManyPixels", f"the decoder refused its size ({error})")
    # Pillow's parsers wrap what reading past the end raises into SyntaxError
    if "truncat" in fact.lower() or isinstance(error.__cause__, IndexError | EOFError | struct.error):
        return truncated(fact)
    if re.search("unsupported|not supported|unknown (pixel|data)|not available|cannot handle", fact, re.IGNORECASE):
        return unsupported(f"this variant of the format ({fact})")
    return corrupt(fact)


# ------------------------------------------------------------------------------------------------------------- JPEG


def _read_jpeg(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    kept, orientation, frame = [data[:2]], 1, None
    for marker, start, payload, end in headers.jpeg_segments(data):
        if marker in headers.JPEG_FRAMES:
            frame = headers.jpeg_frame(marker, data[payload:end])
            check_size(frame.width, frame.height, max_pixels)
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", payload):
            orientation = _exif_orientation(data[payload + 6 : end])
        if marker < 0xE0 or _jpeg_colour_is_told_by(marker, data[payload:end]):
            kept.append(data[start:end])
        if marker == 0xDA:
            kept.append(_jpeg_scans(data, frame, payload, end))
    return _load(JpegImageFile(io.BytesIO(b"".join(kept)))), orientation


def _jpeg_scans(data: bytes, frame: headers.JpegFrame | None, payload: int, start: int) -> bytes:
    """The coded pixels, ended in such a way that the decoder refuses them where some are missing.

    At an end marker that comes too early, libjpeg fills the rest with grey and only warns, and Pillow drops the
    warning. Where no end marker comes, Pillow raises. So the marker must be there, but of a single scan it is replaced
    by what the decoder reads ahead, 8 bytes at most, taken double. A file of several scans needs its marker, so a
    progressive one that was cut and then closed with a marker of its own is read with the detail that is left.
    """
    if frame is None:
        raise corrupt("its first scan comes before its frame header")
    end = headers.jpeg_end(data, start)
    if frame.has_one_scan(data[payload]):
        return data[start:end] + bytes(16)
    headers.check_jpeg_scans(data, frame, start, end)
    return data[start : end + 2]


def _jpeg_colour_is_told_by(marker: int, payload: bytes) -> bool:
    """The two application segments without which the decoder would guess the colour space wrong."""
    is_jfif = marker == 0xE0 and payload.startswith(b"JFIF") and len(payload) >= 14
    return is_jfif or (marker == 0xEE and payload.startswith(b"Adobe") and len(payload) >= 12)


def _exif_orientation(tiff: bytes) -> int:
    """EXIF tag 274 of the first directory, 1 to 8; 1 wherever the block is broken or says anything else."""
    try:
        order = {b"II": "<", b"MM": ">"}[tiff[:2]]
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entry_count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * entry_count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == 274:
                (value,) = struct.unpack_from(order + {3: "H", 4: "I"}[kind], tiff, entry + 8)
                return value if 1 <= value <= 8 else 1
    except (KeyError, struct.error):
        pass
    return 1


# -------------------------------------------------------------------------------------------------------------- PNG

_PNG_CHUNKS_READ = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"})


def _read_png(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    kept, orientation, header = [data[:8]], 1, None
    for kind, start, payload, end in headers.png_chunks(data):
        if kind == b"IHDR":
            header = headers.png_header(data[payload : end - 4])
            check_size(header.width, header.height, max_pixels)
        if kind == b"eXIf":
            orientation = _exif_orientation(data[payload : end - 4])
        elif kind in _PNG_CHUNKS_READ:
            _check_png_chunk(data, kind, payload, end)
            kept.append(data[start:end])
    if header is None:
        raise corrupt("it has no IHDR chunk")
    picture = _load(PngImageFile(io.BytesIO(b"".join(kept))))
    _check_png_stream(picture, header, kept)
    return _with_key_to_scale(picture, header), orientation


def _check_png_chunk(data: bytes, kind: bytes, payload: int, end: int) -> None:
    if zlib.crc32(memoryview(data)[payload - 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
        raise corrupt(f"the checksum of its chunk {kind.decode()} at byte {payload - 8} does not match")


def _check_png_stream(picture: Image.Image, header: headers.PngHeader, chunks: list[bytes]) -> None:
    """Refuse a stream that ends before the last row: Pillow leaves such rows at 0 and says nothing."""
    width, height = picture.size
    if header.is_interlaced or picture.crop((0, height - 1, width, height)).getbbox() is not None:
        return
    inflater, missing = zlib.decompressobj(), height * header.row_bytes
    for chunk in chunks:
        if chunk.startswith(b"IDAT", 4):
            for at in range(8, len(chunk) - 4, 4096):  # in pieces, or all rows would lie in memory a second time
                missing -= len(inflater.decompress(chunk[at : min(at + 4096, len(chunk) - 4)]))
                if missing <= 0:
                    return
    raise truncated("its pixels stop before the last row")


def _with_key_to_scale(picture: Image.Image, header: headers.PngHeader) -> Image.Image:
    """The picture with its transparent colour in the levels of its pixels, which Pillow leaves as the file has it.

    Of 16-bit RGB only the high bytes are kept, so colours that differ in their low bytes alone are one.
    """
    key = picture.info.get("transparency")
    if header.bits in (2, 4) and header.colour == 0 and isinstance(key, int):
        picture.info["transparency"] = key * 255 // (2**header.bits - 1)
    elif header.bits == 16 and isinstance(key, int):
        covers = Image.fromarray(np.where(np.asarray(picture) == key, np.uint8(0), np.uint8(255)))
        return Image.merge("LA", (_high_byte(picture), covers))
    elif header.bits == 16 and isinstance(key, tuple):
        picture.info["transparency"] = tuple(level >> 8 for level in key)
    return picture


# ------------------------------------------------------------------------------------------------- the other formats

_WARNING_FILTERS = threading.Lock()


def _read_webp(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    header = headers.webp_header(data)
    check_size(header.width, header.height, max_pixels)  # the decoder allocates the canvas when it is opened
    picture = WebPImageFile(io.BytesIO(data))
    check_size(*picture.size, max_pixels)
    return _load(picture), _exif_orientation(picture.info.get("exif", b"").removeprefix(b"Exif\0\0"))


def _read_bmp(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    header = headers.bmp_header(data)
    check_size(header.width, header.height, max_pixels)
    picture = _load(BmpImageFile(io.BytesIO(data)))
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema()[1] == 0:
        picture = picture.convert("RGB")  # screenshots state an alpha channel and leave it at 0
    return picture, 1


def _read_avif(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    """Pillow states the turns and mirrors of an AVIF as an EXIF orientation, whatever its EXIF says."""
    check_size(*headers.heif_size(data), max_pixels)
    picture = AvifImageFile(io.BytesIO(data))
    check_size(*picture.size, max_pixels)
    return _load(picture), _exif_orientation(picture.info.get("exif", b"").removeprefix(b"Exif\0\0"))


def _read_heic(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    """The primary picture; libheif turns it upright."""
    try:
        import pi_heif  # an extra
    except ImportError:
        raise needs_extra("HEIC", "heic") from None
    check_size(*headers.heif_size(data), max_pixels)
    pi_heif.options.DECODE_THREADS = 1  # workers decode several pictures at a time
    file = pi_heif.open_heif(data)
    picture = file[file.primary_index]
    width, height = picture.size
    check_size(width, height, max_pixels)
    return picture.to_pillow(), 1


def _read_jpeg2000(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    header = headers.jpeg2000_header(data)
    check_size(header.width, header.height, max_pixels)
    picture = Jpeg2KImageFile(io.BytesIO(data))
    check_size(*picture.size, max_pixels)
    return _load(picture), 1


def _read_gif(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    width, height = headers.gif_size(data)
    check_size(width, height, max_pixels)
    return _read_quietly(GifImageFile, data, max_pixels), 1


def _read_tiff(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    layout = tiff_layout.read_layout(data)
    check_size(layout.width, layout.height, max_pixels)
    try:
        if tiff_layout.is_for_pillow(layout):
            return _read_quietly(TiffImageFile, data, max_pixels), 1  # Pillow turns a TIFF upright by itself
        return tiff.read(data, layout), layout.orientation
    except OSError:
        tiff_layout.segments(data)  # tells a cut file from a damaged one, which libtiff does not
        raise


def _read_quietly(plugin: type[GifImageFile | TiffImageFile], data: bytes, max_pixels: int) -> Image.Image:
    """Read with Pillow's warnings off. Their filters are the whole process's, so here threads wait for each other."""
    with _WARNING_FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = plugin(io.BytesIO(data))
        check_size(*picture.size, max_pixels)
        return _load(picture)


_READERS: dict[Format, Reader] = {
    "JPEG": _read_jpeg,
    "PNG": _read_png,
    "GIF": _read_gif,
    "TIFF": _read_tiff,
    "WebP": _read_webp,
    "BMP": _read_bmp,
    "AVIF": _read_avif,
    "HEIC": _read_heic,
    "JPEG 2000": _read_jpeg2000,
}


# ------------------------------------------------------------------------------------------------ picture -> pixels


def _load(picture: ImageFile) -> Image.Image:
    picture.load()
    return picture


def _to_rgb_or_grey(picture: Image.Image) -> Image.Image:
    """A picture of mode RGB or L, without alpha."""
    if picture.mode.startswith("I;16"):
        return _high_byte(picture)
    if picture.mode == "LAB":
        return picture.convert("RGB")  # by way of LittleCMS, from white D50 to sRGB
    if picture.mode in ("I", "F", "HSV"):
        raise unsupported(f"a picture of signed, 32-bit or float values ({picture.mode}), which have no agreed white,")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture if picture.mode in ("RGB", "L") else picture.convert("RGB")


def _high_byte(picture: Image.Image) -> Image.Image:
    grey_HW = (np.asarray(picture) >> 8).astype(np.uint8)
    if isinstance(picture, TiffImageFile) and picture.tag_v2.get(262) == 0:  # white is zero: Pillow inverts 8 bits only
        grey_HW = 255 - grey_HW
    return Image.fromarray(grey_HW)


def _to_pixels(picture: Image.Image) -> torch.Tensor:
    pixels_HWC = np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))
    return torch.from_numpy(pixels_HWC).permute(2, 0, 1)


def _apply_orientation(pixels_CHW: torch.Tensor, orientation: int) -> torch.Tensor:
    """Turn stored pixels upright: 5 to 8 are transposed, then rows and columns are mirrored (EXIF 2.3, tag 274)."""
    if orientation >= 5:
        pixels_CHW = pixels_CHW.transpose(1, 2)
    mirrored = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}.get(orientation, ())
    return _by_pixel(pixels_CHW.flip(mirrored) if mirrored else pixels_CHW)


def _by_pixel(pixels_CHW: torch.Tensor) -> torch.Tensor:
    """The same in memory of its own, as a contiguous HWC, permuted."""
    return pixels_CHW.permute(1, 2, 0).contiguous().permute(2, 0, 1)


# --------------------------------------------------------------------------------------------------- resize and crop


def resize_shorter_side(
    pixels_CHW: torch.Tensor, size_px: int, interpolation: Interpolation = "bilinear", *, exact: bool = True
) -> torch.Tensor:
    """Resize uint8 pixels with antialiasing so that the shorter side has `size_px` pixels.

    `exact` gives, bit for bit, what torchvision.transforms._presets.ImageClassification makes of a uint8 tensor. It
    works in float32. Without it the work is done in integers, three times as fast (0.4 ms, not 1.3, for 500x375 -> 256
    on one core), and one grey level away in one value of six (bicubic: up to 8 levels beside hard edges). The integers
    are nearer to what the preset makes of a PIL image, on which published accuracies are measured: 99.4 % are equal.

    A picture more than MAX_ASPECT times as long as wide keeps its centre only, or 1 x 30,000 would become
    256 x 7,680,000. A `center_crop` of it is what the preset gives, moved by half an output pixel at most.

    Resizing only what a crop would keep was measured: 1.4 to 1.7 times as fast, but up to 19 grey levels away, because
    torch can't place a window at a fraction of a pixel. It is not done.
    """
    pixels_CHW = _cut_extremes(pixels_CHW)
    _, height, width = pixels_CHW.shape
    new_long = int(size_px * max(height, width) / min(height, width))
    new_HW = (new_long, size_px) if width <= height else (size_px, new_long)
    if new_HW == (height, width):
        return pixels_CHW
    source_BCHW = pixels_CHW[None].float() if exact else pixels_CHW[None]
    resized_BCHW = functional.interpolate(source_BCHW, new_HW, mode=interpolation, antialias=True, align_corners=False)
    return resized_BCHW[0].clamp_(0, 255).round_().to(torch.uint8) if exact else resized_BCHW[0]


def _cut_extremes(pixels_CHW: torch.Tensor) -> torch.Tensor:
    _, height, width = pixels_CHW.shape
    short, long = sorted((height, width))
    if long <= MAX_ASPECT * short:
        return pixels_CHW
    # what is cut off is a multiple of 4: both ends lose whole pixels, and the crop rounds the same way afterwards
    kept = MAX_ASPECT * short + (long - MAX_ASPECT * short) % 4
    return _crop_or_pad(pixels_CHW, min(height, kept), min(width, kept))


def center_crop(pixels_CHW: torch.Tensor, size_px: int) -> torch.Tensor:
    """The central `size_px` x `size_px` pixels, in memory as `decode` has them; a smaller picture is padded with 0."""
    return _crop_or_pad(pixels_CHW, size_px, size_px)


def _crop_or_pad(pixels_CHW: torch.Tensor, new_height: int, new_width: int) -> torch.Tensor:
    _, height, width = pixels_CHW.shape
    missing_rows, missing_columns = max(0, new_height - height), max(0, new_width - width)
    if missing_rows or missing_columns:
        left, top = missing_columns // 2, missing_rows // 2
        pixels_CHW = functional.pad(pixels_CHW, (left, missing_columns - left, top, missing_rows - top))
    top = round((pixels_CHW.shape[1] - new_height) / 2)  # halves go to the even number, as in torchvision
    left = round((pixels_CHW.shape[2] - new_width) / 2)
    return _by_pixel(pixels_CHW[:, top : top + new_height, left : left + new_width])


# ---------------------------------------------------------------------------------------------------------- encoding


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG of uint8 pixels: grey_HW, rgb_HWC (C = 3) or rgba_HWC (C = 4)."""
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise ValueError(f"encode_png takes uint8 HW, HW3 or HW4, not {pixels.dtype} {pixels.shape}")
    return _save(Image.fromarray(pixels), "PNG")


def encode_jpeg(pixels_CHW: torch.Tensor, quality: int = 90) -> bytes:
    """Baseline JPEG, chroma halved (4:2:0), of uint8 RGB pixels; `quality` is 1 to 100."""
    if pixels_CHW.dtype != torch.uint8 or pixels_CHW.ndim != 3 or pixels_CHW.shape[0] != 3 or not 1 <= quality <= 100:
        given = f"{pixels_CHW.dtype} {tuple(pixels_CHW.shape)}, quality {quality}"
        raise ValueError(f"encode_jpeg takes uint8 3HW and quality 1 to 100, not {given}")
    return _save(Image.fromarray(pixels_CHW.permute(1, 2, 0).contiguous().numpy()), "JPEG", quality=quality)


def encode_png16(values_HW: np.ndarray) -> bytes:
    """16-bit grey PNG of uint16 values; every reader of 16-bit PNG gets the same numbers back."""
    if values_HW.dtype != np.uint16 or values_HW.ndim != 2:
        raise ValueError(f"encode_png16 takes uint16 HW, not {values_HW.dtype} {values_HW.shape}")
    return _save(Image.fromarray(values_HW), "PNG")


def encode_png_palette(ids_HW: np.ndarray, palette: Sequence[tuple[int, int, int]]) -> bytes:
    """Palette PNG of uint8 class ids: the stored values are the ids, viewers show palette[id] (red, green, blue)."""
    if ids_HW.dtype != np.uint8 or ids_HW.ndim != 2 or not 1 <= len(palette) <= 256:
        raise ValueError(f"encode_png_palette takes uint8 HW and 1 to 256 colours, not {ids_HW.dtype} {ids_HW.shape}")
    if int(ids_HW.max()) >= len(palette):
        raise ValueError(f"class id {int(ids_HW.max())} has no colour: the palette has {len(palette)}")
    picture = Image.frombytes("P", (ids_HW.shape[1], ids_HW.shape[0]), np.ascontiguousarray(ids_HW).tobytes())
    picture.putpalette([level for colour in palette for level in colour])
    return _save(picture, "PNG")


def _save(picture: Image.Image, file_format: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()

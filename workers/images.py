"""Turn the bytes of one image into RGB pixels and back, or say in a RowError why it can't be done.

Legend: C = 3 channels (red, green, blue), H = height, W = width; pixels are uint8, 0 to 255.

What a decoded picture is:

- the first frame or page, three channels, EXIF orientation applied, so that H and W are what a viewer shows;
- alpha is laid on white; a palette's transparent colour is alpha too;
- 16 bits become 8 by keeping the high byte, as libpng, OpenCV and Pillow do; that is within 1 of value / 257;
- CMYK and YCCK JPEG hold inverted inks, with an Adobe marker or without, as in browsers; R = (255 - C)(255 - K) / 255;
- colour profiles are not applied.

One decoder, Pillow, reads every format. torchvision.io sits on the same libjpeg-turbo and is a tenth faster (500x375 JPEG
to contiguous pixels on one core: 0.70 ms, here 0.77), but it is deprecated, and of a scan that ends early it makes a
half-grey picture. Nothing is taken on trust from the file's name, and nothing but what makes pixels reaches the
decoder: metadata is cut out of JPEG and PNG first, so a broken EXIF block can't lose a picture.

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
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from torch.nn import functional

from workers.errors import RowError

DecodeErrorType = Literal[
    "Empty",  # no bytes at all
    "NotAnImage",  # something else: a web page, JSON, PDF, an archive, a video; the message says what it looks like
    "Truncated",  # an image whose end is missing
    "Corrupt",  # an image whose bytes contradict themselves
    "TooManyPixels",  # more than max_pixels, told from the header; no pixel was allocated
    "UnsupportedFormat",  # an image that is not read here: HEIC, AVIF, JPEG 2000, camera RAW, SVG, float TIFF ...
]
DECODE_ERROR_TYPES: tuple[str, ...] = get_args(DecodeErrorType)
Interpolation = Literal["bilinear", "bicubic"]

MAX_PIXELS = 2**27  # 134 megapixels, above the largest common camera; 400 MB as RGB
MAX_ASPECT = 64  # a picture longer than this is cut to its centre before it is resized

Reader = Callable[[bytes, int], tuple[Image.Image, int]]  # data, max_pixels -> picture, EXIF orientation 1 to 8


# ---------------------------------------------------------------------------------------------------------- decoding


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> torch.Tensor:
    """Decode JPEG, PNG, WebP, TIFF, BMP or GIF to uint8 pixels_CHW; width and height are its shape.

    They lie in memory as decoders give them, pixel by pixel (a contiguous HWC, permuted), which is what resizes, crops and
    batches for a network in channels_last work on fastest.

    `max_pixels` bounds width x height as the header states them. Raises RowError with stage "decode" and one of
    DECODE_ERROR_TYPES, and nothing else. Warns never; may be called from many threads.
    """
    reader = _find_reader(data)
    try:
        picture, orientation = reader(data, max_pixels)
        return _apply_orientation(_to_pixels(_to_rgb_or_grey(picture)), orientation)
    except RowError:
        raise
    except MemoryError as error:
        fact = "no memory is left for its pixels: lower max_pixels or use fewer actors"
        raise _error("TooManyPixels", fact) from error
    except Exception as error:  # a decoder fed with broken bytes may raise anything, and any of it is this row's fate
        raise _explain(error) from error


def _error(error_type: DecodeErrorType, message: str) -> RowError:
    return RowError("decode", error_type, message)


def _truncated(fact: str) -> RowError:
    return _error("Truncated", f"the end of the file is missing ({fact}): upload or fetch it again")


def _corrupt(fact: str) -> RowError:
    return _error("Corrupt", f"the file is damaged ({fact}): restore it from its source")


def _unsupported(name: str) -> RowError:
    return _error("UnsupportedFormat", f"{name} is not read here: convert it to JPEG, PNG or WebP first")


def _explain(error: Exception) -> RowError:
    """Put a decoder's exception into the closed set."""
    fact = f"{type(error).__name__}: {error}".strip(": ")
    if isinstance(error, Image.DecompressionBombError):
        return _error("TooManyPixels", f"the decoder refused its size ({error})")
    # Pillow's parsers wrap what reading past the end raises into SyntaxError
    if "truncat" in fact.lower() or isinstance(error.__cause__, IndexError | EOFError | struct.error):
        return _truncated(fact)
    if re.search("unsupported|not supported|unknown (pixel|data)|not available|cannot handle", fact, re.IGNORECASE):
        return _unsupported(f"this variant of the format ({fact})")
    return _corrupt(fact)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height == 0:
        raise _corrupt(f"its header says {width} x {height} pixels")
    if width * height > max_pixels:
        raise _error(
            "TooManyPixels",
            f"its header says {width} x {height} = {width * height:,} pixels, over max_pixels = {max_pixels:,}: "
            "raise max_pixels if the picture is real, and mind the memory",
        )


# ------------------------------------------------------------------------------------------------------------- JPEG

_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_FRAMES_READ = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # baseline, extended, progressive; the same, arithmetic
_JPEG_END = re.compile(rb"\xff\xd9")  # three times as fast as bytes.find


def _read_jpeg(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    kept, orientation, sequential_channels = [data[:2]], 1, 0
    for marker, start, payload, end in _jpeg_segments(data):
        if marker in _JPEG_FRAMES:
            _check_jpeg_frame(marker, data[payload:end], max_pixels)
            sequential_channels = data[payload + 5] if marker in (0xC0, 0xC1) else 0
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", payload):
            orientation = _exif_orientation(data[payload + 6 : end])
        if marker < 0xE0 or _jpeg_colour_is_told_by(marker, data[payload:end]):
            kept.append(data[start:end])
        if marker == 0xDA:
            has_one_scan = sequential_channels > 0 and data[payload] == sequential_channels
            kept.append(_jpeg_scans(data, end, has_one_scan))
    return _load(JpegImageFile(io.BytesIO(b"".join(kept)))), orientation


def _jpeg_scans(data: bytes, start: int, has_one_scan: bool) -> bytes:
    """The coded pixels, ended in such a way that the decoder refuses them where some are missing.

    At an end marker that comes too early, libjpeg fills the rest with grey and only warns, and Pillow drops the
    warning. Where no end marker comes, Pillow raises. So the marker must be there, but of a single scan it is replaced
    by what the decoder reads ahead, 8 bytes at most, taken double. A file of several scans needs its marker, so a
    progressive one that was cut and then closed with a marker of its own is read with the detail that is left.
    """
    if (end := _JPEG_END.search(data, start)) is None:
        raise _truncated("no end-of-image marker follows the scan")
    return data[start : end.start()] + (bytes(16) if has_one_scan else end[0])


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield (marker, start, payload, end) of every segment up to the first scan's header; junk between is skipped."""
    at, marker = 2, 0
    while marker != 0xDA:
        if (match := _JPEG_MARKER.search(data, at)) is None:
            raise _truncated("it stops before the first scan")
        marker, at = match[1][0], match.end()
        if marker == 0xD9:
            raise _corrupt("it has an end but no scan")
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers that stand alone
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        end = at + max(2, length)
        if end > len(data):
            raise _truncated(f"segment FF{marker:02X} runs past the end")
        if length < 2:
            raise _corrupt(f"segment FF{marker:02X} has a length below 2")
        yield marker, match.start(), at + 2, end
        at = end


def _jpeg_colour_is_told_by(marker: int, payload: bytes) -> bool:
    """The two application segments without which the decoder would guess the colour space wrong."""
    is_jfif = marker == 0xE0 and payload.startswith(b"JFIF") and len(payload) >= 14
    return is_jfif or (marker == 0xEE and payload.startswith(b"Adobe") and len(payload) >= 12)


def _check_jpeg_frame(marker: int, payload: bytes, max_pixels: int) -> None:
    if len(payload) < 6:
        raise _corrupt("its frame header is too short")
    bits, height, width = struct.unpack(">BHH", payload[:5])
    if marker not in _JPEG_FRAMES_READ:
        raise _unsupported(f"lossless or hierarchical JPEG (SOF{marker - 0xC0})")
    if bits != 8:
        raise _unsupported(f"{bits}-bit JPEG")
    _check_size(width, height, max_pixels)


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
    kept, orientation = [data[:8]], 1
    for kind, start, payload, end in _png_chunks(data):
        if kind == b"IHDR" and end - payload >= 12:
            width, height = struct.unpack_from(">II", data, payload)
            _check_size(width, height, max_pixels)
        if kind == b"eXIf":
            orientation = _exif_orientation(data[payload : end - 4])
        elif kind in _PNG_CHUNKS_READ:
            _check_png_chunk(data, kind, payload, end)
            kept.append(data[start:end])
    picture = _load(PngImageFile(io.BytesIO(b"".join(kept))))
    _check_png_stream(picture, kept)
    return picture, orientation


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield (kind, start, payload, end) of every chunk up to IEND; IHDR is first."""
    at, kind = 8, b""
    while kind != b"IEND":
        if len(data) < at + 12:
            raise _truncated("no IEND chunk closes it")
        length, kind = struct.unpack_from(">I4s", data, at)
        if not kind.isalpha() or (at == 8) != (kind == b"IHDR"):
            raise _corrupt(f"its chunk {kind!r} at byte {at} is out of place")
        end = at + 12 + length
        if end > len(data):
            raise _truncated(f"its chunk {kind.decode()} at byte {at} runs past the end")
        yield kind, at, at + 8, end
        at = end


def _check_png_chunk(data: bytes, kind: bytes, payload: int, end: int) -> None:
    if zlib.crc32(memoryview(data)[payload - 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
        raise _corrupt(f"the checksum of its chunk {kind.decode()} at byte {payload - 8} does not match")


def _check_png_stream(picture: Image.Image, chunks: list[bytes]) -> None:
    """Refuse a stream that ends before the last row: Pillow leaves such rows at 0 and says nothing."""
    width, height = picture.size
    bits, colour, _, _, is_interlaced = chunks[1][16:21]  # of IHDR
    if is_interlaced or picture.crop((0, height - 1, width, height)).getbbox() is not None:
        return
    byte_count = height * (1 + (width * bits * {2: 3, 4: 2, 6: 4}.get(colour, 1) + 7) // 8)
    pixels = b"".join(chunk[8:-4] for chunk in chunks if chunk.startswith(b"IDAT", 4))
    if len(zlib.decompressobj().decompress(pixels, byte_count)) < byte_count:
        raise _truncated("its pixels stop before the last row")


# ------------------------------------------------------------------------------------------------- the other formats

_WARNING_FILTERS = threading.Lock()


def _read_webp(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise _truncated("it is shorter than its RIFF header says")
    if data.startswith(b"VP8X", 12) and len(data) >= 30:  # the decoder allocates the canvas when it is opened
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        _check_size(width, height, max_pixels)
    picture = WebPImageFile(io.BytesIO(data))
    _check_size(*picture.size, max_pixels)
    return _load(picture), _exif_orientation(picture.info.get("exif", b"").removeprefix(b"Exif\0\0"))


def _read_bmp(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    picture = BmpImageFile(io.BytesIO(data))
    _check_size(*picture.size, max_pixels)
    return _load(picture), 1


def _read_gif(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    if len(data) >= 10:
        _check_size(*struct.unpack_from("<HH", data, 6), max_pixels)
    return _read_quietly(GifImageFile, data, max_pixels), 1


def _read_tiff(data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    _check_tiff_directory(data)
    return _read_quietly(TiffImageFile, data, max_pixels), 1  # Pillow turns a TIFF upright by itself


def _read_quietly(plugin: type[GifImageFile | TiffImageFile], data: bytes, max_pixels: int) -> Image.Image:
    """Read with Pillow's warnings off. Their filters are the whole process's, so here threads wait for each other."""
    with _WARNING_FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = plugin(io.BytesIO(data))
        _check_size(*picture.size, max_pixels)
        if isinstance(picture, TiffImageFile) and (50706 in picture.tag_v2 or picture.tag_v2.get(254) == 1):
            # DNGVersion, or NewSubfileType "reduced-resolution copy of another page"
            raise _unsupported("camera RAW (a TIFF whose first page is only a preview)")
        try:
            return _load(picture)
        except OSError:
            if isinstance(picture, TiffImageFile):
                _check_tiff_strips(picture, len(data))
            raise


def _check_tiff_directory(data: bytes) -> None:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:  # BigTIFF
        return
    try:
        (directory,) = struct.unpack_from(f"{order}I", data, 4)
        (entry_count,) = struct.unpack_from(f"{order}H", data, directory)
    except struct.error:
        raise _truncated("its first directory lies past the end") from None
    if directory + 2 + 12 * entry_count > len(data):
        raise _truncated("its first directory runs past the end")


def _check_tiff_strips(picture: TiffImageFile, byte_count: int) -> None:
    """Tell a cut file from a damaged one, once libtiff has refused it without a word."""
    for offsets, lengths in ((273, 279), (324, 325)):  # strips, tiles
        pairs = zip(picture.tag_v2.get(offsets, ()), picture.tag_v2.get(lengths, ()), strict=False)
        if any(start + length > byte_count for start, length in pairs):
            raise _truncated("a strip of its pixels runs past the end")


# ---------------------------------------------------------------------------------------------- which reader, if any

_READERS: dict[bytes, Reader] = {
    b"\xff\xd8\xff": _read_jpeg,
    b"\x89PNG\r\n\x1a\n": _read_png,
    b"GIF87a": _read_gif,
    b"GIF89a": _read_gif,
    b"II*\0": _read_tiff,
    b"MM\0*": _read_tiff,
    b"II+\0": _read_tiff,
    b"MM\0+": _read_tiff,
}

_UNSUPPORTED: tuple[tuple[int, bytes, str], ...] = (
    (8, b"CR\x02\0", "camera RAW (Canon CR2)"),  # before TIFF, which it also is
    (4, b"ftypcrx", "camera RAW (Canon CR3)"),
    (0, b"FUJIFILMCCD-RAW", "camera RAW (Fujifilm RAF)"),
    (0, b"IIRO", "camera RAW (Olympus ORF)"),
    (0, b"IIU\0", "camera RAW (Panasonic RW2)"),
    *((4, b"ftyp" + brand, "HEIC") for brand in (b"heic", b"heix", b"hevc", b"heim", b"heis")),
    *((4, b"ftyp" + brand, "AVIF") for brand in (b"avif", b"avis")),
    *((4, b"ftyp" + brand, "HEIF (HEIC or AVIF)") for brand in (b"mif1", b"msf1")),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000 (a bare codestream)"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL (a bare codestream)"),
    (0, b"\xff\xd8\xff\xf7", "JPEG-LS"),
    (0, b"II\xbc", "JPEG XR"),
    (0, b"8BPS", "Photoshop PSD"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"\0\0\1\0", "Windows ICO"),
    (0, b"%!PS", "PostScript"),
    (0, b"qoif", "QOI"),
    (0, b"DDS ", "DirectDraw DDS"),
)

_FOREIGN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF", "a PDF document: extract its pages as images first"),
    (0, b"\x1f\x8b", "gzip: decompress it first"),
    (0, b"PK\3\4", "a zip archive (or an Office document): unpack it first"),
    (0, b"PK\5\6", "an empty zip archive"),
    (0, b"BZh", "bzip2: decompress it first"),
    (0, b"\xfd7zXZ\0", "xz: decompress it first"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard: decompress it first"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive: unpack it first"),
    (0, b"Rar!", "a RAR archive: unpack it first"),
    (257, b"ustar", "a tar archive: list it as shards, not as an image"),
    (0, b"PAR1", "a Parquet file: list it as a table, not as an image"),
    (128, b"DICM", "a DICOM file: use a CT job"),
    (4, b"ftyp", "a video (MP4 or QuickTime): extract its frames first"),
    (0, b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM): extract its frames first"),
    (0, b"\0\0\1\xba", "a video (MPEG): extract its frames first"),
    (0, b"RIFF", "a RIFF file that is not WebP (AVI video or WAV sound)"),
    (0, b"OggS", "an Ogg file (video or sound)"),
    (0, b"ID3", "MP3 sound"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x7fELF", "a program"),
    (0, b"version https://git-lfs", "a Git LFS pointer: run `git lfs pull` where it came from"),
)

# "BM" alone is too weak a signature: the size of the header that follows must be one of those in use as well
_BMP_HEADERS = frozenset(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))
_CONTROL_BYTES = bytes(byte for byte in range(32) if byte not in b"\t\n\f\r")
_SERVER_ERROR = "the server may have answered with an error page, fetch it again"


def _find_reader(data: bytes) -> Reader:
    if not data:
        raise _error("Empty", "the file has 0 bytes: upload it again or remove it from the source")
    for at, magic, name in _UNSUPPORTED:
        if data.startswith(magic, at):
            raise _unsupported(name)
    for magic, reader in _READERS.items():
        if data.startswith(magic):
            return reader
    if data.startswith(b"RIFF") and data.startswith(b"WEBP", 8):
        return _read_webp
    if data.startswith(b"BM") and data[14:18] in _BMP_HEADERS:
        return _read_bmp
    raise _not_an_image(data)


def _not_an_image(data: bytes) -> RowError:
    if len(data) > 1 and any(magic.startswith(data) for magic in (*_READERS, b"RIFF", b"BM")):
        return _truncated(f"it has only {len(data)} bytes, as an image might begin")
    for at, magic, name in _FOREIGN:
        if data.startswith(magic, at):
            return _error("NotAnImage", f"looks like {name}")
    if (text := _text_of(data)) is None:
        return _error("NotAnImage", f"begins with no known signature (its first bytes are {data[:8].hex(' ')})")
    if re.match(r"(<\?xml.*?)?(<!--.*?-->|<!DOCTYPE svg.*?>|\s)*<svg\b", text, re.DOTALL | re.IGNORECASE):
        return _unsupported("SVG, a drawing without pixels,")
    return _error("NotAnImage", f"looks like {_name_text(text)}")


def _text_of(data: bytes) -> str | None:
    """The start of the data as text, None where it is binary."""
    head = data[:1024]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", errors="replace").strip()
    is_binary = head.translate(None, _CONTROL_BYTES) != head or sum(byte < 128 for byte in head) * 2 <= len(head)
    return None if is_binary else head.decode("utf-8-sig", errors="replace").strip()


def _name_text(text: str) -> str:
    if re.match(r"<(!doctype html|html|head|body|title|center|h1)\b", text, re.IGNORECASE):
        return f"an HTML page: {_SERVER_ERROR}"
    if text.startswith("<"):
        return f"an XML document: {_SERVER_ERROR}"
    if text.startswith(("{", "[")):
        return f"a JSON document: {_SERVER_ERROR}"
    return f"plain text that begins with {text[:40]!r}"


# ------------------------------------------------------------------------------------------------ picture -> pixels


def _load(picture: ImageFile) -> Image.Image:
    picture.load()
    return picture


def _to_rgb_or_grey(picture: Image.Image) -> Image.Image:
    """A picture of mode RGB or L, without alpha."""
    if picture.mode.startswith("I;16"):
        return _high_byte(picture)
    if picture.mode in ("I", "F", "LAB", "HSV"):
        raise _unsupported(f"a picture of signed, 32-bit or float values ({picture.mode}), which have no agreed white,")
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

"""Write a corpus of good, odd and broken images, tars and Parquet files, and say what must become of every one.

`build(folder)` is deterministic. It writes `images/`, `tars/` and `parquet/` and returns one Case for every row that a
complete job over the folder has to account for:

- every file in `images/` is one row. All names end in an extension of a format that is read, whatever is inside, so a
  listing that goes by extension and one that does not find the same files;
- every regular member of a tar is one row, named by its member name as stored, however evil; directories and links are
  none. A tar that is cut is one row more, with member None and the error type Truncated; the member it cuts through is
  none. The empty tar has no row;
- every row of a Parquet table is one row, "row 0" first; a null image and null bytes are Empty.

Not in here: arithmetic-coded JPEG, HEIC, and RAW beyond its header; AVIF and JPEG 2000 are in
tests/workers/codecs/test_decode.py, TIFF at large in tests/workers/codecs/test_tiff.py.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import skimage.data
import tifffile
from PIL import Image, ImageCms
from PIL.Image import Transpose

Expected = Literal["good", "Empty", "NotAnImage", "Truncated", "Corrupt", "TooManyPixels", "UnsupportedFormat"]

WIDTH, HEIGHT = 160, 120  # of every good picture that says nothing else
INVERSE_TRANSPOSE = {  # EXIF orientation -> what makes the stored picture from the upright one
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class Case:
    """One row that must come out. `path` is relative to the folder; `size` is (width, height) upright, or None."""

    path: str
    kind: str
    expected: Expected
    member: str | None = None
    size: tuple[int, int] | None = None


class Item(NamedTuple):
    """One file or member before it is written; `size` is set where `expected` is good."""

    name: str
    kind: str
    expected: Expected
    data: bytes
    size: tuple[int, int] | None = None


def build(folder: Path) -> list[Case]:
    """Write the corpus below `folder`, which may exist, and return its cases in the order of paths and members."""
    cases = [_write_image(folder, item) for item in image_items()]
    return cases + _write_tars(folder / "tars") + _write_parquet(folder / "parquet")


def image_items() -> list[Item]:
    """All files of images/, without writing them."""
    families = (_truncated, _foreign, _misnamed, _damaged, _metadata, _orientations, _jpeg_variants, _png_variants)
    others = (_tiff_variants, _other_variants, _shapes, _unsupported, _names)
    return [item for family in (*families, *others) for item in family()]


# ---------------------------------------------------------------------------------------------------------- pictures


def photo(name: str = "chelsea", width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """One of scikit-image's bundled photographs, RGB."""
    return Image.fromarray(getattr(skimage.data, name)()[..., :3]).resize((width, height), Image.Resampling.LANCZOS)


def encode(picture: Image.Image, file_format: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def faded() -> Image.Image:
    """A photograph, RGBA, clear at the left and opaque at the right."""
    picture = photo()
    picture.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))))
    return picture


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, bits: int, colour: int, rows: list[bytes], before_pixels: bytes = b"") -> bytes:
    """A PNG from raw rows; `colour` is 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""
    stream = zlib.compress(b"".join(b"\0" + row for row in rows))
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before_pixels + png_chunk(b"IDAT", stream) + png_chunk(b"IEND", b"")


def png16(values_HWC: np.ndarray) -> bytes:
    """A 16-bit PNG, of 1 to 4 channels."""
    height, width, channels = values_HWC.shape
    rows = [row.astype(">u2").tobytes() for row in values_HWC]
    return png(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], rows)


def png_bomb(side: int = 50_000) -> bytes:
    """A valid 1-bit PNG of side x side black pixels in a few hundred kilobytes."""
    byte_count = side * (1 + (side + 7) // 8)
    block = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = block.compress(bytes(10**6)) + block.flush(zlib.Z_FULL_FLUSH)  # stands alone, so it may be repeated
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = last.compress(bytes(byte_count % 10**6)) + last.flush()
    adler = (byte_count % 65521) << 16 | 1  # of nothing but zeros
    stream = b"\x78\xda" + zeros * (byte_count // 10**6) + rest + struct.pack(">I", adler)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", stream) + png_chunk(b"IEND", b"")


def jpeg_segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segment(jpeg: bytes, segment: bytes) -> bytes:
    """The JPEG with a segment right behind its start marker."""
    return jpeg[:2] + segment + jpeg[2:]


def without_segment(jpeg: bytes, marker: int) -> bytes:
    """The JPEG without its first segment of this kind."""
    start = jpeg.index(bytes((0xFF, marker)))
    return jpeg[:start] + jpeg[start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big") :]


def exif(orientation: int) -> bytes:
    """A TIFF block with tag 274 alone, as in EXIF."""
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 274, 3, 1, orientation, 0, 0)


def exif_segment(orientation: int) -> bytes:
    return jpeg_segment(0xE1, b"Exif\0\0" + exif(orientation))


def stored(upright: Image.Image, orientation: int) -> Image.Image:
    """What a camera held that way would have stored."""
    transpose = INVERSE_TRANSPOSE.get(orientation)
    return upright if transpose is None else upright.transpose(transpose)


def ycck_jpeg(picture: Image.Image) -> bytes:
    """A JPEG of luma, chroma and black, as Adobe's transform 2 says.

    libjpeg turns stored YCC into R, G, B and takes 255 minus that for the stored, inverted inks (jdcolor.c); so R, G, B
    are the inks themselves, and black alone is stored inverted.
    """
    cyan, magenta, yellow, black = picture.convert("CMYK").split()
    luma_chroma = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    # Pillow inverts what it stores as CMYK, so it is given the inverse of what shall be stored
    planes = [*(band.point(lambda level: 255 - level) for band in luma_chroma), black]
    jpeg = bytearray(encode(Image.merge("CMYK", planes), quality=95))
    jpeg[jpeg.index(b"Adobe") + 11] = 2
    return bytes(jpeg)


# ---------------------------------------------------------------------------------------------------------- families


def _good(name: str, kind: str, data: bytes, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Item:
    return Item(f"{name}", kind, "good", data, size)


def _truncated() -> Iterator[Item]:
    jpeg, progressive = encode(photo(), quality=90), encode(photo(), quality=90, progressive=True)
    tables, scan = jpeg.index(b"\xff\xc4") + 9, jpeg.index(b"\xff\xda")
    in_scan = {part: scan + 14 + (len(jpeg) - scan - 16) * part // 100 for part in (25, 50, 90)}
    cuts = {"2_bytes": 2, "header": 11, "tables": tables, "before_scan": scan, "after_scan_header": scan + 14}
    cuts |= {f"{part}_percent": at for part, at in in_scan.items()} | {"last_2_bytes": len(jpeg) - 2}
    for name, at in cuts.items():
        yield Item(f"truncated/jpeg_{name}.jpg", f"JPEG cut: {name}", "Truncated", jpeg[:at])
    half = in_scan[50]
    yield Item(
        "truncated/jpeg_closed.jpg", "JPEG cut, then given an end marker", "Truncated", jpeg[:half] + b"\xff\xd9"
    )
    yield Item(
        "truncated/jpeg_zeros.jpg", "JPEG whose second half is zeros", "Truncated", jpeg[:half].ljust(len(jpeg), b"\0")
    )
    yield Item(
        "truncated/jpeg_progressive.jpg", "progressive JPEG cut", "Truncated", progressive[: len(progressive) // 2]
    )
    image = encode(photo(), "PNG")
    cuts = {
        "signature": 4,
        "after_signature": 8,
        "header": 20,
        "50_percent": len(image) // 2,
        "no_iend": len(image) - 12,
    }
    for name, at in cuts.items():
        yield Item(f"truncated/png_{name}.png", f"PNG cut: {name}", "Truncated", image[:at])
    short = png(WIDTH, HEIGHT, 8, 0, [bytes(WIDTH)] * (HEIGHT // 2))
    yield Item("truncated/png_short_stream.png", "PNG whose pixel stream ends early", "Truncated", short)
    for name, options in (("gif", {}), ("webp", {}), ("bmp", {}), ("tiff", {}), ("tiff", {"compression": "tiff_lzw"})):
        data, suffix = encode(photo(), name.upper(), **options), "_lzw" if options else ""
        kind = f"{name.upper()}{suffix} cut: 50 percent"
        yield Item(f"truncated/{name}{suffix}.{name}", kind, "Truncated", data[: len(data) // 2])
    strips = _tiff(np.asarray(photo()), photometric="rgb", compression="zlib", rowsperstrip=20)
    yield Item("truncated/tiff_strips.tiff", "TIFF cut in its strips", "Truncated", strips[: len(strips) // 2])


def _foreign() -> Iterator[Item]:
    html = b"\n<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body></body></html>\n"
    xml = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'
    error = json.dumps({"error": {"code": 403, "message": "quota exceeded"}}).encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(zipfile.ZipInfo("inside.jpg"), encode(photo()))
    yield Item("foreign/zero_bytes.jpg", "no bytes", "Empty", b"")
    for name, data in {
        "one_byte.jpg": b"\xff",
        "html.jpg": html,
        "html_utf16.jpg": html.decode().encode("utf-16"),
        "xml.jpg": xml,
        "json.png": error,
        "text.jpg": "This photograph was moved, see the cafe\u0301.\n".encode(),
        "git_lfs.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n",
        "pdf.jpg": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< >>\nendobj\n%%EOF\n",
        "gzip.jpg": gzip.compress(encode(photo()), mtime=0),
        "zip.png": archive.getvalue(),
        "mp4.gif": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(100),
        "webm.gif": b"\x1a\x45\xdf\xa3\x9fB\x86\x81\1" + bytes(100),
        "wav.webp": b"RIFF\x24\0\0\0WAVEfmt " + bytes(24),
        "dicom.tif": bytes(128) + b"DICM" + bytes(100),
        "zeros.jpg": bytes(5000),
        "noise.png": np.random.default_rng(0).integers(0, 256, 5000, np.uint8).tobytes(),
    }.items():
        yield Item(f"foreign/{name}", f"not an image: {name}", "NotAnImage", data)


def _misnamed() -> Iterator[Item]:
    yield _good("misnamed/png.jpg", "PNG named .jpg", encode(photo(), "PNG"))
    yield _good("misnamed/jpeg.png", "JPEG named .png", encode(photo()))
    yield _good("misnamed/gif.jpg", "GIF named .jpg", encode(photo(), "GIF"))
    yield _good("misnamed/webp.JPEG", "WebP named .JPEG", encode(photo(), "WEBP"))
    yield _good("misnamed/tiff.bmp", "TIFF named .bmp", encode(photo(), "TIFF"))


def _damaged() -> Iterator[Item]:
    image, jpeg = encode(photo(), "PNG"), encode(photo(), quality=90)
    pixels, end = image.index(b"IDAT"), len(image) - 12
    flipped = bytearray(image)
    flipped[(pixels + end) // 2] ^= 0x10
    yield Item(
        "damaged/png_crc.png",
        "PNG with a bad CRC",
        "Corrupt",
        image[: end - 1] + bytes([image[end - 1] ^ 1]) + image[end:],
    )
    yield Item("damaged/png_flipped.png", "PNG with a flipped bit", "Corrupt", bytes(flipped))
    chunks = image[:8] + image[33:]
    yield Item("damaged/png_no_header.png", "PNG without IHDR", "Corrupt", chunks)
    yield Item("damaged/png_no_pixels.png", "PNG without IDAT", "Corrupt", image[: pixels - 4] + image[end:])
    yield Item("damaged/png_0_wide.png", "PNG 0 pixels wide", "Corrupt", png(0, 10, 8, 0, [b""] * 10))
    text = image[:33] + png_chunk(b"tEXt", b"Comment\0x")[:-1] + b"\0" + image[33:]
    yield _good("damaged/png_text_crc.png", "PNG with a bad CRC in a comment", text)
    yield Item("damaged/jpeg_no_frame.jpg", "JPEG without SOF", "Corrupt", without_segment(jpeg, 0xC0))
    tables = jpeg.index(b"\xff\xc4") + 5
    yield Item(
        "damaged/jpeg_tables.jpg",
        "JPEG with impossible Huffman tables",
        "Corrupt",
        jpeg[:tables] + b"\xff" * 16 + jpeg[tables + 16 :],
    )
    yield Item("damaged/jpeg_end_only.jpg", "JPEG of start and end", "Corrupt", b"\xff\xd8\xff\xd9")
    at = (jpeg.index(b"\xff\xda") + len(jpeg)) // 2
    early = jpeg[:at] + b"\xff\xd9" + jpeg[at + 2 :]
    yield Item("damaged/jpeg_early_end.jpg", "JPEG with an end marker in its scan", "Truncated", early)
    restarts = bytearray(encode(photo(), quality=90, restart_marker_rows=1))
    at = restarts.index(b"\xff\xd1") + 10  # libjpeg takes up again at the next restart marker
    restarts[at : at + 4] = b"\x12\x34\x56\x78"
    yield _good("damaged/jpeg_scan_flipped.jpg", "JPEG with flipped bytes between restart markers", bytes(restarts))
    webp = bytearray(encode(photo(), "WEBP"))
    webp[30:60] = b"\xff" * 30
    yield Item("damaged/webp.webp", "WebP with overwritten headers", "Corrupt", bytes(webp))
    yield Item("damaged/bomb.png", "PNG of 50,000 x 50,000", "TooManyPixels", png_bomb())
    wide = bytearray(jpeg)
    at = jpeg.index(b"\xff\xc0") + 5
    wide[at : at + 4] = struct.pack(">HH", 65000, 65000)
    yield Item("damaged/bomb.jpg", "JPEG that claims 65,000 x 65,000", "TooManyPixels", bytes(wide))
    canvas = encode(photo(), "GIF")
    yield Item(
        "damaged/bomb.gif", "GIF that claims 65,535 x 65,535", "TooManyPixels", canvas[:6] + b"\xff" * 4 + canvas[10:]
    )
    claim = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\0" * 2
    yield Item(
        "damaged/bomb.webp",
        "WebP that claims 65,536 x 65,536",
        "TooManyPixels",
        b"RIFF" + struct.pack("<I", 22) + b"WEBP" + claim,
    )


def _metadata() -> Iterator[Item]:
    jpeg = encode(photo(), quality=90)
    blocks = {
        "garbage": jpeg_segment(0xE1, b"Exif\0\0" + bytes(range(200))),
        "empty": jpeg_segment(0xE1, b"Exif\0\0"),
        "orientation_0": exif_segment(0),
        "orientation_9": exif_segment(9),
        "orientation_65535": exif_segment(65535),
        "truncated_ifd": jpeg_segment(0xE1, b"Exif\0\0" + exif(6)[:18]),
        "ifd_past_end": jpeg_segment(0xE1, b"Exif\0\0" + struct.pack("<2sHI", b"II", 42, 10**6)),
        "count_65535": jpeg_segment(0xE1, b"Exif\0\0" + struct.pack("<2sHIH", b"II", 42, 8, 65535) + bytes(40)),
        "icc_garbage": jpeg_segment(0xE2, b"ICC_PROFILE\0\7"),
        "photoshop_garbage": jpeg_segment(0xED, b"Photoshop 3.0\x008BIM\4\4\xff"),
        "jfif_short": jpeg_segment(0xE0, b"JFIF\0"),
        "mpf_garbage": jpeg_segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
        "thumbnail": jpeg_segment(0xE1, b"Exif\0\0" + exif(1) + encode(photo("coffee", 40, 30))),
        "fill_bytes": b"\xff" * 20 + jpeg_segment(0xFE, b"comment"),
    }
    for name, segment in blocks.items():
        yield _good(f"metadata/jpeg_{name}.jpg", f"JPEG metadata: {name}", with_segment(jpeg, segment))
    yield _good("metadata/jpeg_trailing_bytes.jpg", "JPEG with bytes behind its end", jpeg + b"trailing" * 100)
    yield _good("metadata/jpeg_two.jpg", "JPEG with a second JPEG behind it", jpeg + encode(photo("coffee")))
    image = encode(photo(), "PNG")
    bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(5 * 10**6)))
    profile = png_chunk(b"iCCP", b"profile\0\0garbage")
    for name, chunk in {
        "text_bomb": bomb,
        "profile_garbage": profile,
        "exif_garbage": png_chunk(b"eXIf", b"II"),
    }.items():
        yield _good(f"metadata/png_{name}.png", f"PNG metadata: {name}", image[:33] + chunk + image[33:])
    yield _good("metadata/png_trailing_bytes.png", "PNG with bytes behind its end", image + b"trailing" * 100)
    yield _good(
        "metadata/webp_exif_garbage.webp", "WebP with a broken EXIF", encode(photo(), "WEBP", exif=b"Exif\0\0garbage")
    )
    tiff = encode(photo(), "TIFF", tiffinfo={315: "an artist"})
    entry = tiff.index(struct.pack("<HH", 315, 2)) + 8  # behind the tags that pixels need
    yield _good(
        "metadata/tiff_tag_past_end.tif",
        "TIFF with a tag past its end",
        tiff[:entry] + struct.pack("<I", 10**8) + tiff[entry + 4 :],
    )


def _orientations() -> Iterator[Item]:
    upright = photo("coffee")
    for value in range(1, 9):
        jpeg = with_segment(encode(stored(upright, value), quality=95, subsampling=0), exif_segment(value))
        yield _good(f"orientation/{value}.jpg", f"JPEG orientation {value}", jpeg)
        tagged = encode(stored(upright, value), "PNG", exif=b"Exif\0\0" + exif(value))
        yield _good(f"orientation/{value}.png", f"PNG orientation {value}", tagged)
    yield _good("orientation/6.tif", "TIFF orientation 6", encode(stored(upright, 6), "TIFF", tiffinfo={274: 6}))
    yield _good(
        "orientation/6.webp", "WebP orientation 6", encode(stored(upright, 6), "WEBP", lossless=True, exif=exif(6))
    )


def _jpeg_variants() -> Iterator[Item]:
    cmyk = encode(photo().convert("CMYK"), quality=95)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    undated = profile[:24] + bytes(12) + profile[36:]
    rgb = encode(photo(), quality=95, keep_rgb=True)
    for name, data in {
        "baseline": encode(photo(), quality=95),
        "progressive": encode(photo(), progressive=True),
        "progressive_grey": encode(photo().convert("L"), progressive=True),
        "grey": encode(photo().convert("L")),
        "444": encode(photo(), subsampling=0),
        "422": encode(photo(), subsampling=1),
        "quality_1": encode(photo(), quality=1),
        "restart_markers": encode(photo(), restart_marker_blocks=3),
        "no_jfif": without_segment(encode(photo()), 0xE0),
        "rgb": rgb,
        "icc": encode(photo(), icc_profile=undated),
        "cmyk_adobe": cmyk,
        "cmyk_without_adobe": without_segment(cmyk, 0xEE),
        "ycck": ycck_jpeg(photo()),
    }.items():
        yield _good(f"jpeg/{name}.jpg", f"JPEG {name}", data)


def _png_variants() -> Iterator[Item]:
    colour_HWC = np.asarray(photo()).astype(np.uint16) * 257
    grey_HWC = np.asarray(photo().convert("L"))[..., None].astype(np.uint16) * 257
    palette = photo().quantize(64)
    key = png(4, 4, 8, 2, [b"\x0a\x14\x1e" * 4] * 4, png_chunk(b"tRNS", b"\0\x0a\0\x14\0\x1e"))
    frames = [photo(name) for name in ("chelsea", "coffee", "rocket")]
    for name, data in {
        "rgb": encode(photo(), "PNG"),
        "grey": encode(photo().convert("L"), "PNG"),
        "16_bit_grey": png16(grey_HWC),
        "16_bit_rgb": png16(colour_HWC),
        "16_bit_grey_alpha": png16(np.concatenate([grey_HWC, grey_HWC], axis=2)),
        "16_bit_rgba": png16(np.concatenate([colour_HWC, grey_HWC], axis=2)),
        "1_bit": encode(photo().convert("1"), "PNG"),
        "palette": encode(palette, "PNG"),
        "palette_4_bit": encode(photo().quantize(16), "PNG", bits=4),
        "palette_transparent": encode(palette, "PNG", transparency=3),
        "palette_alpha": encode(palette, "PNG", transparency=bytes(range(0, 256, 4))),
        "grey_alpha": encode(faded().convert("LA"), "PNG"),
        "rgba": encode(faded(), "PNG"),
        "apng": encode(frames[0], "PNG", save_all=True, append_images=frames[1:]),
    }.items():
        yield _good(f"png/{name}.png", f"PNG {name}", data)
    yield _good("png/colour_key.png", "PNG RGB with a transparent colour", key, (4, 4))


def _tiff(values: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def _tiff_variants() -> Iterator[Item]:
    colour_HWC = np.asarray(photo())
    grey_HW = np.asarray(photo().convert("L"))
    pages = [photo(name) for name in ("chelsea", "coffee")]
    for name, data in {
        "8_bit": encode(photo(), "TIFF"),
        "8_bit_grey": encode(photo().convert("L"), "TIFF"),
        "16_bit_grey": _tiff(grey_HW.astype(np.uint16) * 257, photometric="minisblack"),
        "16_bit_grey_white_is_zero": _tiff(65535 - grey_HW.astype(np.uint16) * 257, photometric="miniswhite"),
        "16_bit_grey_big_endian": _tiff(grey_HW.astype(">u2") * 257, photometric="minisblack", byteorder=">"),
        "16_bit_rgb": _tiff(colour_HWC.astype(np.uint16) * 257, photometric="rgb"),
        "planar": _tiff(colour_HWC.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
        "big": _tiff(colour_HWC, photometric="rgb", bigtiff=True),
        "tiled": _tiff(colour_HWC, photometric="rgb", tile=(64, 64)),
        "multi_page": encode(pages[0], "TIFF", save_all=True, append_images=pages[1:]),
        "lzw": encode(photo(), "TIFF", compression="tiff_lzw"),
        "deflate": encode(photo(), "TIFF", compression="tiff_adobe_deflate"),
        "jpeg": encode(photo(), "TIFF", compression="jpeg"),
        "cmyk": encode(photo().convert("CMYK"), "TIFF"),
        "rgba": encode(photo().convert("RGBA"), "TIFF"),
        "palette": encode(photo().quantize(64), "TIFF"),
        "bilevel": encode(photo().convert("1"), "TIFF"),
        "bilevel_fax": encode(photo().convert("1"), "TIFF", compression="group4"),
    }.items():
        yield _good(f"tiff/{name}.tif", f"TIFF {name}", data)
    for name, values in {
        "float32": grey_HW.astype(np.float32) / 255,
        "int16": grey_HW.astype(np.int16) - 1024,
        "uint32": grey_HW.astype(np.uint32),
    }.items():
        yield Item(f"tiff/{name}.tif", f"TIFF {name}", "UnsupportedFormat", _tiff(values, photometric="minisblack"))


def _other_variants() -> Iterator[Item]:
    frames = [photo(name) for name in ("chelsea", "coffee", "rocket")]
    animated = {"save_all": True, "append_images": frames[1:]}
    bmp = encode(photo(), "BMP")
    upside_down = bmp[:22] + struct.pack("<i", -HEIGHT) + bmp[26:]
    for name, kind, data in (
        ("webp/lossy.webp", "WebP lossy", encode(photo(), "WEBP")),
        ("webp/lossless.webp", "WebP lossless", encode(photo(), "WEBP", lossless=True)),
        ("webp/alpha.webp", "WebP with alpha", encode(faded(), "WEBP")),
        ("webp/animated.webp", "WebP animated", encode(frames[0], "WEBP", **animated)),
        ("gif/still.gif", "GIF", encode(photo(), "GIF")),
        ("gif/animated.gif", "GIF animated", encode(frames[0], "GIF", **animated)),
        ("gif/transparent.gif", "GIF with a transparent colour", encode(photo().quantize(64), "GIF", transparency=3)),
        ("bmp/24_bit.bmp", "BMP", bmp),
        ("bmp/top_down.bmp", "BMP stored from the top", upside_down),
        ("bmp/32_bit.bmp", "BMP of 32 bits", encode(faded(), "BMP")),
        ("bmp/palette.bmp", "BMP palette", encode(photo().quantize(64), "BMP")),
        ("bmp/grey.bmp", "BMP grey", encode(photo().convert("L"), "BMP")),
        ("bmp/1_bit.bmp", "BMP bilevel", encode(photo().convert("1"), "BMP")),
    ):
        yield _good(name, kind, data)


def _shapes() -> Iterator[Item]:
    for width, height in ((1, 1), (1, 5000), (5000, 1), (7, 3), (2, 2)):
        for file_format, extension in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")):
            data = encode(photo(width=width, height=height), file_format)
            yield _good(
                f"shapes/{width}x{height}.{extension}", f"{file_format} {width}x{height}", data, (width, height)
            )


def _unsupported() -> Iterator[Item]:
    frame = encode(photo()).replace(b"\xff\xc0", b"\xff\xc3", 1)
    twelve = bytearray(encode(photo()))
    twelve[twelve.index(b"\xff\xc0") + 4] = 12
    for name, data in {
        "heif_of_jpeg.jpg": b"\0\0\0\x18ftypmif1\0\0\0\0mif1jpeg" + bytes(100),
        "jpeg_xl.jpg": b"\xff\x0a" + bytes(100),
        "jpeg_ls.jpg": b"\xff\xd8\xff\xf7" + bytes(100),
        "jpeg_lossless.jpg": frame,
        "jpeg_12_bit.jpg": bytes(twelve),
        "svg.png": b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>',
        "svg_prolog.png": b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
        "cr2.tif": b"II*\0\x10\0\0\0CR\2\0" + bytes(100),
        "cr3.jpg": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(100),
        "dng.tif": encode(photo(), "TIFF", tiffinfo={50706: b"\1\4\0\0"}),
        "nef.tif": encode(photo(), "TIFF", tiffinfo={254: 1}),
        "psd.png": b"8BPS\0\1" + bytes(100),
        "exr.tif": b"\x76\x2f\x31\x01\2\0\0\0" + bytes(100),
        "ico.png": encode(photo(width=32, height=32), "ICO"),
    }.items():
        yield Item(f"unsupported/{name}", f"unsupported: {name}", "UnsupportedFormat", data)


def _names() -> Iterator[Item]:
    names = [
        "emoji \U0001f431\u200d\U0001f464.jpg",
        "combining e\u0301.jpg",
        "precomposed \u00e9.jpg",
        "right to left \u0635\u0648\u0631\u0629.jpg",
        "\u5199\u771f.jpg",
        "two  spaces .jpg",
        'it\'s "quoted".jpg',
        "percent%20encoded.jpg",
        "percent%.jpg",
        "hash#fragment.jpg",
        "query?a=b&c=d.jpg",
        "glob[0-9]*.jpg",
        "braces{a,b}.jpg",
        "colon:semicolon;comma,.jpg",
        "plus+tilde~at@.jpg",
        "back\\slash.jpg",
        "dollar$HOME.jpg",
        "-rf.jpg",
        "line\nbreak.jpg",
        "tab\tstop.jpg",
        "UPPER.JPG",
        "upper.jpg",
        "year=2024/hive style.jpg",
        "n" * 251 + ".jpg",
        "/".join(["a folder of exactly fifty-five characters, again and again"] * 6) + "/deep.jpg",
    ]
    for number, name in enumerate(names):
        picture = photo("coffee").rotate(number * 10)  # no two alike
        yield _good(f"names/{name}", f"name: {name[:30]!r}", encode(picture))


# ------------------------------------------------------------------------------------------------------------ writing


def _write_image(folder: Path, item: Item) -> Case:
    path = folder / "images" / item.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(item.data)
    return Case(f"images/{item.name}", item.kind, item.expected, None, item.size)


def _member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    """A tar member with its padding, the same on every run."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, target
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % 512)


def _tar_items() -> list[Item]:
    jpeg = encode(photo())
    return [
        _good("0000.jpg", "tar member", jpeg),
        Item("0001.jpg", "tar member: HTML", "NotAnImage", b"<html><body>not found</body></html>"),
        Item("0002.jpg", "tar member: cut JPEG", "Truncated", jpeg[: len(jpeg) // 2]),
        Item("0003.jpg", "tar member: no bytes", "Empty", b""),
        _good("0004.png", "tar member", encode(photo("coffee"), "PNG")),
    ]


def _write_tars(folder: Path) -> list[Case]:
    items, jpeg = _tar_items(), encode(photo("rocket"))
    whole = [_member(item.name, item.data) for item in items]
    evil = [_good(name, "tar member: evil name", jpeg) for name in ("../evil.jpg", "/abs.jpg", "./a/../b.jpg")]
    long = _good("long/" * 60 + "caf\u00e9 \U0001f431.jpg", "tar member: name of over 300 characters", jpeg)
    links = [
        _member("folder/", kind=tarfile.DIRTYPE),
        _member("folder/link.jpg", kind=tarfile.SYMTYPE, target="/etc/passwd"),
        _member("folder/hard.jpg", kind=tarfile.LNKTYPE, target="../evil.jpg"),
    ]
    end = bytes(1024)
    shards: list[tuple[str, list[bytes], list[Item]]] = [
        ("shard-000000.tar", [*whole, end], items),
        ("shard-empty.tar", [end], []),
        ("shard-evil.tar", [*(_member(item.name, item.data) for item in (*evil, long)), end], [*evil, long]),
        ("shard-links.tar", [links[0], whole[0], *links[1:], whole[2], end], [items[0], items[2]]),
        ("shard-truncated.tar", [*whole, _member("0005.jpg", jpeg)[:1500]], items),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for name, parts, members in shards:
        (folder / name).write_bytes(b"".join(parts))
        cases += [Case(f"tars/{name}", item.kind, item.expected, item.name, item.size) for item in members]
    return [*cases, Case("tars/shard-truncated.tar", "tar that is cut", "Truncated")]


def _write_parquet(folder: Path) -> list[Case]:
    jpeg = encode(photo())
    rows: list[tuple[str, Expected, bytes | None]] = [
        ("image", "good", jpeg),
        ("null", "Empty", None),
        ("bytes that are no image", "NotAnImage", b"not an image"),
        ("no bytes", "Empty", b""),
        ("cut JPEG", "Truncated", jpeg[: len(jpeg) // 2]),
        ("image", "good", encode(photo("coffee"), "PNG")),
    ]
    images = [None if data is None else {"bytes": data, "path": f"{row}.jpg"} for row, (_, _, data) in enumerate(rows)]
    null_bytes = {"bytes": None, "path": "elsewhere.jpg"}
    image_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": pa.array([*images, null_bytes], image_type)}), folder / "images.parquet")
    pq.write_table(pa.table({"content": pa.array([data for _, _, data in rows], pa.binary())}), folder / "raw.parquet")
    structs = [*rows, ("null bytes", "Empty", None)]
    return [*_parquet_cases("images", structs), *_parquet_cases("raw", rows)]


def _parquet_cases(name: str, rows: list[tuple[str, Expected, bytes | None]]) -> list[Case]:
    return [
        Case(
            f"parquet/{name}.parquet",
            f"Parquet row: {kind}",
            expected,
            f"row {row}",
            (WIDTH, HEIGHT) if expected == "good" else None,
        )
        for row, (kind, expected, _) in enumerate(rows)
    ]

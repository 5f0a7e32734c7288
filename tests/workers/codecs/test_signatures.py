"""Every input is named correctly, whether its format is supported or not."""

from __future__ import annotations

import struct

import pytest

from pixelmill.workers.codecs import signatures
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import RowError
from tests.corpus import encode, photo, png_chunk
from tests.workers.fates import ITEMS, fate


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("foreign/html.jpg", "HTML page: the server may have answered with an error page"),
        ("foreign/html_utf16.jpg", "HTML page"),
        ("foreign/xml.jpg", "XML document"),
        ("foreign/json.png", "JSON document"),
        ("foreign/text.jpg", "plain text that begins with 'This photograph"),
        ("foreign/git_lfs.png", "git lfs pull"),
        ("foreign/pdf.jpg", "PDF"),
        ("foreign/gzip.jpg", "gzip"),
        ("foreign/zip.png", "zip"),
        ("foreign/mp4.gif", "video"),
        ("foreign/webm.gif", "video"),
        ("foreign/wav.webp", "not WebP"),
        ("foreign/dicom.tif", "DICOM"),
        ("foreign/zeros.jpg", "00 00 00 00"),
        ("unsupported/heif_of_jpeg.jpg", "HEIF of a codec other than HEVC"),
        ("unsupported/jpeg_xl.jpg", "JPEG XL (a bare codestream) is not read here: convert it to JPEG"),
        ("unsupported/svg_prolog.png", "SVG"),
        ("unsupported/dng.tif", "camera RAW"),
        ("unsupported/jpeg_12_bit.jpg", "12-bit JPEG"),
        ("damaged/bomb.png", "50000 x 50000 = 2,500,000,000 pixels, over max_pixels"),
        ("damaged/png_crc.png", "checksum"),
    ],
)
def test_an_error_describes_the_input(name: str, words: str) -> None:
    with pytest.raises(RowError) as caught:
        decode_picture(ITEMS[name].data)
    assert words in str(caught.value)


@pytest.mark.parametrize(("at", "magic", "name"), signatures._UNSUPPORTED, ids=lambda value: ascii(value)[:24])
@pytest.mark.parametrize("before", [b"\0", b"\xff\xd8\xff\xe0", b"II*\0", b"zz"], ids=ascii)
def test_a_format_that_is_not_read_is_found_by_its_signature_whatever_stands_before_it(
    before: bytes, at: int, magic: bytes, name: str
) -> None:
    data = (before * at)[:at] + magic + bytes(100)
    first = next(name for at, magic, name in signatures._UNSUPPORTED if data.startswith(magic, at))
    with pytest.raises(RowError) as caught:
        signatures.find_format(data)
    assert first in str(caught.value)
    assert at > 0 or first == name


PICTURES_NOT_READ = {
    "PBM": b"P4\n# made\n8 1\n\xff",
    "PGM": b"P5 2 1 255 ab",
    "PPM": b"P3\n1 1\n255\n1 2 3\n",
    "PAM": b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nENDHDR\na",
    "PFM": b"Pf\n1 1\n-1.0\n" + bytes(4),
    "PCX": encode(photo(width=16, height=16), "PCX"),
    "Targa TGA": encode(photo(width=16, height=16), "TGA") + bytes(8) + b"TRUEVISION-XFILE.\0",
    "XBM": encode(photo(width=16, height=16).convert("1"), "XBM"),
    "SGI image": encode(photo(width=16, height=16), "SGI"),
    "Apple ICNS": b"icns" + bytes(100),
    "DirectDraw DDS": b"DDS " + bytes(124),
    "QOI": b"qoif" + bytes(20),
    "Radiance HDR": b"#?RGBE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n",
    "OpenEXR": b"\x76\x2f\x31\x01\2\0\0\0",
    "FITS": b"SIMPLE  =                    T".ljust(2880),
    "Windows metafile WMF": b"\xd7\xcd\xc6\x9a" + bytes(40),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "camera RAW (Olympus ORF)": b"IIRO\x08\0\0\0" + bytes(50),
    "iOS PNG (CgBI": b"\x89PNG\r\n\x1a\n" + png_chunk(b"CgBI", b"\x50\0\x20\2") + encode(photo(), "PNG")[8:],
}


@pytest.mark.parametrize("name", PICTURES_NOT_READ)
def test_a_picture_that_is_not_read_is_named_and_not_called_something_else(name: str) -> None:
    with pytest.raises(RowError) as caught:
        decode_picture(PICTURES_NOT_READ[name])
    assert caught.value.error_type == "UnsupportedFormat"
    assert str(caught.value).startswith(name)


@pytest.mark.parametrize("text", ["P3 of the magazine", "P5 is a bus", "\n\n\n", "#define MAX 5"])
def test_text_that_begins_like_a_picture_is_text(text: str) -> None:
    assert fate(text.encode())[0] == "NotAnImage"


def test_metadata_that_macos_leaves_beside_files_is_named() -> None:
    header = struct.pack(">II16xHIIIIII", 0x00051607, 0x00020000, 2, 9, 50, 3760, 2, 3810, 286)
    with pytest.raises(RowError, match=r"macOS metadata \(AppleDouble\)") as caught:
        decode_picture(header.ljust(4096, b"\0"))
    assert caught.value.error_type == "NotAnImage"

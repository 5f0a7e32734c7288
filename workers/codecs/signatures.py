"""Recognize the format of an input by its first bytes: a supported format, an unsupported picture, or something else."""

from __future__ import annotations

import re
from typing import Literal

from pixelmill.workers.codecs.decode_errors import decode_error, truncated, unsupported
from pixelmill.workers.errors import RowError

PictureFormat = Literal["JPEG", "PNG", "GIF", "TIFF", "WebP", "BMP", "AVIF", "HEIC", "JPEG 2000"]

_READ: dict[bytes, PictureFormat] = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
}

# Pictures that are not read. Where a format's own signature is short, what follows it in every file is part of it.
_UNSUPPORTED: tuple[tuple[int, bytes, str], ...] = (
    (8, b"CR\x02\0", "camera RAW (Canon CR2)"),  # before TIFF, which it also is
    (4, b"ftypcrx", "camera RAW (Canon CR3)"),
    (6, b"HEAPCCDR", "camera RAW (Canon CRW)"),
    (0, b"FUJIFILMCCD-RAW", "camera RAW (Fujifilm RAF)"),
    (0, b"IIRO", "camera RAW (Olympus ORF)"),
    (0, b"MMOR", "camera RAW (Olympus ORF)"),
    (0, b"IIU\0", "camera RAW (Panasonic RW2)"),
    (0, b"FOVb", "camera RAW (Sigma X3F)"),
    (0, b"\0MRM", "camera RAW (Minolta MRW)"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL (a bare codestream)"),
    (0, b"\xff\xd8\xff\xf7", "JPEG-LS"),
    (0, b"II\xbc", "JPEG XR"),
    (0, b"\x97JB2\r\n\x1a\n", "JBIG2"),
    (0, b"8BPS", "Photoshop PSD"),
    (0, b"gimp xcf", "GIMP XCF"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"#?RGBE", "Radiance HDR"),
    (0, b"\0\0\1\0", "Windows ICO"),
    (0, b"\0\0\2\0\1\0", "Windows CUR"),
    (0, b"icns", "Apple ICNS"),
    (0, b"%!PS", "PostScript"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript (EPS with a preview)"),
    (0, b"\xd7\xcd\xc6\x9a", "Windows metafile WMF"),
    (40, b" EMF\0\0\1\0", "Windows metafile EMF"),
    (0, b"AT&TFORM", "DjVu"),
    (0, b"qoif", "QOI"),
    (0, b"DDS ", "DirectDraw DDS"),
    (0, b"\xabKTX ", "KTX"),
    (0, b"\x13\xab\xa1\x5c", "ASTC"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"SDPX", "DPX"),
    (0, b"XPDS", "DPX"),
    (0, b"\x80\x2a\x5f\xd7", "Cineon"),
    (0, b"\x01\xda\0", "SGI image"),
    (0, b"\x01\xda\x01", "SGI image"),
    (0, b"\x59\xa6\x6a\x95", "Sun raster"),
    (0, b"farbfeld", "farbfeld"),
    (0, b"FLIF", "FLIF"),
    (0, b"BPG\xfb", "BPG"),
    (0, b"\x8aMNG\r\n\x1a\n", "MNG"),
    (0, b"\x8bJNG\r\n\x1a\n", "JNG"),
    (0, b"/* XPM */", "XPM"),
)
_UNSUPPORTED_BEHIND_OTHERS = tuple(each for each in _UNSUPPORTED if each[0] > 0)
_UNSUPPORTED_BY_FIRST_BYTE = {
    first: tuple(each for each in _UNSUPPORTED if each[0] > 0 or each[1][0] == first)
    for first in {magic[0] for at, magic, _ in _UNSUPPORTED if at == 0}
}
"""Those that an input with this first byte may be, in their order: every input is looked at, and few are any."""
_UNSUPPORTED_PATTERNS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"P[14]\s+(#[^\n]*\n\s*)*\d+\s+\d+\s"), "PBM"),
    (re.compile(rb"P[25]\s+(#[^\n]*\n\s*)*\d+\s+\d+\s+\d+\s"), "PGM"),
    (re.compile(rb"P[36]\s+(#[^\n]*\n\s*)*\d+\s+\d+\s+\d+\s"), "PPM"),
    (re.compile(rb"P7\n(#[^\n]*\n)*(WIDTH|HEIGHT|DEPTH|MAXVAL|TUPLTYPE) "), "PAM"),
    (re.compile(rb"P[Ff]\s+\d+\s+\d+\s+-?[\d.]+\s"), "PFM"),
    (re.compile(rb"\x0a[\0\2-\5][\0\1][\1\2\4\x08]", re.DOTALL), "PCX"),
    (re.compile(rb"\s*(/\*.*?\*/\s*)?#define\s+\w+_width\s+\d+", re.DOTALL), "XBM"),
)
_TGA_FOOTER = b"TRUEVISION-XFILE.\0"  # at the end; TGA of before 1989 has no signature at all

_HEIC_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_HEIF_BRANDS = frozenset((b"mif1", b"mif2", b"msf1", b"miaf"))  # a container: which codec is in it, another brand says

_FOREIGN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\0\5\x16\7", "macOS metadata (AppleDouble), which stands beside a file as ._NAME: delete it or leave it out"),
    (0, b"\0\5\x16\0", "a macOS file with its metadata (AppleSingle): unpack it on a Mac first"),
    (0, b"\0\0\0\1Bud1", "macOS folder settings (.DS_Store): delete it or leave it out"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document or Windows thumbnails (Thumbs.db)"),
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


def find_format(data: bytes) -> PictureFormat:
    """The format of a supported picture; raises RowError (Empty, NotAnImage, UnsupportedFormat, Truncated) otherwise."""
    if not data:
        raise decode_error("Empty", "the file has 0 bytes: upload it again or remove it from the source")
    for at, magic, name in _UNSUPPORTED_BY_FIRST_BYTE.get(data[0], _UNSUPPORTED_BEHIND_OTHERS):
        if data.startswith(magic, at):
            raise unsupported(name)
    for magic, file_format in _READ.items():
        if data.startswith(magic):
            return file_format
    if data.startswith(b"RIFF") and data.startswith(b"WEBP", 8):
        return "WebP"
    if data.startswith(b"BM") and data[14:18] in _BMP_HEADERS:
        return "BMP"
    if data.startswith(b"ftyp", 4) and (file_format := _heif_codec(data)):
        return file_format
    raise _not_read(data)


def _heif_codec(data: bytes) -> PictureFormat | None:
    """AVIF or HEIC by the brands of the ftyp box, None for a video; raises if the brands name neither codec."""
    end = min(len(data), max(16, int.from_bytes(data[:4], "big")), 4096)
    major, compatible = data[8:12], {data[at : at + 4] for at in range(16, end, 4)}
    for brands in ({major}, compatible if major in _HEIF_BRANDS else set[bytes]()):
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIC_BRANDS:
            return "HEIC"
    if major in _HEIF_BRANDS:
        raise unsupported("HEIF of a codec other than HEVC (HEIC) and AV1 (AVIF)")
    return None


def _not_read(data: bytes) -> RowError:
    if len(data) > 1 and any(magic.startswith(data) for magic in (*_READ, b"RIFF", b"BM")):
        return truncated(f"it has only {len(data)} bytes, as an image might begin")
    for pattern, name in _UNSUPPORTED_PATTERNS:
        if pattern.match(data[:1024]):
            return unsupported(name)
    for at, magic, name in _FOREIGN:
        if data.startswith(magic, at):
            return decode_error("NotAnImage", f"looks like {name}")
    if data.endswith(_TGA_FOOTER):
        return unsupported("Targa TGA")
    if (text := _text_of(data)) is None:
        return decode_error("NotAnImage", f"begins with no known signature (its first bytes are {data[:8].hex(' ')})")
    if re.match(r"(<\?xml.*?)?(<!--.*?-->|<!DOCTYPE svg.*?>|\s)*<svg\b", text, re.DOTALL | re.IGNORECASE):
        return unsupported("SVG, a drawing without pixels,")
    return decode_error("NotAnImage", f"looks like {_name_text(text)}")


def _text_of(data: bytes) -> str | None:
    """The start of the data as text; None if it is binary."""
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

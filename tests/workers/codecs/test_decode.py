"""The laws of decoding: every input has one fate, an upright RGB picture or a reason."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.decode_errors import DECODE_ERROR_TYPES
from pixelmill.workers.codecs.footprint import decode_bytes
from pixelmill.workers.errors import RowError
from tests.corpus import Item, encode, exif, faded, image_items, photo, png, png16, png_chunk, stored
from tests.pixels import as_pixels, distance

ITEMS = {item.name: item for item in image_items()}
REPOSITORY = Path(__file__).parents[3]


def fate(data: bytes, **options: int) -> tuple[str, tuple[int, int] | None]:
    """What becomes of the data: ("good", (width, height)) or (error type, None)."""
    try:
        pixels_CHW = decode_picture(data, **options)
    except RowError as error:
        is_told = error.stage == "decode" and error.error_type in DECODE_ERROR_TYPES and str(error) != ""
        return error.error_type if is_told else f"not in the closed set: {error!r}", None
    assert pixels_CHW.dtype == torch.uint8
    assert pixels_CHW.permute(1, 2, 0).is_contiguous()
    assert pixels_CHW.shape[0] == 3
    return "good", (pixels_CHW.shape[2], pixels_CHW.shape[1])


# ------------------------------------------------------------------------------------------------------------- fates


@pytest.mark.parametrize("item", ITEMS.values(), ids=lambda item: ascii(item.name)[:60])
def test_every_input_has_exactly_its_fate(item: Item) -> None:
    assert fate(item.data) == (item.expected, item.size)


def test_no_input_makes_a_warning_escape() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for item in ITEMS.values():
            fate(item.data)
    assert [str(warning.message) for warning in caught] == []


def test_threads_decode_what_one_thread_decodes() -> None:
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(fate, [item.data for item in ITEMS.values()] * 3))
    assert together == [(item.expected, item.size) for item in ITEMS.values()] * 3


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
def test_an_error_says_what_the_input_looks_like(name: str, words: str) -> None:
    with pytest.raises(RowError) as caught:
        decode_picture(ITEMS[name].data)
    assert words in str(caught.value)


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


def many_scans(scans: int, side: int = 64) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    jpeg = encode(photo(width=side, height=side).convert("L"), progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * (scans - jpeg.count(b"\xff\xda")) + jpeg[-2:]


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded() -> None:
    assert fate(many_scans(500)) == ("good", (64, 64))
    for reads in (decode_picture, decode_bytes):
        with pytest.raises(RowError, match=r"64 x 64 pixels in 501 scans") as caught:
            reads(many_scans(501))
        assert caught.value.error_type == "UnsupportedFormat"


def test_scans_are_counted_against_the_pixels_that_each_of_them_visits() -> None:
    wide = bytearray(many_scans(100))
    at = wide.index(b"\xff\xc2") + 5
    wide[at : at + 4] = struct.pack(">HH", 10_000, 10_000)
    assert fate(bytes(wide))[0] == "UnsupportedFormat"  # 100 scans of 100 megapixels
    assert decode_bytes(encode(photo(width=64, height=64), progressive=True)) > 0


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000"])
def test_max_pixels_is_the_largest_picture_that_is_decoded(file_format: str) -> None:
    data = encode(photo(width=40, height=30), file_format)
    assert fate(data, max_pixels=1200) == ("good", (40, 30))
    assert fate(data, max_pixels=1199) == ("TooManyPixels", None)


def test_the_header_alone_tells_too_many_pixels() -> None:
    jpeg, image, gif = (encode(photo(width=40, height=30), file_format) for file_format in ("JPEG", "PNG", "GIF"))
    canvas = bytearray(ITEMS["damaged/bomb.webp"].data)  # a header without a frame
    canvas[24:30] = b"\x27\0\0\x1d\0\0"
    for header in (jpeg[: jpeg.index(b"\xff\xc0") + 19], image[:45], gif[:13], bytes(canvas)):
        assert fate(header, max_pixels=1199)[0] == "TooManyPixels"
        assert fate(header, max_pixels=1200)[0] in ("Truncated", "Corrupt")


def test_bombs_are_refused_at_once_and_without_memory(tmp_path: Path) -> None:
    names = [name for name in ITEMS if name.startswith("damaged/bomb")]
    paths = [tmp_path / str(number) for number in range(len(names))]
    for name, path in zip(names, paths, strict=True):
        path.write_bytes(ITEMS[name].data)
    program = (
        "import resource, sys, time\n"
        "from pixelmill.workers.codecs.decode import decode_picture\n"
        "from pixelmill.workers.errors import RowError\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for data in [open(path, 'rb').read() for path in sys.argv[1:]]:\n"
        "    before, start = peak(), time.perf_counter()\n"
        "    try: decode_picture(data)\n"
        "    except RowError as error: print(error.error_type, peak() - before, time.perf_counter() - start)\n"
    )
    command = [sys.executable, "-c", program, *map(str, paths)]
    answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    rows = [line.split() for line in answer.stdout.splitlines()]
    assert [row[0] for row in rows] == ["TooManyPixels"] * len(names)
    assert max(int(kilobytes) for _, kilobytes, _ in rows) < 10_000
    assert max(float(seconds) for _, _, seconds in rows) < 0.5


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": 95, "subsampling": 0},
        {"optimize": True},
        {"restart_marker_rows": 1},
        {"restart_marker_blocks": 3},
    ],
    ids=str,
)
def test_a_jpeg_cut_anywhere_is_truncated_even_with_an_end_marker_put_behind(options: dict[str, Any]) -> None:
    jpeg = encode(photo(), **options)
    start = jpeg.index(b"\xff\xda") + 14
    assert fate(jpeg)[0] == "good"
    for cut in range(start, len(jpeg) - 40, 97):
        assert fate(jpeg[:cut])[0] == "Truncated"
        # a cut through a stuffed FF 00 leaves FF FF D9, an end marker all the same
        assert fate(jpeg[:cut] + b"\xff\xd9")[0] == "Truncated"


def test_a_flat_picture_is_whole() -> None:
    for file_format in ("JPEG", "PNG"):
        for colour in ("black", "white", "gray"):
            data = encode(Image.new("RGB", (333, 251), colour), file_format)
            assert fate(data) == ("good", (333, 251))


# ------------------------------------------------------------------------------------------------------------ pixels


@pytest.mark.parametrize("name", [name for name in ITEMS if name.startswith("metadata/")], ids=str)
def test_metadata_changes_no_pixel(name: str) -> None:
    extension = name.rpartition(".")[2]
    plain = {"jpg": encode(photo(), quality=90), "png": encode(photo(), "PNG"), "webp": encode(photo(), "WEBP")}
    expected_CHW = decode_picture(plain.get(extension, encode(photo(), "TIFF")))
    assert torch.equal(decode_picture(ITEMS[name].data), expected_CHW)


@pytest.mark.parametrize("name", [name for name in ITEMS if name.startswith("orientation/")])
def test_every_orientation_is_turned_upright(name: str) -> None:
    upright_CHW = as_pixels(photo("coffee"))
    decoded_CHW = decode_picture(ITEMS[name].data)
    if name.endswith(".jpg"):
        assert distance(decoded_CHW, upright_CHW).mean() < 3  # turned wrongly: over 40
    else:
        assert torch.equal(decoded_CHW, upright_CHW)


def test_orientation_swaps_width_and_height() -> None:
    upright = photo("coffee", 31, 17)
    tall = stored(upright, 6)
    assert tall.size == (17, 31)
    data = encode(tall, "PNG", exif=b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")  # big-endian
    assert torch.equal(decode_picture(data), as_pixels(upright))


@pytest.mark.parametrize("name", ["cmyk_adobe", "cmyk_without_adobe", "ycck"])
def test_cmyk_jpeg_shows_the_colours_of_the_photograph(name: str) -> None:
    data = ITEMS[f"jpeg/{name}.jpg"].data
    decoded_CHW = decode_picture(data)
    assert distance(decoded_CHW, as_pixels(photo())).mean() < 3
    assert distance(decoded_CHW, as_pixels(Image.open(io.BytesIO(data)))).max() <= 1


PLAIN = [
    *("jpeg/baseline.jpg", "jpeg/progressive.jpg", "jpeg/grey.jpg", "jpeg/rgb.jpg", "jpeg/no_jfif.jpg", "jpeg/422.jpg"),
    *("png/1_bit.png", "png/palette.png", "png/palette_4_bit.png", "png/grey.png", "tiff/cmyk.tif", "tiff/planar.tif"),
    *("tiff/bilevel_fax.tif", "tiff/palette.tif", "tiff/jpeg.tif", "tiff/big.tif", "gif/still.gif", "webp/lossy.webp"),
    *("bmp/top_down.bmp", "bmp/palette.bmp", "bmp/1_bit.bmp"),
]


@pytest.mark.parametrize("name", PLAIN)
def test_a_picture_without_alpha_is_what_pillow_makes_of_it(name: str) -> None:
    data = ITEMS[name].data
    assert torch.equal(decode_picture(data), as_pixels(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize(
    "name", ["png/rgb.png", "webp/lossless.webp", "bmp/24_bit.bmp", "tiff/lzw.tif", "tiff/tiled.tif"]
)
def test_a_lossless_format_gives_the_very_pixels(name: str) -> None:
    assert torch.equal(decode_picture(ITEMS[name].data), as_pixels(photo()))


@pytest.mark.parametrize("name", ["gif/animated.gif", "webp/animated.webp", "png/apng.png", "tiff/multi_page.tif"])
def test_of_an_animation_the_first_frame_is_decoded(name: str) -> None:
    assert distance(decode_picture(ITEMS[name].data), as_pixels(photo("chelsea"))).mean() < 6


@pytest.mark.parametrize("name", ["grey", "grey_white_is_zero", "grey_big_endian", "rgb", "rgba", "grey_alpha"])
def test_16_bits_that_were_8_give_the_8_back(name: str) -> None:
    colour_CHW = as_pixels(photo())
    grey_CHW = as_pixels(photo().convert("L"))
    expected_CHW = colour_CHW if name.startswith("rgb") else grey_CHW
    for path in (f"png/16_bit_{name}.png", f"tiff/16_bit_{name}.tif"):
        if path in ITEMS and "alpha" not in name and name != "rgba":
            assert torch.equal(decode_picture(ITEMS[path].data), expected_CHW)
        elif path in ITEMS:  # alpha is the grey picture: laid on white
            alpha_CHW = grey_CHW.float() / 255
            assert (
                distance(decode_picture(ITEMS[path].data), expected_CHW * alpha_CHW + 255 * (1 - alpha_CHW)).max() <= 1
            )


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_become_8_within_one_of_division_by_257(channels: int) -> None:
    values_HWC = np.random.default_rng(0).integers(0, 65536, (50, 60, channels), np.uint16)
    decoded_HWC = decode_picture(png16(values_HWC)).permute(1, 2, 0)[..., :channels].numpy()
    assert np.abs(decoded_HWC - values_HWC / 257).max() <= 1


@pytest.mark.parametrize("name", ["png/rgba.png", "png/grey_alpha.png", "webp/alpha.webp"])
def test_alpha_is_laid_on_white(name: str) -> None:
    picture = Image.open(io.BytesIO(ITEMS[name].data)).convert("RGBA")
    colour_CHW, alpha_HW = as_pixels(picture).float(), pil_to_tensor(picture.getchannel("A")).float() / 255
    assert alpha_HW.min() == 0
    expected_CHW = colour_CHW * alpha_HW + 255 * (1 - alpha_HW)
    assert distance(decode_picture(ITEMS[name].data), expected_CHW).max() <= 1


def test_a_transparent_colour_is_white() -> None:
    assert decode_picture(ITEMS["png/colour_key.png"].data).unique().tolist() == [255]
    opaque = png(4, 4, 8, 2, [b"\x0a\x14\x1e" * 4] * 4)
    assert decode_picture(opaque)[:, 0, 0].tolist() == [10, 20, 30]
    for name in ("png/palette_transparent.png", "gif/transparent.gif"):
        picture = Image.open(io.BytesIO(ITEMS[name].data))
        hidden_HW = torch.from_numpy(np.array(picture) == 3)
        assert hidden_HW.any()
        assert decode_picture(ITEMS[name].data)[:, hidden_HW].unique().tolist() == [255]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_level_of_grey_is_white_at_every_depth(bits: int) -> None:
    most = 2**bits - 1
    levels = [0, most // 3, most - most // 3, most]
    packed = sum(level << bits * (3 - place) for place, level in enumerate(levels)) << -4 * bits % 8
    row = packed.to_bytes(-(-4 * bits // 8), "big")
    for place, level in enumerate(levels):
        data = png(4, 1, bits, 0, [row], png_chunk(b"tRNS", struct.pack(">H", level)))
        shown = [255 if other == level else round(other / most * 255) for other in levels]
        assert np.abs(decode_picture(data)[0, 0].numpy() - np.array(shown)).max() <= 1, (bits, place)


def test_a_transparent_colour_of_16_bits_is_white() -> None:
    values_HWC = np.array([[[1000, 2000, 3000], [60000, 2000, 3000]]], np.uint16)
    rows = [row.astype(">u2").tobytes() for row in values_HWC]
    data = png(2, 1, 16, 2, rows, png_chunk(b"tRNS", struct.pack(">HHH", 1000, 2000, 3000)))
    assert decode_picture(data)[:, 0].T.tolist() == [[255, 255, 255], [60000 >> 8, 2000 >> 8, 3000 >> 8]]


@pytest.mark.parametrize("file_format", ["AVIF", "JPEG2000"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_avif_and_jpeg_2000_show_the_photograph_and_lay_alpha_on_white(file_format: str, mode: str) -> None:
    picture = faded() if mode == "RGBA" else photo().convert(mode)
    options = {"quality": 95, "speed": 10} if file_format == "AVIF" else {}
    white = Image.new("RGBA", picture.size, "white")
    shown = Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    assert distance(decode_picture(encode(picture, file_format, **options)), as_pixels(shown)).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_avif_is_turned_upright(orientation: int) -> None:
    upright = photo("coffee")
    data = encode(stored(upright, orientation), "AVIF", quality=95, speed=10, exif=b"Exif\0\0" + exif(orientation))
    assert distance(decode_picture(data), as_pixels(upright)).mean() < 3  # turned wrongly: over 40


def test_jpeg_2000_is_read_as_a_bare_codestream_and_of_16_bits() -> None:
    bare = encode(photo(), "JPEG2000", no_jp2=True)
    assert bare.startswith(b"\xff\x4f")
    assert torch.equal(decode_picture(bare), as_pixels(photo()))
    grey_HW = np.asarray(photo().convert("L"))
    data = encode(Image.fromarray(grey_HW.astype(np.uint16) * 257), "JPEG2000")
    assert torch.equal(decode_picture(data), as_pixels(photo().convert("L")))


def test_heic_without_its_decoder_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)  # as if it were not there
    with pytest.raises(RowError, match=r"pip install 'pixelmill\[heic\]'") as caught:
        decode_picture(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    assert caught.value.error_type == "UnsupportedFormat"


# -------------------------------------------------------------------------------------------------------------- fuzz

BASES = [
    encode(photo(width=48, height=40), "JPEG"),
    encode(photo(width=48, height=40), "JPEG", progressive=True, restart_marker_blocks=2, exif=Image.Exif()),
    encode(photo(width=48, height=40).convert("CMYK"), "JPEG"),
    encode(photo(width=48, height=40), "PNG"),
    encode(photo(width=48, height=40).quantize(16), "PNG", transparency=3),
    encode(photo(width=48, height=40), "WEBP"),
    encode(photo(width=48, height=40), "GIF"),
    encode(photo(width=48, height=40), "BMP"),
    encode(photo(width=48, height=40), "TIFF", compression="tiff_lzw"),
    encode(photo(width=48, height=40).convert("RGBA"), "TIFF"),
    encode(photo(width=48, height=40), "AVIF", speed=10),
    encode(photo(width=48, height=40), "JPEG2000"),
]
PLACES = st.one_of(st.integers(0, 300), st.integers(0, 4000))
EDITS = st.lists(
    st.tuples(PLACES, st.binary(max_size=4), st.sampled_from(["overwrite", "insert", "delete"])), max_size=6
)


@settings(deadline=None, max_examples=600)
@given(base=st.sampled_from(BASES), edits=EDITS, cut=st.one_of(st.none(), PLACES))
def test_a_mutated_image_is_pixels_or_a_row_error_and_nothing_else(
    base: bytes, edits: list[tuple[int, bytes, str]], cut: int | None
) -> None:
    data = bytearray(base)
    for place, patch, how in edits:
        data[place : place + (0 if how == "insert" else len(patch))] = b"" if how == "delete" else patch
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first = fate(bytes(data[:cut]), max_pixels=10**6)
    assert caught == []
    assert fate(bytes(data[:cut]), max_pixels=10**6) == first


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=2000))
def test_any_bytes_are_pixels_or_a_row_error(data: bytes) -> None:
    fate(data, max_pixels=10**6)

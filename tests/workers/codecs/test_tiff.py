"""The law of TIFF: every variant gives the values that were written, or is refused by name; none is called damaged.

tifffile writes the variants, so neither Pillow nor Pixelmill is asked what is right: the values themselves are.
"""

from __future__ import annotations

import io
import itertools
import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import skimage.color
import tifffile
import torch
from PIL import Image

from pixelmill.workers.codecs import tiff_layout
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import RowError
from tests.corpus import encode, photo, stored

WIDTH, HEIGHT = 70, 53  # multiples of no tile, and 70 x 1 bit ends within a byte
MOST_LEVELS = 2  # keeping the high byte costs 1 level, inks and alpha are rounded once more
BYTE_COMPRESSIONS = (None, "lzw", "zlib", "packbits", "zstd", "lzma")

SRGB_TO_XYZ_D50 = np.array(  # Bradford-adapted, Lindbloom
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)


@dataclass(frozen=True)
class Variant:
    bits: int = 8
    photometric: str = "rgb"
    planar: str = "contig"
    extra: str | None = None
    is_tiled: bool = False
    order: str = "<"
    is_big: bool = False
    compression: str | None = None
    has_predictor: bool = False

    @property
    def can_be_written(self) -> bool:
        if self.photometric == "palette" and (self.bits != 8 or self.extra is not None or self.planar == "separate"):
            return False
        if self.photometric.startswith("minis") and self.extra is None and self.planar == "separate":
            return False
        if self.bits not in (8, 16) and (self.compression is not None or self.bits > 8):
            return False  # tifffile packs no bits into compressed strips, and 12 bits of big-endian files wrongly
        return not self.has_predictor or (self.compression in ("lzw", "zlib", "zstd") and self.bits in (8, 16))


def variants() -> list[Variant]:
    """Every depth, meaning and order of samples, each with the containers in turn."""
    containers = itertools.cycle(
        Variant(is_tiled=is_tiled, order=order, is_big=is_big, compression=compression, has_predictor=predictor)
        for compression, predictor, is_tiled, order, is_big in itertools.product(
            BYTE_COMPRESSIONS, (False, True), (False, True), "<>", (False, True)
        )
    )
    kinds = itertools.product(
        (1, 2, 4, 8, 16),
        ("minisblack", "miniswhite", "rgb", "palette", "separated"),
        ("contig", "separate"),
        (None, "unassalpha", "unspecified"),
    )
    found: dict[Variant, None] = {}
    for bits, photometric, planar, extra in kinds:
        for container in itertools.islice(containers, 11):  # has no divisor in common with the number of containers
            for compression in (container.compression, None):
                kind = replace(container, bits=bits, photometric=photometric, planar=planar, extra=extra)
                each = replace(kind, compression=compression)
                if each.can_be_written:
                    found[each] = None
    return list(found)


def to_depth(levels: np.ndarray, bits: int) -> np.ndarray:
    return np.round(levels / 255 * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def to_levels(values: np.ndarray, bits: int) -> np.ndarray:
    return values / (2**bits - 1) * 255


def inks(rgb_HWC: np.ndarray) -> np.ndarray:
    """Cyan, magenta, yellow and black, half of the grey part in black."""
    missing_HWC = 255 - rgb_HWC.astype(int)
    black_HW1 = missing_HWC.min(2, keepdims=True) // 2
    return np.concatenate([(missing_HWC - black_HW1) * 255 // (255 - black_HW1), black_HW1], 2).astype(np.uint8)


def samples_and_picture(variant: Variant, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """What is stored, HWS, and what it shows, HWC in levels."""
    rgb_HWC, bits = np.asarray(photo(width=WIDTH, height=HEIGHT)), variant.bits
    grey_HW1 = np.asarray(photo(width=WIDTH, height=HEIGHT).convert("L"))[..., None]
    if variant.photometric == "rgb":
        stored_HWS = to_depth(rgb_HWC, bits)
        return stored_HWS, to_levels(stored_HWS, bits)
    if variant.photometric == "separated":
        stored_HWS = to_depth(inks(rgb_HWC), bits)
        levels_HWS = to_levels(stored_HWS, bits)
        return stored_HWS, (255 - levels_HWS[..., :3]) * (255 - levels_HWS[..., 3:]) / 255
    if variant.photometric == "palette":
        ids_HW1 = (grey_HW1.astype(int) * 2**bits // 256).astype(np.uint8)
        palette_CN = np.random.default_rng(0).integers(0, 65536, (3, 2**bits), np.uint16)
        options["colormap"] = palette_CN
        return ids_HW1, palette_CN.T[ids_HW1[..., 0]] / 257
    stored_HW1 = to_depth(grey_HW1, bits)
    shown_HWC = to_levels(stored_HW1, bits).repeat(3, 2)
    return (2**bits - 1 - stored_HW1 if variant.photometric == "miniswhite" else stored_HW1), shown_HWC


def write(variant: Variant, **options: Any) -> tuple[bytes, np.ndarray]:
    """A TIFF, and the picture in it, HWC in levels."""
    stored_HWS, shown_HWC = samples_and_picture(variant, options)
    if variant.extra is not None:
        alpha_HW1 = to_depth(np.linspace(0, 255, WIDTH)[None, :, None].repeat(HEIGHT, 0), variant.bits)
        stored_HWS = np.concatenate([stored_HWS, alpha_HW1], 2)
        options["extrasamples"] = [variant.extra]
        if variant.extra == "unassalpha":
            share_HW1 = to_levels(alpha_HW1, variant.bits) / 255
            shown_HWC = shown_HWC * share_HW1 + 255 * (1 - share_HW1)
    if variant.bits not in (8, 16):
        options["bitspersample"] = variant.bits
    values = stored_HWS.transpose(2, 0, 1) if variant.planar == "separate" else stored_HWS
    options |= {"tile": (16, 32)} if variant.is_tiled else {"rowsperstrip": 16}
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        np.ascontiguousarray(values[..., 0] if stored_HWS.shape[2] == 1 else values),
        photometric=variant.photometric,
        planarconfig=None if stored_HWS.shape[2] == 1 else variant.planar,
        byteorder=variant.order,
        bigtiff=variant.is_big,
        compression=variant.compression,
        predictor=variant.has_predictor,
        metadata=None,
        **options,
    )
    return file.getvalue(), shown_HWC


def error_of(data: bytes, shown_HWC: np.ndarray) -> float:
    """The largest difference to the written values, in levels."""
    decoded_HWC = decode_picture(data).permute(1, 2, 0).numpy()
    assert decoded_HWC.shape == shown_HWC.shape
    return float(np.abs(decoded_HWC - shown_HWC).max())


def test_the_matrix_has_every_kind() -> None:
    found = variants()
    assert len(found) > 400
    for name in (
        "bits",
        "photometric",
        "planar",
        "extra",
        "is_tiled",
        "order",
        "is_big",
        "compression",
        "has_predictor",
    ):
        assert len({getattr(each, name) for each in found}) > 1
    assert {each.compression for each in found} == set(BYTE_COMPRESSIONS)
    layouts = [tiff_layout.read_layout(write(each)[0]) for each in found[::7]]
    assert 0.1 < np.mean([tiff_layout.is_for_pillow(layout) for layout in layouts]) < 0.9


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb", "palette", "separated"])
def test_every_variant_shows_the_values_that_were_written(photometric: str) -> None:
    chosen = [variant for variant in variants() if variant.photometric == photometric]
    wrong = [(variant, error) for variant in chosen if (error := error_of(*write(variant))) > MOST_LEVELS]
    assert wrong == []


def packed_tiff(values_HW: np.ndarray, bits: int, order: str) -> bytes:
    """Grey values whose bits follow each other, the highest first; each row begins at a byte."""
    height, width = values_HW.shape
    rows = [
        int("".join(f"{value:0{bits}b}" for value in row).ljust(-(-width * bits // 8) * 8, "0"), 2).to_bytes(
            -(-width * bits // 8), "big"
        )
        for row in values_HW
    ]
    pixels = b"".join(rows)
    tags = ((256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 118), (277, 1), (278, height))
    directory = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in (*tags, (279, len(pixels))))
    start = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, 9)
    return (start + directory + bytes(4)).ljust(118 + 4, b"\0")[:118] + pixels


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [3, 6, 10, 12, 14])
def test_an_odd_depth_is_scaled_by_itself(bits: int, order: str) -> None:
    grey_HW = np.asarray(photo(width=WIDTH, height=HEIGHT).convert("L"))
    values_HW = to_depth(grey_HW, bits)
    shown_HWC = to_levels(values_HW, bits)[..., None].repeat(3, 2)
    assert error_of(packed_tiff(values_HW, bits, order), shown_HWC) <= 1


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright_whoever_reads_it(orientation: int, planar: str) -> None:
    upright = photo("coffee", 31, 17)
    values_HWC = np.asarray(stored(upright, orientation)).astype(np.uint16) * 257
    file = io.BytesIO()
    values = values_HWC.transpose(2, 0, 1) if planar == "separate" else values_HWC
    tag = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(file, values, photometric="rgb", planarconfig=planar, extratags=tag, metadata=None)
    assert decode_picture(file.getvalue()).permute(1, 2, 0).tolist() == np.asarray(upright).tolist()


@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("is_tiled", [False, True])
@pytest.mark.parametrize("photometric", ["rgb", "ycbcr", "minisblack"])
def test_jpeg_in_tiff_has_the_pixels_of_an_independent_reader(photometric: str, is_tiled: bool, is_big: bool) -> None:
    picture = photo(width=64, height=48)
    values = np.asarray(picture.convert("L") if photometric == "minisblack" else picture)
    file = io.BytesIO()
    options: dict[str, Any] = {"tile": (32, 32)} if is_tiled else {"rowsperstrip": 16}
    if photometric == "ycbcr":
        options["subsampling"] = (1, 1)
    tifffile.imwrite(
        file, values, photometric=photometric, compression="jpeg", bigtiff=is_big, metadata=None, **options
    )
    expected = tifffile.imread(io.BytesIO(file.getvalue()))
    expected_HWC = expected if expected.ndim == 3 else expected[..., None].repeat(3, 2)
    decoded_HWC = decode_picture(file.getvalue()).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(decoded_HWC - expected_HWC).max() <= MOST_LEVELS


@pytest.mark.parametrize("compression", ["jpeg2000", "webp"])
@pytest.mark.parametrize("extra", [None, "unassalpha"])
def test_pictures_in_tiff_are_read_by_their_own_decoder(compression: str, extra: str | None) -> None:
    variant = Variant(compression=compression, extra=extra)
    assert (
        error_of(*write(variant, compressionargs={"level": 0} if compression == "jpeg2000" else {"lossless": True}))
        <= 2
    )


def test_lab_is_within_four_levels_of_an_independent_conversion() -> None:
    rgb_HWC = np.asarray(photo(width=WIDTH, height=HEIGHT)) / 255
    linear_HWC = np.where(rgb_HWC <= 0.04045, rgb_HWC / 12.92, ((rgb_HWC + 0.055) / 1.055) ** 2.4)
    lab_HWC = skimage.color.xyz2lab(linear_HWC @ SRGB_TO_XYZ_D50.T, illuminant="D50")
    stored_HWC = np.round(lab_HWC * (2.55, 1, 1)).astype(np.int16).astype(np.uint8)  # a and b as signed bytes
    file = io.BytesIO()
    tifffile.imwrite(file, stored_HWC, photometric="cielab", metadata=None)
    difference = np.abs(decode_picture(file.getvalue()).permute(1, 2, 0).numpy() - 255 * rgb_HWC)
    assert np.percentile(difference, 99) <= 4  # dark, saturated colours are coarse in 8 bits of L*a*b*


def test_colours_that_alpha_was_multiplied_with_are_laid_on_white() -> None:
    for bits, planar in ((8, "contig"), (16, "contig"), (16, "separate")):
        faded_HWS = np.zeros((4, 5, 4), np.uint8 if bits == 8 else np.uint16)
        faded_HWS[..., 0], faded_HWS[..., 3] = 60 << (bits - 8), 120 << (bits - 8)  # red, half covering
        file = io.BytesIO()
        values = faded_HWS.transpose(2, 0, 1) if planar == "separate" else faded_HWS
        options: dict[str, Any] = {"planarconfig": planar, "extrasamples": ["assocalpha"]}
        tifffile.imwrite(file, values, photometric="rgb", metadata=None, **options)
        assert np.abs(decode_picture(file.getvalue())[:, 0, 0].numpy() - np.array([195.0, 135, 135])).max() <= 1


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_tiff_that_is_cut_is_truncated_whoever_reads_it(planar: str, compression: str | None) -> None:
    data, _ = write(Variant(bits=16, planar=planar, compression=compression))
    for part in (0.95, 0.6, 0.3):
        with pytest.raises(RowError) as caught:
            decode_picture(data[: int(len(data) * part)])
        assert caught.value.error_type == "Truncated"


def test_an_alpha_of_zero_everywhere_is_none_in_bmp_and_clear_in_png() -> None:
    clear = photo(width=20, height=10)
    clear.putalpha(0)
    bmp = encode(clear, "BMP")
    header = struct.pack("<IiiHHIIiiII4I", 124, 20, 10, 1, 32, 3, 800, 0, 0, 0, 0, 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    v5 = b"BM" + struct.pack("<IHHI", 14 + 124 + 800, 0, 0, 14 + 124) + header.ljust(124, b"\0") + bmp[54:]
    assert torch.equal(decode_picture(v5), torch.from_numpy(np.array(clear.convert("RGB"))).permute(2, 0, 1))
    assert decode_picture(encode(clear, "PNG")).unique().tolist() == [255]
    assert Image.open(io.BytesIO(v5)).mode == "RGBA"

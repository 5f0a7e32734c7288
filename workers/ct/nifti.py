"""NIfTI volumes: their headers without the texts in them, and their slices in Hounsfield units in the patient's axes.

NIfTI states places in millimetres to the right, the front and the head (RAS), DICOM to the left, the back and the head (LPS).
A volume is turned without resampling, whatever the signs and the order of its axes: rows run to the patient's left, columns
to the back, slices to the head, along the nearest axes, as in an axial series of DICOM. Of the texts of a header (descrip,
aux_file, intent_name, db_name, extensions) none is read.

Legend: D slices, H rows, W columns; I, J, K the axes as stored, I the fastest; X, Y, Z to the left, the back and the head.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pixelmill.workers.ct.geometry import Geometry
from pixelmill.workers.ct.hounsfield import HuSlice, to_hu
from pixelmill.workers.errors import RowError

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

_GZIP: Final = b"\x1f\x8b"
_CHUNK_BYTES: Final = 1 << 18
INFLATING_BYTES: Final = 4 * _CHUNK_BYTES
"""What inflating a file takes beside its bytes."""
_HEADER_BYTES, _HEADER_2_BYTES = 348, 540
_SINGLE, _PAIR = b"n+1\0", b"ni1\0"
_SINGLE_2, _PAIR_2 = b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n"
_MM_OF_UNIT: Final = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
_LEAST_AXIS_MM, _LEAST_VOLUME = 1e-4, 1e-3
"""Of an affine whose axes are some: their lengths, and the volume that they span in shares of a box of these lengths."""


@dataclass(frozen=True)
class NiftiHeader:
    """`shape_IJK` as stored, `volumes` of a 4-D file; values are stored x slope + intercept. `affine` takes I, J, K to LPS in mm;
    None where the file states none that can be used."""

    shape_IJK: tuple[int, int, int]
    volumes: int
    kind: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    affine: np.ndarray | None
    is_compressed: bool

    @property
    def volume_bytes(self) -> int:
        """Of the voxels as stored, without compression."""
        return int(np.prod(self.shape_IJK, dtype=object)) * self.kind.itemsize

    @property
    def turned_shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns after turning."""
        columns, rows, slices = (self.shape_IJK[axis] for axis in self._turn.axes_XYZ)
        return slices, rows, columns

    def geometry(self, place: int) -> Geometry | None:
        """Where a slice lies; None where that is not known."""
        if (turned := self._turn.affine) is None:
            return None
        origin = turned[:3, 3] + place * turned[:3, 2]
        across, down = (float(np.linalg.norm(turned[:3, axis])) for axis in (0, 1))
        row, column = turned[:3, 0] / across, turned[:3, 1] / down
        (x, y, z), (a, b, c), (d, e, f) = origin.tolist(), row.tolist(), column.tolist()
        return Geometry((x, y, z), (a, b, c, d, e, f), (down, across))

    def turned(self, voxels: np.ndarray) -> np.ndarray:
        """Voxels as they are stored, KJI, as a view DHW."""
        turned = voxels.transpose(2, 1, 0).transpose(self._turn.axes_XYZ)
        for axis, is_flipped in enumerate(self._turn.is_flipped_XYZ):
            turned = np.flip(turned, axis) if is_flipped else turned
        return turned.transpose(2, 1, 0)

    @cached_property
    def _turn(self) -> _Turn:
        return _turn_of(self.affine, self.shape_IJK)


@dataclass(frozen=True)
class _Turn:
    """Which stored axis runs along X, Y and Z, whether against it, and the affine of the turned axes."""

    axes_XYZ: tuple[int, int, int]
    is_flipped_XYZ: tuple[bool, bool, bool]
    affine: np.ndarray | None


def is_nifti(head: bytes) -> bool:
    """Whether a file that begins so is NIfTI, compressed or not."""
    plain = _inflated_head(head, _HEADER_2_BYTES)
    return plain[344:348] in (_SINGLE, _PAIR) or plain[4:12] in (_SINGLE_2, _PAIR_2)


def read_header(head: bytes) -> NiftiHeader:
    """The header at the beginning of a file. RowError where it can't be used; the message shows no text of it."""
    plain = _inflated_head(head, _HEADER_2_BYTES)
    if plain[344:348] == _PAIR or plain[4:12] == _PAIR_2:
        raise RowError(
            "decode",
            "UnsupportedFormat",
            "is a NIfTI header without voxels, which lie in an .img; write one .nii of both",
        )
    try:
        return _stated(_parsed(plain), is_compressed=head.startswith(_GZIP))
    except RowError:
        raise
    except Exception:  # nibabel raises many kinds for malformed values
        raise _malformed("the header can't be used") from None


def read_slices(data: bytes, header: NiftiHeader) -> Iterator[tuple[Geometry | None, HuSlice]]:
    """Every slice of a whole file of one volume, one after another. RowError where the file is cut off or corrupt, or where a
    value is no number."""
    slices_DHW = header.turned(_voxels(data, header))
    for place, stored_HW in enumerate(slices_DHW):
        if stored_HW.dtype.kind == "f" and not np.isfinite(stored_HW).all():
            raise RowError(
                "decode",
                "NotFinite",
                f"slice {place} holds values that are no numbers (NaN or infinite); write them as air",
            )
        yield header.geometry(place), to_hu(stored_HW, header.slope, header.intercept, None, is_inverted=False)


def _parsed(plain: bytes) -> Nifti1Header:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    is_second = plain[4:12] == _SINGLE_2
    size = _HEADER_2_BYTES if is_second else _HEADER_BYTES
    return (Nifti2Header if is_second else Nifti1Header)(plain[:size], check=False)


def _stated(parsed: Nifti1Header, *, is_compressed: bool) -> NiftiHeader:
    untyped: Any = parsed
    dims = [int(each) for each in untyped["dim"]]
    if not 1 <= dims[0] <= 7 or any(each < 1 for each in dims[1 : dims[0] + 1]):
        raise _malformed("dim states no voxels")
    shape = (dims[1 : dims[0] + 1] + [1] * 3)[: max(3, dims[0])]
    slope, intercept = _scale(untyped)
    return NiftiHeader(
        shape_IJK=(shape[0], shape[1], shape[2]),
        volumes=int(np.prod(shape[3:], dtype=object)),
        kind=untyped.get_data_dtype(),
        offset=max(int(untyped.get_data_offset()), int(untyped["sizeof_hdr"])),
        slope=slope,
        intercept=intercept,
        affine=_affine(untyped),
        is_compressed=is_compressed,
    )


def _scale(parsed: Any) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 or NaN says that values are stored as they are."""
    slope, intercept = float(parsed["scl_slope"]), float(parsed["scl_inter"])
    if slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    if not np.isfinite([slope, intercept]).all():
        raise _malformed("scl_slope or scl_inter is not a usable number")
    return slope, intercept


def _affine(parsed: Any) -> np.ndarray | None:
    """The stated affine in LPS and mm: the sform before the qform, as nibabel takes them; None where there is neither."""
    if not parsed["sform_code"] > 0 and not parsed["qform_code"] > 0:
        return None
    try:
        affine = np.asarray(parsed.get_best_affine(), np.float64)
    except Exception:  # a quaternion that is none
        return None
    scale = _MM_OF_UNIT.get(_spatial_unit(parsed), 1.0)
    affine[:3] *= np.array([[-scale], [-scale], [scale]])
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or lengths.min() < _LEAST_AXIS_MM:
        return None
    return affine if abs(np.linalg.det(affine[:3, :3] / lengths)) > _LEAST_VOLUME else None


def _spatial_unit(parsed: Any) -> str:
    try:
        return str(parsed.get_xyzt_units()[0])
    except KeyError:
        return "unknown"


def _turn_of(affine: np.ndarray | None, shape_IJK: tuple[int, int, int]) -> _Turn:
    if affine is None:
        return _Turn((0, 1, 2), (False, False, False), None)
    from nibabel import orientations

    untyped: Any = orientations
    along = {
        int(axis): (stored, sign < 0) for stored, (axis, sign) in enumerate(untyped.io_orientation(affine).tolist())
    }
    (first, second, third), flips = zip(*(along[axis] for axis in range(3)), strict=True)
    turned = affine[:, [first, second, third, 3]].copy()
    for axis, is_flipped in enumerate(flips):
        if is_flipped:
            turned[:3, 3] += turned[:3, axis] * (shape_IJK[(first, second, third)[axis]] - 1)
            turned[:3, axis] *= -1
    return _Turn((first, second, third), (flips[0], flips[1], flips[2]), turned)


def _voxels(data: bytes, header: NiftiHeader) -> np.ndarray:
    """KJI as stored; a view of the file where it is not compressed."""
    size = header.offset + header.volume_bytes
    plain = _inflated(data, size) if header.is_compressed else data
    if len(plain) < size:
        raise RowError("decode", "Truncated", f"ends after {len(plain):,} of {size:,} bytes; copy it again")
    count = int(np.prod(header.shape_IJK, dtype=object))
    return np.frombuffer(plain, header.kind, count, header.offset).reshape(header.shape_IJK[::-1])


def _inflated(data: bytes, size: int) -> bytearray:
    """So many bytes of a compressed file, and its checksum tested; never more memory than the header accounts for."""
    plain = bytearray(size)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            filled = 0
            while filled < size and (more := file.readinto(memoryview(plain)[filled : filled + _CHUNK_BYTES])):
                filled += more
            while file.read(_CHUNK_BYTES):  # to the end, where the checksum stands
                pass
        return plain[:filled] if filled < size else plain
    except (OSError, EOFError, zlib.error):
        raise RowError("decode", "Truncated", "its compressed bytes are cut off or corrupt; copy it again") from None


def _inflated_head(head: bytes, size: int) -> bytes:
    """The first bytes of a file, inflated as far as they are there."""
    if not head.startswith(_GZIP):
        return head[:size]
    try:
        # Of a long head zlib would copy what is left.
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head[: 16 * size], size)
    except zlib.error:
        return b""


def _malformed(fact: str) -> RowError:
    return RowError("decode", "MalformedTag", f"{fact}; write the NIfTI file again, or leave it out")

"""Parse the header of a DICOM object from the first bytes of its file.

pydicom parses a header that is cut off without an error, with elements missing. So a prefix counts only if what
follows the parsed elements is the tag of the pixel data or the end of the file.
"""

from __future__ import annotations

import hashlib
import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pixelmill.workers.ct.transfer_syntaxes import DEFLATED
from pixelmill.workers.ct.values import has, text
from pixelmill.workers.errors import RowError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PREFIXES_BYTES = (16 << 10, 64 << 10, 256 << 10)
"""How much of a file is read before all of it is: the pixel data begins within 8 KB in 99 % of CT files."""
_PIXEL_TAGS = frozenset({(0x7FE0, 0x0008), (0x7FE0, 0x0009), (0x7FE0, 0x0010)})
_NO_LENGTH = 0xFFFFFFFF
_SILENT = logging.CRITICAL + 1
_WARNING = r"pydicom|pixelmill\.workers\."
"""The modules that a warning of pydicom may be attributed to."""
_SIGNATURE = b"DICM"
_PACKED = (
    (b"PK\3\4", "zip within another archive, or without its suffix"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"7z\xbc\xaf", "7-Zip"),
    (b"Rar!", "RAR"),
)
"""How files begin that hold objects perhaps, and are not read."""
_SIGNATURE_AT = 128


@dataclass(frozen=True)
class Header:
    """The elements before the pixel data, and how many bytes of that follow as its length states: None where it states none, as
    compressed pixels don't."""

    dataset: Dataset
    pixel_bytes: int | None


def parse_header(head: bytes, *, is_whole: bool) -> Dataset | None:
    """The elements before the pixel data; None if `head` is cut off before their end. `is_whole`: it is the whole file.

    Raises RowError where it is no DICOM object, or where a whole file ends within an element.
    """
    header = read_header(head, is_whole=is_whole)
    return None if header is None else header.dataset


def read_header(head: bytes, *, is_whole: bool) -> Header | None:
    """As `parse_header`, with what follows the elements."""
    file = io.BytesIO(head)
    dataset = _parsed(file, head, is_whole=is_whole)
    if dataset is None:
        return None
    ends_well = _ends_well(file, head, dataset, is_whole=is_whole)
    if not ends_well and not is_whole:
        return None
    if not is_signed(head) and not _is_plausible(dataset):
        raise _no_dicom(head)
    if not ends_well:
        raise RowError("decode", "Truncated", "the file ends within its header; copy it again")
    is_deflated = transfer_syntax_of(dataset) == DEFLATED
    return Header(dataset, None if is_deflated else _pixel_bytes(head, file.tell()))


def digest_of(dataset: Dataset) -> str:
    """SHA-256 of the elements as they were read; ask for it before any of their values."""
    from pydicom.dataelem import RawDataElement

    digest = hashlib.sha256()
    for tag in sorted(dataset.keys()):
        element = dataset.get_item(tag)
        value = element.value if isinstance(element, RawDataElement) else repr(element)
        data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
        digest.update(f"{int(tag)} {len(data)} ".encode() + data)
    return digest.hexdigest()


def is_dicomdir(dataset: Dataset) -> bool:
    """Whether the object is the directory of a medium, which holds no picture."""
    meta = getattr(dataset, "file_meta", None)
    return meta is not None and text(meta, "MediaStorageSOPClassUID") == "1.2.840.10008.1.3.10"


def transfer_syntax_of(dataset: Dataset) -> str:
    """The uid of the transfer syntax; empty where the file has no meta header."""
    meta = getattr(dataset, "file_meta", None)
    return "" if meta is None else text(meta, "TransferSyntaxUID")


def silence_values() -> None:
    """Keep pydicom from showing values that break a rule, in its log or in warnings: they identify patients.

    Its warnings are silenced for the whole process: filters of one thread are those of all.
    """
    import pydicom.config

    logger = logging.getLogger("pydicom")
    if (
        logger.level != _SILENT
    ):  # setting it empties the caches of all loggers, which takes longer than to parse a header
        logger.setLevel(_SILENT)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    if not any(getattr(module, "pattern", None) == _WARNING for *_, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", category=UserWarning, module=_WARNING)


def _parsed(file: io.BytesIO, head: bytes, *, is_whole: bool) -> Dataset | None:
    import pydicom

    silence_values()
    try:
        read = cast("Callable[..., Dataset]", pydicom.dcmread)  # pyright: ignore[reportUnknownMemberType]
        return read(file, stop_before_pixels=True, force=True)
    except Exception:
        if not is_whole:
            return None
        raise _no_dicom(head) from None


def _ends_well(file: io.BytesIO, head: bytes, dataset: Dataset, *, is_whole: bool) -> bool:
    end = file.tell()
    if transfer_syntax_of(dataset) == DEFLATED:  # the elements were inflated, so the place in the file says nothing
        return is_whole
    if end == len(head):
        return is_whole and len(dataset) > 0 and _last_end(dataset) in (None, end)
    return _tag_at(head, end) in _PIXEL_TAGS


def _pixel_bytes(head: bytes, place: int) -> int | None:
    """The length of the pixel data that begins here, 0 where none does; None where the length is not stated, or cut off."""
    if _tag_at(head, place) not in _PIXEL_TAGS:
        return 0
    is_explicit = head[place + 4 : place + 6].isalpha()
    length = head[place + 8 : place + 12] if is_explicit else head[place + 4 : place + 8]
    if len(length) < 4 or length == b"\xff" * 4:
        return None
    return int.from_bytes(length, "little" if head[place : place + 2] == b"\xe0\x7f" else "big")


def _last_end(dataset: Dataset) -> int | None:
    """Where the last element says that it ends; None for one whose length is not stated."""
    from pydicom.dataelem import RawDataElement

    last = max(dataset.keys(), default=None)
    element = None if last is None else dataset.get_item(last)
    if not isinstance(element, RawDataElement) or element.length == _NO_LENGTH:
        return None
    return element.value_tell + element.length


def _tag_at(head: bytes, place: int) -> tuple[int, int] | None:
    """The tag here, in the byte order in which it is one of pixel data; None at the end."""
    raw = head[place : place + 4]
    if len(raw) < 4:
        return None
    orders: tuple[tuple[int, int], ...] = tuple(
        (int.from_bytes(raw[:2], order), int.from_bytes(raw[2:], order)) for order in ("little", "big")
    )
    return next((tag for tag in orders if tag in _PIXEL_TAGS), orders[0])


def is_signed(head: bytes) -> bool:
    """Whether a file begins as DICOM; its preamble may be the beginning of a TIFF, for readers of pictures."""
    return head[_SIGNATURE_AT : _SIGNATURE_AT + 4] == _SIGNATURE


def _is_plausible(dataset: Dataset) -> bool:
    """Whether what was parsed without a signature is an object; those of ACR-NEMA have no SOP class."""
    return bool(text(dataset, "SOPClassUID")) or (has(dataset, "Modality") and has(dataset, "Rows"))


def _no_dicom(head: bytes) -> RowError:
    packed = next((name for begins, name in _PACKED if head.startswith(begins)), None)
    if packed is not None:
        return RowError("decode", "UnsupportedFormat", f"is packed by {packed}; unpack it, and index the folder")
    return RowError("decode", "NotDicom", "is no DICOM object; leave it out of the archive, or name a pattern")

"""A header counts only if it is whole: pydicom parses one that is cut off without an error."""

from __future__ import annotations

import pytest

from pixelmill.workers.ct.header import is_dicomdir, parse_header, read_header, transfer_syntax_of
from pixelmill.workers.errors import RowError
from tests.workers.ct.objects import a_slice, saved

DATA = saved(a_slice())
PIXELS_AT = DATA.index(b"\xe0\x7f\x10\x00")


def test_every_cut_before_the_pixel_data_is_noticed() -> None:
    accepted = [cut for cut in range(PIXELS_AT + 4) if parse_header(DATA[:cut], is_whole=False) is not None]
    assert accepted == []


@pytest.mark.parametrize("cut", [PIXELS_AT + 12, PIXELS_AT + 100, len(DATA)])
def test_a_prefix_that_reaches_the_pixel_data_holds_the_whole_header(cut: int) -> None:
    header = parse_header(DATA[:cut], is_whole=cut == len(DATA))
    assert header is not None
    assert header.PixelRepresentation == 0  # the last element before the pixels


def test_a_whole_file_that_ends_within_its_header_is_truncated() -> None:
    accepted = [cut for cut in range(132, PIXELS_AT) if _is_accepted(DATA[:cut])]
    assert len(accepted) < 25  # only cuts between two elements, which leave an object without pixels


def _is_accepted(data: bytes) -> bool:
    try:
        return parse_header(data, is_whole=True) is not None
    except RowError:
        return False


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff\xe0" + b"\0" * 600, b"PK\x03\x04" + bytes(range(256)) * 4, b"a,b\n" * 99]
)
def test_other_files_are_no_dicom_objects(data: bytes) -> None:
    with pytest.raises(RowError, match=r"no DICOM object|ends within|packed by zip"):
        parse_header(data, is_whole=True)


def test_an_object_without_preamble_and_meta_header_is_parsed() -> None:
    start = DATA.index(b"DICM") + 4
    length = int.from_bytes(DATA[start + 8 : start + 12], "little")
    bare = DATA[start + 12 + length :]
    header = parse_header(bare, is_whole=True)
    assert header is not None
    assert transfer_syntax_of(header) == ""
    assert header.Modality == "CT"


def test_a_directory_of_a_medium_is_recognized() -> None:
    header = parse_header(saved(a_slice(SOPClassUID="1.2.840.10008.1.3.10")), is_whole=True)
    assert header is not None
    assert is_dicomdir(header)


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_an_object_says_how_much_pixel_data_follows_its_header(uid: str) -> None:
    full, empty, none = a_slice(), a_slice(), a_slice()
    empty.PixelData = b""
    del none.PixelData
    for dataset, pixel_bytes in ((full, len(full.PixelData)), (empty, 0), (none, 0)):
        dataset.file_meta.TransferSyntaxUID = uid
        header = read_header(saved(dataset), is_whole=True)
        assert header is not None
        assert header.pixel_bytes == pixel_bytes


def test_values_that_break_a_rule_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    start = DATA.index(b"1.2.9")
    header = parse_header(DATA[:start] + b"A^ANA" + DATA[start + 5 :], is_whole=True)
    assert header is not None
    assert header.SeriesInstanceUID == "A^ANA"
    assert caplog.text == ""


def test_a_parse_that_stops_before_the_pixels_is_no_whole_header() -> None:
    """pydicom ends at a delimiter of items that belongs to none, in silence, and what stands behind it is missing."""
    rows_at = DATA.index(b"\x28\x00\x10\x00US")
    stray = DATA[:rows_at] + b"\xfe\xff\x0d\xe0\0\0\0\0" + DATA[rows_at:]
    assert parse_header(stray, is_whole=False) is None
    with pytest.raises(RowError, match="ends within its header"):
        parse_header(stray, is_whole=True)

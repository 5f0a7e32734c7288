"""The decoder of headers is satisfied with the beginning of a file, and refuses what is no object."""

from __future__ import annotations

import pytest

from pixelmill.workers.decoders import ReadsHeads, WithholdsNames, decoder_of
from pixelmill.workers.errors import RowError
from tests.workers.ct.objects import a_slice, saved

DATA = saved(a_slice())
DECODER = decoder_of("dicom-header")


def test_a_prefix_up_to_the_pixels_is_enough_and_a_shorter_one_is_not() -> None:
    pixels_at = DATA.index(b"\xe0\x7f\x10\x00")
    assert isinstance(DECODER, ReadsHeads)
    assert DECODER.is_enough(DATA[: pixels_at + 12], is_whole=False)
    assert not DECODER.is_enough(DATA[:pixels_at], is_whole=False)
    ((picture, columns, has_size),) = DECODER.decode([DATA[: pixels_at + 12]], max_pixels=1)
    assert picture.kind == "header"
    assert picture.pixels.numpy().tobytes() == DATA[: pixels_at + 12]
    assert (columns, has_size) == ({}, False)


def test_names_of_objects_are_for_tables_alone_and_a_file_is_an_object() -> None:
    assert isinstance(DECODER, WithholdsNames)
    assert "failed/" in DECODER.shown_name
    assert not DECODER.takes_many


@pytest.mark.parametrize(("data", "kind"), [(b"", "Empty"), (b"\xff\xd8" * 999, "NotDicom"), (DATA[:400], "Truncated")])
def test_what_holds_no_header_is_refused(data: bytes, kind: str) -> None:
    for work in (DECODER.decode, DECODER.check):
        with pytest.raises(RowError) as caught:
            work([data], max_pixels=1)
        assert caught.value.error_type == kind

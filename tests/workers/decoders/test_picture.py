"""The decoder of pictures: one RGB picture from one file; unsupported pictures are refused by their header."""

from __future__ import annotations

import pytest
import torch

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.footprint import decode_bytes
from pixelmill.workers.decoders import DECODERS, decoder_of
from pixelmill.workers.errors import RowError
from tests.corpus import encode, photo

DATA = encode(photo(width=40, height=30), "PNG")
DECODER = decoder_of("picture")


def test_a_file_is_one_picture_as_the_codecs_read_it() -> None:
    (decoded,) = DECODER.decode((DATA,), max_pixels=1200)
    assert torch.equal(decoded.picture.pixels, decode_picture(DATA))
    assert (decoded.picture.kind, decoded.picture.width, decoded.picture.height) == ("rgb8", 40, 30)
    assert decoded.columns == {}
    assert DECODER.need_bytes((DATA,)) == decode_bytes(DATA)


def test_a_check_raises_the_errors_of_decoding_without_decoding() -> None:
    DECODER.check((DATA,), max_pixels=1200)
    for data, max_pixels, error_type in ((DATA, 1199, "TooManyPixels"), (b"<html>", 1200, "NotAnImage")):
        for method in (DECODER.check, DECODER.decode):
            with pytest.raises(RowError) as caught:
                method((data,), max_pixels=max_pixels)
            assert caught.value.error_type == error_type
            assert "max_pixels = 0" not in str(caught.value)


@pytest.mark.parametrize("pieces", [(), (DATA, DATA)])
def test_a_picture_is_in_one_piece(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(RowError, match="a picture is in one file"):
        DECODER.decode(pieces, max_pixels=1200)


def test_a_decoder_may_be_named_by_its_place_for_workers_that_know_no_such_name() -> None:
    assert type(decoder_of(DECODERS["picture"])) is type(DECODER)

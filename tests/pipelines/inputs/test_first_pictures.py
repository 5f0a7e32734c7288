"""The first pictures of a source come in its order, a broken one as its error, and no more are read than are taken."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from pixelmill.pipelines.inputs.entries import Entry, Source
from pixelmill.pipelines.inputs.first_pictures import AT_ONCE, first_pictures
from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import JobError, RowError
from tests.support import pictures


def test_they_come_in_the_order_of_the_source_with_errors_in_their_places(tmp_path: Path) -> None:
    files = pictures(tmp_path, 5)
    files[2].write_bytes(b"no picture")
    read = list(first_pictures(Source((str(tmp_path),))))
    assert [isinstance(each, RowError) for each in read] == [False, False, True, False, False]
    assert all(
        isinstance(each, RowError) or each.equal(decode_picture(file.read_bytes()))
        for each, file in zip(read, files, strict=True)
    )


def test_nothing_beyond_the_batch_in_which_the_taken_ones_lie_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path, AT_ONCE + 2, size=(8, 6))
    read: list[int] = []

    def counted(batch: list[Entry]) -> object:
        read.append(len(batch))
        return table_of(batch)

    monkeypatch.setattr("pixelmill.pipelines.inputs.first_pictures.table_of", counted)
    found = first_pictures(Source((str(tmp_path),)))
    assert len(list(islice(found, 3))) == 3
    assert read == [AT_ONCE]
    assert len(list(found)) == AT_ONCE - 1
    assert read == [AT_ONCE, 2]


def test_an_empty_source_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no input was found"):
        list(first_pictures(Source((str(tmp_path),))))

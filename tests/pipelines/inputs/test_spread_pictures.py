"""Pictures are taken from all over a source, the same ones every time, and a broken one costs none."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path

import pytest

from pixelmill.pipelines.inputs import spread_pictures as module
from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.inputs.spread_pictures import spread_order, spread_pictures
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import JobError, RowError
from tests.support import pictures


def places(found: list[object], files: list[Path]) -> list[int]:
    """The numbers of the files that these pictures are of."""
    decoded = [decode_picture(file.read_bytes()) for file in files]
    return [next(n for n, each in enumerate(decoded) if each.equal(picture)) for picture in found]  # type: ignore[call-overload]


@pytest.mark.parametrize("count", [4, 10, 40])
def test_the_first_few_of_an_order_are_evenly_spread(count: int) -> None:
    assert sorted(spread_order(200)) == list(range(200))
    chosen = [-1, *sorted(islice(spread_order(200), count)), 200]
    assert max(after - before for before, after in pairwise(chosen)) <= 3 * 200 / count


def test_pictures_come_from_all_over_the_source_in_its_order(tmp_path: Path) -> None:
    files = pictures(tmp_path, 20)
    found = places(list(spread_pictures(Source((str(tmp_path),)), 6)), files)
    assert found == sorted(found)
    assert len(found) == 6
    assert found[0] < 7
    assert found[-1] > 12
    assert places(list(spread_pictures(Source((str(tmp_path),)), 6)), files) == found


def test_another_picture_is_taken_for_one_that_is_broken_while_there_are_any(tmp_path: Path) -> None:
    files = pictures(tmp_path, 9)
    for file in files[::3]:
        file.write_bytes(b"no picture")
    some = list(spread_pictures(Source((str(tmp_path),)), 5))
    assert sum(not isinstance(each, RowError) for each in some) == 5
    every = list(spread_pictures(Source((str(tmp_path),)), 100))
    assert [sum(isinstance(each, RowError) for each in every), len(every)] == [3, 9]


def test_no_more_of_a_source_is_listed_than_is_chosen_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = pictures(tmp_path, 12)
    monkeypatch.setattr(module, "LISTED", 5)
    assert places(list(spread_pictures(Source((str(tmp_path),)), 100)), files) == [0, 1, 2, 3, 4]


def test_an_empty_source_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no input was found"):
        list(spread_pictures(Source((str(tmp_path),)), 3))

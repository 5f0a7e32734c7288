"""Decoded samples are measured, since nothing else says how many of them fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pixelmill.pipelines.training.measuring import MEASURED, SampleBytes, good_samples, measure
from pixelmill.workers.errors import DataError
from tests.pipelines.training.sources import Verbatim, put

RECIPE: Any = Verbatim()


def test_the_largest_is_found_wherever_it_lies_and_broken_ones_are_left_out(tmp_path: Path) -> None:
    data = put(tmp_path, b"broken", *[bytes(10)] * 20, bytes(500))
    size = measure(data, RECIPE)
    assert (size.most, round(size.mean, 1)) == (500, round((20 * 10 + 500) / 21, 1))


def test_not_more_than_a_few_are_measured(tmp_path: Path) -> None:
    recipe: Any = Verbatim()
    assert len(list(good_samples(put(tmp_path, *[b"a"] * (2 * MEASURED)), recipe))) == MEASURED == len(recipe.read)


def test_data_of_which_nothing_can_be_used_is_refused_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of 2 samples from all over .*; the first: .*000\.png: is no picture"):
        measure(put(tmp_path, b"broken", b"broken"), RECIPE)


@pytest.mark.parametrize(("most", "samples"), [(0, 256), (1000, 21), (1 << 40, 1)])
def test_a_window_has_so_many_samples_as_its_bytes_allow_with_room_to_spare(most: int, samples: int) -> None:
    assert SampleBytes(1.0, most).window_samples(32 * 1000) == samples

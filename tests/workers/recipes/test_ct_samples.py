"""Samples of CT."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.workers.ct.hu_cells import packed
from pixelmill.workers.ct.slice_facts import SliceFacts
from pixelmill.workers.errors import DataError, RowError
from pixelmill.workers.recipes.ct_samples import CtSettings, corner, decoded, generator_of, thinned_to

SETTINGS = CtSettings(widths=(4, 8), size_px=16)


def row(value: int, slices: int = 1) -> bytes:
    return packed(np.full(slices * 64, value, "<i2").tobytes(), (slices, 8, 8))


def test_a_slice_keeps_hounsfield_units_in_the_size_of_the_network() -> None:
    sample = decoded(row(40), SETTINGS)
    assert sample["values"].dtype == np.int16
    assert sample["values"].shape == (16, 16)
    assert (sample["values"] == 40).all()


def test_a_slice_of_air_is_left_out_and_said_so() -> None:
    with pytest.raises(RowError, match="slice of air") as left:
        decoded(row(-1000), SETTINGS)
    assert left.value.error_type == "LeftOut"
    assert decoded(row(-1000), SETTINGS.model_copy(update={"drop_air": False}))


def test_blocks_are_for_3d_and_slices_for_2d() -> None:
    deep = SETTINGS.model_copy(update={"dims": 3})
    assert decoded(row(40, 4), deep)["values"].shape == (4, 16, 16)
    for data, settings in ((row(40, 4), SETTINGS), (row(40), deep)):
        with pytest.raises(DataError, match="give slices to 2 and blocks to 3"):
            decoded(data, settings)


def test_slices_are_thinned_only_where_that_is_asked_for() -> None:
    facts = SliceFacts(("p",) * 3, ("s",) * 3, np.array([0.0, 1.0, 2.0]))
    assert thinned_to(SETTINGS, facts).tolist() == [0, 1, 2]
    assert thinned_to(SETTINGS.model_copy(update={"thin_mm": 2.0}), facts).tolist() == [0, 2]


def test_crops_reach_every_corner_and_stay_inside() -> None:
    assert corner((8, 8), 4, np.array([0.0, 0.999])) == (slice(0, 4), slice(4, 8))
    assert corner((2, 8), 4, np.array([0.5, 0.0])) == (slice(0, 2), slice(0, 4))


def test_what_an_evaluation_draws_follows_from_the_values() -> None:
    one, other = ({"values": np.full((4, 4), value, np.int16)} for value in (1, 2))
    assert generator_of(one).random() == generator_of(one).random() != generator_of(other).random()

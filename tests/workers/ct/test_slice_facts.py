"""Patients are drawn by themselves, whoever else is there; slices are thinned by millimetres."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.workers.ct.slice_facts import SliceFacts, chance_of, first_patients, thinned

names = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=20, unique=True)


@given(names, st.text(max_size=4))
def test_fewer_patients_are_among_more(patients: list[str], purpose: str) -> None:
    every = first_patients(patients, len(patients), purpose)
    assert set(every) == set(patients)
    for count in range(len(patients)):
        assert first_patients(patients, count, purpose) == every[:count]


@given(st.text(max_size=8))
def test_a_chance_is_in_its_range_and_depends_on_the_purpose(patient: str) -> None:
    assert 0 <= chance_of(patient, "a") < 1
    assert chance_of(patient, "a") != chance_of(patient, "b")


def test_slices_are_thinned_in_each_series_by_their_places() -> None:
    places = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 0.5, np.nan])
    facts = SliceFacts(("p",) * 7, (*("a",) * 5, "b", "b"), places)
    assert thinned(facts, 2.0).tolist() == [0, 2, 4, 5, 6]
    assert thinned(facts, 0.1).tolist() == list(range(7))

"""Parts of patients: none in two, none moves when the archive grows, and their sizes are what was asked for."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.workers.ct.keyed_ids import IdKey
from pixelmill.workers.ct.splits import part_of

KEY = IdKey(b"0123456789abcdef")
PATIENTS = [KEY.id_of("patient", "", str(number)) for number in range(4000)]


def test_no_patient_leaks_whatever_the_number_and_the_order_of_series() -> None:
    slices = [(patient, number) for number in range(3) for patient in PATIENTS[:500]]
    parts = {part: {p for p, _ in slices if part_of(p) == part} for part in ("train", "val", "test")}
    assert parts["train"].isdisjoint(parts["val"] | parts["test"])
    assert parts["val"].isdisjoint(parts["test"])
    assert sum(map(len, parts.values())) == 500


def test_parts_have_the_asked_shares_and_stay_as_they_were() -> None:
    counts = Counter(part_of(patient, val=0.2, test=0.1) for patient in PATIENTS)
    assert counts["val"] == pytest.approx(800, abs=90)
    assert counts["test"] == pytest.approx(400, abs=70)
    assert [part_of(f"{number:032x}") for number in range(9)] == [
        "train",
        "val",
        "train",
        "train",
        "train",
        "val",
        "test",
        "train",
        "train",
    ]


@settings(deadline=None)
@given(st.text(min_size=1), st.floats(0, 0.5), st.floats(0, 0.4), st.floats(0, 0.1))
def test_a_larger_share_takes_patients_from_train_alone(patient: str, val: float, test: float, more: float) -> None:
    patient = patient.encode("utf-8", "ignore").decode()
    before, after = part_of(patient, val=val, test=test), part_of(patient, val=val, test=test + more)
    assert before == after or (before, after) == ("train", "test")


def test_shares_of_more_than_all_are_refused() -> None:
    with pytest.raises(ValueError, match="shares"):
        part_of("p", val=0.7, test=0.7)

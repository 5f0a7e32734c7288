"""Two verdicts for each series, with the reasons that were planted and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pixelmill.workers.ct.facts import facts_of
from pixelmill.workers.ct.verdicts import Member, Verdict, slice_problem, verdict_of, without_problem
from tests.workers.ct.objects import a_slice

NOTHING: frozenset[str] = frozenset()
ROTATED = [0.9950041653, 0.0998334166, 0, -0.0998334166, 0.9950041653, 0]


def _member(number: int, **tags: Any) -> Member:
    facts = facts_of(a_slice(number, **tags))
    problem = slice_problem(facts, NOTHING)
    return Member(
        facts.identity.patient,
        facts.kind,
        facts.layout,
        facts.geometry,
        facts.phase_percent,
        facts.acquisition,
        problem,
    )


def _series(count: int = 6) -> list[Member]:
    return [_member(number) for number in range(count)]


def _kinds(verdict: Verdict) -> list[str]:
    return [reason.partition(":")[0] for reason in verdict.reasons_3d]


def test_a_good_series_is_usable_for_both_in_any_order() -> None:
    series = _series()
    verdict = verdict_of(series[::-1])
    assert (verdict.usable_2d, verdict.usable_3d, verdict.reasons_2d, verdict.reasons_3d) == (True, True, {}, ())
    assert verdict.members == (5, 4, 3, 2, 1, 0)


def test_a_localizer_and_a_capture_are_left_out_and_the_rest_is_a_volume() -> None:
    localizer = _member(9, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    capture = _member(8, SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    verdict = verdict_of([*_series(), localizer, capture])
    assert verdict.usable_3d
    assert verdict.reasons_2d == {"localizer": 1, "secondary_capture": 1}
    assert len(verdict.members) == 6


@pytest.mark.parametrize(
    ("kinds", "change"),
    [
        (["missing_slices"], lambda s: [*s[:2], *s[3:]]),
        (["doubled_slices"], lambda s: [*s, s[2]]),
        (["irregular_spacing"], lambda s: [*s, _member(0, ImagePositionPatient=[0, 0, 10.9])]),
        (["mixed_orientation"], lambda s: [*s, _member(6, ImageOrientationPatient=ROTATED)]),
        (["mixed_matrix"], lambda s: [*s, replace(_member(6), layout=replace(s[0].layout, rows=32))]),
        (["mixed_spacing"], lambda s: [*s, _member(6, PixelSpacing=[0.8, 0.8])]),
        (["overlapping_phases"], lambda s: [*s, *s]),
        (["no_position"], lambda s: [*s, _member(6, drop=("ImagePositionPatient",))]),
        (["few_slices"], lambda s: s[:3]),
        (["two_patients"], lambda s: [*s, _member(6, PatientID="p2")]),
    ],
)
def test_each_planted_defect_is_found_and_no_other(kinds: list[str], change: Any) -> None:
    verdict = verdict_of(change(_series()))
    assert _kinds(verdict) == kinds
    assert not verdict.usable_3d
    assert verdict.usable_2d == (kinds != ["two_patients"])


def test_two_stated_phases_overlap_even_where_one_is_shorter() -> None:
    second = [_member(number, NominalPercentageOfCardiacPhase=70) for number in range(4)]
    assert _kinds(verdict_of([*_series(), *second])) == ["overlapping_phases"]


@pytest.mark.parametrize(
    ("kind", "tags"),
    [
        ("burned_in", {"BurnedInAnnotation": "YES"}),
        ("not_hu", {"BitsStored": 8, "HighBit": 7}),
        ("not_hu", {"drop": ("RescaleSlope",)}),
        ("not_hu", {"RescaleSlope": 0}),
        ("not_hu", {"RescaleType": "EDW"}),
        ("not_hu", {"PhotometricInterpretation": "MONOCHROME1"}),
        ("multi_frame", {"NumberOfFrames": 3}),
        ("colour", {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}),
        ("bits", {"BitsAllocated": 12}),
        ("report", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67"}),
    ],
)
def test_an_object_that_is_no_slice_says_why(kind: str, tags: dict[str, Any]) -> None:
    member = _member(0, **tags)
    assert member.problem is not None
    assert member.problem.startswith(f"{kind}: ")
    verdict = verdict_of([member])
    assert not verdict.usable_2d
    assert verdict.reasons_2d == {kind: 1}


@pytest.mark.parametrize(
    ("uid", "installed", "words"),
    [
        ("1.2.840.10008.1.2.4.70", NOTHING, "pip install python-gdcm"),
        ("1.2.840.10008.1.2.4.53", frozenset({"python-gdcm"}), "no decoder"),
        ("1.2.840.113619.5.2", NOTHING, "1.2.840.113619.5.2 is unknown"),
        ("12345678", NOTHING, "private"),
        ("MUELLER^ANNA", NOTHING, "malformed"),
    ],
)
def test_pixels_without_a_decoder_are_refused_by_name(uid: str, installed: frozenset[str], words: str) -> None:
    problem = slice_problem(replace(facts_of(a_slice()), transfer_syntax=uid), installed)
    assert problem is not None
    assert words in problem
    assert "MUELLER" not in problem
    assert "12345678" not in problem


def test_a_later_problem_takes_an_object_out() -> None:
    series = _series()
    repeated = without_problem(series[2], "repeated: another object has the same uid")
    assert verdict_of([*series, repeated]).usable_3d

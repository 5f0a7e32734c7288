"""A phantom archive has each planted defect and no other, and identifies its patients in every way that archives do."""

from __future__ import annotations

import pytest

from pixelmill.workers.ct.facts import facts_of
from pixelmill.workers.ct.header import parse_header
from pixelmill.workers.ct.phantom_archive import CANARY, DEFECTS, Defect, PhantomFile, phantom_archive, strangers
from pixelmill.workers.ct.verdicts import Member, slice_problem, verdict_of
from pixelmill.workers.errors import RowError

ARCHIVE = list(phantom_archive(len(DEFECTS), side_px=16))


def _members(files: list[PhantomFile]) -> tuple[list[Member], int]:
    members: list[Member] = []
    seen: set[str] = set()
    failed = 0
    for file in files:
        try:
            header = parse_header(file.data, is_whole=True)
            assert header is not None
            facts = facts_of(header)
        except RowError:
            failed += 1
            continue
        is_copy = facts.identity.object in seen and facts.identity.object != ""
        seen.add(facts.identity.object)
        problem = "copy: has the uid of another" if is_copy else slice_problem(facts, frozenset())
        patient, phase = facts.identity.patient, facts.phase_percent
        members.append(Member(patient, facts.kind, facts.layout, facts.geometry, phase, facts.acquisition, problem))
    return members, failed


@pytest.mark.parametrize(("defect", "files"), ARCHIVE, ids=[defect.name for defect, _ in ARCHIVE])
def test_each_series_deserves_what_is_expected_of_it(defect: Defect, files: list[PhantomFile]) -> None:
    members, failed = _members(files)
    expected = defect.expected
    assert failed == expected.failed
    if not members:
        return
    verdict = verdict_of(members)
    assert (verdict.usable_2d, verdict.usable_3d) == (expected.usable_2d, expected.usable_3d)
    assert set(verdict.reasons_2d) == expected.reasons_2d
    assert {reason.partition(":")[0] for reason in verdict.reasons_3d} == expected.reasons_3d


def test_every_file_holds_canaries_in_its_name_and_in_its_tags() -> None:
    for defect, files in ARCHIVE:
        assert all(CANARY in file.name for file in files)
        assert defect.name == "truncated" or all(file.data.count(CANARY.encode()) > 10 for file in files)


def test_the_order_of_files_is_not_that_of_slices() -> None:
    _, files = ARCHIVE[0]
    headers = [parse_header(file.data, is_whole=True) for file in files]
    places = [float(header.ImagePositionPatient[2]) for header in headers if header is not None]
    assert places != sorted(places)
    assert sorted(places) == [2.5 * number for number in range(12)]


def test_strangers_are_no_slices() -> None:
    directory, *others = strangers()
    header = parse_header(directory.data, is_whole=True)
    assert header is not None
    assert facts_of(header).kind == "directory"
    for file in others:
        with pytest.raises(RowError):
            parse_header(file.data, is_whole=True)

"""A row of the index holds numbers, words of closed sets and keyed ids, and no text of the header."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from pixelmill.workers.ct.facts import facts_of
from pixelmill.workers.ct.index_rows import FIELDS, UNKNOWN_SYNTAX, index_row, members_of
from pixelmill.workers.ct.keyed_ids import IdKey
from pixelmill.workers.ct.phantom_archive import CANARY, phantom_series
from pixelmill.workers.ct.verdicts import slice_problem
from tests.workers.ct.objects import a_slice

KEY = IdKey(b"0123456789abcdef")
NONE: frozenset[str] = frozenset()


def test_no_text_of_a_header_reaches_a_row() -> None:
    facts = facts_of(phantom_series(1, 2, 16).objects[0])
    row = index_row(replace(facts, transfer_syntax=CANARY), "digest", KEY, NONE)
    assert CANARY not in repr(row)
    assert row["transfer_syntax"] == UNKNOWN_SYNTAX


def test_the_same_patient_has_one_id_and_issuers_are_reported_apart() -> None:
    def patient(**tags: str) -> str:
        return index_row(facts_of(a_slice(**tags)), "digest", KEY, NONE)["patient_id"]

    assert patient(PatientID="7") == patient(PatientID="7 ", SeriesInstanceUID="1.2.3")
    assert len({patient(PatientID="7"), patient(PatientID="8"), patient(PatientID="7", IssuerOfPatientID="A")}) == 3


def test_a_member_is_what_its_object_was() -> None:
    facts = facts_of(a_slice(3, BurnedInAnnotation="YES"))
    table = pa.Table.from_pylist([index_row(facts, "digest", KEY, NONE)], pa.schema(FIELDS))
    (member,) = members_of(table.to_pylist()[0])
    assert (member.geometry, member.kind, member.problem) == (facts.geometry, "slice", slice_problem(facts, NONE))
    assert member.layout is not None
    assert (member.layout.rows, member.layout.columns) == (16, 16)


def test_missing_uids_are_null() -> None:
    dataset = a_slice(SeriesInstanceUID="", SOPInstanceUID="")
    dataset.file_meta.MediaStorageSOPInstanceUID = ""
    row = index_row(facts_of(dataset), "digest", KEY, NONE)
    assert row["series_id"] is None
    assert row["object_id"] == KEY.id_of("object", "", "digest")
    assert len(row["loose_series_id"]) == 32

"""Facts of one object: what it is, how its pixels are stored, where it lies."""

from __future__ import annotations

from typing import Any

import pytest

from pixelmill.workers.ct.facts import facts_of
from pixelmill.workers.ct.geometry import Geometry
from pixelmill.workers.errors import RowError
from tests.workers.ct.objects import a_slice

ENHANCED = "1.2.840.10008.5.1.4.1.1.2.1"


def test_a_good_slice_has_all_facts() -> None:
    facts = facts_of(a_slice(3, PixelPaddingValue=0, NominalPercentageOfCardiacPhase=70))
    assert facts.kind == "slice"
    assert facts.geometry == Geometry((0, 0, 6), (1, 0, 0, 0, 1, 0), (0.7, 0.7))
    assert facts.layout is not None
    assert (facts.layout.rows, facts.layout.bits_stored, facts.layout.is_signed) == (16, 12, False)
    assert (facts.slope, facts.intercept, facts.padding, facts.phase_percent) == (1, -1024, 0, 70)
    assert facts.identity.object == "1.2.3.4"


@pytest.mark.parametrize(
    ("kind", "tags"),
    [
        ("slice", {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}),
        ("localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        ("secondary capture", {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}),
        ("secondary capture", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}),
        ("report", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67"}),
        ("multi-frame", {"SOPClassUID": ENHANCED}),
        ("other", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR"}),
        ("other", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3"}),  # tomosynthesis may carry Modality CT
    ],
)
def test_kinds_follow_from_sop_class_and_image_type(kind: str, tags: dict[str, Any]) -> None:
    assert facts_of(a_slice(**tags)).kind == kind


def test_an_empty_object_uid_falls_back_to_the_meta_header() -> None:
    assert facts_of(a_slice(drop=("SOPInstanceUID",))).identity.object == "1.2.3.1"


def test_an_identity_is_never_shown() -> None:
    facts = facts_of(a_slice(PatientID="CANARY", Manufacturer="CANARY"))
    assert "CANARY" not in repr(facts)


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "BitsAllocated"])
def test_a_slice_without_its_layout_is_refused_by_the_name_of_the_tag(keyword: str) -> None:
    with pytest.raises(RowError, match=keyword):
        facts_of(a_slice(drop=(keyword,)))


def test_without_a_position_there_is_no_geometry() -> None:
    assert facts_of(a_slice(drop=("ImagePositionPatient",))).geometry is None

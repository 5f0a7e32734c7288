"""Enhanced CT: frames are slices where all of them state their geometry and scale; otherwise the object is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.workers.ct.facts import facts_of
from pixelmill.workers.ct.frames import frames_of, order_along_normal
from pixelmill.workers.ct.verdicts import slice_problem
from pixelmill.workers.errors import RowError
from tests.ct_series import index_of, ingested, series_of
from tests.workers.ct.objects import an_enhanced_object, saved


def test_a_frame_has_its_own_groups_and_those_of_all() -> None:
    frames = frames_of(an_enhanced_object())
    assert [frame.geometry.position_mm[2] for frame in frames] == [0, -2, -4, -6, -8, -10]
    assert {frame.geometry.spacing_mm for frame in frames} == {(0.7, 0.8)}
    assert [frame.intercept for frame in frames][:2] == [-1000, -1001]
    assert order_along_normal([frame.geometry for frame in frames]) == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("group", ["PlanePositionSequence", "PixelValueTransformationSequence"])
def test_one_frame_without_geometry_or_scale_refuses_the_object_by_name(group: str) -> None:
    facts = facts_of(an_enhanced_object(without=group))
    assert facts.frames == ()
    assert (slice_problem(facts, frozenset()) or "").startswith("multi_frame: ")


def test_frames_of_another_quantity_are_no_hounsfield_units() -> None:
    dataset = an_enhanced_object()
    dataset.PerFrameFunctionalGroupsSequence[2].PixelValueTransformationSequence[0].RescaleType = "Z_EFF"
    assert (slice_problem(facts_of(dataset), frozenset()) or "").startswith("not_hu: ")


def test_a_frame_whose_pixels_have_no_size_refuses_the_object() -> None:
    dataset = an_enhanced_object()
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.7, 0]
    assert facts_of(dataset).frames == ()


def test_a_count_of_frames_that_differs_refuses_the_object() -> None:
    dataset = an_enhanced_object()
    dataset.NumberOfFrames = 5
    assert facts_of(dataset).frames == ()


@pytest.mark.parametrize(("step_mm", "reasons"), [(2.0, []), (0.0, ["overlapping_phases"])])
def test_verdicts_are_by_frames(tmp_path: Path, step_mm: float, reasons: list[str]) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/one").write_bytes(saved(an_enhanced_object(step_mm=step_mm)))
    index, errors = index_of(tmp_path / "archive", tmp_path / "index")
    (row,) = series_of(index)
    assert errors == {}
    assert (row["objects"], row["slices"], row["usable_2d"], row["usable_3d"]) == (1, 6, True, not reasons)
    assert [reason.partition(":")[0] for reason in row["reasons_3d"]] == reasons


def test_frames_are_ingested_along_the_normal_each_with_its_scale(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/one").write_bytes(saved(an_enhanced_object()))
    index, _ = index_of(tmp_path / "archive", tmp_path / "index")
    ((_, slices),) = ingested(index)
    assert not isinstance(slices, RowError), slices
    assert [each.columns["position_mm"] for each in slices] == [-10, -8, -6, -4, -2, 0]
    assert {int(each.picture.pixels[0, 0, 0]) for each in slices} == {-1000}  # value n, intercept -1000 - n
    assert len({str(each.columns["slice_id"]) for each in slices}) == 6

"""Malformed values are named by their tag, and never shown."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from pixelmill.workers.ct.values import has, number, numbers, text, texts, whole
from pixelmill.workers.errors import RowError


def _with(keyword: str, value: object) -> Dataset:
    dataset = Dataset()
    setattr(dataset, keyword, value)
    return dataset


def test_missing_and_empty_tags_have_no_value() -> None:
    for dataset in (Dataset(), _with("RescaleSlope", ""), _with("PatientID", "")):
        assert number(dataset, "RescaleSlope") is None
        assert whole(dataset, "NumberOfFrames") is None
        assert numbers(dataset, "PixelSpacing", 2) is None
        assert text(dataset, "PatientID") == ""
        assert texts(dataset, "ImageType") == ()
        assert not has(dataset, "PatientID")


@pytest.mark.parametrize("value", [b"MUELLER^ANNA", b"nan", b"1e999"])
def test_a_malformed_number_is_refused_without_showing_it(value: bytes) -> None:
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    dataset = Dataset()
    tag = Tag(0x0028, 0x1053)
    dataset[tag] = RawDataElement(tag, "DS", len(value), value, 0, False, True)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RowError, match="RescaleSlope") as caught:
        number(dataset, "RescaleSlope")
    assert value.decode() not in str(caught.value)


def test_another_count_of_values_is_refused() -> None:
    with pytest.raises(RowError, match="PixelSpacing has 3 values, and 2"):
        numbers(_with("PixelSpacing", [1, 2, 3]), "PixelSpacing", 2)

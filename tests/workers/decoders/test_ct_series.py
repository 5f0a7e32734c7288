"""The decoder of series: slices in the given order with their geometry; a series is whole, or fails and says where."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from pixelmill.workers.ct.object_files import BYTES_PER_PIXEL
from pixelmill.workers.decoders import decoder_of
from pixelmill.workers.decoders.ct_series import CtSeriesDecoder
from pixelmill.workers.errors import RowError
from tests.workers.ct.objects import SIDE, a_slice, saved

DECODER = decoder_of("ct-series")
MOST = 1 << 20


def _facts(count: int) -> bytes:
    objects = [f"object {number}" for number in range(count)]
    return json.dumps(
        {"series_id": "s", "patient_id": "a", "scanner_id": "c", "usable_3d": True, "objects": objects}
    ).encode()


def _slice(number: int, **tags: Any) -> FileDataset:
    dataset = a_slice(number, **tags)
    dataset.PixelData = (np.arange(SIDE * SIDE, dtype="<u2") * 8 + number).tobytes()
    return dataset


def _pieces(*slices: FileDataset) -> list[bytes]:
    return [_facts(len(slices)), *map(saved, slices)]


def test_slices_come_in_their_order_with_ids_and_geometry() -> None:
    decoded = list(DECODER.decode(_pieces(_slice(0), _slice(1), _slice(2)), max_pixels=MOST))
    assert [each.columns["slice_id"] for each in decoded] == ["object 0", "object 1", "object 2"]
    assert [each.columns["position_mm"] for each in decoded] == [0, 2, 4]
    assert {each.columns["patient_id"] for each in decoded} == {"a"}
    assert {each.columns["split"] for each in decoded} == {"test"}  # that of the patient; series s is in train
    assert decoded[1].picture.pixels[0, 0, :2].tolist() == [-1023, -1015]
    assert (decoded[1].picture.kind, decoded[1].picture.spacing_mm) == ("hu16", (0.7, 0.7))


def test_every_slice_has_its_own_scale() -> None:
    other = _slice(1, RescaleIntercept=-1000, RescaleSlope=2)
    decoded = list(DECODER.decode(_pieces(_slice(0), other), max_pixels=MOST))
    assert [each.picture.pixels[0, 0, 1].item() for each in decoded] == [8 - 1024, 2 * 9 - 1000]


def test_one_slice_that_fails_fails_the_series_and_is_named_by_its_number() -> None:
    pieces = _pieces(_slice(0), _slice(1), _slice(2))
    with pytest.raises(RowError, match="slice 2: "):
        list(DECODER.decode([*pieces[:3], pieces[3][:-9]], max_pixels=MOST))


def _scaled(number: int, factor: float, offset: float, limit: float = 4095) -> FileDataset:
    """A body of tissue in air, scaled as a careless export does."""
    random = np.random.default_rng(number)
    hu = np.where(random.random(SIDE * SIDE) < 0.5, -1000, 40) + random.normal(0, 12, SIDE * SIDE)
    dataset = a_slice(number, RescaleIntercept=0)
    dataset.PixelData = np.clip(hu * factor + offset, 0, limit).astype("<u2").tobytes()
    return dataset


@pytest.mark.parametrize(
    ("factor", "offset", "words"),
    [(1 / 1400, 1000 / 1400, "0 to 1"), (1, 1024 + 200, "intercept"), (255 / 1400, 1000 * 255 / 1400, "8 bits")],
)
def test_values_that_are_no_hounsfield_units_fail_by_their_histogram(factor: float, offset: float, words: str) -> None:
    with pytest.raises(RowError, match=words) as caught:
        list(DECODER.decode(_pieces(*(_scaled(number, factor, offset) for number in range(3))), max_pixels=MOST))
    assert caught.value.error_type == "NotHu"


def test_the_edge_of_a_picture_does_not_stand_for_all_of_it() -> None:
    slices = [_slice(number) for number in range(3)]
    for dataset in slices:
        hu_HW = np.full((SIDE, SIDE), -1000)
        hu_HW[:, 1:] = np.linspace(-1000, 300, SIDE - 1)
        dataset.PixelData = (hu_HW + 1024).astype("<u2").tobytes()
    assert len(list(DECODER.decode(_pieces(*slices), max_pixels=MOST))) == 3


def test_memory_and_size_are_known_from_headers_alone() -> None:
    pieces = _pieces(_slice(0), _slice(1))
    pixels = SIDE * SIDE
    assert DECODER.need_bytes(pieces) == 2 * 2 * pixels + BYTES_PER_PIXEL * pixels
    DECODER.check(pieces, max_pixels=pixels)
    with pytest.raises(RowError, match="max_pixels"):
        DECODER.check(pieces, max_pixels=pixels - 1)


def test_every_column_has_a_meaning() -> None:
    assert set(CtSeriesDecoder.meanings) == {field.name for field in CtSeriesDecoder.fields}

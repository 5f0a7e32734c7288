"""The decoder of volumes: blocks with their places, of a series that is a volume or fails; within the memory that it states."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from pixelmill.workers.ct.volume_options import VolumeOptions
from pixelmill.workers.decoders import decoder_of
from pixelmill.workers.decoders.ct_volume import CtVolumeDecoder
from pixelmill.workers.errors import RowError
from tests.workers.ct.niftis import a_body, a_volume, compressed
from tests.workers.ct.objects import SIDE, a_slice, an_enhanced_object, saved

DECODER = decoder_of("ct-volume")
MOST = 1 << 20


# Patient a is in the part test, and series s is in train.


def _facts(count: int, **options: Any) -> bytes:
    volumes = VolumeOptions(**{"spacing_mm": (1.0, 1.0, 1.0), "block": (8, 8, 8), **options}).as_json()
    objects = [f"object {number}" for number in range(count)]
    known = {
        "series_id": "s",
        "patient_id": "a",
        "scanner_id": "c",
        "usable_3d": True,
        "objects": objects,
        "volumes": volumes,
    }
    return json.dumps(known).encode()


def _slice(number: int, **tags: Any) -> bytes:
    dataset = a_slice(number, **tags)
    dataset.PixelData = (np.arange(SIDE * SIDE, dtype="<u2") * 8 + number).tobytes()
    return saved(dataset)


def test_blocks_state_where_they_lie_in_the_volume_and_in_the_patient() -> None:
    decoded = list(DECODER.decode([_facts(6), *(_slice(number) for number in range(6))], max_pixels=MOST))
    assert len(decoded) == 2 * 2 * 2
    first, last = decoded[0], decoded[-1]
    assert (first.picture.kind, first.picture.pixels.shape, first.picture.spacing_mm) == (
        "volume",
        (8, 1, 8, 8),
        (1, 1, 1),
    )
    assert first.columns["volume"] == (12, 11, 11)
    assert (first.columns["block"], last.columns["block"]) == ((0, 0, 0), (8, 8, 8))
    assert first.columns["origin_mm"] == pytest.approx((0.25, 0.25, -0.5))
    assert last.columns["origin_mm"] == pytest.approx((8.25, 8.25, 7.5))
    assert (first.columns["margin"], last.columns["margin"]) == (0, 8**3 - 4 * 3 * 3)
    assert {each.columns["split"] for each in decoded} == {"test"}
    assert set(CtVolumeDecoder.meanings) == {field.name for field in CtVolumeDecoder.fields} == set(first.columns)


@pytest.mark.parametrize(
    ("slices", "reason"),
    [
        ([_slice(number) for number in (0, 1, 2, 4, 5, 6)], "missing_slices"),
        ([_slice(number) for number in range(3)], "few_slices"),
        ([_slice(number, ImagePositionPatient=[0, number, 2.0 * number]) for number in range(6)], "tilt"),
        ([*(_slice(number) for number in range(5)), _slice(5, PixelSpacing=[0.8, 0.7])], "mixed_spacing"),
    ],
)
def test_what_is_no_volume_fails_with_the_reason(slices: list[bytes], reason: str) -> None:
    for work in (DECODER.check, lambda *a, **k: list(DECODER.decode(*a, **k))):
        with pytest.raises(RowError, match=reason) as caught:
            work([_facts(len(slices)), *slices], max_pixels=MOST)
        assert caught.value.error_type == "NotAVolume"


def test_a_tilted_gantry_is_sheared_where_that_is_asked_for() -> None:
    slices = [_slice(number, ImagePositionPatient=[0, 0.7 * number, 2.0 * number]) for number in range(6)]
    decoded = list(DECODER.decode([_facts(6, shear_tilt=True), *slices], max_pixels=MOST))
    assert decoded[0].columns["tilt_degrees"] == pytest.approx(np.degrees(np.arctan(0.35)))


def test_a_series_is_whole_or_fails_and_says_where() -> None:
    pieces = [_facts(6), *(_slice(number) for number in range(6))]
    with pytest.raises(RowError, match="slice 5: "):
        list(DECODER.decode([*pieces[:6], pieces[6][:-9]], max_pixels=MOST))


@pytest.mark.parametrize("data", [a_volume(a_body(), np.diag([-1.0, -1, 2, 1])), saved(an_enhanced_object())])
def test_objects_of_many_slices_are_volumes_too(data: bytes) -> None:
    decoded = list(DECODER.decode([_facts(1), data], max_pixels=MOST))
    assert decoded[0].columns["block"] == (0, 0, 0)
    assert len(decoded) >= 4


def test_memory_stays_within_what_headers_state() -> None:
    body = np.repeat(np.repeat(a_body((40, 40, 60)), 4, 0), 4, 1)
    pieces = [
        _facts(1, spacing_mm=(2.0, 2.0, 2.0), block=(16, 32, 32)),
        compressed(a_volume(body, np.diag([-1.0, -1, 1, 1]))),
    ]
    list(DECODER.decode(pieces, max_pixels=MOST))  # what is imported at first counts once
    tracemalloc.start()
    held = list(DECODER.decode(pieces, max_pixels=MOST))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(held) > 4
    assert peak_bytes <= DECODER.need_bytes(pieces)
    assert DECODER.need_bytes(pieces) < 4 * body.nbytes

"""Masks come back from either encoding as they were, with the names and colours of their classes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pixelmill.workers.codecs.stored import values_of
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.stages.mask_encoding import ENCODINGS, Encoding, class_metadata

COLOURS = [(0, 0, 0), (250, 10, 20), (1, 2, 3)]
IDS_HW = np.array([[0, 0, 2], [1, 2, 2]], np.uint8)


def column_of(encoding: Encoding, metadata: dict[str, str]) -> tuple[Any, Any]:
    made = ENCODINGS[encoding]
    field = made.field("mask", metadata)
    return field, pa.array([made.encoded(IDS_HW, COLOURS), None], field.type)


def test_a_picture_holds_the_ids_themselves() -> None:
    _, column = column_of("png", {})
    assert np.array_equal(values_of(column[0]["bytes"].as_py()).squeeze(), IDS_HW)
    assert not column[1].is_valid


def test_run_lengths_have_an_entry_for_each_class_that_occurs() -> None:
    _, column = column_of("rle", {})
    entries = column[0].as_py()
    assert [entry["class_id"] for entry in entries] == [0, 1, 2]
    assert {tuple(entry["size"]) for entry in entries} == {(2, 3)}
    assert column.type.value_type.field("counts").type == pa.string()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_field_says_what_the_ids_mean(encoding: Encoding) -> None:
    field, _ = column_of(encoding, class_metadata(Classes(("sky", "Straße"), ((0, 0, 0), (1, 2, 3)))))
    assert json.loads(field.metadata[b"classes"]) == ["sky", "Straße"]
    assert json.loads(field.metadata[b"colours"]) == [[0, 0, 0], [1, 2, 3]]
    assert "Straße" in field.metadata[b"classes"].decode()


def test_classes_without_colours_name_none() -> None:
    assert class_metadata(Classes(("a",))) == {"classes": '["a"]'}

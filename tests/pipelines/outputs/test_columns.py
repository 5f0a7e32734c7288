"""The columns of a row lie in one order whatever its inputs are, so that every part of an output has one schema."""

from __future__ import annotations

from pixelmill.pipelines.outputs.columns import FAILED_SCHEMA, INPUT_FIELDS, input_fields


def test_columns_that_some_outputs_have_lie_between_those_that_all_have() -> None:
    names = [field.name for field in input_fields(makes_many=True, has_source_ids=True)]
    assert names == ["id", "uri", "member", "source_id", "place", "width", "height"]
    assert [field.name for field in INPUT_FIELDS] == ["id", "uri", "member", "width", "height"]
    assert [field.name for field in input_fields(makes_many=True)] == [*names[:3], "place", *names[5:]]


def test_a_failed_row_always_has_its_input_and_its_reason() -> None:
    assert {field.name for field in FAILED_SCHEMA if not field.nullable} == {
        "id",
        "uri",
        "stage",
        "error_type",
        "error",
    }

"""What the files of an output say: which parts are there, what failed in them, and how they were made."""

from __future__ import annotations

import pytest

from pixelmill.pipelines.inputs.manifest_rows import input_id
from pixelmill.pipelines.outputs import contents, publishing
from pixelmill.pipelines.outputs.accounting import account
from pixelmill.pipelines.outputs.columns import FAILED_SCHEMA
from pixelmill.pipelines.outputs.contents import provenance_of
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import StoreError
from tests.pipelines.outputs.by_hand import NAMES, publish, put, table


def test_a_data_file_records_its_provenance(folder: Folder) -> None:
    publishing.publish(folder, "part-000000", table(NAMES[:3]), {"weights": {"0.embed": "abc"}}, Compression())
    assert provenance_of(folder, "part-000000.parquet") == {"weights": {"0.embed": "abc"}}


def test_a_truncated_data_file_is_named_with_the_next_step(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3])
    publish(folder, 1, NAMES[3:])
    folder.publish("data/part-000001.parquet", (folder.read("data/part-000001.parquet") or b"")[:-9])
    with pytest.raises(StoreError, match=r"data/part-000001.parquet: is not a whole Parquet file .* remove it and run"):
        account(folder, segments)


def test_rows_that_earlier_retries_finished_are_distinguished_from_parts(
    folder: Folder, segments: list[Segment]
) -> None:
    publish(folder, 1, NAMES[3:])
    for name in ("part-r002-000000", "part-r001-000000"):
        put(folder, name, table(NAMES[:1]))
    held = contents.progress(folder)
    assert held.old_retries == ["part-r001-000000.parquet", "part-r002-000000.parquet"]
    assert [held.is_done(part) for part in segments[0].parts()] == [False, True]
    assert contents.old_retried_ids(folder, held) == {input_id(NAMES[0], None): 2}


def test_a_part_records_how_many_inputs_are_done_and_which_failed(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[1],))
    facts = contents.facts_of(folder, "part-000000")
    assert facts.done == 2
    assert facts.bytes == len(folder.read("data/part-000000.parquet") or b"")
    assert facts.failures is not None
    assert facts.failures.schema == FAILED_SCHEMA
    assert facts.failures.select(["uri", "stage", "error_type"]).to_pylist() == [
        {"uri": NAMES[1], "stage": "decode", "error_type": "Corrupt"}
    ]
    assert [(name, rows["uri"].to_pylist()) for name, rows in contents.failures(folder)] == [
        ("part-000000.parquet", [NAMES[1]])
    ]


def test_inputs_of_many_rows_are_counted_by_their_first_row(folder: Folder) -> None:
    publish(folder, 0, NAMES[:2], places={NAMES[0]: [0, 1, 2], NAMES[1]: [0]})
    assert contents.facts_of(folder, "part-000000").done == 2


def test_a_file_without_metadata_has_no_provenance_and_no_failures(folder: Folder) -> None:
    put(folder, "part-000000", table(NAMES[:2]))
    assert contents.provenance_of(folder, "part-000000.parquet") == {}
    assert contents.facts_of(folder, "part-000000").failures is None

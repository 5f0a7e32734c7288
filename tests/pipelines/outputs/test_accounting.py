"""The account holds what is there against what was listed: done, failed, missing, twice, or unknown."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pixelmill.pipelines.outputs import publishing
from pixelmill.pipelines.outputs.accounting import account
from pixelmill.pipelines.outputs.contents import progress
from pixelmill.pipelines.outputs.encoding import Compression, encode
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.outputs.by_hand import NAMES, publish, table


def test_every_input_is_done_or_failed(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[1],))
    publish(folder, 1, NAMES[3:])
    found = account(folder, segments)
    assert (found.listed, found.done, found.failed) == (6, 5, 1)
    assert found.is_exact
    assert found.reasons == {("decode", "Corrupt"): 1}


def test_a_part_that_is_missing_is_pending_and_missed(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3])
    held = progress(folder)
    assert [held.is_done(part) for part in segments[0].parts()] == [True, False]
    assert account(folder, segments).missing == 3


@pytest.mark.parametrize(
    ("tamper", "law"),
    [
        (lambda t: t.slice(1), "missing"),
        (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "twice"),
        (lambda t: pa.concat_tables([t, table(["/p/alien.jpg"])]), "unknown"),
    ],
)
def test_an_output_that_was_tampered_with_does_not_add_up(
    folder: Folder, segments: list[Segment], tamper: object, law: str
) -> None:
    publishing.publish(folder, "part-000000", tamper(table(NAMES[:3])), {}, Compression())  # type: ignore[operator]
    publish(folder, 1, NAMES[3:])
    found = account(folder, segments)
    assert getattr(found, law) == 1
    assert not found.is_exact


def test_rows_under_a_name_that_no_part_has_are_counted_as_unknown(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3])
    publish(folder, 1, NAMES[3:])
    publish(folder, 7, NAMES[:2])
    assert account(folder, segments).unknown == 2
    folder.remove("data/part-000007.parquet")
    folder.publish("failed/other.parquet", encode(pa.table({"x": [1, 2, 3]})))
    assert account(folder, segments).unknown == 3
    folder.remove("failed/other.parquet")
    folder.publish("data/README.txt", b"no reader of Parquet looks at this")
    assert account(folder, segments).is_exact

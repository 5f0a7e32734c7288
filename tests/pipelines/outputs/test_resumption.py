"""Whatever was cut off, running again leaves every input in exactly one row, in outputs of earlier versions too."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from pixelmill.pipelines.inputs.earlier_runs import METADATA_KEY
from pixelmill.pipelines.inputs.manifest_rows import input_id
from pixelmill.pipelines.outputs import claims, repair
from pixelmill.pipelines.outputs.accounting import account
from pixelmill.pipelines.outputs.attempt import Attempt, pending
from pixelmill.pipelines.outputs.columns import ERROR_COLUMNS, FAILED_SCHEMA
from pixelmill.pipelines.outputs.contents import progress
from pixelmill.pipelines.outputs.encoding import encode
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.outputs.segments import Segment, read_segments
from pixelmill.pipelines.outputs.settling import settle
from pixelmill.pipelines.stores.folder import Folder
from tests.dying_writes import Killed, die_at
from tests.pipelines.outputs.by_hand import NAMES, Held, failed_uris, ids_of, publish, table

# Kills at every step


def live(folder: Folder, epoch: int) -> None:
    """What a run and a retry after it do: parts that are missing, then what failed; the second input fails for good."""
    attempt = Attempt(folder, Held(epoch), row_bytes=lambda _: 1, file_bytes=1 << 20)
    segments, _ = attempt.resume()
    for part in pending(segments, progress(folder), retry=False):
        names = [name for name in NAMES if input_id(name, None) in ids_of(folder, segments, part)]
        first = (NAMES[1],) if part.number > 1 else (NAMES[0], NAMES[1], NAMES[4])
        publish(folder, part.number, names, failed=first, error_type="NotFound" if part.number > 1 else "Corrupt")
    settle(folder, segments)
    segments = attempt.list_failed(segments, lambda rows: rows)
    for part in pending(segments, progress(folder), retry=True):
        names = [name for name in NAMES if input_id(name, None) in ids_of(folder, segments, part)]
        publish(folder, part.number, names, failed=(NAMES[1],), error_type="NotFound")
    settle(folder, segments)


@pytest.mark.parametrize("is_written", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("step", range(11))
def test_after_a_kill_at_any_step_the_next_run_and_retry_leave_every_input_in_one_row(
    folder: Folder, segments: list[Segment], monkeypatch: pytest.MonkeyPatch, step: int, is_written: bool
) -> None:
    die_at(step, monkeypatch, is_written=is_written)
    try:
        live(folder, 1)
        assert step == 10, "the life of a run and a retry has fewer steps than are tried"
    except Killed:
        pass
    monkeypatch.undo()
    live(folder, 2)
    found = account(folder, read_segments(folder))
    assert found.is_exact
    assert (found.done, found.failed) == (5, 1)
    assert found.reasons == {("decode", "NotFound"): 1}


# What versions before claims left


def publish_as_before(folder: Folder, name: str, names: list[str], failed: tuple[str, ...] = ()) -> None:
    """Failures first and in a file of their own only; then the data file, which says nothing of them."""
    made = table(names, failed)
    bad, good = (made.filter(pa.array([(uri in failed) is which for uri in names])) for which in (True, False))
    if failed:
        folder.publish(f"failed/{name}.parquet", encode(bad.select(FAILED_SCHEMA.names)))
    facts = {METADATA_KEY: json.dumps({"weights": {}})}
    rows = good.drop_columns(list(ERROR_COLUMNS)).replace_schema_metadata(facts)
    folder.publish(f"data/{name}.parquet", encode(rows))


@pytest.fixture
def old(folder: Folder, segments: list[Segment]) -> list[Segment]:
    """A run of an earlier version: two inputs failed, and a retry that was killed did one of them once more."""
    written = json.loads(segments[0].to_json())
    kept = {key: value for key, value in written.items() if key not in {"writer", "supersedes"}}
    folder.publish("_run/manifest/000000.json", json.dumps(kept).encode())
    folder.publish("_run/attempts/0001.json", json.dumps({"attempt": 1, "ended": "complete"}).encode())
    publish_as_before(folder, "part-000000", NAMES[:3], failed=(NAMES[0], NAMES[1]))
    publish_as_before(folder, "part-r001-000000", NAMES[:1])
    return read_segments(folder)


def test_an_old_output_is_read_as_it_was(folder: Folder, old: list[Segment], segments: list[Segment]) -> None:
    assert old == segments
    assert progress(folder).old_retries == ["part-r001-000000.parquet"]
    assert claims.standing(folder).epoch == 1
    assert claims.standing(folder).has_ended
    found = account(folder, old)
    assert (found.listed, found.missing, found.twice) == (6, 3, 1)  # the retry was killed before it settled


def test_an_old_output_is_settled_resumed_and_accounted_for(folder: Folder, old: list[Segment]) -> None:
    held = progress(folder)
    assert [part.number for part in pending(old, held, retry=False)] == [1]
    publish(folder, 1, NAMES[3:], failed=(NAMES[4],))
    settle(folder, old)
    found = account(folder, old)
    assert (found.listed, found.done, found.failed, found.is_exact) == (6, 4, 2, True)


def test_an_interrupted_old_output_is_repaired_and_keeps_its_failures(folder: Folder, old: list[Segment]) -> None:
    found = repair.repair(folder, old, lambda: None)
    assert (found.dropped, found.lost) == (0, {})
    assert failed_uris(folder) == [NAMES[1]]
    assert repair.repair(folder, old, lambda: None).rows == 0


def test_failures_of_an_old_output_are_retried_as_a_later_part(folder: Folder, old: list[Segment]) -> None:
    publish_as_before(folder, "part-000001", NAMES[3:])
    attempt = Attempt(folder, Held(2), row_bytes=lambda _: 1, file_bytes=1 << 20)
    settle(folder, old)
    segments = attempt.list_failed(attempt.resume()[0], lambda rows: rows)
    (part,) = pending(segments, progress(folder), retry=True)
    assert ids_of(folder, segments, part) == [input_id(NAMES[1], None)]
    publish(folder, part.number, [NAMES[1]])
    settle(folder, segments)
    found = account(folder, segments)
    assert (found.listed, found.done, found.failed, found.is_exact) == (6, 6, 0, True)


# What is in the files


def test_part_names_follow_from_numbers_alone() -> None:
    assert Part(17, 3, 100, 5).name == "part-000017"

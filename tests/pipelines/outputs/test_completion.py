"""How far an output is from complete, and what has to add up before _SUCCESS says so."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs.accounting import Account, account
from pixelmill.pipelines.outputs.attempt import Attempt
from pixelmill.pipelines.outputs.completion import (
    Listed,
    count_before,
    is_finished,
    licences_so_far,
    list_source,
    quantized_so_far,
    require_complete,
    require_inputs,
    success_of,
    weights_so_far,
)
from pixelmill.pipelines.outputs.contents import Contents, progress
from pixelmill.pipelines.outputs.segments import Segment, digest_of_inputs
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError, JobStopped, PixelmillError, StoreError
from tests.pipelines.outputs.by_hand import NAMES, Held, list_again, publish
from tests.pipelines.outputs.listings import ACCESS, make_files


def attempt_of(folder: Folder) -> Attempt:
    return Attempt(folder, Held(1), row_bytes=lambda _: 2048, file_bytes=128 << 20)


def test_a_second_listing_counts_added_removed_and_changed_inputs(photos: Path, folder: Folder) -> None:
    source, rows = Source((str(photos),), access=ACCESS), list[int]()
    first = list_source(attempt_of(folder), [], source, rows.append)
    assert (first.added, first.removed, first.changed, rows) == (40, 0, 0, [40])
    (photos / "007.jpg").unlink()
    (photos / "008.jpg").write_bytes(b"another picture")
    make_files(photos, "new.jpg", "notes.txt")
    again = list_source(attempt_of(folder), first.segments, source, rows.append)
    assert (again.added, again.removed, again.changed, again.ignored) == (1, 1, 1, {".txt": 1})
    assert [segment.rows for segment in again.segments] == [40, 1]


def test_a_source_that_can_not_be_listed_is_named_without_its_secret(folder: Folder) -> None:
    source = Source(("nostore://user:hunter2@host/in",), access=ACCESS)
    with pytest.raises(StoreError) as caught:
        list_source(attempt_of(folder), [], source, lambda rows: None)
    assert "nostore" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_inputs_are_required_of_the_first_listing_alone(tmp_path: Path, segments: list[Segment]) -> None:
    source = Source((str(tmp_path),), access=ACCESS)
    with pytest.raises(JobError, match=r"3 \.txt"):
        require_inputs(source, Listed([], 0, 0, 0, 0, {".txt": 3}))
    require_inputs(source, Listed(segments, 0, 0, 0, 0, {}))


def test_a_run_counts_inputs_that_were_done_or_failed_before_and_a_retry_its_own_inputs(
    folder: Folder, segments: list[Segment]
) -> None:
    first, second = segments[0].parts()
    publish(folder, 0, NAMES[:3], failed=(NAMES[0],))
    again = list_again(folder, NAMES[:1])
    held = progress(folder)
    assert asdict(count_before(folder, again, [second], held, retry=False)) == {"total": 6, "done": 2, "failed": 1}
    assert asdict(count_before(folder, again, [], held, retry=False)) == {"total": 6, "done": 2, "failed": 1}
    retried = list(again[1].parts())
    assert asdict(count_before(folder, again, retried, held, retry=True)) == {"total": 1, "done": 0, "failed": 0}
    assert asdict(count_before(folder, segments, [first], Contents(frozenset(), frozenset()), retry=False)) == {
        "total": 6,
        "done": 0,
        "failed": 0,
    }


def test_an_output_is_finished_when_every_part_is_there(folder: Folder, segments: list[Segment]) -> None:
    assert not is_finished([], progress(folder))
    publish(folder, 0, NAMES[:3])
    assert not is_finished(segments, progress(folder))
    publish(folder, 1, NAMES[3:], failed=(NAMES[4],))
    assert is_finished(segments, progress(folder))
    assert not is_finished(list_again(folder, [NAMES[4]]), progress(folder))


def test_weights_are_those_of_the_first_part_and_none_before_there_is_one(folder: Folder) -> None:
    assert weights_so_far(folder, progress(folder)) is None
    assert licences_so_far(folder, progress(folder)) == {}
    assert quantized_so_far(folder, progress(folder)) == {}
    publish(folder, 0, NAMES[:3])
    assert weights_so_far(folder, progress(folder)) == {"0.embed": "abc"}
    assert licences_so_far(folder, progress(folder)) == {"embed": "mit"}
    assert quantized_so_far(folder, progress(folder)) == {"embed": "int8"}


def test_a_retry_of_a_run_that_never_came_to_its_end_stops_with_the_next_step(folder: Folder) -> None:
    found = Account(listed=6, done=2, failed=1, missing=3)
    with pytest.raises(JobStopped, match=r"3 of 6 inputs were never done, .* the command that made the run continues"):
        require_complete(folder, found, retry=True)
    with pytest.raises(PixelmillError, match="does not add up: 6 inputs, 2 done, 1 failed, 3 missing"):
        require_complete(folder, found, retry=False)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Account(listed=6, done=5), "6 inputs, 5 done, 0 failed, 0 missing, 0 twice, 0 unknown;"),
        (Account(listed=6, done=6, twice=1), "1 twice"),
        (Account(listed=6, done=6, unknown=2), "2 unknown;"),
        (Account(listed=6, done=4, missing=2, twice=1), "2 missing, 1 twice"),
        (Account(listed=6, done=6, incomplete=1), "0 unknown, 1 incomplete;"),
    ],
)
@pytest.mark.parametrize("retry", [False, True])
def test_an_account_that_does_not_add_up_is_never_a_success(
    folder: Folder, found: Account, words: str, retry: bool
) -> None:
    with pytest.raises(PixelmillError, match=words):
        require_complete(folder, found, retry=retry)


def test_success_has_the_counts_of_the_account(folder: Folder, segments: list[Segment]) -> None:
    folder.publish("_run/identity.json", b'{"job": 1}')
    publish(folder, 0, NAMES[:3], failed=(NAMES[0],))
    publish(folder, 1, NAMES[3:])
    found = account(folder, segments)
    require_complete(folder, found, retry=False)
    said = success_of(folder, found, segments, {"work": 1.5}, finished_s=1_767_225_600.4)
    assert json.loads(json.dumps(said)) == {
        "inputs": 6,
        "done": 5,
        "failed": 1,
        "reasons": {"decode/Corrupt": 1},
        "identity": {"job": 1},
        "weights": {"0.embed": "abc"},
        "licences": {"embed": "mit"},
        "quantized": {"embed": "int8"},
        "parts": 2,
        "segments": 1,
        "inputs_digest": digest_of_inputs(segments),
        "finished_at": "2026-01-01T00:00:00+00:00",
        "seconds": {"work": 1.5},
    }

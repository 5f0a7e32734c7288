"""What an attempt does to an output that another one left: resume it, sign it, seal its manifest, say that it is complete."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pixelmill.pipelines.outputs.accounting import account
from pixelmill.pipelines.outputs.attempt import Attempt, pending
from pixelmill.pipelines.outputs.columns import SUCCESS
from pixelmill.pipelines.outputs.contents import progress
from pixelmill.pipelines.outputs.rows import Rows
from pixelmill.pipelines.outputs.segments import Segment, read_segments
from pixelmill.pipelines.outputs.settling import settle
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import ClaimLost, RunRefused
from tests.pipelines.outputs.by_hand import NAMES, Held, list_into, listed, publish
from tests.pipelines.outputs.two_attempts import FIRST, SECOND, both, two_listings, uris


def resume(folder: Folder) -> tuple[list[Segment], int]:
    return Attempt(folder, Held(2, is_fenced=folder.is_fenced), row_bytes=lambda _: 1, file_bytes=1 << 20).resume()


def test_lost_inputs_are_listed_again_and_done_by_the_run_that_found_them_missing(
    folder: Folder, segments: list[Segment]
) -> None:
    publish(folder, 0, ["/p/alien.jpg", NAMES[2]])
    publish(folder, 1, NAMES[3:])
    found, rows = resume(folder)
    assert rows == 3
    (part,) = pending(found, progress(folder), retry=False)
    assert Rows(folder, found).of(part)["uri"].to_pylist() == NAMES[:2]
    assert found[1].supersedes
    publish(folder, part.number, NAMES[:2])
    settle(folder, found)
    assert account(folder, found).is_exact
    assert (part.number, sorted(uris(folder, "data"))) == (2, NAMES)


def test_lost_inputs_are_listed_once_though_the_run_that_found_them_missing_was_killed(
    folder: Folder, segments: list[Segment]
) -> None:
    publish(folder, 0, ["/p/alien.jpg", NAMES[2]])
    publish(folder, 1, NAMES[3:])
    resume(folder)
    found, _ = resume(folder)
    (part,) = pending(found, progress(folder), retry=False)
    publish(folder, part.number, NAMES[:2])
    settle(folder, found)
    assert account(folder, found).is_exact
    assert sorted(uris(folder, "data")) == NAMES


def test_an_attempt_that_ended_well_is_followed_without_a_look_at_every_part(
    folder: Folder, segments: list[Segment]
) -> None:
    both(folder)
    folder.remove("failed/part-000000.parquet")
    folder.publish("_run/attempts/0001/record.json", json.dumps({"ended": "complete"}).encode())
    assert resume(folder) == (segments, 0)
    folder.publish("_run/attempts/0001/record.json", json.dumps({"ended": "JobStopped"}).encode())
    assert resume(folder) == (segments, 1)


def test_where_a_store_can_not_refuse_the_manifest_is_looked_at_every_time(unfenced: Folder) -> None:
    _, second = two_listings(unfenced)
    publish(unfenced, 0, NAMES[:3:-1], failed=(NAMES[4],), listing=SECOND)
    unfenced.remove("failed/part-000000.parquet")
    unfenced.publish("_run/attempts/0001/record.json", json.dumps({"ended": "complete"}).encode())
    assert resume(unfenced) == ([second], 1)
    assert uris(unfenced, "failed") == [NAMES[4]]


def attempt_of(folder: Folder, held: Held | None = None) -> Attempt:
    return Attempt(folder, held or Held(2), row_bytes=lambda _: 1, file_bytes=1 << 20)


class Overtaken(Held):
    """Another attempt has the run."""

    def require(self) -> None:
        raise ClaimLost("attempt 3 has taken over")


class Followed(Held):
    """An earlier attempt may still wake up."""

    def follows_unknown(self, since: int) -> bool:
        return True


def agree(stored: bytes) -> None:
    """Both jobs are one."""


def success(**changes: Any) -> dict[str, Any]:
    """The content of a _SUCCESS."""
    source = {"uri": ["s3://photos/2024"], "format": "auto"}
    stages = [{"embed": {"model": "torchvision:resnet50", "layer": None, "column": "embedding"}}]
    identity = {"version": 1, "source": source, "stages": stages}
    counts = {"inputs": 1203, "done": 1200, "failed": 3, "reasons": {"fetch/NotFound": 3}}
    return counts | {"identity": identity, "weights": {"0.embed": "ab12" * 16}} | changes


def test_the_first_to_sign_decides_the_identity_of_the_run_and_the_newest_its_request(folder: Folder) -> None:
    attempt_of(folder, Held(1)).sign({"job": 1}, agree, "job: 1")
    checked: list[bytes] = []
    attempt_of(folder).sign({"job": 2}, checked.append, "job: 2")
    assert [json.loads(stored) for stored in checked] == [{"job": 1}]
    assert json.loads(folder.read("_run/identity.json") or b"") == {"job": 1}
    assert folder.read("_run/spec.yaml") == b"# attempt 2\njob: 2"


def test_a_job_that_is_refused_or_overtaken_signs_nothing(folder: Folder) -> None:
    def refuse(stored: bytes) -> None:
        raise RunRefused("another job")

    with pytest.raises(ClaimLost):
        attempt_of(folder, Overtaken(2)).sign({"job": 2}, agree, "job: 2")
    assert folder.read("_run/identity.json") is None
    attempt_of(folder, Held(1)).sign({"job": 1}, agree, "job: 1")
    with pytest.raises(RunRefused):
        attempt_of(folder).sign({"job": 2}, refuse, "job: 2")
    with pytest.raises(ClaimLost):
        attempt_of(folder, Overtaken(2)).sign({"job": 1}, agree, "job: 2")
    assert folder.read("_run/spec.yaml") == b"# attempt 1\njob: 1"


def test_inputs_that_wait_to_be_redone_are_not_listed_again(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[0],))
    publish(folder, 1, NAMES[3:], failed=(NAMES[4],))
    first = attempt_of(folder).list_failed(segments, lambda rows: rows)
    assert [segment.supersedes for segment in first] == [False, True]
    assert attempt_of(folder).list_failed(first, lambda rows: rows) == first
    (part,) = pending(first, progress(folder), retry=True)
    assert sorted(Rows(folder, first).of(part)["uri"].to_pylist()) == [NAMES[0], NAMES[4]]


def test_a_retry_does_failed_inputs_and_a_run_does_all_missing_parts(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[0],))
    listed = attempt_of(folder).list_failed(segments, lambda rows: rows)
    held = progress(folder)
    assert [part.number for part in pending(listed, held, retry=False)] == [1, 2]
    assert [part.number for part in pending(listed, held, retry=True)] == [2]


def test_a_manifest_is_sealed_by_an_empty_segment_only_where_an_earlier_attempt_may_wake_up(folder: Folder) -> None:
    list_into(folder, 0, NAMES, [3, 3], FIRST)
    segments = read_segments(folder)
    assert attempt_of(folder).seal(segments) == segments
    sealed = attempt_of(folder, Followed(2)).seal(segments)
    assert [(segment.number, segment.rows, segment.writer[:4]) for segment in sealed] == [
        (0, 6, "0001"),
        (1, 0, "0002"),
    ]
    assert read_segments(folder) == sealed
    assert attempt_of(folder, Followed(2)).seal(sealed) == sealed


def test_a_segment_of_another_attempt_counts_and_ones_own_does_not(folder: Folder) -> None:
    """While this attempt listed, another one committed the segment of that number."""
    list_into(folder, 0, NAMES[:2], [2], SECOND)
    segments, _, _ = attempt_of(folder, Held(3)).list_new([], lambda listing, known: [listed(NAMES)])
    assert [(segment.rows, segment.writer) for segment in segments] == [(2, SECOND)]


def test_success_is_rewritten_only_if_its_content_differs(folder: Folder) -> None:
    publish(folder, 0, NAMES[:3])
    said = success(finished_at="2026-01-01", seconds={"work": 1.0})
    attempt_of(folder, Held(1)).succeed(said)
    first = folder.read(SUCCESS)
    assert json.loads(first or b"")["attempt"] == 1
    attempt_of(folder).succeed(said | {"finished_at": "2026-02-02", "seconds": {"work": 2.0}})
    assert folder.read(SUCCESS) == first
    attempt_of(folder).succeed(said | {"done": 1204, "inputs": 1207})
    assert json.loads(folder.read(SUCCESS) or b"")["attempt"] == 2
    with pytest.raises(ClaimLost):
        attempt_of(folder, Overtaken(3)).succeed(said)
    assert json.loads(folder.read(SUCCESS) or b"")["done"] == 1204

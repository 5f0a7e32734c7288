"""A retry: a later part does once more what failed, and the failure leaves failed/ when it is done."""

from __future__ import annotations

from pixelmill.pipelines.outputs.accounting import account
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.outputs.settling import settle
from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.outputs.by_hand import NAMES, failed_uris, list_again, publish


def test_a_failure_that_was_listed_again_stays_filed_until_it_is_done(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[1]))
    publish(folder, 1, NAMES[3:])
    again = list_again(folder, NAMES[:2])
    assert settle(folder, again) == 0
    found = account(folder, again)
    assert (found.listed, found.done, found.failed, found.is_exact) == (6, 4, 2, True)


def test_a_retry_moves_rows_from_failed_to_done(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[1]))
    publish(folder, 1, NAMES[3:], failed=(NAMES[5],))
    again = list_again(folder, NAMES[:2])
    publish(folder, 2, NAMES[:2], failed=(NAMES[1],), error_type="NotFound")
    assert settle(folder, again) == 2
    found = account(folder, again)
    assert (found.listed, found.done, found.failed, found.is_exact) == (6, 4, 2, True)
    assert found.reasons == {("decode", "NotFound"): 1, ("decode", "Corrupt"): 1}
    assert sorted(failed_uris(folder)) == [NAMES[1], NAMES[5]]
    assert settle(folder, again) == 0


def test_a_retry_killed_before_it_settled_does_not_add_up_until_the_next_run_settles_it(
    folder: Folder, segments: list[Segment]
) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[0], NAMES[1]))
    publish(folder, 1, NAMES[3:])
    again = list_again(folder, NAMES[:2])
    publish(folder, 2, NAMES[:2])
    assert not account(folder, again).is_exact
    assert settle(folder, again) == 2
    assert account(folder, again).is_exact


def test_of_two_retries_the_last_one_that_is_done_counts(folder: Folder, segments: list[Segment]) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[0],))
    publish(folder, 1, NAMES[3:])
    list_again(folder, NAMES[:1])
    publish(folder, 2, NAMES[:1], failed=(NAMES[0],), error_type="NotFound")
    again = list_again(folder, NAMES[:1])
    settle(folder, again)
    assert account(folder, again).reasons == {("decode", "NotFound"): 1}
    publish(folder, 3, NAMES[:1])
    settle(folder, again)
    found = account(folder, again)
    assert (found.listed, found.done, found.failed, found.is_exact) == (6, 6, 0, True)

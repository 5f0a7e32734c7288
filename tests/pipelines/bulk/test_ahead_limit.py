"""What is decoded ahead is bounded in bytes, and threads are never kept from pictures of any size."""

from __future__ import annotations

import threading

import pytest

from pixelmill.pipelines.bulk.ahead_limit import AheadLimit

STOPPED = threading.Event()
STOPPED.set()
GOING = threading.Event()


def is_admitted(limit: AheadLimit, need_bytes: int) -> bool:
    """Whether it is, without waiting."""
    admitted: list[bool] = []
    stop = threading.Event()
    thread = threading.Thread(target=lambda: admitted.append(limit.admit(need_bytes, stop)))
    thread.start()
    thread.join(0.05)
    stop.set()
    limit.wake()
    thread.join()
    return admitted[0]


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_as_many_pictures_of_any_size_are_decoded_at_once_as_there_are_threads(threads: int) -> None:
    limit = AheadLimit(threads, 100)
    assert [is_admitted(limit, 10**9) for _ in range(threads + 1)] == [True] * threads + [False]


def test_small_pictures_queue_for_the_threads_until_their_bytes_are_too_many() -> None:
    limit = AheadLimit(1, 100)
    assert [is_admitted(limit, 30) for _ in range(4)] == [True, True, True, False]


def test_waiting_pictures_count_with_the_bytes_that_they_keep() -> None:
    limit = AheadLimit(1, 100)
    assert limit.admit(300, GOING)
    limit.decoded(300, 90)
    assert is_admitted(limit, 10)
    assert not is_admitted(limit, 1)


def test_no_picture_is_admitted_beside_too_many_waiting_bytes_until_one_is_taken() -> None:
    limit = AheadLimit(2, 100)
    assert limit.admit(300, GOING)
    limit.decoded(300, 101)
    assert not is_admitted(limit, 1)
    limit.taken(101)
    assert is_admitted(limit, 1)


def test_a_waiting_thread_is_woken_when_a_picture_is_decoded_or_taken() -> None:
    limit = AheadLimit(1, 100)
    admitted: list[bool] = []
    limit.admit(300, GOING)
    thread = threading.Thread(target=lambda: admitted.append(limit.admit(300, GOING)))
    thread.start()
    limit.decoded(300, 300)
    limit.taken(300)
    thread.join(10)
    assert admitted == [True]


def test_nothing_is_admitted_once_the_consumer_has_stopped() -> None:
    assert not AheadLimit(1, 100).admit(1, STOPPED)

"""Work that is repeated while a block runs."""

from __future__ import annotations

import threading

import pytest

from pixelmill.jobs.host.repeating import repeating


def test_it_is_done_again_and_again_and_once_more_after_the_block() -> None:
    done, twice = list[str](), threading.Event()
    state = "within"

    def work() -> None:
        done.append(state)
        if len(done) == 2:
            twice.set()

    with repeating(work, 0.01, "test"):
        assert twice.wait(10)
        state = "after"
    assert done[0] == "within"
    assert done[-1] == "after"
    assert all(thread.name != "test" for thread in threading.enumerate())


def test_what_the_work_raises_ends_neither_the_work_nor_the_block() -> None:
    tries, twice = list[int](), threading.Event()

    def work() -> None:
        tries.append(1)
        if len(tries) == 2:
            twice.set()
        raise OSError

    with repeating(work, 0.01, "test"):
        assert twice.wait(10)


def test_an_error_of_the_block_is_raised_after_the_last_time() -> None:
    done = list[int]()
    with pytest.raises(ValueError, match="of the block"), repeating(lambda: done.append(1), 3600, "test"):
        raise ValueError("of the block")
    assert done == [1]

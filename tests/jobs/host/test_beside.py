"""Work on a thread of its own: its results come in order, its errors are raised here, and a check may end the waiting."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from pixelmill.jobs.host import beside as module
from pixelmill.jobs.host.beside import beside, call_beside


class Interrupted(BaseException):
    """Stands for Ctrl-C, which is no Exception."""


def nothing() -> None:
    """A check that finds nothing."""


def test_results_come_in_order_from_another_thread() -> None:
    def numbers() -> Iterator[tuple[int, int]]:
        for number in range(100):
            yield number, threading.get_ident()

    came = list(beside(numbers(), nothing))
    assert [number for number, _ in came] == list(range(100))
    assert threading.get_ident() not in {thread for _, thread in came}


def test_a_result_of_none_is_a_result() -> None:
    assert list(beside(iter([None, 0, None]), nothing)) == [None, 0, None]


@pytest.mark.parametrize("kind", [ValueError, Interrupted])
def test_what_the_work_raises_is_raised_here_after_what_came_before_it(kind: type[BaseException]) -> None:
    def work() -> Iterator[int]:
        yield 1
        raise kind("of the work")

    came = list[int]()
    with pytest.raises(kind, match="of the work"):
        came.extend(beside(work(), nothing))
    assert came == [1]


def test_a_check_is_made_again_and_again_while_nothing_comes_and_may_end_the_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.001)
    over, checks = threading.Event(), list[None]()

    def check() -> None:
        checks.append(None)
        if len(checks) == 5:
            raise Interrupted

    try:
        with pytest.raises(Interrupted):
            call_beside(lambda: over.wait(60) and None, check)
    finally:
        over.set()
    assert len(checks) == 5


def test_a_check_comes_before_each_result() -> None:
    checks = list[None]()
    for done, _ in enumerate(beside(iter("abc"), lambda: checks.append(None)), 1):
        assert len(checks) >= done


def test_a_call_is_made_once_and_waited_for_and_its_error_is_raised_here() -> None:
    calls = list[None]()
    call_beside(lambda: calls.append(None), nothing)
    assert len(calls) == 1
    with pytest.raises(ZeroDivisionError):
        call_beside(lambda: [][1 // 0], nothing)


def interrupted(*checks: int) -> Callable[[], None]:
    """A check during which Ctrl-C is pressed, at these calls."""
    calls = count()

    def check() -> None:
        if next(calls) in checks:
            raise KeyboardInterrupt

    return check


def test_an_interrupt_asks_the_work_to_end_and_waits_for_it() -> None:
    asked, done = threading.Event(), list[str]()
    with pytest.raises(KeyboardInterrupt):
        call_beside(lambda: asked.wait(60) and done.append("saved"), interrupted(0), lambda: asked.set() or 60.0)
    assert done == ["saved"]


def press_again(wait_s: float) -> float:
    """Press Ctrl-C once more, a moment after the work was asked to end."""
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.05, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
    return wait_s


@pytest.mark.parametrize("ask", [lambda: press_again(1e9), lambda: 0.0, lambda: 0.01], ids=["again", "none", "little"])
def test_a_second_interrupt_and_the_end_of_the_time_end_the_waiting(ask: Callable[[], float]) -> None:
    over, ended = threading.Event(), list[str]()
    try:
        with pytest.raises(KeyboardInterrupt):
            call_beside(lambda: ended.append(f"by itself: {over.wait(60)}"), interrupted(0), ask)
        assert ended == []
    finally:
        over.set()


def test_work_that_fails_while_it_ends_is_still_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt):
        call_beside(lambda: [][1 // 0], interrupted(0), lambda: 60.0)

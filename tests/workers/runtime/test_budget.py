"""A worker's memory is shared out: never more than there is, waited for, and refused where it can't ever be had."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pixelmill.workers.runtime.budget import Budget, does_not_fit


def test_a_budget_reserves_a_part_for_fetched_bytes() -> None:
    budget = Budget(1000, most_window_bytes=10_000)
    assert (budget.window_bytes, budget.capacity_bytes) == (250, 750)
    assert Budget(1000, most_window_bytes=10).capacity_bytes == 990
    assert budget.refusal(750) is None
    assert budget.refusal(751) is not None
    assert budget.try_take(700)
    assert not budget.try_take(51)
    budget.change(-700)
    assert budget.try_take(750)


def test_a_refusal_states_the_need_the_supply_and_the_next_step() -> None:
    error = does_not_fit(5 << 30, 1200 << 20)
    assert (error.stage, error.error_type) == ("decode", "TooMuchMemory")
    assert str(error) == (
        "needs 5.0 GB decoded, and its worker has 1.2 GB for that: raise run.memory_gb or use fewer run.actors"
    )


def test_a_need_that_is_too_large_is_reported_in_mb_with_its_purpose() -> None:
    error = does_not_fit(1, (1 << 30) - 1, "fetched")
    assert error.stage == "fetch"
    assert str(error).startswith("needs 1 MB fetched, and its worker has 1,023 MB for that")


class Waiting:
    """A thread that waits for room; `answer` is the result of `take`, None while it waits."""

    def __init__(self, budget: Budget, needed_bytes: int) -> None:
        self.stop = threading.Event()
        self._answers: list[bool] = []
        take = partial(budget.take, needed_bytes, self.stop)
        self._thread = threading.Thread(target=lambda: self._answers.append(take()), daemon=True)
        self._thread.start()

    def answer(self, timeout_s: float = 10) -> bool | None:
        self._thread.join(timeout_s)
        return self._answers[0] if self._answers else None


def test_who_waits_for_room_takes_it_when_it_is_given_back() -> None:
    budget = Budget(100, most_window_bytes=0)
    assert budget.try_take(60)
    waiting = Waiting(budget, 50)
    assert waiting.answer(timeout_s=0.02) is None
    budget.change(-10)
    assert waiting.answer() is True
    assert budget.held_bytes == 100


def test_who_waits_for_room_takes_none_once_it_is_stopped() -> None:
    budget = Budget(100, most_window_bytes=0)
    assert budget.try_take(100)
    waiting = Waiting(budget, 50)
    assert waiting.answer(timeout_s=0.02) is None
    waiting.stop.set()
    budget.wake()
    assert waiting.answer() is False
    assert budget.held_bytes == 100


def test_many_threads_together_never_hold_more_than_there_is() -> None:
    budget, stop = Budget(100, most_window_bytes=0), threading.Event()
    seen: list[int] = []

    def work(needed_bytes: int) -> None:
        assert budget.take(needed_bytes, stop)
        seen.append(budget.held_bytes)
        budget.change(-needed_bytes)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [10, 35, 60, 100] * 50))
    assert len(seen) == 200
    assert max(seen) <= 100
    assert budget.held_bytes == 0

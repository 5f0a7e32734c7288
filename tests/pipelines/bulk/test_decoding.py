"""Decoding on threads: every input once and in order, and no more bytes ahead of the consumer than the limit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from pixelmill.pipelines.bulk.decoding import DecodeAhead
from pixelmill.workers.runtime.budget import Budget

KEPT_SHARE = 3
"""A decoded number keeps one part in so many of what its decoding took."""


class Ahead:
    """Decodes numbers, which need as many bytes as they say, and records how much waited at most."""

    def __init__(self, threads: int, ahead_bytes: int, budget_bytes: int = 1 << 20) -> None:
        self.budget = Budget(budget_bytes, 0)
        self._lock = threading.Lock()
        self.waiting_bytes = self.most_waiting_bytes = self.decoding = self.most_decoding = 0
        self.stages_hold: list[int] = []
        self.ahead = DecodeAhead(
            threads, self.budget, lambda need: need, self._decode, lambda need: need // KEPT_SHARE, 64, ahead_bytes
        )

    def _decode(self, need: int, taken: int) -> int:
        with self._lock:
            self.decoding += 1
            self.most_decoding = max(self.most_decoding, self.decoding)
        threading.Event().wait(0.001)
        reserved_bytes = 0 if self.budget.refusal(taken) else taken
        self.budget.change(need // KEPT_SHARE - reserved_bytes)
        with self._lock:
            self.decoding -= 1
            self.waiting_bytes += need // KEPT_SHARE
            self.most_waiting_bytes = max(self.most_waiting_bytes, self.waiting_bytes)
        return need

    def run(self, needs: list[int], between: Callable[[int], object] = lambda count: None) -> list[int]:
        """The results, `between` which so many have come."""
        results: list[int] = []
        for need in self.ahead.stream((need for need in needs), self._make_room):
            with self._lock:
                self.waiting_bytes -= need // KEPT_SHARE
            self.stages_hold.append(need // KEPT_SHARE)
            results.append(need)
            between(len(results))
        return results

    def _make_room(self, needed_bytes: int) -> None:
        while self.stages_hold and not self.budget.has_room(needed_bytes):
            self.budget.change(-self.stages_hold.pop())


@pytest.mark.parametrize("threads", [1, 3])
def test_waiting_results_are_bounded_in_bytes_however_long_the_stages_take(threads: int) -> None:
    ahead = Ahead(threads, ahead_bytes=1000)
    needs = [300 + 30 * (number % 7) for number in range(120)]
    assert ahead.run(needs, lambda count: threading.Event().wait(0.3) if count in {1, 40} else None) == needs
    assert ahead.most_waiting_bytes <= threads * (1000 + max(needs) // KEPT_SHARE)
    assert ahead.most_waiting_bytes > threads * 500  # and the threads use what they may


def test_large_pictures_are_decoded_at_once_on_all_threads() -> None:
    ahead = Ahead(3, ahead_bytes=1000)
    needs = [20_000] * 12
    assert ahead.run(needs) == needs
    assert ahead.most_decoding == 3


@pytest.mark.parametrize("ahead_bytes", [1, 1000, 1 << 30])
@pytest.mark.parametrize("budget_bytes", [9_000, 30_000])
def test_pictures_of_all_sizes_come_in_order_within_a_budget_that_is_full(ahead_bytes: int, budget_bytes: int) -> None:
    ahead = Ahead(2, ahead_bytes, budget_bytes)
    needs = [
        (number * 7919) % 12_000 for number in range(100)
    ]  # some can never fit, and are decoded without a reservation
    assert ahead.run(needs) == needs


def test_an_error_of_the_inputs_is_raised_after_the_results_before_it() -> None:
    def inputs() -> Iterator[int]:
        yield from (10, 20)
        raise OSError("the network is down")

    results = Ahead(2, 1000).ahead.stream(inputs(), lambda needed_bytes: None)
    assert [next(results), next(results)] == [10, 20]
    with pytest.raises(OSError, match="network is down"):
        next(results)


def test_a_consumer_that_stops_early_leaves_no_thread_that_feeds() -> None:
    ahead = Ahead(2, 100)
    stream = ahead.ahead.stream((need for need in [500] * 50), lambda needed_bytes: None)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "decode feeder"]

"""What is done on threads comes in order and a bounded number at a time; what was made another way is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pixelmill.pipelines.export.exporting import ExportProgress, in_order


def test_results_come_in_order_and_only_so_many_items_are_taken_ahead() -> None:
    taken, most_ahead, yielded = 0, 0, 0

    def items() -> Iterator[int]:
        nonlocal taken, most_ahead
        for item in range(50):
            taken += 1
            most_ahead = max(most_ahead, taken - yielded)
            yield item

    def work(item: int) -> int:
        time.sleep(0.003 * (item % 3))
        return item

    made: list[int] = []
    with ThreadPoolExecutor(4) as pool:
        for result in in_order(pool, work, items(), 6):
            yielded += 1
            made.append(result)
    assert made == list(range(50))
    assert most_ahead <= 7


def test_an_error_stops_files_that_were_not_begun() -> None:
    begun: list[int] = []
    gate = threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            raise ArithmeticError
        gate.wait(5)

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(ArithmeticError):
            list(in_order(pool, work, range(20), 20))
        gate.set()
    assert len(begun) <= 2


def test_only_the_first_pictures_that_do_not_fit_are_kept_and_all_are_counted() -> None:
    tally = ExportProgress()
    for number in range(100):
        tally.add_unfit(str(number))
    assert (tally.unfit, tally.unfit_count) == (["0", "1", "2", "3", "4"], 100)

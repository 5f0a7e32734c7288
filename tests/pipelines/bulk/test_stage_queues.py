"""Stages in a graph: each reads the original or another's picture, and no picture is kept longer than it is wanted."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import pytest
from torch import Tensor

from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Milled
from tests.pipelines.bulk.lines import Adds, Line


def test_a_stage_reads_the_picture_that_another_made_of_every_input() -> None:
    line = Line([Adds(batch=3), Adds(batch=2), Adds(batch=4)], (None, 0, 1))
    for value in range(7):
        line.add(value)
    line.queues.run_all()
    assert [line.values(stage) for stage in range(3)] == [list(range(n, 7 + n)) for n in range(3)]
    assert (line.tally.done, line.tally.failed) == (7, 0)
    assert line.budget.held_bytes == 0


def test_a_picture_that_two_stages_read_reaches_both() -> None:
    line = Line([Adds(), Adds(batch=1), Adds(batch=100)], (None, 0, 0))
    for value in range(5):
        line.add(value)
    line.queues.run_all()
    assert line.values(1) == line.values(2) == [1, 2, 3, 4, 5]


def test_a_picture_is_freed_as_soon_as_every_stage_that_reads_it_has_prepared_it() -> None:
    first = Adds(batch=4)
    second = Adds(batch=1, watched=first)
    line = Line([first, second], (None, 0))
    for value in range(8):
        line.add(value)
    line.queues.run_all()
    assert second.alive == [3, 2, 1, 0] * 2, "the pictures before it in the batch are gone"
    assert second.alive_prepared == [0] * 8, "what the first stage prepared is gone when it has run"
    assert line.budget.held_bytes == 0


def test_pictures_that_no_stage_reads_are_not_kept() -> None:
    first, second = Adds(batch=2), Adds(batch=3)
    second.watched = first
    line = Line([first, second], (None, None))
    for value in range(6):
        line.add(value)
    line.queues.run_all()
    assert second.alive == [0, 0]


@pytest.mark.parametrize("fault", [{"refuses": 3}, {"breaks_on": 3}, {"cannot_prepare": 3}, {"makes_pictures": False}])
@pytest.mark.parametrize("at", [1, 2])
def test_an_input_that_fails_in_a_later_stage_is_one_failure_under_that_stages_name(
    fault: dict[str, Any], at: int
) -> None:
    stages = [Adds(batch=3), Adds(batch=2), Adds(batch=2), Adds(batch=5)]
    if fault == {"makes_pictures": False}:
        at -= 1
    stages[at] = Adds(batch=2, **fault)
    line = Line(stages, (None, 0, 1, None))
    for value in range(6):
        line.add(value)
    line.queues.run_all()
    failed = [item for item in line.items if item.error is not None]
    expected = range(6) if fault == {"makes_pictures": False} else [3 - at]
    assert [item.position for item in failed] == list(expected)
    assert {item.error.stage for item in failed if item.error} == {f"s{at}"}
    assert (line.tally.done, line.tally.failed) == (6 - len(failed), len(failed))
    assert set(line.tally.reasons) == {(item.error.stage, item.error.error_type) for item in failed if item.error}
    assert line.budget.held_bytes == 0


def test_one_row_that_fails_fails_its_input_and_is_one_failure() -> None:
    line = Line([Adds(batch=2, refuses=5), Adds(batch=3)], (None, 0))
    line.add(1, 2, 3)
    line.add(4, 5, 5)
    line.add(6)
    line.queues.run_all()
    assert [item.error is None for item in line.items] == [True, False, True]
    assert (line.tally.done, line.tally.failed) == (2, 1)
    assert line.tally.reasons == {("s0", "Refused"): 1}
    assert line.budget.held_bytes == 0


def test_no_error_keeps_the_pictures_of_its_traceback() -> None:
    first = Adds(batch=2)
    line = Line([first, Adds(cannot_prepare=3)], (None, 0))
    for value in range(6):
        line.add(value)
    line.queues.run_all()
    gc.collect()
    assert line.items[2].error is not None
    assert line.items[2].error.__traceback__ is None
    assert not any(each() is not None for each in first.made)


def test_a_batch_is_bounded_in_pixels_and_a_larger_picture_comes_alone() -> None:
    stage = Adds(batch=100, batch_pixels=100)
    line = Line([stage], (None,))
    for value, size in enumerate([(5, 10), (5, 9), (5, 2), (20, 20), (1, 1), (1, 1), (10, 10), (3, 3)]):
        line.add(value, size=size)
    line.queues.run_all()
    assert stage.seen == [[0, 1], [2], [3], [4, 5], [6], [7]]


def test_memory_that_is_short_bounds_later_batches_by_their_pixels() -> None:
    stage = Adds(batch=8, memory_pixels=60)
    line = Line([stage], (None,))
    for value in range(8):
        line.add(value, size=(4, 5))
    assert stage.seen == [list(range(8)), [0, 1, 2, 3], [0, 1], [2, 3], [4, 5, 6, 7], [4, 5], [6, 7]]
    stage.seen.clear()
    for value in range(3):
        line.add(value, size=(5, 10))
    for value in range(9):
        line.add(value, size=(2, 5))
    line.queues.run_all()
    assert stage.seen == [[0], [1], [2], [0, 1, 2, 3], [4, 5, 6, 7], [8]]
    assert line.tally.failed == 0


# --------------------------------------------------------------------------------------------------- batches by size


class AddsBySize(Adds):
    """Takes pictures of one height and width at once."""

    def bucket_of(self, sample: Tensor) -> tuple[int, ...]:
        return tuple(sample.shape)

    def run(self, samples: Sequence[Tensor]) -> Milled:
        assert len({sample.shape for sample in samples}) == 1
        return super().run(samples)


SIZES = [(4, 5), (8, 10), (5, 4), (8, 10), (4, 5), (4, 5), (8, 10), (5, 4), (1, 1), (4, 5)]


def test_batches_are_of_one_size_and_filled_size_by_size() -> None:
    stage = AddsBySize(batch=2)
    line = Line([stage], (None,))
    for value, size in enumerate(SIZES):
        line.add(value, size=size)
    line.queues.run_all()
    assert stage.seen == [[1, 3], [0, 4], [2, 7], [5, 9], [6], [8]]
    assert line.values_by_row(0) == {value: value for value in range(10)}
    assert (line.tally.done, line.budget.held_bytes) == (10, 0)


def test_memory_that_is_short_runs_the_size_that_frees_most_and_no_more_than_is_needed() -> None:
    stage = AddsBySize(batch=100)
    line = Line([stage], (None,), memory_bytes=400)
    for value, size in enumerate(SIZES):
        line.add(value, size=size)
    assert line.budget.held_bytes == 4 * 20 + 3 * 80 + 2 * 20 + 1
    line.queues.make_room(200)
    assert stage.seen == [[1, 3, 6]]
    line.queues.make_room(330)
    assert stage.seen == [[1, 3, 6], [0, 4, 5, 9]]
    line.queues.make_room(401)
    assert line.budget.held_bytes == 0, "what can't be had empties all, and ends"


def test_a_picture_that_two_stages_hold_is_freed_by_running_both() -> None:
    class Views(Adds):
        def prepare(self, picture: Picture) -> Tensor:
            return picture.pixels

    stages: list[Adds] = [Views(batch=100), Views(batch=100)]
    line = Line(stages, (None, None), memory_bytes=100)
    for value in range(4):
        line.add(value)
    assert line.budget.held_bytes == 80
    line.queues.make_room(50)
    assert [stage.seen for stage in stages] == [[[0, 1, 2, 3]], [[0, 1, 2, 3]]]


@pytest.mark.parametrize("memory_bytes", [1, 100, 300, 1 << 30])
def test_rows_are_the_same_however_short_memory_is(memory_bytes: int) -> None:
    line = Line([AddsBySize(batch=3), AddsBySize(batch=2), Adds(batch=4)], (None, 0, 1), memory_bytes)
    for value, size in enumerate(SIZES):
        line.add(value, size=size)
        line.queues.make_room(50)
    line.queues.run_all()
    for stage in range(3):
        assert line.values_by_row(stage) == {value: value + stage for value in range(10)}
    assert (line.tally.done, line.budget.held_bytes) == (10, 0)


def test_pictures_that_a_stage_makes_are_read_in_small_batches_where_memory_is_short() -> None:
    """Without it all eight would wait for a batch that is never full."""
    first, second = Adds(batch=8), Adds(batch=100)
    line = Line([first, second], (None, 0), memory_bytes=150)
    for value in range(8):
        line.add(value)
    line.queues.run_all()
    assert max(map(len, second.seen)) < 8
    assert sorted(line.values(1)) == list(range(1, 9))


def test_a_stage_that_fails_to_state_a_size_costs_that_picture_alone() -> None:
    class Shy(AddsBySize):
        def bucket_of(self, sample: Tensor) -> tuple[int, ...]:
            if int(sample.max()) == 3:
                raise RowError("kind", "TooLarge", "is too large")
            return super().bucket_of(sample)

    line = Line([Adds(batch=2), Shy(batch=2)], (None, 0))
    for value in range(5):
        line.add(value)
    line.queues.run_all()
    assert line.tally.reasons == {("s1", "TooLarge"): 1}
    assert (line.tally.done, line.budget.held_bytes) == (4, 0)

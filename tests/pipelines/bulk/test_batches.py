"""What waits for a stage: one size a batch where the stage asks for that, nothing lost, and no more than a few batches' worth."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.bulk.batches import SORTED_BATCHES, Batches
from pixelmill.pipelines.bulk.items import Item, Row, Waiting
from pixelmill.pipelines.bulk.stage_runner import StageRunner
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Milled


@dataclass
class Sorted:
    """What it prepares is the size itself: number, pixels."""

    batch: int = 4
    batch_pixels: int | None = None
    fields: ClassVar[tuple[Any, ...]] = ()
    weights_sha256: ClassVar[None] = None
    settings: ClassVar[dict[str, object]] = {}

    def prepare(self, picture: Picture) -> int:
        raise NotImplementedError

    def bucket_of(self, sample: int) -> Hashable:
        return sample

    def run(self, samples: Sequence[int]) -> Milled:
        raise NotImplementedError


def waiting(number: int, pixels: int) -> Waiting:
    return Waiting(Row(Item(number), 1, 1, {}), 0, number, pixels, bucket=pixels)


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.integers(1, 4), st.integers(1, 90)), max_size=200),
    st.integers(1, 5),
    st.one_of(st.none(), st.integers(1, 30)),
)
def test_every_picture_is_in_one_batch_of_its_size_within_the_bounds(
    sizes: list[int], batch: int, batch_pixels: int | None
) -> None:
    batches = Batches(StageRunner("s", 0, Sorted(batch, batch_pixels)))
    taken: list[list[Waiting]] = []
    for number, pixels in enumerate(sizes):
        taken += batches.put(waiting(number, pixels))
        left = number + 1 - sum(map(len, taken))
        assert left < max(2, SORTED_BATCHES * batch), "pictures of rare sizes wait for each other, and not for ever"
    while rest := batches.take_oldest():
        taken.append(rest)
    assert sorted(each.prepared for one in taken for each in one) == list(range(len(sizes)))
    for one in taken:
        assert len({each.bucket for each in one}) == 1
        assert [each.prepared for each in one] == sorted(each.prepared for each in one)
        assert len(one) <= batch
        assert len(one) == 1 or batch_pixels is None or sum(each.pixels for each in one) <= batch_pixels


def test_a_bucket_runs_when_it_is_full_independently_of_others() -> None:
    batches = Batches(StageRunner("s", 0, Sorted(batch=2)))
    assert not [*batches.put(waiting(0, 7)), *batches.put(waiting(1, 9))]
    assert [[each.prepared for each in one] for one in batches.put(waiting(2, 9))] == [[1, 2]]


def test_the_bucket_that_weighs_most_is_found_and_taken() -> None:
    batches = Batches(StageRunner("s", 0, Sorted(batch=9)))
    for number, pixels in enumerate([5, 2, 2, 2, 3]):
        assert not list(batches.put(waiting(number, pixels)))
    weight, bucket = batches.largest(lambda one: sum(each.pixels for each in one))
    assert (weight, [each.prepared for each in batches.take(bucket)]) == (6, [1, 2, 3])
    assert [each.prepared for each in batches.take_oldest()] == [0]


def test_pictures_of_sizes_of_their_own_wait_for_each_other_no_longer_than_a_few_batches_take() -> None:
    batches = Batches(StageRunner("s", 0, Sorted(batch=2)))
    taken = [[each.prepared for each in one] for number in range(100) for one in batches.put(waiting(number, number))]
    assert sum(map(len, taken)) == 100 - 2 * SORTED_BATCHES + 1
    assert all(len(one) == 1 for one in taken)

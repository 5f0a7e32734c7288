"""Every sample comes once an epoch."""

from __future__ import annotations

import pytest

from pixelmill.pipelines.training.sample_order import SampleOrder


def test_every_sample_comes_once_an_epoch_and_epochs_differ() -> None:
    order = SampleOrder(10, 0)
    epochs = [order.indices(start, start + 10).tolist() for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert order.indices(7, 13).tolist() == [*epochs[0][7:], *epochs[1][:3]]


@pytest.mark.parametrize("in_blocks", [False, True])
def test_places_anywhere_are_those_of_the_whole_sequence(in_blocks: bool) -> None:
    order = SampleOrder(7, 3, in_blocks)
    whole = order.indices(0, 40)
    assert all(order.indices(start, stop).tolist() == whole[start:stop].tolist() for start, stop in PLACES)


PLACES = [(0, 0), (0, 7), (3, 9), (6, 22), (14, 21), (39, 40)]

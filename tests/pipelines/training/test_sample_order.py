"""Every sample comes once an epoch."""

from __future__ import annotations

from pixelmill.pipelines.training.sample_order import SampleOrder


def test_every_sample_comes_once_an_epoch_and_epochs_differ() -> None:
    order = SampleOrder(10, 0)
    epochs = [order.indices(start, start + 10).tolist() for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert order.indices(7, 13).tolist() == [*epochs[0][7:], *epochs[1][:3]]

"""A pool that does not fit is reported in figures."""

from __future__ import annotations

import pytest

from pixelmill.pipelines.placement import WorkerPool, shortfall


@pytest.mark.parametrize(
    ("pool", "available", "lack"),
    [
        (WorkerPool(2), {"CPU": 2}, None),
        (WorkerPool(3), {"CPU": 2}, "3 CPUs are needed and 2 are there"),
        (WorkerPool(2, cpus=0.5), {"CPU": 1}, None),
        (WorkerPool(1, cpus=7, gpus=1), {"CPU": 8, "GPU": 1}, None),
        (WorkerPool(1, cpus=8, gpus=1), {"CPU": 8, "GPU": 1}, "9 CPUs are needed and 8 are there"),  # one CPU publishes
        (WorkerPool(2, gpus=0.5), {"CPU": 8, "GPU": 1}, None),
        (WorkerPool(1, gpus=1), {"CPU": 8}, "1 GPUs are needed and 0 are there"),
        (
            WorkerPool(4, gpus=1),
            {"CPU": 2, "GPU": 2},
            "5 CPUs are needed and 2 are there; 4 GPUs are needed and 2 are there",
        ),
    ],
)
def test_a_pool_that_does_not_fit_is_reported_in_figures(
    pool: WorkerPool, available: dict[str, float], lack: str | None
) -> None:
    assert shortfall(pool, available) == lack

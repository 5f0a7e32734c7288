"""The laws of orders: each part once, and a pool that does not fit is told in figures."""

from __future__ import annotations

import json

import pytest

from pixelmill.pipelines.bulk.orders import orders_for
from pixelmill.pipelines.outputs.manifest import Part
from pixelmill.pipelines.placement import WorkerPool, shortfall


def parts(count: int) -> dict[str, Part]:
    made = [Part(number, 0, 100 * number, 100) for number in range(count)]
    return {part.name: part for part in made}


def test_one_order_a_part_under_the_name_of_the_part() -> None:
    orders = orders_for(parts(3).values())
    assert [order.name for order in orders] == ["part-000000", "part-000001", "part-000002"]
    assert [order.parts for order in orders] == [(part,) for part in parts(3).values()]
    raw = json.loads(orders[1].to_json())
    assert Part(**raw["parts"][0]) == parts(3)["part-000001"]
    assert raw["name"] == "part-000001"


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
def test_a_pool_that_does_not_fit_is_told_in_figures(
    pool: WorkerPool, available: dict[str, float], lack: str | None
) -> None:
    assert shortfall(pool, available) == lack

"""The laws of orders: each part once, each failed input once, and a pool that does not fit is told in figures."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.manifest import Part
from pipelines.orders import Pool, orders_for, retry_orders, shortfall


def parts(count: int) -> dict[str, Part]:
    made = [Part(number, 0, 100 * number, 100) for number in range(count)]
    return {part.name: part for part in made}


def test_one_order_a_part_under_the_name_of_the_part() -> None:
    orders = orders_for(parts(3).values())
    assert [order.name for order in orders] == ["part-000000", "part-000001", "part-000002"]
    assert [order.parts for order in orders] == [(part,) for part in parts(3).values()]
    raw = json.loads(orders[1].to_json())
    assert Part(**raw["parts"][0]) == parts(3)["part-000001"]
    assert (raw["name"], raw["ids"]) == ("part-000001", None)


@settings(deadline=None)
@given(st.lists(st.integers(1, 100), min_size=1, max_size=40), st.integers(1, 200), st.integers(1, 999))
def test_a_retry_orders_every_failed_input_once_from_its_own_part(counts: list[int], rows: int, attempt: int) -> None:
    failed = {name: [f"{name}/{n}" for n in range(count)] for name, count in zip(parts(40), counts, strict=False)}
    orders = retry_orders(parts(40), failed, attempt=attempt, rows=rows)
    assert [identity for order in orders for identity in order.ids or ()] == [i for ids in failed.values() for i in ids]
    assert len({order.name for order in orders}) == len(orders)
    assert all(order.name.startswith(f"part-r{attempt:03d}-") for order in orders)
    for order in orders:
        named = {part.name for part in order.parts}
        assert {str(identity).partition("/")[0] for identity in order.ids or ()} == named
        assert len(order.ids or ()) < rows + 100
    assert all(len(order.ids or ()) >= rows for order in orders[:-1])


def test_orders_of_two_retries_never_share_a_name() -> None:
    failed = {name: ["a"] for name in parts(9)}
    first, second = (retry_orders(parts(9), failed, attempt=attempt, rows=1) for attempt in (1, 2))
    assert not {order.name for order in first} & {order.name for order in second}


@pytest.mark.parametrize(
    ("pool", "available", "lack"),
    [
        (Pool(2), {"CPU": 2}, None),
        (Pool(3), {"CPU": 2}, "3 CPUs are needed and 2 are there"),
        (Pool(2, cpus=0.5), {"CPU": 1}, None),
        (Pool(1, cpus=7, gpus=1), {"CPU": 8, "GPU": 1}, None),
        (Pool(1, cpus=8, gpus=1), {"CPU": 8, "GPU": 1}, "9 CPUs are needed and 8 are there"),  # one CPU publishes
        (Pool(2, gpus=0.5), {"CPU": 8, "GPU": 1}, None),
        (Pool(1, gpus=1), {"CPU": 8}, "1 GPUs are needed and 0 are there"),
        (Pool(4, gpus=1), {"CPU": 2, "GPU": 2}, "5 CPUs are needed and 2 are there; 4 GPUs are needed and 2 are there"),
    ],
)
def test_a_pool_that_does_not_fit_is_told_in_figures(pool: Pool, available: dict[str, float], lack: str | None) -> None:
    assert shortfall(pool, available) == lack

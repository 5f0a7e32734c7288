"""Orders: each part once, under its name."""

from __future__ import annotations

import json

from pixelmill.pipelines.bulk.orders import orders_for
from pixelmill.pipelines.outputs.parts import Part


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

"""The table of an order: rows of an input together and in their places, columns aligned however batches were made."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.pipelines.bulk.items import Item, Row
from pixelmill.pipelines.bulk.stage_queues import StageOutput
from pixelmill.pipelines.bulk.table import table_of
from pixelmill.workers.decoders import decoder_of
from pixelmill.workers.errors import RowError
from pixelmill.workers.stages import StageContext
from tests.mills import ColourConfig

STAGE = ColourConfig().build(StageContext("cpu", 1, 1, None))
MANY = decoder_of("tests.pipelines.bulk.test_many_rows:StackDecoder")


@given(st.lists(st.one_of(st.none(), st.integers(1, 4)), min_size=1, max_size=6), st.randoms(), st.integers(1, 5))
def test_rows_are_together_and_have_their_own_values(counts: list[int | None], random: object, batch: int) -> None:
    """`counts` has for each input its rows, or None where it failed after its first row had been made."""
    items: list[Item] = []
    for position, count in enumerate(counts):
        item = Item(position, error=RowError("colour", "Refused", "no") if count is None else None)
        item.rows = [
            Row(item, position, place, {"level": place, "note": f"n{position}"}) for place in range(count or 1)
        ]
        items.append(item)
    made = [row for item in items for row in item.rows]
    random.shuffle(made)  # type: ignore[attr-defined]
    output = StageOutput(made)
    for start in range(0, len(made), batch):
        vectors = [[float(row.item.position), float(row.height), 7.0] for row in made[start : start + batch]]
        output.chunks.append({"colour": pa.array(vectors, pa.list_(pa.float32(), 3))})
    names = [f"i{position}" for position in range(len(counts))]
    inputs = pa.table({"id": names, "uri": names, "member": pa.nulls(len(names), pa.string()), "source_id": names})
    table = table_of(inputs, items, MANY, [STAGE], [output])
    expected = [
        (position, place, None if count is None else [position, place, 7.0])
        for position, count in enumerate(counts)
        for place in (range(count) if count else [None])
    ]
    rows = table.to_pylist()
    assert [(int(str(row["id"])[1:]), row["place"], row["colour"]) for row in rows] == expected
    assert all((row["error_type"] is None) == (row["colour"] is not None) for row in rows)
    assert all(row["level"] == row["place"] for row in rows)

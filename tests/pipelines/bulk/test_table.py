"""The table of an order: rows of an input together and in their places, columns aligned however batches were made."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.bulk.items import Item, Row
from pixelmill.pipelines.bulk.stage_queues import StageOutput
from pixelmill.pipelines.bulk.table import CHUNK_BYTES, table_of
from pixelmill.pipelines.outputs.encoding import PICTURE, encode
from pixelmill.pipelines.stores.tables import open_parquet, read_group
from pixelmill.workers.decoders import decoder_of
from pixelmill.workers.errors import RowError
from pixelmill.workers.stages import Stage, StageContext
from tests.mills import ColourConfig


class PicturesConfig(ColourConfig):
    def build(self, context: StageContext) -> Stage:
        stage = super().build(context)
        stage.fields = (pa.field("picture", PICTURE),)  # type: ignore[misc]
        return stage


STAGE = ColourConfig().build(StageContext("cpu", 1, 1, None))
MANY = decoder_of("tests.pipelines.bulk.test_many_rows:StackDecoder")


@settings(deadline=None)
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


def pictures(sizes: list[int | None], *, chunk_bytes: int) -> pa.Table:
    """A table of one column of pictures, of so many bytes each; None where the input failed. They were made in reverse order."""
    stage = PicturesConfig().build(StageContext("cpu", 1, 1, None))
    items = [Item(n, error=RowError("s", "Bad", "no") if size is None else None) for n, size in enumerate(sizes)]
    for item in items:
        item.rows = [Row(item, 1, 1, {})]
    output = StageOutput()
    for item, size in reversed(list(zip(items, sizes, strict=True))):
        output.rows += item.rows
        value = None if size is None else {"bytes": bytes([item.position % 256]) * size, "path": None}
        output.chunks.append({"picture": pa.array([value], PICTURE)})
    names = [f"i{position}" for position in range(len(sizes))]
    inputs = pa.table(dict.fromkeys(("id", "uri", "member", "source_id"), names))
    return table_of(inputs, items, decoder_of("picture"), [stage], [output], chunk_bytes=chunk_bytes)


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 300)), min_size=1, max_size=30), st.integers(1, 3000))
def test_a_column_that_is_too_large_for_one_chunk_is_in_several(sizes: list[int | None], chunk_bytes: int) -> None:
    table = pictures(sizes, chunk_bytes=chunk_bytes)
    column = table["picture"]
    found = [value and len(value["bytes"]) for value in column.to_pylist()]
    assert found == sizes
    assert all(value is None or set(value["bytes"]) <= {n % 256} for n, value in enumerate(column.to_pylist()))
    start = 0
    for chunk in column.chunks:
        assert len(chunk) == 1 or sum(size or 0 for size in sizes[start : start + len(chunk)]) <= chunk_bytes
        start += len(chunk)


@pytest.mark.slow
def test_more_pictures_than_32_bits_can_count_the_bytes_of_are_one_table_and_one_file() -> None:
    """It takes about 10 GiB of memory."""
    size = 200 << 20
    table = pictures([size] * 11 + [None], chunk_bytes=CHUNK_BYTES)
    assert table.nbytes > 1 << 31
    data = table.filter(pc.is_null(table["error_type"])).select(["id", "picture"])
    del table
    encoded = encode(data)
    del data
    parquet = open_parquet(pa.BufferReader(encoded))
    assert parquet.num_row_groups == 11
    for number in range(11):
        (value,) = read_group(parquet, number)["picture"].chunk(0).field("bytes")
        content = value.as_buffer()
        assert (content.size, content[0].as_py() if hasattr(content[0], "as_py") else content[0]) == (size, number)

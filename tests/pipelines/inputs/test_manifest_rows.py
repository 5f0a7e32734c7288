"""Rows of a manifest: ids that never change, names that are not UTF-8, columns without a value."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.inputs.entries import Entry, Piece
from pixelmill.pipelines.inputs.manifest_rows import SCHEMA, input_id, table_of


def test_ids_have_128_bits_and_are_the_same_for_ever() -> None:
    # Outputs in the world carry these; they may never change.
    assert input_id("s3://bucket/photo.jpg", None) == "cdbfe62ae8c0120a403de5155ec2b1cb"
    assert input_id("s3://bucket/shard.tar", "0000.jpg") == "c1892d7fc61b31bfb1bdb5fabc5480e0"


NAMES = st.text(st.characters(exclude_characters="\0"), max_size=5)


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, st.none() | NAMES), unique=True, max_size=20))
def test_different_inputs_have_different_ids(inputs: list[tuple[str, str | None]]) -> None:
    ids = {input_id(uri, member) for uri, member in inputs}
    assert len(ids) == len(inputs)
    assert all(len(identity) == 32 and int(identity, 16) >= 0 for identity in ids)


def test_all_entries_become_rows_of_one_schema() -> None:
    pieces = (Piece("a.r.tif", None, 3, "1"), Piece("a.g.tif", 7, 4, None))
    plain, grouped = Entry("a.jpg", size=5, version="v"), Entry("a", "a", None, None, 7, "v", None, pieces)
    for batch in ([plain], [grouped], [plain, grouped]):
        table = table_of(batch)
        assert table.schema == SCHEMA
        assert table["id"].to_pylist() == [input_id(entry.uri, entry.member) for entry in batch]
    assert table_of([grouped])["pieces"].to_pylist() == [[piece._asdict() for piece in pieces]]


def test_a_name_that_is_not_utf8_is_spelled_out_with_its_reason() -> None:
    plain, grouped = table_of(
        [Entry("caf\udce9.jpg"), Entry("a", "caf", pieces=(Piece("caf.\udce9"), Piece("a.g.tif")))]
    ).to_pylist()
    assert plain["uri"] == "caf\\udce9.jpg"
    assert grouped["pieces"][0]["uri"] == "caf.\\udce9"
    assert all(row["problem"].startswith("BadName: ") for row in (plain, grouped))

"""Rows that are found by their ids, samples of ids, and the bytes of inputs as they were listed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.findings.chosen_rows import Inputs, chosen_rows, picture_names, sampled_ids, small_names
from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.inputs.manifest_rows import input_id
from pixelmill.pipelines.outputs.columns import PLACE
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import RowError
from pixelmill.workers.stages.picture_column import picture_field
from tests.pipelines.findings.explored import add_part, directions, noise, open_out
from tests.pipelines.outputs.listings import list_into, make_files

PICTURE = "fingerprint_thumbnail"


@pytest.fixture
def many(tmp_path: Path) -> Folder:
    """Six rows in two parts."""
    folder = open_out(tmp_path)
    add_part(folder, list("abcd"), directions(2, 2), [noise(number) for number in range(4)])
    add_part(folder, list("ef"), directions(2, 1), [noise(number) for number in range(4, 6)])
    return folder


def test_rows_come_in_the_order_of_the_run_with_the_pictures_that_were_asked_for(many: Folder) -> None:
    found = list(chosen_rows(many, ["id-f", "id-b", "id-gone", "id-b"], [PICTURE]))
    assert [row.id for row in found] == ["id-b", "id-f"]
    assert found[0].values["uri"] == "/p/b.jpg"
    assert (found[0].pictures[PICTURE] or b"")[:2] == b"\xff\xd8"
    assert {"embedding", PICTURE}.isdisjoint(found[0].values)


def test_the_first_row_of_an_input_of_many_rows_is_taken(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), Access())
    (tmp_path / "data").mkdir()
    rows = pa.table({"id": ["a", "a", "b"], "place": pa.array([0, 1, 0], pa.int32()), "score": [1.0, 2.0, 3.0]})
    pq.write_table(rows, tmp_path / "data/part-000000.parquet")
    assert [row.values["score"] for row in chosen_rows(folder, ["a", "b"], [])] == [1.0, 3.0]


def test_row_groups_without_a_wanted_row_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "data/part-000000.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"id": list("abcdef"), "score": [*range(6)]}), path, row_group_size=2)
    scores = pq.read_metadata(path).row_group(1).column(1)
    with path.open("r+b") as file:
        file.seek(scores.data_page_offset)
        file.write(b"\xff" * 16)
    folder = Folder(str(tmp_path), Access())
    assert [row.values["score"] for row in chosen_rows(folder, ["f", "a"], [])] == [0, 5]
    with pytest.raises(OSError, match="deserialize"):
        list(chosen_rows(folder, ["c"], []))


def test_columns_are_divided_into_pictures_and_small_ones() -> None:
    schema = pa.schema(
        [
            ("id", pa.string()),
            picture_field("mask"),
            ("embedding", pa.list_(pa.float32(), 2)),
            ("raw", pa.binary()),
            ("score", pa.float32()),
        ]
    )
    assert picture_names(schema) == ["mask"]
    assert small_names(schema) == ["id", "score"]


@pytest.mark.parametrize("count", [0, 1, 4, 6, 99])
def test_a_sample_has_each_input_once_in_the_order_of_the_run(many: Folder, count: int) -> None:
    drawn = sampled_ids(many, count)
    assert len(drawn) == min(count, 6)
    assert drawn == sorted(set(drawn))
    assert drawn == sampled_ids(many, count)


def test_another_seed_draws_another_sample(many: Folder) -> None:
    assert len({tuple(sampled_ids(many, 3, seed)) for seed in range(8)}) > 1


def test_an_input_of_many_rows_is_drawn_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows = pa.table({"id": list("aaab"), PLACE.name: pa.array([0, 1, 2, 0], pa.int32())})
    pq.write_table(rows, tmp_path / "data/part-000000.parquet")
    assert sampled_ids(Folder(str(tmp_path), Access()), 9) == ["a", "b"]


# -------------------------------------------------------------------------------------------------------------- inputs


def test_inputs_are_read_as_they_were_listed_and_what_is_gone_has_its_reason(tmp_path: Path) -> None:
    make_files(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    source, out = Source((str(tmp_path / "in"),)), Folder(str(tmp_path / "out"), Access(retry_for_s=0.0))
    list_into(out, source)
    (tmp_path / "in/b.jpg").unlink()
    (tmp_path / "in/c.jpg").write_bytes(b"another file of another size")
    ids = {name: input_id(str(tmp_path / "in" / name), None) for name in ("a.jpg", "b.jpg", "c.jpg")}
    found = dict(Inputs(out, source).read([*ids.values(), "unknown"]))
    assert found.keys() == set(ids.values())
    assert found[ids["a.jpg"]] == b"a.jpg"
    reasons = [found[ids[name]] for name in ("b.jpg", "c.jpg")]
    assert [reason.error_type for reason in reasons if isinstance(reason, RowError)] == ["NotFound", "Changed"]


def test_no_input_is_read_where_the_manifest_names_none_of_them(tmp_path: Path) -> None:
    make_files(tmp_path / "in", "a.jpg")
    source, out = Source((str(tmp_path / "in"),)), Folder(str(tmp_path / "out"), Access(retry_for_s=0.0))
    list_into(out, source)
    assert list(Inputs(out, source).read(["unknown"])) == []

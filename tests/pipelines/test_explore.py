"""Looking at an output: declared types, pieces of bounded size, and neighbours as a plain search finds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines import explore
from pixelmill.pipelines.outputs.columns import ERROR_COLUMNS, INPUT_FIELDS
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.publishing import publish
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError

DIMENSION = 3
VECTOR = pa.list_(pa.float32(), DIMENSION)
TEXTS = [pa.field(name, pa.string()) for name in ERROR_COLUMNS]


def written(root: Path, vectors_ND: np.ndarray, *, part_rows: int = 4) -> Folder:
    """An output of several parts; row n has the id and the uri n."""
    folder = Folder(str(root), Access())
    rows = [
        {"id": f"id-{n:03d}", "uri": f"/p/{n}", "embedding": vector} for n, vector in enumerate(vectors_ND.tolist())
    ]
    schema = pa.schema([*INPUT_FIELDS, pa.field("embedding", VECTOR), *TEXTS])
    for part, first in enumerate(range(0, len(rows), part_rows)):
        table = pa.Table.from_pylist(rows[first : first + part_rows], schema)
        publish(folder, f"part-{part:06d}", table, {}, Compression())
    return folder


@pytest.fixture(scope="module")
def vectors_ND() -> np.ndarray:  # noqa: N802
    return np.random.default_rng(0).normal(size=(11, DIMENSION)).astype(np.float32)


@pytest.fixture
def out(tmp_path: Path, vectors_ND: np.ndarray) -> Folder:
    return written(tmp_path, vectors_ND)


def test_the_schema_has_the_types_that_the_writer_meant_and_none_of_our_metadata(out: Folder, tmp_path: Path) -> None:
    schema = explore.schema_of(out)
    assert schema.field("embedding").type == VECTOR
    assert schema.metadata is None
    assert explore.schema_of(Folder(str(tmp_path / "empty"), Access())) == pa.schema([])


def test_rows_come_in_pieces_of_bounded_size_in_the_order_of_the_parts(
    out: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explore, "BATCH_ROWS", 3)
    pieces = list(explore.batches(out, ["embedding", "uri"]))
    assert [piece.num_rows for piece in pieces] == [3, 1, 3, 1, 3]
    table = pa.Table.from_batches(pieces)
    assert table.schema.names == ["embedding", "uri"]
    assert table["uri"].to_pylist() == [f"/p/{n}" for n in range(11)]
    assert table["embedding"].type == VECTOR


def test_what_columns_take_in_memory_is_about_what_they_take(tmp_path: Path) -> None:
    many = written(tmp_path, np.random.default_rng(1).normal(size=(20_000, DIMENSION)), part_rows=5_000)
    for columns in (["embedding"], ["id", "embedding"]):
        table = pa.Table.from_batches(explore.batches(many, columns))
        assert explore.memory_bytes(many, columns) == pytest.approx(table.nbytes, rel=0.3)
    assert explore.memory_bytes(many, None) > explore.memory_bytes(many, ["embedding"])


@settings(deadline=None, max_examples=20)
@given(query=st.integers(0, 10), count=st.integers(1, 12), batch_rows=st.integers(1, 12))
def test_neighbours_are_those_of_a_plain_search(
    tmp_path_factory: pytest.TempPathFactory, vectors_ND: np.ndarray, query: int, count: int, batch_rows: int
) -> None:
    folder = written(tmp_path_factory.mktemp("out"), vectors_ND)
    units_ND = vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    cosines_N = units_ND @ units_ND[query]
    expected = [n for n in np.argsort(-cosines_N) if n != query][:count]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explore, "BATCH_ROWS", batch_rows)
        for named in (f"id-{query:03d}", f"/p/{query}"):
            found = explore.nearest(folder, "embedding", named, count)
            assert found["uri"].to_pylist() == [f"/p/{n}" for n in expected]
            assert np.allclose(found["cosine"].to_numpy(), cosines_N[expected], atol=1e-6)


def test_a_vector_of_any_length_finds_its_own_row_first(out: Folder, vectors_ND: np.ndarray) -> None:
    found = explore.nearest(out, "embedding", (vectors_ND[7] * 100).tolist(), 2)
    assert found["id"].to_pylist()[0] == "id-007"
    assert found["cosine"][0].as_py() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("query", "words"), [("/p/99", "holds no finished row of /p/99"), ([1.0, 2.0], "vectors of 3 numbers")]
)
def test_a_query_that_fits_nothing_is_refused(out: Folder, query: str | list[float], words: str) -> None:
    with pytest.raises(JobError, match=words):
        explore.nearest(out, "embedding", query, 1)

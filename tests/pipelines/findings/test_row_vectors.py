"""The vectors of a run: all of them once, of one model only, and plain words where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pixelmill.pipelines.findings import row_vectors
from pixelmill.pipelines.findings.row_vectors import read_vectors, require_one_space, space_of
from pixelmill.pipelines.outputs.columns import INPUT_FIELDS
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.publishing import publish
from pixelmill.workers.errors import JobError
from tests.pipelines.findings.explored import TEXTS, add_part, directions, noise, open_out


def test_vectors_come_in_the_order_of_the_rows_with_length_one(tmp_path: Path) -> None:
    out = open_out(tmp_path)
    vectors = 3 * directions(4, 3)
    add_part(out, list("abcde"), vectors[:5])
    add_part(out, list("fghijkl"), vectors[5:])
    found = read_vectors(out)
    assert found.keys["id"].to_pylist() == [f"id-{name}" for name in "abcdefghijkl"]
    assert np.allclose(found.units_ND, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), atol=1e-6)


def test_many_vectors_are_held_in_half_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = open_out(tmp_path)
    add_part(out, list("abcd"), directions(2, 2))
    exact = read_vectors(out).units_ND
    monkeypatch.setattr(row_vectors, "HALF_FROM_BYTES", 8)
    halved = read_vectors(out).units_ND
    assert (exact.dtype, halved.dtype) == (np.float32, np.float16)
    assert np.allclose(exact, halved, atol=1e-3)


def test_a_row_without_a_vector_is_left_out_and_shifts_no_other(tmp_path: Path) -> None:
    out = open_out(tmp_path)
    schema = pa.schema([*INPUT_FIELDS, pa.field("embedding", pa.list_(pa.float32(), 2)), *TEXTS])
    vectors = [[1.0, 0.0], None, [0.0, 2.0]]
    rows = [{"id": str(n), "uri": f"/{n}", "embedding": vector} for n, vector in enumerate(vectors)]
    publish(out, "part-000000", pa.Table.from_pylist(rows, schema), {}, Compression())
    found = read_vectors(out)
    assert found.keys["id"].to_pylist() == ["0", "2"]
    assert found.units_ND.tolist() == [[1, 0], [0, 1]]


def test_a_run_without_vectors_says_what_it_has_and_what_to_run(tmp_path: Path) -> None:
    out = open_out(tmp_path)
    add_part(out, ["a"], pictures=[noise(0)])
    with pytest.raises(JobError, match=r"holds no vectors, only id, .*run the stage embed or encode"):
        read_vectors(out)


def test_a_run_of_zero_rows_is_said_to_be_one(tmp_path: Path) -> None:
    out = open_out(tmp_path)
    with pytest.raises(JobError, match="holds no finished row"):
        read_vectors(out)
    add_part(out, [], np.zeros((0, 3), np.float32), failed=["x"])
    with pytest.raises(JobError, match="holds no finished row"):
        row_vectors.require_rows(out)


def test_an_unknown_column_is_named_beside_those_of_vectors(tmp_path: Path) -> None:
    out = open_out(tmp_path)
    add_part(out, ["a"], directions(1, 1))
    with pytest.raises(JobError, match="uri is no column of vectors; there are embedding"):
        read_vectors(out, "uri")


def test_vectors_of_two_models_in_one_run_are_refused(tmp_path: Path) -> None:
    out = open_out(tmp_path)
    add_part(out, ["a"], directions(1, 1))
    add_part(out, ["b"], directions(1, 1), weights="b" * 64)
    with pytest.raises(JobError, match=r"two models, in part-000000.parquet and part-000001.parquet"):
        read_vectors(out)


@pytest.mark.parametrize(("weights", "options"), [("b" * 64, {}), ("a" * 64, {"layer": "code"})])
def test_two_runs_are_compared_by_weights_and_options(tmp_path: Path, weights: str, options: dict[str, object]) -> None:
    ours, same, other = (
        open_out(tmp_path / "a"),
        open_out(tmp_path / "b", model="another name", precision="float32"),
        open_out(tmp_path / "c", weights, **options),
    )
    for folder, digest in ((ours, "a" * 64), (same, "a" * 64), (other, weights)):
        add_part(folder, ["a"], directions(1, 1), weights=digest)
    spaces = {each.uri: space_of(each, "embedding") for each in (ours, same, other)}
    require_one_space((ours.uri, spaces[ours.uri]), (same.uri, spaces[same.uri]))
    with pytest.raises(JobError, match="two models, which can't be compared"):
        require_one_space((ours.uri, spaces[ours.uri]), (other.uri, spaces[other.uri]))

"""Fingerprints of a run as they are read back: hashes, statistics, and thumbnails by the number of their row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pixelmill.pipelines.findings.fingerprint_rows import base_of, read_fingerprints, statistics, thumbnail_shapes
from tests.pipelines.findings.explored import add_part, compressed, directions, fingerprint_of, noise, open_out


def test_the_hashes_are_those_that_the_stage_wrote(tmp_path: Path) -> None:
    out, pictures = open_out(tmp_path), [noise(0), noise(1)]
    add_part(out, list("ab"), pictures=pictures)
    found = read_fingerprints(out)
    assert found is not None
    assert (len(found), found.base) == (2, "fingerprint")
    assert found.keys["id"].to_pylist() == ["id-a", "id-b"]
    written = [fingerprint_of(picture) for picture in pictures]
    assert found.sha256_N == [row["fingerprint_sha256"] for row in written]
    assert found.hashes_N.dtype == np.uint64
    assert found.hashes_N.tolist() == [row["fingerprint_phash"] for row in written]


def test_a_picture_without_structure_has_the_hash_0(tmp_path: Path) -> None:
    out = open_out(tmp_path)
    add_part(out, ["flat"], pictures=[np.full((32, 32, 3), 90, np.uint8)])
    found = read_fingerprints(out)
    assert found is not None
    assert found.hashes_N.tolist() == [0]


def test_a_run_without_fingerprints_has_none(tmp_path: Path) -> None:
    out = open_out(tmp_path)
    add_part(out, ["a"], directions(1, 1))
    assert read_fingerprints(out) is None


@pytest.mark.parametrize(
    ("names", "base"),
    [
        (["id", "seen_phash", "seen_sha256"], "seen"),
        (["id", "own_phash"], None),  # a column of the user's that ends like one of ours
        (["own_phash", "seen_phash", "seen_sha256"], "seen"),
        (["id"], None),
    ],
)
def test_columns_of_fingerprints_are_known_by_their_pair(names: list[str], base: str | None) -> None:
    assert base_of(pa.schema([(name, pa.string()) for name in names])) == base


def test_statistics_are_counted_over_all_parts_in_order(tmp_path: Path) -> None:
    out = open_out(tmp_path)
    add_part(out, ["dark"], pictures=[np.zeros((32, 32, 3), np.uint8)])
    add_part(out, ["bright"], pictures=[np.full((32, 32, 3), 255, np.uint8)])
    found = statistics(out, "fingerprint")
    assert found.keys() == {"brightness", "contrast", "sharpness"}
    assert np.allclose(found["brightness"], [0, 1], atol=0.02)
    assert found["contrast"].dtype == np.float32


def test_thumbnails_are_found_across_parts_and_correlate_with_their_copies_alone(tmp_path: Path) -> None:
    out = open_out(tmp_path)
    add_part(out, list("ab"), pictures=[noise(0), noise(1)])
    add_part(out, list("cd"), pictures=[noise(2), compressed(noise(0))])
    shapes = thumbnail_shapes(out, "fingerprint", [3, 0, 2, 3, 99])
    assert shapes.keys() == {0, 2, 3}
    assert float(shapes[0] @ shapes[0]) == pytest.approx(1, abs=1e-5)
    assert float(shapes[0] @ shapes[3]) > 0.98
    assert float(shapes[0] @ shapes[2]) < 0.5

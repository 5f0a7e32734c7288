"""Rows unlike all others, and pictures that show little."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from pixelmill.pipelines.findings import outliers
from pixelmill.pipelines.findings.outliers import looks_of, outliers_of, scores_of
from pixelmill.pipelines.findings.row_vectors import read_vectors
from tests.pipelines.findings.explored import add_part, directions, fingerprint_of, noise, open_out


def test_a_row_that_is_alone_is_the_farthest_outlier_and_a_copy_is_not_unique(tmp_path: Path) -> None:
    out = open_out(tmp_path)
    many = np.concatenate([directions(2, 8), [[-1, -1]], directions(2, 8)[:1]]).astype(np.float32)
    add_part(out, [f"{n:02d}" for n in range(18)], many)
    found = read_vectors(out)
    made = outliers_of(found.keys, found.units_ND, None)
    scores, unique = made.rows["outlier_score"].to_numpy(), made.rows["uniqueness"].to_numpy()
    assert scores.argmax() == 16
    assert unique[0] == unique[17] == pytest.approx(0, abs=1e-6)
    assert unique[16] > 1


def test_outliers_against_a_sample_rank_as_those_against_all(monkeypatch: pytest.MonkeyPatch) -> None:
    units = directions(2, 40)
    units = np.concatenate([units, [[-1, -1]]]).astype(np.float32)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    monkeypatch.setattr(outliers, "NEIGHBOURS", 3)
    scores, unique = scores_of(units, exact_rows=30)
    assert scores.argmax() == 80
    assert (unique >= 0).all()
    assert scores_of(units[:1])[0].tolist() == [0]


def test_dark_blurred_and_empty_pictures_are_marked_and_others_not() -> None:
    photo = Image.fromarray(skimage.data.astronaut())
    pictures = {
        "": photo,
        "dark": photo.point(lambda value: value // 20),
        "blurred": Image.fromarray(noise(3, 8)).resize((256, 256), Image.Resampling.BICUBIC),
        "nearly empty": Image.new("RGB", (64, 64), (128, 128, 128)),
        "bright": Image.new("RGB", (64, 64), "white"),
    }
    rows = [fingerprint_of(np.asarray(each)) for each in pictures.values()]
    names = ("brightness", "contrast", "sharpness")
    statistics = {name: np.array([row[f"fingerprint_{name}"] for row in rows], np.float32) for name in names}
    found = dict(zip(pictures, looks_of(statistics), strict=True))
    assert found[""] == []
    assert all(name in found[name] for name in ("dark", "blurred", "nearly empty", "bright"))

"""`pixelmill eval`: what can't be read is left out and named, and the figures are of the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelmill.jobs.evaluation import evaluate
from pixelmill.workers.codecs.encode import encode_png
from pixelmill.workers.errors import DataError


def digits(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        levels_HW = np.random.default_rng(number).integers(0, 256, (28, 28), np.uint8)
        (folder / f"{number}.png").write_bytes(encode_png(levels_HW))
    return folder


def test_samples_that_cannot_be_read_are_named_and_not_counted(tmp_path: Path) -> None:
    plain = evaluate("vae", "vae-mnist", [str(digits(tmp_path / "good", 4))], "all", [], None)
    folder = digits(tmp_path / "some", 4)
    (folder / "9.png").write_bytes(b"<html>gone</html>")
    report = evaluate("vae", "vae-mnist", [str(folder)], "all", [], None)
    assert (report["samples"], plain["samples"], plain["failed"]) == (4, 4, [])
    (failed,) = report["failed"]
    assert str(failed["uri"]).endswith("some/9.png")
    assert (failed["stage"], failed["error_type"]) == ("decode", "BadSample")
    assert report["metrics"] == pytest.approx(plain["metrics"])


def test_nothing_is_judged_where_all_samples_are_broken(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"0\.png"):
        evaluate("vae", "vae-mnist", [str(tmp_path)], "all", [], None)

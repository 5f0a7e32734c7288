"""The archive of the demo: the same on every machine, and broken in each way in which archives are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from pixelmill.jobs import demo
from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import RowError

pytest.importorskip("skimage", reason="the demo's photographs come inside scikit-image")

BROKEN = {
    "empty.jpg": "Empty",
    "half.jpg": "Truncated",
    "header-only.jpg": "Truncated",
    "error-page.jpg": "NotAnImage",
    "notes.png": "NotAnImage",
    "bomb.png": "TooManyPixels",
}


@pytest.fixture(autouse=True)
def few_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in colour, one grey."""
    monkeypatch.setattr(demo, "PHOTOGRAPHS", ("coffee", "coins"))
    monkeypatch.setattr(demo, "CROPS_EACH", 4)


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_it_counts_what_it_made_and_every_crop_is_another_square_in_colour(tmp_path: Path) -> None:
    assert demo.make_archive(tmp_path) == (8, len(BROKEN))
    crops = [path for name in demo.PHOTOGRAPHS for path in (tmp_path / name).iterdir()]
    assert len(crops) == 8
    assert len({path.read_bytes() for path in crops}) == 8
    for path in crops:
        with Image.open(path) as crop:
            assert (crop.size, crop.mode, crop.format) == ((256, 256), "RGB", "JPEG")


def test_it_is_the_same_again_also_over_itself(tmp_path: Path) -> None:
    demo.make_archive(tmp_path / "first")
    demo.make_archive(tmp_path / "second")
    first = digests(tmp_path / "first")
    assert digests(tmp_path / "second") == first
    demo.make_archive(tmp_path / "first")
    assert digests(tmp_path / "first") == first


def test_every_broken_file_fails_for_the_reason_that_it_is_there_for(tmp_path: Path) -> None:
    demo.make_archive(tmp_path)
    found = dict[str, str]()
    for path in (tmp_path / "broken").iterdir():
        with pytest.raises(RowError) as raised:
            decode_picture(path.read_bytes())
        found[path.name] = raised.value.error_type
    assert found == BROKEN
    assert (tmp_path / "broken" / "bomb.png").stat().st_size < 100

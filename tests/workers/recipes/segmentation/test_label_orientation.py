"""A label is turned as its picture is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.encode import encode_png
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes.segmentation.labels import VOID
from tests.workers.labelled import files, ids, recipe


def turned(orientation: int, height: int, width: int) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A JPEG that EXIF turns, and its ids as the pixels are stored and as it is shown."""
    stored_HW = np.where(ids(height, width) == VOID, 0, ids(height, width)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(stored_HW * 100).convert("RGB").save(file, "JPEG", quality=100, subsampling=0, exif=exif)
    shown_HW = (decode_picture(file.getvalue())[0].numpy() / 100).round().astype(np.uint8)
    return file.getvalue(), stored_HW, shown_HW


@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_of_pictures_that_exif_turns_are_read_as_they_lie(orientation: int) -> None:
    data, stored_HW, shown_HW = turned(orientation, 48, 64)
    as_stored, as_shown = (encode_png(label_HW) for label_HW in (stored_HW, shown_HW))
    for settings, label in (({"turned_labels": "stored"}, as_stored), ({"turned_labels": "shown"}, as_shown)):
        decoded = recipe(**settings).decode(files(image=data) | {"label": label})
        assert np.array_equal(decoded["label"], shown_HW)
    if orientation == 1:
        assert np.array_equal(recipe().decode(files(image=data) | {"label": as_stored})["label"], shown_HW)
    elif orientation < 5:
        with pytest.raises(
            DataError,
            match=rf"EXIF turns the picture \(orientation {orientation}\).*: set turned_labels to shown where",
        ):
            recipe().decode(files(image=data) | {"label": as_stored})
    else:
        assert np.array_equal(recipe().decode(files(image=data) | {"label": as_shown})["label"], shown_HW)
        with pytest.raises(
            DataError, match=r"EXIF turns the picture .*, which is 48x64 px as it is shown, and its label is 64x48"
        ):
            recipe().decode(files(image=data) | {"label": as_stored})


def test_a_label_of_another_size_is_reported_with_and_without_an_exif_turn() -> None:
    label = encode_png(np.zeros((10, 10), np.uint8))
    with pytest.raises(DataError, match="the label has 10x10 px and its picture 64x48; make them the same size"):
        recipe().decode(files() | {"label": label})
    with pytest.raises(DataError, match=r"EXIF turns the picture.*10x10; make them the same size"):
        recipe(turned_labels="stored").decode(files(image=turned(6, 48, 64)[0]) | {"label": label})

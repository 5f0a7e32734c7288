"""Labels are read as ids, or refused with the next step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.codecs.encode import encode_jpeg, encode_png, encode_png16, encode_png_palette
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes.segmentation.labels import read_ids
from tests.workers.labelled import files, ids, recipe, sample


def test_ids_are_what_a_file_stores_whatever_its_colours_and_bits() -> None:
    ids_HW = ids(8, 9) % 3
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    stored = {
        "grey": encode_png(ids_HW),
        "palette": encode_png_palette(ids_HW, colours),
        "16 bits": encode_png16(ids_HW.astype(np.uint16)),
    }
    for kind, data in stored.items():
        assert np.array_equal(read_ids(data), ids_HW), kind
    assert decode_picture(stored["palette"])[0].max() == 200  # as a picture it would be colours


@pytest.mark.parametrize(
    ("label", "message"),
    [
        pytest.param(encode_png(sample()["image"]), "holds colours, not class ids", id="colours"),
        pytest.param(encode_jpeg(torch.zeros(3, 48, 64, dtype=torch.uint8)), "is no PNG", id="JPEG"),
        pytest.param(encode_png(ids())[:-30], "can't be read: the end of the file is missing", id="cut"),
        pytest.param(encode_png(ids(47, 64) % 3), "has 64x47 px and its picture 64x48", id="size"),
        pytest.param(encode_png(ids() // 9), r"ids \[28\], but there are only 0 to 2 and 11", id="range"),
    ],
)
def test_a_label_that_cannot_be_learned_from_is_refused(label: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        recipe().decode(files(label=label))


def test_other_strangers_are_reported_what_they_may_be() -> None:
    with pytest.raises(DataError, match="where 255 stands for no class, set ignore_index to 255"):
        recipe().decode(files(np.where(ids() == 1, 255, 0).astype(np.uint8)))
    with pytest.raises(DataError, match="set classes, or give the right ids with map_ids"):
        recipe().decode(files(np.where(ids() == 1, 77, 2).astype(np.uint8)))

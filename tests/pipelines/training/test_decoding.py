"""Samples are decoded in their order, and one that can't be is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.decoding import pack, scan, unpack
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes.vae import VaeRecipe
from tests.pipelines.training.trainings import SETTINGS


def test_samples_of_any_shape_survive_the_way_through_ray_data() -> None:
    samples = [
        {"a": np.arange(6, dtype=np.uint16).reshape(2, 3), "b": np.float32(2.5).reshape(())},
        {"a": np.zeros((0, 4))},
    ]
    again = unpack(pack(samples))
    assert [set(each) for each in again] == [{"a", "b"}, {"a"}]
    assert again[0]["a"].dtype == np.uint16
    assert again[0]["b"].shape == ()
    assert again[1]["a"].shape == (0, 4)


def test_a_file_that_is_no_picture_is_named(pictures: str) -> None:
    (Path(pictures) / "010.png").write_bytes(b"<html>")
    data = find(layout_of("pictures").ROLES, [pictures], Access())
    with pytest.raises(DataError, match=r"010\.png: "):
        list(scan(data, VaeRecipe(VaeRecipe.Settings(**SETTINGS), {})))

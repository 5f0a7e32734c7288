"""What would end a training is found before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.driver import rehearse
from pixelmill.pipelines.training.layouts.registry import find, layout_of
from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.recipes.vae import VaeRecipe
from tests.pipelines.training.trainings import SETTINGS


def test_rates_of_parameters_that_do_not_exist_are_refused_before_a_worker_starts(pictures: str) -> None:
    data = find(layout_of("pictures").ROLES, [pictures], Access())
    with pytest.raises(ModelError, match=r"rates: no parameter.s name begins with trunk"):
        rehearse(VaeRecipe(VaeRecipe.Settings(**SETTINGS | {"rates": {"trunk": 0.1}}), {}), data, together=8)
    rehearse(VaeRecipe(VaeRecipe.Settings(**SETTINGS | {"rates": {"encoder": 0.1}}), {}), data, together=8)


def test_a_rehearsal_finds_data_of_which_nothing_can_be_used_and_needs_no_memory(pictures: str) -> None:
    data = find(layout_of("pictures").ROLES, [pictures], Access())
    rehearse(VaeRecipe(VaeRecipe.Settings(**SETTINGS | {"hidden": 10**10}), {}), data, together=8)
    (Path(pictures) / "013.png").write_bytes(b"<html>")
    rehearse(VaeRecipe(VaeRecipe.Settings(**SETTINGS), {}), data, together=8)  # one is skipped when it is met
    for picture in Path(pictures).iterdir():
        picture.write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"000\.png: was replaced or written to since it was listed"):
        rehearse(VaeRecipe(VaeRecipe.Settings(**SETTINGS), {}), data, together=8)
    data = find(layout_of("pictures").ROLES, [pictures], Access())
    with pytest.raises(DataError, match=r"000\.png: looks like an HTML page"):
        rehearse(VaeRecipe(VaeRecipe.Settings(**SETTINGS), {}), data, together=8)

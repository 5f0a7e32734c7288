"""The law of licences: exactly those without commercial use are recognized by name."""

from __future__ import annotations

import pytest

from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.licences import is_restricted, licence_warning


@pytest.mark.parametrize(
    "name",
    [
        *("cc-by-nc-4.0", "CC BY-NC-SA 3.0", "cc_by_nc_nd_4.0", "Non-Commercial", "NVIDIA noncommercial", "apple-amlr"),
        *("research only", "for research and education", "academic use", "some-research-licence"),
    ],
)
def test_one_that_does_not_grant_commercial_use_is_reported(name: str) -> None:
    assert is_restricted(name)
    assert f"masks: the weights of its model are licensed as {name}" in str(licence_warning("masks", name))


@pytest.mark.parametrize(
    "name", ["apache-2.0", "mit", "cc-by-4.0", "CC0", "bsd-3-clause", "openrail++", "gpl-3.0", "cc-by-sa-3.0"]
)
def test_others_are_not(name: str) -> None:
    assert not is_restricted(name)
    assert licence_warning("masks", name) is None


def test_a_network_of_ours_has_that_of_the_data_it_learned_from() -> None:
    model = load_model(resolve("unet-camvid", "segment"), "segment")
    assert (model.licence, model.network.licence) == ("CC BY-NC", "CC BY-NC")
    several = load_model(resolve("vdsr-t91", "upscale"), "upscale")
    assert {several.at_scale(scale).network.licence for scale in several.scales} == {several.licence}

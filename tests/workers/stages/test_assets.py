"""Files that travel in a config: which are remote, and how they lie on disk while they are read."""

from __future__ import annotations

import copy

import pytest

from pixelmill.workers.stages.assets import as_path, is_remote
from pixelmill.workers.stages.stylize import StylizeConfig


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("s3://bucket/a.jpg", True),
        ("https://host/a.jpg", True),
        ("file:///a.jpg", False),
        ("/a.jpg", False),
        ("a.jpg", False),
        ("torchvision:VGG19_Weights.IMAGENET1K_V1", False),
    ],
)
def test_a_place_with_a_scheme_is_remote(place: str, expected: bool) -> None:
    assert is_remote(place) == expected


def test_files_are_there_while_they_are_read_and_gone_afterwards() -> None:
    with as_path({"model.safetensors": b"weights", "card.json": b"card"}) as path:
        assert path.name == "model.safetensors"
        assert path.read_bytes() == b"weights"
        assert path.with_name("card.json").read_bytes() == b"card"
    assert not path.parent.exists()


def test_what_was_read_travels_with_a_config_and_is_no_part_of_what_it_says() -> None:
    config = StylizeConfig.model_validate({"style": "s3://bucket/a.jpg", "vgg": "v.safetensors"})
    carrying = copy.deepcopy(config.with_assets({"style": {"a.jpg": b"pixels"}}))
    with carrying.located("style") as place, open(place, "rb") as file:
        assert file.read() == b"pixels"
    with carrying.located("vgg") as place:
        assert place == "v.safetensors"
    assert carrying.model_dump() == config.model_dump()
    assert "pixels" not in repr(carrying)

"""Names of styles, and the size of stylized pictures."""

from __future__ import annotations

import pytest

from pixelmill.workers.errors import ModelError
from pixelmill.workers.stages.styles import is_painting, network_of, size_with_shorter_side
from tests.saved_networks import saved


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("starry_night.JPG", True),
        ("s3://bucket/paintings/wave.webp", True),
        ("starry-night", False),
        ("runs/style", False),
        ("style.safetensors", False),
    ],
)
def test_a_style_is_a_painting_by_the_ending_of_its_name(style: str, expected: bool) -> None:
    assert is_painting(style) == expected


def test_a_network_is_named_in_short_in_full_or_by_its_file() -> None:
    assert network_of("wave") == network_of("faststyle-wave")
    path = saved("faststyle", "style", width=4, blocks=1)
    assert network_of(str(path)).path == path.resolve()


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ("starry_night", r"did you mean starry-night\?.*or a painting's file with its ending"),
        ("crn-facades", "holds the network crn, which can't stylize"),
        ("gone.safetensors", "no such file"),
        ("model.pt", "a pickle can run code"),
    ],
)
def test_an_unknown_style_is_refused_with_the_existing_names(style: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        network_of(style)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((300, 400), (96, 128)),
        ((400, 300), (128, 96)),
        ((1, 1), (96, 96)),
        ((5, 5000), (96, 768)),
        ((96, 97), (96, 97)),
    ],
)
def test_the_shorter_side_is_set_and_the_aspect_kept_within_bounds(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert size_with_shorter_side(*size, 96) == expected

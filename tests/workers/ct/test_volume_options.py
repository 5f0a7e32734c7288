"""Volumes that make no blocks are refused with what is wrong, and travel as JSON."""

from __future__ import annotations

import json

import pytest

from pixelmill.workers.ct.volume_options import VolumeOptions
from pixelmill.workers.errors import JobError


@pytest.mark.parametrize(
    "options",
    [{"spacing_mm": (0.0, 1.0, 1.0)}, {"spacing_mm": (1.0, 1.0, 99.0)}, {"block": (0, 8, 8)}, {"block": (9999,) * 3},
     {"block": (8, 8, 8), "overlap": 8}, {"overlap": -1}],
)  # fmt: skip
def test_options_that_make_no_blocks_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(JobError, match="volumes: "):
        VolumeOptions(**options)  # type: ignore[arg-type]


def test_options_come_back_from_json_as_they_were() -> None:
    options = VolumeOptions((2.0, 1.0, 0.5), (8, 16, 32), 3, shear_tilt=True)
    assert VolumeOptions.of_json(json.loads(json.dumps(options.as_json()))) == options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"spacing_mm": (0.05, 1.0, 1.0)}, "volumes: spacing 0.05 x 1 x 1 mm is not between 0.1 and 50.0 mm"),
        ({"block": (1024, 1024, 257)}, "volumes: a block of 1024 x 1024 x 257 has no voxels, or over 268,435,456"),
        ({"block": (8, 4, 8), "overlap": 4}, "volumes: an overlap of 4 voxels leaves no step in a block of 8 x 4 x 8"),
    ],
)
def test_the_fault_is_named_with_its_bounds(options: dict[str, object], said: str) -> None:
    with pytest.raises(JobError) as raised:
        VolumeOptions(**options)  # type: ignore[arg-type]
    assert str(raised.value) == said
    assert VolumeOptions(block=(1024, 1024, 256)).block == (1024, 1024, 256)

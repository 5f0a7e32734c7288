"""Every class has a colour."""

from __future__ import annotations

from pixelmill.workers.recipes.segmentation.labels import VOID
from pixelmill.workers.recipes.segmentation.palette import CAMVID_COLOURS, palette


def test_every_class_has_a_colour_of_its_own() -> None:
    assert len({tuple(colour) for colour in palette(list(CAMVID_COLOURS))[:11].tolist()}) == 11
    assert len({tuple(colour) for colour in palette(list(map(str, range(100))))[:100].tolist()}) == 100
    assert not palette(["a"])[VOID].any()

"""Pictures are decoded as small as the stages see them, and whole where one stage or the job wants them so."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from torch import Tensor

from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import StageConfig, StageContext
from tests.corpus import encode, photo
from tests.mills import Colour, ColourConfig, mill_of, order, rows_by_name

SIZE = (161, 120)


class Small(Colour):
    """Sees pictures in a square of `seen_px`, and notes what it was given."""

    def __init__(self, config: ColourConfig, seen_px: int | None) -> None:
        super().__init__(config)
        self.seen_px, self.given = seen_px, list[tuple[int, ...]]()

    def prepare(self, picture: Picture) -> Tensor:
        self.given.append(tuple(picture.pixels.shape[1:]))
        return super().prepare(picture)


class SmallConfig(ColourConfig):
    stage: ClassVar[str] = "small"
    seen_px: int | None = 20

    def build(self, context: StageContext) -> Small:
        return Small(self, self.seen_px)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(10):
        (tmp_path / "in" / f"{number}.jpg").write_bytes(encode(photo("coffee", *SIZE)))
    return tmp_path / "in"


def given(photos: Path, *stages: StageConfig, decodes_whole: bool = False) -> set[tuple[int, ...]]:
    """The sizes of what the small stages were given; the rows have the size of the files all the same."""
    mill, _ = mill_of(photos, *stages, decodes_whole=decodes_whole, max_pixels=100_000)
    rows = rows_by_name(mill(order()))
    assert {(row["width"], row["height"]) for row in rows.values()} == {SIZE}
    assert {row["error"] for row in rows.values()} == {None}
    return {size for stage in mill.stages if isinstance(stage, Small) for size in stage.given}


def test_a_picture_is_as_small_as_the_stage_that_sees_most_of_it_allows(photos: Path) -> None:
    assert given(photos, SmallConfig()) == {(60, 81)}  # a half; a quarter would be 30 of the 40 that are needed
    assert given(photos, SmallConfig(seen_px=15)) == {(30, 41)}
    assert given(photos, SmallConfig(), SmallConfig(seen_px=15, name="b", column="b")) == {(60, 81)}


def test_a_stage_that_wants_all_pixels_gives_them_to_every_stage(photos: Path) -> None:
    whole = (120, 161)
    assert given(photos, SmallConfig(), ColourConfig(name="b", column="b")) == {whole}
    assert given(photos, SmallConfig(seen_px=None)) == {whole}
    assert given(photos, SmallConfig(), decodes_whole=True) == {whole}

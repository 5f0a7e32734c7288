"""Inputs that make many rows: they are together in the table, numbered, or one row says why none of them is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from pixelmill.workers.decoders import Decoded
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Kind, Picture
from tests.mills import ColourConfig, mill_of, order

PLACE = "tests.pipelines.bulk.test_many_rows:StackDecoder"


class StackDecoder:
    """A number of grey levels, each a picture of 3 x level pixels: b"STCK", then one byte a picture."""

    fields: tuple[pa.Field, ...] = (pa.field("level", pa.int16()), pa.field("note", pa.string()))
    makes_many = True
    takes_many = False
    rows_per_input = 3.0
    kind: Kind = "rgb8"

    def need_bytes(self, pieces: Sequence[bytes]) -> int:
        return sum(9 * level for level in self.levels(pieces))

    def check(self, pieces: Sequence[bytes], *, max_pixels: int) -> None:
        if any(3 * level > max_pixels for level in self.levels(pieces)):
            raise RowError("decode", "TooManyPixels", f"over max_pixels = {max_pixels}")

    def decode(self, pieces: Sequence[bytes], *, max_pixels: int) -> list[Decoded]:
        self.check(pieces, max_pixels=max_pixels)
        levels = self.levels(pieces)
        stack = [torch.full((3, 3, level), level, dtype=torch.uint8) for level in levels]
        return [
            Decoded(Picture(pixels), {"level": level, "note": None if level == 1 else f"n{level}"})
            for level, pixels in zip(levels, stack, strict=True)
        ]

    def levels(self, pieces: Sequence[bytes]) -> bytes:
        data = b"".join(pieces)
        if not data.startswith(b"STCK"):
            raise RowError("decode", "NotAStack", "is something else")
        return data[4:]


STACKS = [b"STCK" + bytes(levels) for levels in ([1, 2, 3], [9], [], [4, 5, 6, 7], [250])] + [b"<html>"]


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, data in enumerate(STACKS):
        (folder / f"{number}.png").write_bytes(data)
    return folder


def milled(stacks: Path, *stages: ColourConfig, **changes: Any) -> tuple[list[dict[str, Any]], Any]:
    from pixelmill.pipelines.outputs.parts import Part

    mill, reports = mill_of(stacks, *stages, decoder=PLACE, **changes)
    table = mill(order(parts=(Part(0, 0, 0, 3), Part(1, 0, 3, 3))))
    assert mill.budget.held_bytes == 0
    return table.to_pylist(), reports[-1]


@pytest.mark.parametrize("decode_threads", [0, 2])
@pytest.mark.parametrize("batch", [1, 2, 100])
def test_an_input_is_all_of_its_rows_in_their_places_or_one_reason(
    stacks: Path, batch: int, decode_threads: int
) -> None:
    rows, tally = milled(stacks, ColourConfig(batch=batch), decode_threads=decode_threads, max_pixels=700)
    made = [(Path(row["uri"]).stem, row["place"], row["level"], row["note"], row["width"]) for row in rows]
    assert made == [
        ("0", 0, 1, None, 1), ("0", 1, 2, "n2", 2), ("0", 2, 3, "n3", 3),
        ("1", 0, 9, "n9", 9),
        ("2", None, None, None, None),
        ("3", 0, 4, "n4", 4), ("3", 1, 5, "n5", 5), ("3", 2, 6, "n6", 6), ("3", 3, 7, "n7", 7),
        ("4", None, None, None, None),
        ("5", None, None, None, None),
    ]  # fmt: skip
    assert [row["error_type"] for row in rows if row["error"]] == ["NoPictures", "TooManyPixels", "NotAStack"]
    assert [row["colour"] for row in rows if not row["error"]] == [
        [row["level"]] * 3 for row in rows if not row["error"]
    ]
    assert (tally.done, tally.failed) == (3, 3)
    assert len({row["id"] for row in rows}) == len(STACKS)


@pytest.mark.parametrize("batch", [1, 3, 100])
@pytest.mark.parametrize("fault", ["refuses", "breaks_on", "cannot_prepare"])
def test_a_stage_that_fails_one_row_fails_its_input_as_a_whole(stacks: Path, batch: int, fault: str) -> None:
    faulty = ColourConfig.model_validate({"column": "second", "batch": batch, fault: (40, 40, 40)})
    (stacks / "3.png").write_bytes(b"STCK" + bytes([10, 40, 80, 40]))
    rows, tally = milled(stacks, ColourConfig(batch=2), faulty, max_pixels=1000)
    of_third = [row for row in rows if Path(row["uri"]).stem == "3"]
    assert len(of_third) == 1
    assert of_third[0]["place"] is of_third[0]["colour"] is of_third[0]["second"] is None
    assert of_third[0]["stage"] == "colour-2"
    assert (tally.done, tally.failed) == (3, 3)


def test_a_stack_that_can_never_fit_is_filed_with_its_need_and_a_broken_one_as_broken(
    stacks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixelmill.pipelines.bulk import mill as mill_module

    monkeypatch.setattr(mill_module, "for_pictures", lambda _: 100)
    rows, _ = milled(stacks, ColourConfig(), max_pixels=700)
    reasons = {Path(row["uri"]).stem: row["error_type"] for row in rows if row["error"]}
    assert reasons["4"] == "TooManyPixels"
    assert reasons["3"] == "TooMuchMemory"
    assert reasons["5"] == "NotAStack"

"""The laws of the mill: a row for every input, in order, with every stage's columns or with the reason why not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from pipelines.fetch import FetchLimits
from pipelines.manifest import Known, Listing, Part, Segment, tables_of
from pipelines.mill import ORDER_COLUMN, Mill, MillConfig, Tally
from pipelines.orders import Order
from pipelines.sources import Source
from pipelines.stores import Access, Folder
from tests.corpus import encode, photo
from workers.errors import ModelError, RowError
from workers.stages import Milled, Stage, StageConfig, StageContext

ACCESS = Access(retry_for_s=0.0)
CONTEXT = StageContext("cpu", 1, 100, None)
RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


class ColourConfig(StageConfig):
    """A stage for tests: the mean colour; refuses green by its row, and breaks on a batch with blue in it."""

    stage: ClassVar[str] = "colour"
    column: str = "colour"
    refuses: tuple[int, int, int] | None = None
    breaks_on: tuple[int, int, int] | None = None
    cannot_prepare: tuple[int, int, int] | None = None
    batch: int = 4
    weights: str = "w1"

    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def build(self, context: StageContext) -> Stage:
        return Colour(self)


class Colour:
    settings: ClassVar[dict[str, object]] = {"chosen": "for tests"}

    def __init__(self, config: ColourConfig) -> None:
        self.config = config
        self.name, self.batch, self.weights_sha256 = config.stage, config.batch, config.weights
        self.fields = (pa.field(config.column, pa.list_(pa.float32(), 3)),)
        self.batches: list[int] = []

    def prepare(self, pixels_CHW: Tensor) -> Tensor:
        mean_C = pixels_CHW.float().mean(dim=(1, 2))
        if self.is_near(mean_C, self.config.cannot_prepare):
            raise ArithmeticError("can't be prepared")
        return mean_C

    def run(self, samples: Sequence[Tensor]) -> Milled:
        self.batches.append(len(samples))
        if any(self.is_near(sample, self.config.breaks_on) for sample in samples):
            raise RuntimeError("broke on https://user:hunter2@host")
        errors = {
            place: RowError(self.name, "Refused", "is of a refused colour")
            for place, sample in enumerate(samples)
            if self.is_near(sample, self.config.refuses)
        }
        values = pa.array(torch.cat(list(samples)).numpy(), pa.float32())
        return Milled({self.fields[0].name: pa.FixedSizeListArray.from_arrays(values, 3)}, errors)

    @staticmethod
    def is_near(mean_C: Tensor, colour: tuple[int, int, int] | None) -> bool:
        return colour is not None and bool((mean_C - torch.tensor(colour)).abs().max() < 9)


def write(folder: Path, name: str, colour: tuple[int, int, int] | None, size: tuple[int, int] = (8, 6)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    picture = photo(width=size[0], height=size[1])
    if colour is not None:
        picture.paste(colour, (0, 0, *size))
    (folder / name).write_bytes(encode(picture, "PNG"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten inputs: red and black pictures of growing size, one green, one blue, one that is no image, one that is gone."""
    folder = tmp_path / "photos"
    for number, colour in enumerate([RED, BLACK, GREEN, RED, BLUE, BLACK, RED, BLACK]):
        write(folder, f"{number}.png", colour, size=(8 + number, 6))
    (folder / "8.png").write_bytes(b"<html>not found</html>")
    (folder / "9.png").symlink_to(folder / "gone.png")
    return folder


def mill_of(photos: Path, *stages: StageConfig, decode_threads: int = 0, **changes: Any) -> tuple[Mill, list[Tally]]:
    out = Folder(str(photos.parent / "out"), ACCESS)
    listing = Listing(out, 0)
    listing.write(tables_of(Source((str(photos),)), listing, Known(out, [])))
    segment: Segment = listing.commit([listing.rows - 3, 3], 0)
    config = MillConfig(
        out=out.uri,
        out_access=ACCESS,
        source_access=ACCESS,
        column=None,
        segments=(segment,),
        stages=stages,
        context=CONTEXT,
        fetch=FetchLimits(in_flight=2),
        max_pixels=1000,
        decode_threads=decode_threads,
        weights=changes.get("weights"),
    )
    reports: list[Tally] = []
    return Mill(config, lambda tally: reports.append(Tally.from_json(tally.to_json()))), reports


def rows_by_name(table: pa.Table) -> dict[str, dict[str, Any]]:
    return {Path(row["uri"]).name: row for row in table.to_pylist()}


def order(ids: Sequence[str] | None = None, name: str = "part-000000") -> dict[str, Any]:
    parts = (Part(0, 0, 0, 7), Part(1, 0, 7, 3))
    return json.loads(Order(name, parts, None if ids is None else tuple(ids)).to_json())


@pytest.mark.parametrize("decode_threads", [0, 2])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_every_input_is_a_row_in_its_order_with_columns_or_a_reason(
    photos: Path, decode_threads: int, batch: int
) -> None:
    mill, _ = mill_of(photos, ColourConfig(batch=batch), decode_threads=decode_threads)
    table = mill(order())
    assert [Path(uri).name for uri in table["uri"].to_pylist()] == [f"{number}.png" for number in range(10)]
    rows = rows_by_name(table)
    for number, colour in enumerate([RED, BLACK, GREEN, RED, BLUE, BLACK, RED, BLACK]):
        row = rows[f"{number}.png"]
        assert row["colour"] == pytest.approx(colour)
        assert (row["width"], row["height"], row["error_type"]) == (8 + number, 6, None)
    for name, reason in {"8.png": ("decode", "NotAnImage"), "9.png": ("fetch", "NotFound")}.items():
        assert (rows[name]["stage"], rows[name]["error_type"]) == reason
        assert rows[name]["error"]
        assert rows[name]["colour"] is rows[name]["width"] is rows[name]["height"] is None


def test_a_picture_that_breaks_a_batch_costs_its_own_row_only(photos: Path) -> None:
    mill, _ = mill_of(photos, ColourConfig(breaks_on=BLUE, refuses=GREEN, cannot_prepare=BLACK, batch=5))
    rows = rows_by_name(mill(order()))
    reasons = {name: (row["stage"], row["error_type"]) for name, row in rows.items() if row["error_type"]}
    assert reasons == {
        "1.png": ("colour", "ArithmeticError"),
        "2.png": ("colour", "Refused"),
        "4.png": ("colour", "RuntimeError"),
        "5.png": ("colour", "ArithmeticError"),
        "7.png": ("colour", "ArithmeticError"),
        "8.png": ("decode", "NotAnImage"),
        "9.png": ("fetch", "NotFound"),
    }
    assert [rows[f"{number}.png"]["colour"] for number in (0, 3, 6)] == [[255, 0, 0]] * 3
    assert "hunter2" not in rows["4.png"]["error"]


def test_a_row_that_one_stage_refuses_has_no_column_of_any_and_is_one_failure(photos: Path) -> None:
    stages = (
        ColourConfig(column="first", batch=2),
        ColourConfig(column="second", refuses=GREEN, breaks_on=BLUE, batch=3),
    )
    for each in (stages, stages[::-1]):
        mill, reports = mill_of(photos, *each)
        rows = rows_by_name(mill(order()))
        for name in ("2.png", "4.png"):
            assert rows[name]["first"] is rows[name]["second"] is None
        for name in ("0.png", "1.png", "3.png", "7.png"):
            assert rows[name]["first"] == rows[name]["second"]
            assert rows[name]["first"] is not None
        assert (reports[-1].done, reports[-1].failed) == (6, 4)


def test_a_row_that_failed_in_one_stage_is_not_run_by_another(photos: Path) -> None:
    refusing = ColourConfig(column="first", refuses=GREEN, breaks_on=BLUE, batch=1)
    mill, _ = mill_of(photos, refusing, ColourConfig(column="second", batch=100))
    mill(order())
    assert mill._stages[1].batches == [6]  # type: ignore[attr-defined]


def test_a_stage_sees_full_batches_and_one_rest(photos: Path) -> None:
    mill, _ = mill_of(photos, ColourConfig(batch=3))
    mill(order())
    assert mill._stages[0].batches == [3, 3, 2]  # type: ignore[attr-defined]


def test_a_picture_above_max_pixels_is_filed_before_it_is_decoded(photos: Path) -> None:
    write(photos, "3.png", RED, size=(1001, 1))
    mill, _ = mill_of(photos, ColourConfig())
    assert rows_by_name(mill(order()))["3.png"]["error_type"] == "TooManyPixels"


def test_a_retry_does_the_rows_of_its_ids_and_no_others(photos: Path) -> None:
    mill, _ = mill_of(photos, ColourConfig())
    wanted = mill(order()).filter(pa.array(np.arange(10) % 4 == 0))["id"].to_pylist()
    assert mill(order(ids=wanted))["id"].to_pylist() == wanted


def test_what_is_told_adds_up_and_survives_its_journey(photos: Path) -> None:
    mill, reports = mill_of(photos, ColourConfig(refuses=GREEN))
    mill(order())
    mill(order())
    last = reports[-1]
    assert (last.done, last.failed) == (2 * 7, 2 * 3)
    assert sum(last.reasons.values()) == last.failed
    assert set(last.reasons) == set(last.examples)
    assert last.reasons["colour", "Refused"] == 2
    assert last.examples["colour", "Refused"].endswith("2.png: is of a refused colour")
    assert {"fetch", "decode", "colour"} <= set(last.busy_s)
    total = Tally()
    total.add(last)
    total.add(last)
    assert (total.done, total.failed, total.reasons) == (28, 12, Counter({k: 2 * v for k, v in last.reasons.items()}))


def test_a_table_travels_with_its_order_weights_and_settings(photos: Path) -> None:
    mill, _ = mill_of(photos, ColourConfig(weights="abc"))
    (told,) = set(mill(order(name="part-000007"))[ORDER_COLUMN].to_pylist())
    order_of = json.loads(told)
    assert order_of["name"] == "part-000007"
    assert order_of["weights"] == {"0.colour": "abc"}
    assert order_of["settings"] == {"colour": {"chosen": "for tests"}}


def test_other_weights_than_the_output_was_made_with_are_refused(photos: Path) -> None:
    mill_of(photos, ColourConfig(weights="abc"), weights={"0.colour": "abc"})
    with pytest.raises(ModelError, match=r"out was made with other weights.*stage 0\.colour: abc there, def here"):
        mill_of(photos, ColourConfig(weights="def"), weights={"0.colour": "abc"})

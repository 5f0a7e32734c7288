"""A block holds the crops that a worker would have made, or the errors, in no more bytes than they have pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pixelmill.pipelines.bulk import crops
from pixelmill.pipelines.bulk.crops import CropConfig, Cropper, Cropping, CropRow, packed, rows_in, unpacked
from pixelmill.pipelines.inputs.fetch import FetchLimits
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.listing import Listing, tables_of
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.decoders.picture import PictureDecoder
from pixelmill.workers.models.preprocess import Preprocess
from pixelmill.workers.runtime.budget import Budget
from tests.corpus import encode, photo
from tests.mills import ACCESS
from tests.pipelines.bulk import crop_stage

CROP_BYTES = 224 * 224 * 3


def cropping(side_px: int = 224, index: int = 0) -> Cropping:
    return Cropping(index, f"stage {index}", crop_stage.Crop(crop_stage.CropConfig(side_px=side_px)).preprocess)


def config_of(*croppings: Cropping, memory_bytes: int = 8 << 30) -> CropConfig:
    limits = FetchLimits(in_flight=2)
    return CropConfig(ACCESS, limits, None, "picture", 1_000_000, None, memory_bytes, croppings or (cropping(),))


def inputs_of(folder: Path) -> pa.Table:
    listing = Listing(Folder(str(folder.parent / "out"), ACCESS), 0)
    return pa.concat_tables(tables_of(Source((str(folder),)), listing, Known(Folder(str(folder), ACCESS), [])))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten photographs of several sizes and formats, one that is cut, one that is gone."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(10):
        made = encode(photo(width=300 + 20 * number, height=400 - 20 * number), "PNG" if number % 2 else "JPEG")
        (folder / f"{number:02d}.{'png' if number % 2 else 'jpg'}").write_bytes(made)
    (folder / "10.png").write_bytes(encode(photo(), "PNG")[:300])
    (folder / "11.png").symlink_to(folder / "gone.png")
    return folder


def rows_of(config: CropConfig, inputs: pa.Table) -> list[CropRow]:
    return list(rows_in(Cropper(config)(inputs), config.croppings))


def test_crops_are_those_of_the_decoder_and_the_stage_bit_for_bit(photos: Path) -> None:
    both = cropping(224), cropping(64, index=3)
    inputs = inputs_of(photos)
    rows = rows_of(config_of(*both), inputs)
    assert [row.position for row in rows] == list(range(12))
    for row, uri in zip(rows[:10], inputs["uri"].to_pylist(), strict=False):
        data = Path(uri).read_bytes()
        (decoded,) = PictureDecoder().decode([data], max_pixels=1_000_000)
        assert (row.width, row.height, row.error) == (decoded.picture.width, decoded.picture.height, None)
        assert row.fetched_bytes == len(data)
        for each in both:
            assert row.crops[each.index].equal(each.prepare(decoded.picture))
            assert row.crops[each.index].permute(1, 2, 0).is_contiguous()  # the order in which stages stack them


def test_an_input_that_fails_is_an_error_without_crops(photos: Path) -> None:
    failed = rows_of(config_of(), inputs_of(photos))[10:]
    errors = [(row.error.stage, row.error.error_type) for row in failed if row.error is not None]
    assert errors == [("decode", "Truncated"), ("fetch", "NotFound")]
    assert [row.crops for row in failed] == [{}, {}]


def test_a_picture_ships_its_crop_and_nothing_else(photos: Path) -> None:
    """At most 151 kB for a picture that a network sees at 224 px, whatever its size."""
    block = Cropper(config_of())(inputs_of(photos).slice(0, 10))
    assert CROP_BYTES == 150_528
    assert 10 * CROP_BYTES < block.nbytes <= 10 * 151_000
    assert block.dtype == np.uint8


def test_a_picture_that_the_worker_has_no_memory_for_is_refused_as_there(photos: Path) -> None:
    config = config_of(memory_bytes=1 << 20)
    rows = rows_of(config, inputs_of(photos))
    assert {row.error.error_type for row in rows[:10] if row.error is not None} == {"TooMuchMemory"}


def test_no_memory_stays_counted_after_a_block(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets: list[Budget] = []

    class Recorded(Budget):
        def __init__(self, total_bytes: int, most_window_bytes: int) -> None:
            super().__init__(total_bytes, most_window_bytes)
            budgets.append(self)

    monkeypatch.setattr(crops, "Budget", Recorded)
    Cropper(config_of())(inputs_of(photos))
    assert [budget.held_bytes for budget in budgets] == [0]


def test_a_slice_is_sent_without_the_rows_beside_it(photos: Path) -> None:
    rows = pa.concat_tables([inputs_of(photos)] * 500).combine_chunks()
    sent = packed(rows.slice(3, 2))
    assert unpacked(sent).equals(rows.slice(3, 2))
    assert sent.nbytes < packed(rows).nbytes / 50


def test_bytes_are_counted_for_each_channel_that_a_network_sees() -> None:
    grey = Preprocess(256, 224, "bilinear", (0.5,), (0.2,))
    assert Cropping(0, "grey", grey).crop_bytes == 224 * 224
    assert config_of(cropping(224), cropping(64, index=1)).crop_bytes == CROP_BYTES + 64 * 64 * 3

"""From bytes to what stages want: one failure fails an input as a whole, and no memory stays taken for what failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest
import torch

from pixelmill.pipelines.bulk.preparation import Preparation
from pixelmill.pipelines.bulk.stage_runner import StageRunner
from pixelmill.pipelines.inputs.fetch import Fetched
from pixelmill.pipelines.inputs.requests import Input
from pixelmill.workers.decoders import Decoded
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Picture
from pixelmill.workers.runtime.budget import Budget
from pixelmill.workers.runtime.faults import DeviceFault
from pixelmill.workers.runtime.holdings import Holdings
from pixelmill.workers.stages import Milled

FRAME_BYTES = 3 * 4 * 5
NEED_BYTES = 1_000


class Frames:
    """One frame for each byte of the first piece, its value in every pixel; some bytes are faults."""

    def need_bytes(self, pieces: Sequence[bytes]) -> int:
        if b"?" in pieces:
            raise RowError("decode", "NotAnImage", "has no header")
        return NEED_BYTES

    def check(self, pieces: Sequence[bytes], *, max_pixels: int) -> None:
        if b"!" in pieces[0]:
            raise RowError("decode", "TooManyPixels", f"states more than {max_pixels}")

    def decode(self, pieces: Sequence[bytes], *, max_pixels: int) -> Iterator[Decoded]:
        for value in pieces[0]:
            if value == ord("x"):
                raise ValueError("truncated, password=hunter2")
            if value == ord("g"):
                raise torch.AcceleratorError("CUDA error: an illegal memory access")
            yield Decoded(Picture(torch.full((3, 4, 5), value, dtype=torch.uint8)), {"value": value})


class Crop:
    """A stage that keeps the picture as it is, or refuses one of a value."""

    batch: ClassVar[int] = 8
    batch_pixels: ClassVar[None] = None
    fields: ClassVar[tuple[Any, ...]] = ()
    weights_sha256: ClassVar[None] = None
    settings: ClassVar[dict[str, object]] = {}

    def __init__(self, refused: str = "") -> None:
        self.refused = refused

    def prepare(self, picture: Picture) -> Any:
        if chr(int(picture.pixels[0, 0, 0])) in self.refused:
            raise RowError("kind", "Odd", "is odd")
        return picture.pixels

    def run(self, samples: Sequence[Any]) -> Milled:
        raise AssertionError("only prepared")


def fetched(*pieces: bytes) -> Fetched:
    return Input(3, "/a.jpg", None, None, None, None), pieces


class Bench:
    """A preparation with a budget that holds what was taken for an input beforehand."""

    def __init__(self, *stages: Crop, total_bytes: int = 10_000) -> None:
        runners = [StageRunner(f"mine{index}", index, stage) for index, stage in enumerate(stages)]
        self.budget = Budget(total_bytes, 0)
        self.preparation = Preparation(Frames(), runners, self.budget, Holdings(self.budget), max_pixels=99)  # type: ignore[arg-type]

    def prepare(self, found: Fetched) -> Any:
        need_bytes = self.preparation.need_bytes(found)
        if self.budget.refusal(need_bytes) is None:
            assert self.budget.try_take(need_bytes)
        return self.preparation.prepare(found, need_bytes)


def test_every_picture_is_a_row_with_the_samples_of_each_stage_in_order() -> None:
    item = Bench(Crop(), Crop()).prepare(fetched(b"ab"))
    assert (item.position, item.error) == (3, None)
    assert [(row.width, row.height, row.columns, row.item is item) for row in item.rows] == [
        (5, 4, {"value": ord(letter)}, True) for letter in "ab"
    ]
    assert [[(each.stage, each.pixels, each.row is row) for each in row.prepared] for row in item.rows] == [
        [(0, 20, True), (1, 20, True)]
    ] * 2
    assert item.decode_s > 0


def test_the_memory_of_prepared_samples_is_counted_exactly_and_once() -> None:
    bench = Bench(Crop(), Crop())  # both keep the same frame
    item = bench.prepare(fetched(b"ab"))
    assert bench.budget.held_bytes == item.held_bytes == 2 * FRAME_BYTES
    assert all(each.held for row in item.rows for each in row.prepared)


@pytest.mark.parametrize(
    ("pieces", "stage", "error_type"),
    [
        (b"ax", "decode", "ValueError"),
        (b"", "decode", "NoPictures"),
        (b"abo", "mine0", "Odd"),
    ],
)
def test_one_picture_that_fails_fails_its_input_and_nothing_stays_taken(
    pieces: bytes, stage: str, error_type: str
) -> None:
    bench = Bench(Crop("o"))
    item = bench.prepare(fetched(pieces))
    assert (item.rows, item.position) == ([], 3)
    assert (item.error.stage, item.error.error_type) == (stage, error_type)
    assert (item.error.__traceback__, item.error.__context__) == (None, None)  # which would keep the pictures
    assert "hunter2" not in str(item.error)
    assert bench.budget.held_bytes == 0


def test_an_input_that_could_not_be_read_takes_nothing_and_keeps_its_reason() -> None:
    bench = Bench(Crop())
    item = bench.prepare((fetched()[0], RowError("fetch", "NotFound", "gone")))
    assert (item.error.stage, item.error.error_type, bench.budget.held_bytes) == ("fetch", "NotFound", 0)


def test_an_input_needs_the_bytes_that_were_read_and_those_of_its_decoding() -> None:
    preparation = Bench(Crop()).preparation
    assert preparation.need_bytes(fetched(b"abc", b"de")) == 5 + NEED_BYTES
    assert preparation.need_bytes(fetched(b"?", b"de")) == 3  # the decoder will refuse it
    assert preparation.need_bytes((fetched()[0], RowError("fetch", "NotFound", "gone"))) == 0


@pytest.mark.parametrize(("pieces", "error_type"), [(b"a", "TooMuchMemory"), (b"!", "TooManyPixels")])
def test_a_picture_that_can_never_fit_is_refused_by_its_header_and_not_decoded(pieces: bytes, error_type: str) -> None:
    bench = Bench(Crop(), total_bytes=500)
    item = bench.prepare(fetched(pieces))
    assert (item.error.stage, item.error.error_type) == ("decode", error_type)
    assert bench.budget.held_bytes == 0


def test_a_device_that_fails_is_no_inputs_fault() -> None:
    with pytest.raises(DeviceFault):
        Bench(Crop()).prepare(fetched(b"ag"))

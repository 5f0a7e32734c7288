"""The laws of the mill: a row for every input, in order, with every stage's columns or with the reason why not."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow.compute as pc
import pytest
from torch import Tensor

from pixelmill.pipelines.bulk import mill as mill_module
from pixelmill.pipelines.bulk.deaths import Careful
from pixelmill.pipelines.bulk.mill import ORDER_COLUMN
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.stores.reading import ObjectReader
from pixelmill.workers.codecs import decode
from pixelmill.workers.decoders import picture as picture_decoder
from pixelmill.workers.errors import ModelError, RowError
from pixelmill.workers.pictures import Picture
from pixelmill.workers.runtime.budget import Budget
from pixelmill.workers.runtime.faults import DeviceFault
from pixelmill.workers.stages import Milled, Stage, StageContext
from tests.corpus import Item, image_items
from tests.mills import BLACK, BLUE, GREEN, RED, Colour, ColourConfig, mill_of, order, rows_by_name, write


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten inputs: red and black pictures of growing size, one green, one blue, one that is no image, one that is gone."""
    folder = tmp_path / "photos"
    for number, colour in enumerate([RED, BLACK, GREEN, RED, BLUE, BLACK, RED, BLACK]):
        write(folder, f"{number}.png", colour, size=(8 + number, 6))
    (folder / "8.png").write_bytes(b"<html>not found</html>")
    (folder / "9.png").symlink_to(folder / "gone.png")
    return folder


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
    assert mill.stages[1].batches == [6]  # type: ignore[attr-defined]


def test_a_stage_sees_full_batches_and_one_rest(photos: Path) -> None:
    mill, _ = mill_of(photos, ColourConfig(batch=3))
    mill(order())
    assert mill.stages[0].batches == [3, 3, 2]  # type: ignore[attr-defined]


def test_a_picture_above_max_pixels_is_filed_before_it_is_decoded(photos: Path) -> None:
    write(photos, "3.png", RED, size=(1001, 1))
    mill, _ = mill_of(photos, ColourConfig())
    assert rows_by_name(mill(order()))["3.png"]["error_type"] == "TooManyPixels"


@pytest.mark.parametrize("decode_threads", [0, 2])
def test_reports_count_the_bytes_that_were_fetched_and_the_batches_of_each_stage(
    photos: Path, decode_threads: int
) -> None:
    mill, reports = mill_of(photos, ColourConfig(batch=3), decode_threads=decode_threads)
    mill(order())
    on_disk = sum(path.stat().st_size for path in photos.iterdir() if path.exists())
    assert reports[-1].fetched_bytes == on_disk
    assert reports[-1].batches == {"colour": 3}
    assert reports[-1].gpu_bytes == 0


def test_reported_counts_add_up(photos: Path) -> None:
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


# ------------------------------------------------------------------------------------------- batches, devices, deaths


def test_a_batch_that_memory_is_too_short_for_is_halved_for_good_and_costs_no_row(photos: Path) -> None:
    mill, _ = mill_of(photos, ColourConfig(batch=8, most=2))
    table = mill(order())
    assert table.filter(pc.is_null(table["error_type"])).num_rows == 8
    assert mill.stages[0].batches == [8, 4, 2, 2, 4, 2, 2]  # type: ignore[attr-defined]
    mill(order())
    assert mill.stages[0].batches[7:] == [2, 2, 2, 2]  # type: ignore[attr-defined]


def test_a_picture_that_lacks_memory_even_alone_is_a_row_with_that_reason(photos: Path) -> None:
    mill, _ = mill_of(photos, ColourConfig(batch=4, most=0))
    rows = rows_by_name(mill(order()))
    assert {rows[f"{number}.png"]["error_type"] for number in range(8)} == {"OutOfMemory"}
    assert "even alone" in rows["0.png"]["error"]


@pytest.mark.parametrize("decode_threads", [0, 2])
def test_a_fault_of_the_device_is_raised_and_no_row_is_blamed(photos: Path, decode_threads: int) -> None:
    stages = ColourConfig(faults_on=BLUE, batch=3), ColourConfig(column="other", batch=2)
    mill, reports = mill_of(photos, *stages, decode_threads=decode_threads)
    with pytest.raises(DeviceFault, match=r"colour on .*: AcceleratorError: CUDA error: an illegal memory access"):
        mill(order())
    assert not any("colour" in stage for report in reports for stage, _ in report.reasons)


@dataclass(frozen=True)
class Listening(Careful):
    """Records which inputs were begun, and what had been read and run by then."""

    begun: list[str]
    seen: Callable[[], object]
    moments: list[object]
    blamed: str | None = None

    def begin(self, identity: str) -> RowError | None:
        self.begun.append(identity)
        self.moments.append(self.seen())
        return RowError("worker", "KilledWorker", "was alone") if identity == self.blamed else None

    def end(self) -> None:
        self.begun.append("end")


@pytest.mark.parametrize("decode_threads", [0, 2])
def test_carefully_each_input_is_alone_from_its_first_byte_to_its_last_column(
    photos: Path, decode_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = ColourConfig(batch=3), ColourConfig(column="other", batch=5)
    mill, _ = mill_of(photos, *stages, decode_threads=decode_threads)
    expected = mill(order())
    reads: list[str] = []
    original = ObjectReader.read

    def read(self: ObjectReader, uri: str, **options: Any) -> bytes:
        reads.append(uri)
        return original(self, uri, **options)

    monkeypatch.setattr(ObjectReader, "read", read)
    for stage in mill.stages:
        stage.batches.clear()  # type: ignore[attr-defined]

    def seen() -> object:
        return len(reads), *(sum(stage.batches) for stage in mill.stages)  # type: ignore[attr-defined]

    careful = Listening(None, [], seen, [])  # type: ignore[arg-type]
    table = mill(order(), careful)
    assert table.drop_columns([ORDER_COLUMN]).equals(expected.drop_columns([ORDER_COLUMN]))
    assert careful.begun == [*table["id"].to_pylist(), "end"]
    assert careful.moments == [(n, min(n, 8), min(n, 8)) for n in range(10)]  # the last two are no pictures


def test_an_input_that_is_blamed_is_never_begun_again(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mill, reports = mill_of(photos, ColourConfig())
    blamed = mill(order())["id"].to_pylist()[3]
    careful = Listening(None, [], lambda: None, [], blamed)  # type: ignore[arg-type]
    original = ObjectReader.read

    def read(self: ObjectReader, uri: str, **options: Any) -> bytes:
        assert "3.png" not in uri
        return original(self, uri, **options)

    monkeypatch.setattr(ObjectReader, "read", read)
    rows = rows_by_name(mill(order(), careful))
    assert (rows["3.png"]["stage"], rows["3.png"]["error_type"]) == ("worker", "KilledWorker")
    assert rows["2.png"]["colour"] is not None
    assert reports[-1].reasons["worker", "KilledWorker"] == 1


# -------------------------------------------------------------------------------------------------------------- memory


class Whole(Colour):
    """Keeps the whole picture until its batch is complete, as a network that works on whole pictures does."""

    def prepare(self, picture: Picture) -> Tensor:
        return picture.pixels.contiguous()

    def run(self, samples: Sequence[Tensor]) -> Milled:
        return super().run([Colour.prepare(self, Picture(pixels_CHW)) for pixels_CHW in samples])


class WholeConfig(ColourConfig):
    def build(self, context: StageContext) -> Stage:
        return Whole(self)


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> int:
    """A worker with memory for about three of the pictures below at once, which take twice their pixels to decode."""

    def need(data: bytes) -> int:
        if not data.startswith(b"\x89PNG"):
            raise RowError("decode", "NotAnImage", "looks like something else")
        width, height = struct.unpack_from(">II", data, 16)
        return 6 * width * height

    monkeypatch.setattr(mill_module, "for_pictures", lambda _: 400_000)
    monkeypatch.setattr(picture_decoder, "decode_bytes", need)
    return 400_000


@pytest.mark.parametrize("decode_threads", [0, 1, 3])
def test_pictures_under_way_are_bounded_in_bytes_and_all_are_done(
    tmp_path: Path, little: int, decode_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        write(tmp_path / "photos", f"{number:02d}.png", RED, size=(200, 100 + number))
    mill, _ = mill_of(tmp_path / "photos", WholeConfig(batch=16), decode_threads=decode_threads, max_pixels=10**6)
    most = [0]
    change, take = Budget.change, Budget.try_take

    def changed(self: Budget, by_bytes: int) -> None:
        change(self, by_bytes)
        most[0] = max(most[0], self.held_bytes)

    def taken(self: Budget, needed_bytes: int) -> bool:
        found = take(self, needed_bytes)
        most[0] = max(most[0], self.held_bytes)
        return found

    monkeypatch.setattr(Budget, "change", changed)
    monkeypatch.setattr(Budget, "try_take", taken)
    table = mill(order(parts=(Part(0, 0, 0, 37), Part(1, 0, 37, 3))))
    assert table["error_type"].null_count == 40
    assert 0 < most[0] <= mill.budget.capacity_bytes < little
    assert mill.budget.held_bytes == 0
    assert max(mill.stages[0].batches) < 16  # type: ignore[attr-defined]


@pytest.mark.parametrize("decode_threads", [0, 2])
def test_a_picture_that_can_never_fit_is_a_row_with_its_need(
    photos: Path, little: int, decode_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(photos, "3.png", RED, size=(500, 500))
    decoded: list[tuple[int, ...]] = []
    original = decode.decode_picture

    def counted(data: bytes, **options: Any) -> Tensor:
        pixels_CHW = original(data, **options)
        decoded.append(tuple(pixels_CHW.shape))
        return pixels_CHW

    monkeypatch.setattr(decode, "decode_picture", counted)
    mill, _ = mill_of(photos, ColourConfig(), decode_threads=decode_threads, max_pixels=10**6)
    rows = rows_by_name(mill(order()))
    assert (rows["3.png"]["stage"], rows["3.png"]["error_type"]) == ("decode", "TooMuchMemory")
    assert "raise run.memory_gb or use fewer run.actors" in rows["3.png"]["error"]
    assert rows["2.png"]["colour"] is not None
    assert (3, 500, 500) not in decoded
    assert mill.budget.held_bytes == 0


@pytest.mark.parametrize(
    "item", [item for item in image_items() if item.expected == "TooManyPixels"], ids=lambda item: item.name
)
def test_a_picture_that_is_neither_allowed_nor_fits_is_filed_as_not_allowed(
    tmp_path: Path, item: Item, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(4):
        (tmp_path / "photos" / f"{number}.png").write_bytes(item.data)
    monkeypatch.setattr(picture_decoder, "decode_bytes", lambda _: 1 << 50)
    mill, _ = mill_of(tmp_path / "photos", ColourConfig(), max_pixels=10**7)
    table = mill(order(parts=(Part(0, 0, 0, 1),)))
    assert table["error_type"].to_pylist() == ["TooManyPixels"]
    assert "max_pixels = 10,000,000" in table["error"][0].as_py()


def test_a_picture_that_does_not_fit_and_is_broken_is_filed_as_broken(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_decoder, "decode_bytes", lambda _: 1 << 50)
    mill, _ = mill_of(photos, ColourConfig())
    rows = rows_by_name(mill(order()))
    assert {rows[f"{number}.png"]["error_type"] for number in range(8)} == {"TooMuchMemory"}
    assert (rows["8.png"]["error_type"], rows["9.png"]["error_type"]) == ("NotAnImage", "NotFound")


def test_an_object_that_can_never_fit_is_not_read(photos: Path, little: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "3.png").write_bytes(bytes(little))
    opened: list[str] = []
    original = ObjectReader.read

    def read(self: ObjectReader, uri: str, **options: Any) -> bytes:
        opened.append(Path(uri).name)
        return original(self, uri, **options)

    monkeypatch.setattr(ObjectReader, "read", read)
    mill, _ = mill_of(photos, ColourConfig())
    rows = rows_by_name(mill(order()))
    assert (rows["3.png"]["stage"], rows["3.png"]["error_type"]) == ("fetch", "TooMuchMemory")
    assert "3.png" not in opened


def test_few_bytes_are_decoded_ahead_of_a_slow_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        write(tmp_path / "photos", f"{number:02d}.png", RED, size=(200, 100))
    monkeypatch.setattr(mill_module, "AHEAD_BYTES", 100_000)  # less than two of these
    mill, _ = mill_of(tmp_path / "photos", WholeConfig(batch=1), decode_threads=1, max_pixels=10**6)
    stage = cast("Whole", mill.stages[0])
    run, decode_picture = stage.run, decode.decode_picture
    decoded, ahead = [0], [0]

    def counted(data: bytes, **options: Any) -> Tensor:
        decoded[0] += 1
        ahead.append(decoded[0] - len(stage.batches))
        return decode_picture(data, **options)

    def slow(samples: Sequence[Tensor]) -> Milled:
        time.sleep(0.02)
        return run(samples)

    monkeypatch.setattr(decode, "decode_picture", counted)
    monkeypatch.setattr(stage, "run", slow)
    assert mill(order(parts=(Part(0, 0, 0, 37), Part(1, 0, 37, 3))))["error_type"].null_count == 40
    assert 2 < max(ahead) <= 5


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_as_many_pictures_are_decoded_at_once_as_there_are_decoding_threads(
    tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(24):
        write(tmp_path / "photos", f"{number:02d}.png", RED)
    at_once, most, lock = [0], [0], threading.Lock()
    together = threading.Barrier(threads)
    original = decode.decode_picture

    def counted(data: bytes, **options: Any) -> Tensor:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        together.wait(timeout=60)  # nobody goes on before `threads` are here
        try:
            return original(data, **options)
        finally:
            with lock:
                at_once[0] -= 1

    monkeypatch.setattr(decode, "decode_picture", counted)
    mill, reports = mill_of(tmp_path / "photos", ColourConfig(), decode_threads=threads)
    started_s = time.perf_counter()
    table = mill(order(parts=(Part(0, 0, 0, 21), Part(1, 0, 21, 3))))
    elapsed_s = time.perf_counter() - started_s
    assert table["error_type"].null_count == 24
    assert most == [threads]
    assert reports[-1].busy_s["decode"] <= threads * elapsed_s

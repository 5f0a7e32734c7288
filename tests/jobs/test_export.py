"""`export`: every picture a file of its name, what is there is not written again, and nobody's file is overwritten."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelmill.jobs.export import Asked, Exported, export, summary_lines
from pixelmill.pipelines.export import destination as destinations
from pixelmill.pipelines.export.destination import Destination, Put
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError, RunRefused
from tests.conftest import Reach
from tests.pipelines.export.drawn import BLUE, SCALE, make_run
from tests.servers.gateway import Gateway

GREY = (90, 90, 90)
PHOTOS = {"a.png": GREY, "b/a.png": (200, 30, 40), "b/c.png": (10, 200, 30), "blue.png": BLUE, "d/e/f.png": GREY}
GOOD = ["a", "b/a", "b/c", "d/e/f"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return make_run(tmp_path_factory.mktemp("run"), PHOTOS)


def do(run: Folder, place: Path, *columns: str, **options: object) -> Exported:
    return export(Asked(run.uri, str(place), columns, **options), lambda _: None)  # pyright: ignore[reportArgumentType]


def files(place: Path) -> dict[str, bytes]:
    """Those of the export, without its own records."""
    paths = [path for path in place.rglob("*") if path.is_file() and "_export" not in path.parts]
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in paths}


def stored(run: Folder, column: str) -> dict[str, bytes]:
    from pixelmill.jobs.opened_run import OpenedRun

    rows = OpenedRun(run).table(["uri", column]).to_pylist()
    return {row["uri"].partition("/in/")[2].removesuffix(".png"): row[column]["bytes"] for row in rows}


def test_every_picture_is_a_file_with_the_name_of_its_input_and_the_bytes_of_its_row(
    run: Folder, tmp_path: Path
) -> None:
    made = do(run, tmp_path / "to", "shown")
    assert files(tmp_path / "to") == {f"{name}.jpg": data for name, data in stored(run, "shown").items()}
    assert sorted(stored(run, "shown")) == GOOD
    assert (made.tally.files, made.failed) == (4, {("drawn", "Blue"): 1})
    (failed,) = (tmp_path / "to/_export/failed.jsonl").read_text().splitlines()
    assert json.loads(failed)["uri"].endswith("blue.png")


def test_several_columns_have_a_folder_each(run: Folder, tmp_path: Path) -> None:
    do(run, tmp_path / "to")
    expected = [
        f"{column}/{name}.{suffix}"
        for column, suffix in (("depth_m", "png"), ("mask", "png"), ("shown", "jpg"))
        for name in GOOD
    ]
    assert sorted(files(tmp_path / "to")) == sorted([*expected, "mask/classes.json"])


def test_masks_have_the_names_of_their_classes_beside_them_as_a_data_set_to_train_on(
    run: Folder, tmp_path: Path
) -> None:
    do(run, tmp_path / "to", "mask")
    assert json.loads((tmp_path / "to/classes.json").read_text()) == {"classes": ["dark", "light"]}
    assert len(files(tmp_path / "to")) == 5


def test_the_index_says_of_each_file_which_input_it_is_of(run: Folder, tmp_path: Path) -> None:
    do(run, tmp_path / "to", "depth_m")
    lines = [
        json.loads(line) for path in (tmp_path / "to/_export/index").iterdir() for line in path.read_text().splitlines()
    ]
    assert sorted(line["file"] for line in lines) == sorted(files(tmp_path / "to"))
    for line in lines:
        assert line["uri"].endswith(line["file"])
        assert line["depth_m_scale"] == SCALE
        assert "levels" not in line  # a hundred numbers
        assert "shown" not in line


def test_arrays_have_the_unit_of_their_column(run: Folder, tmp_path: Path) -> None:
    do(run, tmp_path / "to", format="npz")
    values = np.load(io.BytesIO(files(tmp_path / "to")["depth_m/b/a.npz"]))["values"]
    raw = np.asarray(Image.open(io.BytesIO(stored(run, "depth_m")["b/a"])))
    assert values.dtype == np.float32
    assert np.array_equal(values, raw * np.float32(SCALE))
    ids = np.load(io.BytesIO(files(tmp_path / "to")["mask/b/a.npz"]))["values"]
    assert (ids.dtype, ids.shape) == (np.uint8, raw.shape)


def test_what_a_format_can_not_hold_is_reported_and_not_written(run: Folder, tmp_path: Path) -> None:
    made = do(run, tmp_path / "to", "depth_m", format="jpeg")
    assert files(tmp_path / "to") == {}
    assert made.tally.unfit_count == 4
    assert "give --format png16 or npz" in "\n".join(summary_lines(made))


class Counted(Destination):
    """A destination that counts what it writes."""

    puts: list[str]

    def put(self, name: str, data: bytes) -> Put:
        self.puts.append(name)
        return super().put(name, data)


@pytest.fixture
def puts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    counted: list[str] = []
    monkeypatch.setattr(Counted, "puts", counted, raising=False)
    monkeypatch.setattr("pixelmill.jobs.export.Destination", Counted)
    return counted


def test_finished_parts_are_not_written_again(run: Folder, tmp_path: Path, puts: list[str]) -> None:
    do(run, tmp_path / "to", "shown")
    assert len(puts) == 4
    again = do(run, tmp_path / "to", "shown")
    assert len(puts) == 4
    assert (again.tally.files, again.tally.files_before) == (0, 4)


@pytest.mark.parametrize("shards", [None, "webdataset"])
@pytest.mark.parametrize("fails_at", [0, 1, 2, 3])
def test_an_export_that_was_stopped_anywhere_resumes_and_makes_the_same(
    run: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int, shards: str | None
) -> None:
    do(run, tmp_path / "whole", "shown", shards=shards)
    left = fails_at

    def put(self: Destination, name: str, data: bytes) -> Put:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        return Destination.put(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr("pixelmill.jobs.export.Destination", type("Stopped", (Destination,), {"put": put}))
        if fails_at < len(files(tmp_path / "whole")):
            with pytest.raises(KeyboardInterrupt):
                do(run, tmp_path / "to", "shown", shards=shards)
    do(run, tmp_path / "to", "shown", shards=shards)
    assert files(tmp_path / "to") == files(tmp_path / "whole")


@pytest.mark.parametrize("server", ["gateway", "moto"])
def test_a_bucket_is_a_destination_too(
    run: Folder, tmp_path: Path, request: pytest.FixtureRequest, reach: Reach, server: str
) -> None:
    """One server that honours conditional writes, and one that does not."""
    store: Gateway = request.getfixturevalue(server)
    reach(store.env)
    store.make_bucket("exported")
    uri = "s3://exported/pictures"
    export(Asked(run.uri, uri, ("shown",)), lambda _: None)
    do(run, tmp_path / "to", "shown")
    names = [name for name in store.list("exported", "pictures/") if "/_export/" not in name]
    there = {name.removeprefix("pictures/"): store.read("exported", name) for name in names}
    assert there == files(tmp_path / "to")
    again = export(Asked(run.uri, uri, ("shown",)), lambda _: None)
    assert (again.tally.files, again.tally.files_before) == (0, 4)


def test_a_file_of_somebody_else_stays_and_the_export_says_so(run: Folder, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to/a.jpg").write_bytes(b"mine")
    with pytest.raises(RunRefused, match=r"a\.jpg: exists already and has other content"):
        do(run, tmp_path / "to", "shown")
    assert (tmp_path / "to/a.jpg").read_bytes() == b"mine"
    do(run, tmp_path / "to", "shown", overwrite=True)
    assert files(tmp_path / "to")["a.jpg"] == stored(run, "shown")["a"]


def test_another_export_into_the_same_folder_is_refused(run: Folder, tmp_path: Path) -> None:
    do(run, tmp_path / "to", "shown")
    with pytest.raises(RunRefused, match="format stored and not png"):
        do(run, tmp_path / "to", "shown", format="png")


def test_the_same_name_of_a_run_that_was_made_again_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, {"a.png": GREY})
    do(run, tmp_path / "to", "shown")
    shutil.rmtree(tmp_path / "out")
    again = make_run(tmp_path, {"a.png": GREY, "b.png": GREY})
    with pytest.raises(RunRefused, match="exported of other data"):
        do(again, tmp_path / "to", "shown")


def test_a_run_that_goes_on_is_exported_further_under_the_same_names(tmp_path: Path) -> None:
    run = make_run(tmp_path, {"a.png": GREY, "sub/b.png": GREY})
    first = do(run, tmp_path / "to", "shown")
    assert not first.is_complete
    assert "the run is not complete" in "\n".join(summary_lines(first))
    before = files(tmp_path / "to")
    make_run(tmp_path, {"A.png": (200, 200, 200), "sub/c.png": GREY})
    second = do(run, tmp_path / "to", "shown")
    assert before.items() <= files(tmp_path / "to").items()
    assert (second.tally.files, second.renamed) == (2, 1)
    assert len(files(tmp_path / "to")) == 4


def test_a_destination_in_the_run_or_around_it_is_refused(run: Folder, tmp_path: Path) -> None:
    for place in (Path(run.uri) / "pictures", Path(run.uri), Path(run.uri).parent):
        with pytest.raises(JobError, match="choose another folder"):
            do(run, place)
    with pytest.raises(JobError, match="there are shown, mask, depth_m"):
        do(run, tmp_path / "to", "depth")
    with pytest.raises(JobError, match="there are stored, png"):
        do(run, tmp_path / "to", format="tiff")
    assert not (tmp_path / "to").exists()


def test_a_name_that_is_a_folder_ends_with_a_sentence(run: Folder, tmp_path: Path) -> None:
    (tmp_path / "to/a.jpg").mkdir(parents=True)
    with pytest.raises(Exception, match=r"a\.jpg") as raised:
        do(run, tmp_path / "to", "shown")
    assert type(raised.value).__module__ == destinations.RunRefused.__module__

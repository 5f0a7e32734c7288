"""Inputs of several pieces that make many rows, from files to an account: a scan is three multi-page TIFFs, one row a page.

What runs is what a run does to the dataset, with the mill in this process: list, mill, publish, settle, account, retry;
on a local disk and on a server that honours conditional writes; killed at its writes, and by SIGKILL.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.inputs.manifest_rows import input_id
from pixelmill.pipelines.outputs.accounting import Account
from pixelmill.pipelines.outputs.attempt import Attempt
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.access import Access, open_store
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.reading import ObjectReader
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Milled, Stage, StageConfig, StageContext
from tests import in_process_run, scans
from tests.conftest import Reach
from tests.dying_writes import Killed, die_at
from tests.servers.moto import Moto

pytestmark = pytest.mark.faults

ACCESS = Access(retry_for_s=5.0)
PAGES = {"a": 1, "b": 4, "c": 2, "d": 7, "e": 3, "f": 1}
DECODER = "tests.scans:ScanDecoder"


class MeanConfig(StageConfig):
    """A stage for tests: the mean of each colour; batches of three, so that they are of rows of several inputs."""

    stage: ClassVar[str] = "mean"

    def columns(self) -> tuple[str, ...]:
        return ("mean",)

    def build(self, context: StageContext) -> Stage:
        return Mean()


class Mean:
    settings: ClassVar[dict[str, object]] = {}
    batch_pixels: int | None = None
    name, batch, weights_sha256 = "mean", 3, None
    fields = (pa.field("mean", pa.list_(pa.float32(), 3)),)

    def prepare(self, picture: Picture) -> np.ndarray:
        return picture.pixels.float().mean(dim=(1, 2)).numpy()

    def run(self, samples: Sequence[np.ndarray]) -> Milled:
        values = pa.array(np.concatenate(list(samples)), pa.float32())
        return Milled({"mean": pa.FixedSizeListArray.from_arrays(values, 3)}, {})


@dataclass(frozen=True)
class Place:
    """Where scans are read and rows are written."""

    source: Source
    out: Folder
    write: Callable[[str, bytes], None]
    remove: Callable[[str], None]

    def write_scan(self, name: str, pages_PHWC: np.ndarray, colours: str = "rgb") -> None:
        for colour in colours:
            channel = scans.COLOURS.index(colour)
            self.write(f"{name}.{colour}.tif", scans.tiff_of(pages_PHWC[..., channel]))


def local_place(folder: Path) -> Place:
    source, out = folder / "in", folder / "out"
    source.mkdir(parents=True, exist_ok=True)

    def write(name: str, data: bytes) -> None:
        (source / name).write_bytes(data)

    found = Source((str(source),), access=ACCESS, grouping=scans.ByColour(), exclude=str(out))
    return Place(found, Folder(str(out), ACCESS), write, lambda name: (source / name).unlink())


def s3_place(moto: Moto) -> Place:
    bucket = f"scans-{time.monotonic_ns()}"
    moto.make_bucket(bucket)
    store, _ = open_store(f"s3://{bucket}", ACCESS)
    out = Folder(f"s3://{bucket}/out", ACCESS)
    out.check_writable()
    assert out.is_fenced
    source = Source((f"s3://{bucket}/in",), access=ACCESS, grouping=scans.ByColour(), exclude=out.uri)
    return Place(
        source,
        out,
        lambda name, data: store.pipe_file(f"{bucket}/in/{name}", data),
        lambda name: store.rm_file(f"{bucket}/in/{name}"),
    )


@pytest.fixture(params=["local disk", "S3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, reach: Reach) -> Place:
    if request.param == "S3":
        moto: Moto = request.getfixturevalue("moto")
        reach(moto.env)
    made = local_place(tmp_path) if request.param == "local disk" else s3_place(moto)
    for number, (name, pages) in enumerate(PAGES.items()):
        made.write_scan(name, scans.pages_of(number, pages))
    return made


def live(place: Place, epoch: int, *, retry: bool = False, pace_s: float = 0.0) -> Account:
    """What one attempt does, from its first look to its account."""
    job = in_process_run.Job(place.source, place.out, (MeanConfig(),), DECODER)
    return in_process_run.live(job, epoch, retry=retry, pace_s=pace_s)


def rows_in(place: Place, below: str) -> list[dict[str, Any]]:
    """As an outsider reads them."""
    names = place.out.names(below)
    tables = [pq.read_table(pa.BufferReader(place.out.read(f"{below}/{name}") or b"")) for name in names]
    return [row for table in tables for row in table.to_pylist()]


def assert_whole(place: Place, done: dict[str, np.ndarray], failed: set[str]) -> None:
    """Law 1 from the files alone: every page of every scan that is done, in its place, with its own pixels."""
    rows = {(row["member"], row["place"]): row for row in rows_in(place, "data")}
    assert len(rows) == len(rows_in(place, "data"))
    assert rows.keys() == {(name, page) for name, pages in done.items() for page in range(len(pages))}
    for (name, page), row in rows.items():
        assert (row["id"], row["uri"]) == (input_id(place.source.uris[0], name), place.source.uris[0])
        assert (row["page"], row["width"], row["height"]) == (page + 1, 16, 16)
        assert np.allclose(row["mean"], done[name][page].mean(axis=(0, 1)), atol=1e-3)
    assert {row["member"] for row in rows_in(place, "failed")} == failed
    assert len(rows_in(place, "failed")) == len(failed)


def pixels(*names: str) -> dict[str, np.ndarray]:
    return {name: scans.pages_of(list(PAGES).index(name), PAGES[name]) for name in names}


# From files to rows


def test_every_page_of_every_scan_is_one_row_in_its_place(place: Place) -> None:
    found = live(place, 1)
    assert (found.listed, found.done, found.failed, found.rows) == (6, 6, 0, sum(PAGES.values()))
    assert found.is_exact
    assert_whole(place, pixels(*PAGES), set())
    files = [pq.read_table(pa.BufferReader(place.out.read(f"data/{name}") or b"")) for name in place.out.names("data")]
    assert len(files) > 2
    assert all(len(set(each["id"].to_pylist())) <= 2 for each in files)  # cut by the rows that were expected
    assert {tuple(each.schema.names) for each in files} == {
        ("id", "uri", "member", "place", "width", "height", "page", "mean")
    }


def test_a_scan_that_is_broken_costs_one_row_and_a_retry_does_it_whole(place: Place) -> None:
    place.remove("b.g.tif")
    place.write_scan("d", scans.pages_of(0, 5), colours="b")  # another number of pages than its other files have
    place.write("e.r.tif", b"no TIFF")
    found = live(place, 1)
    assert (found.listed, found.done, found.failed) == (6, 3, 3)
    assert found.is_exact
    assert_whole(place, pixels("a", "c", "f"), {"b", "d", "e"})
    errors = {row["member"]: row["error_type"] for row in rows_in(place, "failed")}
    assert errors == {"b": "Incomplete", "d": "Corrupt", "e": "Corrupt"}
    place.write_scan("b", pixels("b")["b"], colours="g")
    place.write_scan("d", pixels("d")["d"], colours="b")
    found = live(place, 2, retry=True)
    assert (found.listed, found.done, found.failed) == (6, 5, 1)
    assert found.is_exact
    assert_whole(place, pixels("a", "b", "c", "d", "f"), {"e"})


def test_a_piece_that_was_replaced_since_it_was_listed_is_not_read_in_its_place(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 7, for each piece."""
    seal = Attempt.seal

    def then_replaced(self: Attempt, segments: list[Segment]) -> list[Segment]:
        sealed = seal(self, segments)
        place.write_scan("c", scans.pages_of(99, PAGES["c"], size=15), colours="g")
        return sealed

    monkeypatch.setattr(Attempt, "seal", then_replaced)
    live(place, 1)
    (failure,) = rows_in(place, "failed")
    assert (failure["member"], failure["stage"], failure["error_type"]) == ("c", "fetch", "Changed")
    assert "c.g.tif: was replaced" in failure["error"]


# Killed


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The objects that are read from now on."""
    seen: list[str] = []
    read = ObjectReader.read

    def counting(self: ObjectReader, uri: str, **options: Any) -> bytes:
        seen.append(uri)
        return read(self, uri, **options)

    monkeypatch.setattr(ObjectReader, "read", counting)
    return seen


def finished(place: Place) -> set[str]:
    return {row["member"] for below in ("data", "failed") for row in rows_in(place, below)}


def scan_of(uri: str) -> str:
    return uri.rpartition("/")[2].partition(".")[0]


@pytest.mark.parametrize("is_written", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("step", range(6))
def test_a_run_that_is_killed_at_a_write_is_resumed_whole_and_reads_nothing_twice(
    place: Place, monkeypatch: pytest.MonkeyPatch, step: int, is_written: bool
) -> None:
    place.remove("d.g.tif")
    with monkeypatch.context() as patch:
        die_at(step, patch, is_written=is_written)
        with pytest.raises(Killed):
            live(place, 1)
    done, read = finished(place), reads(monkeypatch)
    found = live(place, 2)
    assert found.is_exact
    assert_whole(place, pixels("a", "b", "c", "e", "f"), {"d"})
    assert not done & {scan_of(uri) for uri in read}


def test_a_run_that_gets_sigkill_is_resumed_whole_and_reads_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = local_place(tmp_path)
    for number, (name, pages) in enumerate(PAGES.items()):
        place.write_scan(name, scans.pages_of(number, pages))
    program = "import sys; from pathlib import Path; from tests.faults import test_scans as t; "
    program += "t.live(t.local_place(Path(sys.argv[1])), 1, pace_s=0.5)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], env=environment) as process:
        deadline_s = time.monotonic() + 200
        while len(place.out.names("data")) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done, read = finished(place), reads(monkeypatch)
    assert 0 < len(done) < len(PAGES)
    assert live(place, 2).is_exact
    assert_whole(place, pixels(*PAGES), set())
    assert {scan_of(uri) for uri in read} == PAGES.keys() - done


# Pieces in an archive


def test_scans_in_a_tar_make_the_same_rows(tmp_path: Path) -> None:
    import io
    import tarfile

    loose, packed = local_place(tmp_path / "loose"), local_place(tmp_path / "packed")
    for number, (name, pages) in enumerate(PAGES.items()):
        loose.write_scan(name, scans.pages_of(number, pages))
    files: Iterator[Path] = iter(sorted(Path(loose.source.uris[0]).iterdir()))
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for path in files:
            tar.add(path, f"x/{path.name}")
    packed.write("shard.tar", sink.getvalue())
    assert live(loose, 1).is_exact
    assert live(replace(packed, source=replace(packed.source, format="webdataset")), 1).is_exact
    made, again = (
        {(row["member"].removeprefix("x/"), row["place"]): row["mean"] for row in rows_in(each, "data")}
        for each in (loose, packed)
    )
    assert made == again
    assert len(made) == sum(PAGES.values())

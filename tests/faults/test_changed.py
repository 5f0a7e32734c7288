"""Law 7: a row says what its input was when it was listed, and an object that was replaced since is never read in its place."""

from __future__ import annotations

import io
import os
import tarfile
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.inputs.fetch import Fetched, Fetcher, FetchLimits, single
from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.relisting import as_now
from pixelmill.pipelines.inputs.sources import Entry, Ignored, Source, entries
from pixelmill.pipelines.stores.access import Access
from pixelmill.workers.errors import RowError
from tests.servers.gateway import Gateway
from tests.support import Home, Output, assert_every_input_in_one_row, home, job_file, pictures, pixelmill

pytestmark = pytest.mark.faults

ACCESS = Access(retry_for_s=0.0)


class Place:
    """A folder of a local disk or of a bucket, whose objects are replaced between listing and fetching."""

    def __init__(self, uri: str, gateway: Gateway | None = None) -> None:
        self.uri, self._gateway = uri, gateway

    def put(self, name: str, data: bytes) -> str:
        if self._gateway is None:
            path = Path(self.uri) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        else:
            bucket, _, folder = self.uri.removeprefix("s3://").partition("/")
            self._gateway.put(bucket, f"{folder}/{name}", data)
        return f"{self.uri}/{name}"


@pytest.fixture(params=["disk", "s3", "s3 with odd names"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "disk":
        return Place(str(tmp_path / "in"))
    gateway: Gateway = request.getfixturevalue("s3")
    bucket = f"changed-{uuid.uuid4().hex[:8]}"
    gateway.make_bucket(bucket)
    return Place(f"s3://{bucket}/{'in' if request.param == 's3' else 'in & out'}", gateway)


def tar(*members: tuple[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def table(*cells: bytes) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"image": pa.array(cells, pa.binary())}), sink)
    return sink.getvalue()


def listed(place: Place) -> list[Entry]:
    return list(entries(Source((place.uri,), access=ACCESS), Ignored()))


def outcomes(found: list[Entry]) -> list[bytes | str]:
    def keep(fetched: Fetched) -> Any:
        data = single(fetched)
        return data.error_type if isinstance(data, RowError) else data

    return list(Fetcher(ACCESS, FetchLimits(), None, then=keep).stream(table_of(found)))


def test_objects_that_stay_are_read(place: Place) -> None:
    for name in ("a.jpg", "b.jpg"):
        place.put(name, name.encode())
    assert outcomes(listed(place)) == [b"a.jpg", b"b.jpg"]


def test_an_object_that_was_replaced_is_changed_though_it_has_as_many_bytes(place: Place) -> None:
    for name in ("a.jpg", "b.jpg"):
        place.put(name, name.encode())
    found = listed(place)
    place.put("b.jpg", b"other")
    assert outcomes(found) == [b"a.jpg", "Changed"]


@pytest.mark.parametrize(
    "now", [tar(("b.jpg", b"b" * 900), ("a.jpg", b"a" * 900)), tar(("a.jpg", b"a")), b""], ids=["order", "less", "none"]
)
def test_members_of_a_shard_that_was_written_again_are_changed(place: Place, now: bytes) -> None:
    place.put("0.tar", tar(("a.jpg", b"a" * 900), ("b.jpg", b"b" * 900)))
    found = listed(place)
    assert outcomes(found) == [b"a" * 900, b"b" * 900]
    place.put("0.tar", now)
    assert outcomes(found) == ["Changed", "Changed"]


def test_rows_of_a_table_that_was_written_again_are_changed(place: Place) -> None:
    place.put("0.parquet", table(b"a", b"b"))
    found = listed(place)
    assert outcomes(found) == [b"a", b"b"]
    place.put("0.parquet", table(b"b", b"a"))
    assert outcomes(found) == ["Changed", "Changed"]


def test_a_file_that_is_written_to_while_it_is_read_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"first")
    found = list(entries(Source((str(path),), access=ACCESS), Ignored()))
    real, calls = os.fstat, iter(range(9))

    def fstat(handle: int) -> os.stat_result:
        if next(calls) == 1:
            os.utime(path, ns=(1, 1))
        return real(handle)

    monkeypatch.setattr("pixelmill.pipelines.stores.reading.os.fstat", fstat)
    assert outcomes(found) == ["Changed"]


def test_what_an_older_manifest_says_of_a_file_still_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"first")
    entry = Entry(str(path), size=5, version=str(path.stat().st_mtime))
    assert outcomes([entry]) == [b"first"]
    os.utime(path, ns=(1, 1))
    assert outcomes([entry]) == ["Changed"]


def test_a_server_that_gives_another_tag_than_its_listing_is_asked_to_list_again(
    s3: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    import obstore

    s3.make_bucket("tags")
    s3.put("tags", "in/a.jpg", b"first")
    found = list(entries(Source(("s3://tags/in",), access=ACCESS), Ignored()))
    real = obstore.get

    class Answer:
        def __init__(self, answer: Any) -> None:
            self.meta, self.bytes = {**answer.meta, "e_tag": '"another"'}, answer.bytes

    monkeypatch.setattr(obstore, "get", lambda *args, **options: Answer(real(*args, **options)))
    assert outcomes(found) == [b"first"]
    s3.put("tags", "in/a.jpg", b"other")
    assert outcomes(found) == ["Changed"]


def test_what_failed_is_listed_as_it_is_now(place: Place) -> None:
    """The broken picture was replaced, the shard has its members elsewhere and one less, the table another row group."""
    place.put("a.jpg", b"broken")
    place.put("b.jpg", b"b")
    place.put("sub/0.tar", tar(("x.jpg", b"x" * 900), ("y.jpg", b"y" * 900)))
    sources = [Source((place.uri,), access=ACCESS), Source((f"{place.uri}/sub",), access=ACCESS)]
    rows = pa.concat_tables([table_of(list(entries(source, Ignored()))) for source in sources])
    place.put("a.jpg", b"put right")
    place.put("sub/0.tar", tar(("y.jpg", b"y" * 900)))
    now = as_now(rows, sources[0])
    assert sorted(now["id"].to_pylist()) == sorted(rows["id"].to_pylist())
    keep = {row["member"] or row["uri"].rpartition("/")[2]: row for row in now.to_pylist()}
    read = dict(zip(keep, outcomes([Entry(**_entry(row)) for row in keep.values()]), strict=True))
    assert read == {"a.jpg": b"put right", "b.jpg": b"b", "y.jpg": b"y" * 900, "x.jpg": "Changed"}


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in Entry._fields}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_retry_lists_what_changed_anew_and_the_new_row_takes_the_place_of_the_old(tmp_path: Path) -> None:
    """A shard is written again in another order after it was listed: no row gets the picture of another member."""
    jpegs = [path.read_bytes() for path in pictures(tmp_path / "made", 6)]
    place = Place(str(tmp_path / "in"))
    names = [f"{number}.jpg" for number in range(6)]
    place.put("0.tar", tar(*zip(names, jpegs, strict=True)))
    with home() as user:
        job = job_file(tmp_path / "job.yaml", place.uri, str(tmp_path / "out"), max_failed_fraction=1.0)
        vectors = changed_between_listing_and_fetching(
            user, job, place, tar(*zip(names[::-1], jpegs[::-1], strict=True))
        )
        right = job_file(tmp_path / "right.yaml", place.uri, str(tmp_path / "right"))
        assert pixelmill(user, "run", right).code == 0
        expected = vectors_of(Output(str(tmp_path / "right")))
    assert vectors.keys() == expected.keys()
    for name, vector in expected.items():
        assert vectors[name] == pytest.approx(vector, abs=1e-3)


def changed_between_listing_and_fetching(user: Home, job: str, place: Place, now: bytes) -> dict[str, list[float]]:
    output = Output(str(Path(job).parent / "out"))
    listing = pixelmill(user, "run", job)
    assert listing.code == 0, listing.stderr
    # As if the first run had been killed after it listed: nothing is done, and the shard is another one since.
    for name in output.files("data"):
        (Path(job).parent / "out" / name).unlink()
    place.put("0.tar", now)
    ran = pixelmill(user, "run", job)
    assert ran.code == 3, ran.stderr
    assert assert_every_input_in_one_row(output, inputs=6) == {"Changed": 6}
    retried = pixelmill(user, "retry", str(Path(job).parent / "out"))
    assert retried.code == 0, retried.stderr
    assert output.table("failed").num_rows == 0
    return vectors_of(output)


def vectors_of(output: Output) -> dict[str, list[float]]:
    rows = output.table("data").select(["member", "embedding"]).to_pylist()
    assert len({row["member"] for row in rows}) == len(rows)
    return {row["member"]: row["embedding"] for row in rows}

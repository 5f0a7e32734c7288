"""The laws of listing: each kind of source gives exactly its inputs, what can't be read says so, nothing else is there."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.inputs.fetch import Fetcher, FetchLimits, single
from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.sources import Entry, Ignored, Source, entries
from pixelmill.workers.errors import JobError, StoreError
from tests.pipelines.inputs.listings import ACCESS, left_in, listed, make, members_of, names, tar_of, uris

# ----------------------------------------------------------------------------------------------------------- folders


def test_a_folder_gives_its_images_at_every_depth_in_the_order_of_names(tmp_path: Path) -> None:
    make(tmp_path, "b.jpg", "a/z.PNG", "a/b/c.tiff", "a.jpeg", "c/1.webp", "notes.txt", "table.parquet", "README")
    assert names(tmp_path) == ["a.jpeg", "b.jpg", "a/z.PNG", "a/b/c.tiff", "c/1.webp"]


def test_ignored_files_are_counted_by_kind(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "notes.txt", "more/notes.TXT", "README")
    make(tmp_path / "elsewhere", "b.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    ignored = Ignored()
    assert len(list(entries(Source((str(tmp_path),)), ignored))) == 2
    assert ignored.by_suffix == {".txt": 2, "(none)": 1, "link to a folder that is listed already": 1}


def test_sizes_and_versions_tell_that_a_file_has_changed(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", data=b"one")
    (before,) = listed(tmp_path)
    assert before.size == 3
    make(tmp_path, "a.jpg", data=b"three")
    (after,) = listed(tmp_path)
    assert (after.uri, after.size) == (before.uri, 5)
    assert after.version != before.version


def test_a_limit_takes_the_first_ones(tmp_path: Path) -> None:
    make(tmp_path, *(f"{number:02d}.jpg" for number in range(20)))
    assert names(tmp_path, limit=3) == ["00.jpg", "01.jpg", "02.jpg"]
    assert names(tmp_path, limit=99) == names(tmp_path)


def test_names_of_every_kind_are_listed_as_they_are(tmp_path: Path) -> None:
    odd = ["caf\u00e9 #1 ?&%20+.jpg", "\U0001f431.png", "a\nb.jpg", "-rf.jpg", "caf\udce9.jpg", "[1]*?.jpg", "~x.jpg"]
    make(tmp_path, *odd)
    assert sorted(names(tmp_path)) == sorted(odd)


# ------------------------------------------------------------------------------------------------------ hidden, links


def test_hidden_names_are_counted_in_tars_and_tables(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(
        tar_of(("a.jpg", b"x"), ("._a.jpg", b"x"), ("__MACOSX/b.jpg", b"x"), ("d/_DSC.JPG", b"x"))
    )
    assert list(members_of(tmp_path / "a.tar")) == ["a.jpg", "d/_DSC.JPG"]
    assert left_in(tmp_path / "a.tar") == {"hidden": 2}
    make(tmp_path / "t", "_delta_log/1.checkpoint.parquet", "_tmp.parquet", ".x.parquet", "_delta_log/0.json")
    pq.write_table(pa.table({"image": [b"x"]}), tmp_path / "t/part-0.parquet")
    assert len(listed(tmp_path / "t")) == 1
    assert left_in(tmp_path / "t") == {"hidden": 3, ".json": 1}


# -------------------------------------------------------------------------------------------------- what refusals say


def test_a_table_of_urls_is_refused_with_the_format_that_reads_it(tmp_path: Path) -> None:
    pq.write_table(pa.table({"URL": ["https://host/a.jpg"], "TEXT": ["a"], "WIDTH": [1]}), tmp_path / "laion.parquet")
    with pytest.raises(
        JobError, match=r"no column holds pictures; it has URL, TEXT, WIDTH; .*--set source.format=list"
    ):
        listed(tmp_path / "laion.parquet")
    assert uris(tmp_path / "laion.parquet", format="list") == ["https://host/a.jpg"]


def test_pictures_that_a_table_only_points_to_are_named(tmp_path: Path) -> None:
    paths = pa.StructArray.from_arrays([pa.array([None], pa.binary()), pa.array(["s3://b/a.jpg"])], ["bytes", "path"])
    pq.write_table(pa.table({"image": paths}), tmp_path / "a.parquet")
    (row,) = Fetcher(ACCESS, FetchLimits(), None, single).stream(table_of(listed(tmp_path / "a.parquet")))
    assert str(row) == "bytes is null, and the picture is at s3://b/a.jpg: list such paths"


# ------------------------------------------------------------------------------------------------ what is not there


def test_an_empty_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no input was found: 0 files") as error:
        listed(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    for uri in (f"{tmp_path}/gone", f"{tmp_path}/gone/*.jpg", f"file://{tmp_path}/gone/"):
        with pytest.raises(StoreError, match=f"{tmp_path}/gone.*: does not exist, listing the source; check the name"):
            listed(uri)


def test_an_unknown_scheme_is_reported() -> None:
    with pytest.raises(StoreError, match=r"nonsense://: Protocol not known"):
        listed("nonsense://bucket/photos")


# ------------------------------------------------------------------------------------------------------------- lists

LISTED = ["a.jpg", "/abs/b.jpg", "s3://bucket/c d.jpg", "https://host/e.jpg", "../up.jpg"]


def write_list(path: Path, rows: list[str | None]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"label": [0] * len(rows), "url": pa.array(rows, pa.string())}), path)
    elif path.suffix == ".csv":
        path.write_text("url,label\n" + "".join(f'"{row or ""}",0\n' for row in rows), encoding="utf-8-sig")
    else:
        path.write_text("# pictures\n\n" + "".join(f"{row}\r\n" for row in rows if row), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".txt", ".lst", ".csv", ".parquet"])
def test_a_list_gives_its_uris_and_takes_relative_ones_from_its_folder(tmp_path: Path, suffix: str) -> None:
    path = write_list(tmp_path / f"list{suffix}", LISTED)  # type: ignore[arg-type]
    found = listed(path, format="list")
    here = [f"{tmp_path}/a.jpg", *LISTED[1:4], f"{tmp_path.parent}/up.jpg"]
    assert found == [Entry(uri) for uri in here]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_row_of_a_list_without_a_uri_is_an_entry_with_the_reason(tmp_path: Path, suffix: str) -> None:
    path = write_list(tmp_path / f"list{suffix}", ["a.jpg", None, "b.jpg"])
    _, null, _ = listed(path, format="list")
    assert (null.uri, null.member, null.problem) == (str(path), "line 2", "NullUri: the list has no URI here")


@pytest.mark.parametrize(
    "signed",
    [
        "https://host/a.jpg?X-Amz-Credential=AKIAABCDEFGHIJKLMNOP&X-Amz-Signature=0123456789abcdef",
        "https://user:hunter2@host/a.jpg",
        "https://host/a.jpg?size=1&token=hunter2",
        "https://account.blob.core.windows.net/c/a.jpg?sv=2020&sig=hunter2",
        "https://user:hunter2@[broken",
    ],
)
def test_a_signed_uri_in_a_list_is_an_entry_with_the_reason_and_without_the_secret(tmp_path: Path, signed: str) -> None:
    path = write_list(tmp_path / "list.txt", ["a.jpg", signed])
    plain, bad = listed(path)
    assert plain == Entry(f"{tmp_path}/a.jpg")
    assert (bad.member, str(bad.problem).partition(":")[0]) == ("line 2", "SignedUrl")
    assert not any(secret in repr(bad) for secret in ("hunter2", "0123456789abcdef", "AKIAABCDEFGHIJKLMNOP"))


def test_a_list_that_is_no_text_or_has_no_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("caf\u00e9.jpg".encode("latin-1"))
    with pytest.raises(JobError, match=r"list.txt: is not UTF-8 text"):
        listed(tmp_path / "list.txt")
    (tmp_path / "list.csv").write_text("label,picture\n1,a.jpg\n")
    with pytest.raises(JobError, match=r"which column holds the URIs\? say source.column; it has label, picture"):
        listed(tmp_path / "list.csv")
    assert names(tmp_path, tmp_path / "list.csv", column="picture") == ["a.jpg"]


def test_a_broken_line_costs_its_row_and_not_the_list(tmp_path: Path) -> None:
    path = write_list(tmp_path / "list.txt", ["http://[broken/a.jpg", "b.jpg"])
    assert uris(path) == ["http://[broken/a.jpg", f"{tmp_path}/b.jpg"]

"""Listings of a store: prefixes are folders, and answers of a thousand keys are joined."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.asyn import sync
from s3fs import S3FileSystem

from pixelmill.workers.errors import JobError, StoreError
from tests.pipelines.inputs.listings import listed, tar_of, uris
from tests.servers.gateway import Gateway


@pytest.fixture(scope="module")
def bucket(gateway: Gateway) -> str:
    gateway.make_bucket("sources")
    for key in (*KEYS, "empty/notes.txt", "run/a.jpg", "run/out/data/b.jpg", "brackets [2019]/a.jpg"):
        gateway.put("sources", key, key.encode())
    return "sources"


KEYS = [
    "photos/a.jpg",
    "photos/deep/er/b c.PNG",
    "photos/#1 100%20+&?=@.jpg",
    "photos/caf\u00e9 \U0001f431.webp",
    "photos2/other.jpg",
]


def test_a_prefix_is_a_folder_and_not_the_beginning_of_a_name(s3: Gateway, bucket: str) -> None:
    for uri in (f"s3://{bucket}/photos", f"s3://{bucket}/photos/"):
        found = listed(uri)
        assert sorted(entry.uri for entry in found) == sorted(f"s3://{bucket}/{key}" for key in KEYS[:4])
        assert all(entry.size == len(entry.uri.encode()) - len(f"s3://{bucket}/") for entry in found)
        assert all(entry.version for entry in found)


def test_globs_patterns_brackets_and_single_objects_work_in_a_store(s3: Gateway, bucket: str) -> None:
    assert uris(f"s3://{bucket}/photos*/*.jpg") == [
        f"s3://{bucket}/{KEYS[2]}",
        f"s3://{bucket}/{KEYS[0]}",
        f"s3://{bucket}/{KEYS[4]}",
    ]
    assert uris(f"s3://{bucket}/photos/**/*.PNG") == [f"s3://{bucket}/{KEYS[1]}"]
    assert uris(f"s3://{bucket}/photos", pattern="deep/**") == [f"s3://{bucket}/{KEYS[1]}"]
    assert uris(f"s3://{bucket}/photos/a.jpg") == [f"s3://{bucket}/photos/a.jpg"]
    assert uris(f"s3://{bucket}/brackets [2019]") == [f"s3://{bucket}/brackets [2019]/a.jpg"]


def test_an_output_folder_inside_the_source_is_not_listed_in_a_store(s3: Gateway, bucket: str) -> None:
    for uri in (f"s3://{bucket}/run", f"s3://{bucket}/run/", f"s3://{bucket}/run/**"):
        assert uris(uri, exclude=f"s3://{bucket}/run/out") == [f"s3://{bucket}/run/a.jpg"]


def test_a_listing_of_several_answers_is_complete(s3: Gateway, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []

    def call_s3(store: S3FileSystem, method: str, **options: Any) -> Any:  # pages of 7 keys instead of 1,000
        sent.append(options)
        return sync(store.loop, store._call_s3, method, **options, MaxKeys=7)

    for number in range(40):
        s3.put(bucket, f"many/{number:03d}.jpg", b"x")
    monkeypatch.setattr(S3FileSystem, "call_s3", call_s3)
    assert uris(f"s3://{bucket}/many") == [f"s3://{bucket}/many/{number:03d}.jpg" for number in range(40)]
    assert len(sent) == 6
    assert len(uris(f"s3://{bucket}/many", limit=15)) == 15


@pytest.mark.parametrize(
    "uri", ["s3://no-such-bucket", "s3://no-such-bucket/photos", "s3://sources/gone", "s3://no-such-bucket/*.jpg"]
)
def test_a_missing_bucket_or_prefix_is_reported(s3: Gateway, bucket: str, uri: str) -> None:
    with pytest.raises(StoreError, match="does not exist, listing the source; check the name of the bucket or folder"):
        listed(uri)


def test_a_prefix_without_pictures_is_reported(s3: Gateway, bucket: str) -> None:
    with pytest.raises(JobError, match="no input was found: 1 file,"):
        listed(f"s3://{bucket}/empty")
    with pytest.raises(JobError, match="no input was found: 0 files"):
        listed(f"s3://{bucket}/gone/")


def test_archives_and_lists_in_a_store_are_indexed_where_they_are(s3: Gateway, tmp_path: Path) -> None:
    s3.make_bucket("archives")
    s3.put("archives", "tars/0.tar", tar_of(("a.jpg", b"one"), ("b.jpg", b"two")))
    s3.put("archives", "tars/1.tar", b"<html>")
    sink = io.BytesIO()
    pq.write_table(pa.table({"image": [b"x"] * 3}), sink)
    s3.put("archives", "tables/0.parquet", sink.getvalue())
    s3.put("archives", "lists/list.txt", b"a.jpg\ns3://other/b.jpg\n")
    assert [(e.member, e.problem is None) for e in listed("s3://archives/tars")] == [
        ("a.jpg", True),
        ("b.jpg", True),
        (None, False),
    ]
    assert [e.member for e in listed("s3://archives/tables")] == ["row 0", "row 1", "row 2"]
    assert uris("s3://archives/lists/list.txt") == ["s3://archives/lists/a.jpg", "s3://other/b.jpg"]

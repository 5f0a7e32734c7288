"""Walk folders of stores with few names in memory: S3 a thousand keys per request, others folder by folder."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from pixelmill.pipelines.inputs.entries import Found, Ignored, Source
from pixelmill.pipelines.inputs.names import (
    comparable,
)
from pixelmill.pipelines.stores import versions
from pixelmill.pipelines.stores.access import Access, open_store
from pixelmill.pipelines.stores.retries import retried


def s3_files(uri: str, source: Source) -> tuple[Iterator[Found], bool]:
    """The object of exactly this name, or else everything below it."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    pages = s3_pages(bucket, key if key.endswith("/") or not key else f"{key}/", source)
    if key and not key.endswith("/"):
        store, path = open_store(uri, source.access)
        first = next(pages, list[Found]())
        if not first:
            info = retried(lambda: store.info(path), for_s=min(10.0, source.access.retry_for_s))
            return iter([found_of(uri, info)]), True
        return chain(first, chain.from_iterable(pages)), False
    return chain.from_iterable(pages), False


def s3_pages(bucket: str, prefix: str, source: Source) -> Iterator[list[Found]]:
    """Pages of a thousand keys, one per request, so that ten million keys are never in memory together."""
    store, _ = open_store(f"s3://{bucket}", source.access)
    more: dict[str, str] = {}
    while True:
        answer = retried(
            lambda more=more: store.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **more),
            for_s=min(30.0, source.access.retry_for_s),
        )
        yield [
            Found(f"s3://{bucket}/{item['Key']}", item["Size"], item.get("ETag", "").strip('"') or None)
            for item in answer.get("Contents", [])
            if not item["Key"].endswith("/")
        ]
        if not answer.get("IsTruncated"):
            return
        more = {"ContinuationToken": answer["NextContinuationToken"]}


def walk_fsspec(uri: str, access: Access, ignored: Ignored) -> Iterator[Found]:
    """Walk folder by folder, so that memory holds the names of one folder, not of the archive."""
    store, path = open_store(uri, access)
    pending = [path]
    while pending:
        folder = pending.pop()
        try:
            items = retried(lambda folder=folder: store.ls(folder, detail=True), for_s=min(30.0, access.retry_for_s))
        except PermissionError:
            if folder == path:
                raise
            ignored.count("folder that may not be read")
            continue
        store.invalidate_cache(folder)
        folders = [i["name"] for i in items if i["type"] == "directory" and i["name"].rstrip("/") != folder.rstrip("/")]
        pending += sorted(folders, key=_is_first)
        for item in items:
            if item["type"] == "file":
                yield found_of(str(store.unstrip_protocol(item["name"])), item)


def _is_first(folder: str) -> bool:
    """Whether a folder is walked before its siblings: it says that they are of a run (`run_folders.py`)."""
    return folder.rstrip("/").rpartition("/")[2] == "_run"


def found_of(uri: str, info: dict[str, Any]) -> Found:
    return Found(comparable(uri), info.get("size"), versions.of_info(info))

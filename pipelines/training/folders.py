"""Look into the folders of a data set: their entries, and files that belong to every sample."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TypedDict, cast

from pixelmill.pipelines.inputs.names import is_hidden, is_local
from pixelmill.pipelines.stores.access import Access, join, open_store
from pixelmill.pipelines.stores.explain import explain
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.retries import retried

MOST_ANNOTATION_BYTES = 2 << 30
"""The most bytes of a file that belongs to every sample: annotations of COCO have half a gigabyte."""


class _Child(TypedDict):
    """An entry of a folder as fsspec describes it."""

    name: str
    type: str


def children(uri: str, access: Access) -> dict[str, str]:
    """Names in a folder with their kinds, without hidden ones; empty for a file or a glob."""
    store, path = open_store(uri, access)
    try:
        listed = cast("list[_Child]", retried(lambda: store.ls(path, detail=True), for_s=min(30.0, access.retry_for_s)))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except Exception as error:
        raise explain(error, uri, "listing the data") from error
    kinds = {PurePosixPath(entry["name"].rstrip("/")).name: _kind(uri, entry) for entry in listed}
    return {name: kind for name, kind in kinds.items() if not is_hidden(name)}


def _kind(uri: str, entry: _Child) -> str:
    """The kind of an entry of a folder: fsspec calls a link to a local folder neither file nor folder."""
    return "directory" if is_local(uri) and os.path.isdir(entry["name"]) else entry["type"]


def shared_file(uri: str, role: str, name: str, access: Access) -> dict[str, bytes]:
    """A file that belongs to every sample, here or one folder up."""
    for folder in (uri.rstrip("/"), uri.rstrip("/").rpartition("/")[0]):
        data = file_bytes(join(folder, name), access)
        if data is not None:
            return {role: data}
    return {}


def file_bytes(uri: str, access: Access) -> bytes | None:
    """The content of one file; None where there is none."""
    parent, _, name = uri.rpartition("/")
    try:
        return Folder(parent or "/", access).read(name, MOST_ANNOTATION_BYTES)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except Exception as error:
        raise explain(error, uri, "reading it") from error

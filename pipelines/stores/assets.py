"""Read the few files that a job names beside its inputs, whole: a painting, weights, a checkpoint with its card."""

from __future__ import annotations

from pixelmill.pipelines.stores.access import Access, join
from pixelmill.pipelines.stores.explain import explain
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.whole_files import ANY_SIZE, MOST_DOCUMENT_BYTES
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import ModelError

WEIGHTS, CARD, MARKS_SUFFIX = "model.safetensors", "card.json", ".marks"
"""The files of a checkpoint that is a folder, as workers/models/weight_files.py and marks.py have them; those need torch."""


def file_at(uri: str, access: Access) -> dict[str, bytes]:
    """The bytes of one file under its name. ModelError where there is none, StoreError where it can't be read."""
    parent, _, name = uri.rpartition("/")
    return {name: _read(Folder(parent or "/", access), name, f"{scrub(uri)}: no such file")}


def checkpoint_at(uri: str, access: Access, *, with_marks: bool = False) -> dict[str, bytes]:
    """Weights, then their card, of a folder or of a NAME.safetensors with NAME.json or card.json beside it; the marks of
    its samples too, where they are asked for and there.

    ModelError where one of them is missing, StoreError where one can't be read.
    """
    parent, _, file = uri.rstrip("/").rpartition("/")
    is_file = file.endswith(".safetensors")
    folder = Folder(parent if is_file else uri, access)
    weights, card = (file, file.removesuffix(".safetensors") + ".json") if is_file else (WEIGHTS, CARD)

    def missing(name: str) -> str:
        return f"{join(scrub(folder.uri), name)}: no such file; a checkpoint is {weights} with {card} beside it"

    read = {weights: _read(folder, weights, missing(weights))}
    marks = weights.removesuffix(".safetensors") + MARKS_SUFFIX
    if with_marks and (found := _found(folder, marks)) is not None:
        read[marks] = found
    if is_file and (beside := _found(folder, card)) is not None:
        return read | {card: beside}
    return read | {CARD: _read(folder, CARD, missing(card))}


def _read(folder: Folder, name: str, otherwise: str) -> bytes:
    data = _found(folder, name)
    if data is None:
        raise ModelError(otherwise)
    return data


def _found(folder: Folder, name: str) -> bytes | None:
    try:
        return folder.read(name, MOST_DOCUMENT_BYTES if name.endswith(".json") else ANY_SIZE)
    except Exception as error:
        raise explain(error, join(folder.uri, name), "reading it") from error

"""PASCAL VOC: JPEGImages/NAME.jpg, SegmentationClass/NAME.png (palette, 255 void), ImageSets/Segmentation/{train,val}.txt.

Data may also be one list of names, DIR/ImageSets/Segmentation/val.txt. Class names come from labelmap.txt (as CVAT writes it) or
classes.json, or are the 20 of the challenge where the lists in ImageSets/Main are of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import ClassVar

from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.sources import Ignored
from pixelmill.pipelines.stores.access import Access, join
from pixelmill.pipelines.training.dataset import CLASSES, DataSet, joined
from pixelmill.pipelines.training.folders import children, file_bytes, shared_file
from pixelmill.pipelines.training.layouts.pairing import by_stem
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Role

IMAGES, LABELS, LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
VOID = 255
CHALLENGE = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class Voc:
    """A picture and the class of each of its pixels."""

    ROLES: ClassVar[tuple[Role, ...]] = (Role("image", "picture"), Role("label", "class map"))

    def is_here(self, uris: Sequence[str], access: Access) -> bool:
        return all(_is_list(uri) or {IMAGES, LABELS} <= children(uri, access).keys() for uri in uris)

    def parts(self, uri: str, access: Access) -> dict[str, str]:
        """The lists of names, by the names of their parts."""
        if _is_list(uri):
            return {}
        lists = PurePosixPath(LISTS)
        listed = children(join(uri, str(lists)), access) if "ImageSets" in children(uri, access) else {}
        return {name: join(uri, str(lists / f"{name}.txt")) for name in ("train", "val") if f"{name}.txt" in listed}

    def find(self, uris: Sequence[str], access: Access, classes: Sequence[str] | None) -> DataSet:
        found = [_voc(uri, access) for uri in uris]
        return found[0] if len(found) == 1 else joined(found)


def _is_list(uri: str) -> bool:
    return uri.endswith(".txt") and uri.rpartition("/")[0].endswith(LISTS)


def _voc(uri: str, access: Access) -> DataSet:
    root = uri.rpartition(f"/{LISTS}/")[0] if _is_list(uri) else uri
    ignored = Ignored()
    images, labels = (by_stem(join(root, folder), access, ignored) for folder in (IMAGES, LABELS))
    names = _names(uri, access) if _is_list(uri) else sorted(labels)
    for role, files in ((IMAGES, images), (LABELS, labels)):
        if missing := [name for name in names if name not in files]:
            raise DataError(
                f"{scrub(uri)}: {missing[0]} and {len(missing) - 1:,} more have no file in {role}; add them"
            )
    if not names:
        raise DataError(f"{scrub(uri)}: names no pictures; give a list of names, one in a line")
    tables = {role: table_of([files[name] for name in names]) for role, files in (("image", images), ("label", labels))}
    return DataSet(tables, access, constants=_classes(root, access), ignored=ignored.by_suffix)


def _names(uri: str, access: Access) -> list[str]:
    """The names in a list, without the 1, 0 or -1 that a list of one class adds."""
    lines = (file_bytes(uri, access) or b"").decode("utf-8", "replace").splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def _classes(root: str, access: Access) -> dict[str, bytes]:
    """The class names with 255 as void; nothing where none of the files names them."""
    if given := shared_file(root, CLASSES, "classes.json", access):
        return given
    label_map = (file_bytes(join(root, "labelmap.txt"), access) or b"").decode("utf-8", "replace")
    rows = [line.partition(":")[0].strip() for line in label_map.splitlines() if line.strip() and line[0] != "#"]
    names = rows or (["background", *CHALLENGE] if _is_of_the_challenge(root, access) else [])
    return {CLASSES: json.dumps({"classes": names, "ignore_index": VOID}).encode()} if names else {}


def _is_of_the_challenge(root: str, access: Access) -> bool:
    """Whether the lists of pictures by class are of the challenge's 20 classes."""
    if "Main" not in children(join(root, "ImageSets"), access):
        return False
    lists = children(join(root, "ImageSets/Main"), access)
    return {name.removesuffix("_train.txt") for name in lists if name.endswith("_train.txt")} == set(CHALLENGE)

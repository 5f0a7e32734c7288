"""COCO: annotations/instances_PART.json or panoptic_PART.json, pictures in PART/, images/PART/ or images/.

Classes are the categories in the order of their ids, numbered without gaps. Instances become a class map with class 0,
background, where no annotation lies; panoptic segments are void where none lies. Crowds are void. Data may also be one
file of annotations, DIR/annotations/panoptic_val2017.json, as it has to be where a folder holds both kinds. The file is
read whole, which takes several times its size in memory, and the annotations travel with the plan of a training.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

import pyarrow as pa

from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.sources import Entry, Ignored
from pixelmill.pipelines.stores.access import Access, join
from pixelmill.pipelines.training.dataset import CLASSES, DataSet, joined
from pixelmill.pipelines.training.folders import children, file_bytes
from pixelmill.pipelines.training.layouts.pairing import name_below, pictures_below, unique
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Role

FOLDER = "annotations"
BACKGROUND, VOID = "background", 255
MOST_CLASSES = 255
_FILE = re.compile(r"(instances|panoptic)_(.+)\.json")

Document = Mapping[str, Any]
"""A file of annotations."""


class Coco:
    """A picture and the class of each of its pixels."""

    ROLES: ClassVar[tuple[Role, ...]] = (Role("image", "picture"), Role("label", "class map"))

    def is_here(self, uris: Sequence[str], access: Access) -> bool:
        return all(_is_file(uri) or bool(_files(uri, access)) for uri in uris)

    def parts(self, uri: str, access: Access) -> dict[str, str]:
        """The files of annotations, by the names of their parts without a year."""
        if _is_file(uri):
            return {}
        return {re.sub(r"\d+$", "", part) or part: file for part, file in _files(uri, access).items()}

    def find(self, uris: Sequence[str], access: Access, classes: Sequence[str] | None) -> DataSet:
        files = [file for uri in uris for file in ([uri] if _is_file(uri) else _files(uri, access).values())]
        found = [_coco(file, access) for file in files]
        return found[0] if len(found) == 1 else joined(found)


def _is_file(uri: str) -> bool:
    folder, _, name = uri.rpartition("/")
    return folder.rpartition("/")[2] == FOLDER and _FILE.fullmatch(name) is not None


def _files(uri: str, access: Access) -> dict[str, str]:
    """The files of annotations of a folder by part. Raises DataError where there are both kinds."""
    if children(uri, access).get(FOLDER) != "directory":
        return {}
    folder = join(uri, FOLDER)
    matches = [match for name in sorted(children(folder, access)) if (match := _FILE.fullmatch(name))]
    if len({match[1] for match in matches}) > 1:
        example = join(folder, matches[-1][0])
        raise DataError(
            f"{scrub(uri)}: holds instances and panoptic annotations; name the file to train on, such as {scrub(example)}, "
            "and with validation the file to judge on"
        )
    return {match[2]: join(folder, match[0]) for match in matches}


def _coco(uri: str, access: Access) -> DataSet:
    document = _read(uri, access)
    folder, _, name = uri.rpartition("/")
    match = _FILE.fullmatch(name)
    assert match is not None
    ignored = Ignored()
    pictures = _pictures(folder.rpartition("/")[0], match[2], access, ignored)
    images = sorted(cast("list[Document]", document["images"]), key=lambda image: str(image["file_name"]))
    files = [_named(pictures, str(image["file_name"]), uri) for image in images]
    if not files:
        raise DataError(f"{scrub(uri)}: lists no images; export annotations with their images")
    numbers = {each["id"]: place for place, each in enumerate(_categories(document))}
    if match[1] == "panoptic":
        labels = _panoptic(uri, images, document, numbers, access, ignored)
    else:
        labels = _instances(images, document, numbers)
    return _data_set(table_of(files), labels, _class_list(uri, document, match[1]), access, ignored)


def _data_set(
    pictures: pa.Table, labels: tuple[list[Entry], list[str], str], classes: bytes, access: Access, ignored: Ignored
) -> DataSet:
    files, texts, role = labels
    tables = {"image": pictures, **({"label": table_of(files)} if files else {})}
    inline: dict[str, pa.Array[Any]] = {role: pa.array([text.encode() for text in texts], pa.large_binary())}
    return DataSet(tables, access, constants={CLASSES: classes}, ignored=ignored.by_suffix, inline=inline)


def _read(uri: str, access: Access) -> Document:
    data = file_bytes(uri, access)
    if data is None:
        raise DataError(f"{scrub(uri)}: there is no such file; check its name")
    try:
        document = json.loads(data)
    except ValueError as error:
        raise DataError(f"{scrub(uri)}: is not JSON ({error}); export the annotations again") from error
    if not isinstance(document, dict) or not {"images", "annotations", "categories"} <= document.keys():
        raise DataError(
            f"{scrub(uri)}: has no images, annotations and categories as COCO's files do; export them again"
        )
    return cast("Document", document)


def _pictures(root: str, part: str, access: Access, ignored: Ignored) -> dict[str, Entry]:
    """The pictures of a part, by their path in its folder and by their name alone."""
    listed = children(root, access)
    inner = children(join(root, "images"), access) if listed.get("images") == "directory" else {}
    places = {part: part in listed, f"images/{part}": part in inner, "images": bool(inner)}
    place = next((place for place, is_there in places.items() if is_there), None)
    if place is None:
        raise DataError(
            f"{scrub(root)}: has no folder {' or '.join(places)}; put the pictures of the annotations there"
        )
    folder = join(root, place)
    entries = list(pictures_below(folder, access, ignored))
    by_name = {entry.uri.rpartition("/")[2]: entry for entry in entries}
    return by_name | unique((name_below(entry.uri, folder), entry) for entry in entries)


def _named(files: Mapping[str, Entry], name: str, uri: str) -> Entry:
    found = files.get(name) or files.get(name.rpartition("/")[2])
    if found is None:
        raise DataError(f"{scrub(uri)}: {name} is annotated and not there; add it, or leave it out of the annotations")
    return found


def _categories(document: Document) -> list[Document]:
    return sorted(cast("list[Document]", document["categories"]), key=lambda category: int(category["id"]))


def _class_list(uri: str, document: Document, kind: str) -> bytes:
    """classes.json: the names of the categories by number, and void."""
    names = [str(category["name"]) for category in _categories(document)]
    names = [BACKGROUND, *names] if kind == "instances" else names
    if not 2 <= len(names) <= MOST_CLASSES:
        raise DataError(
            f"{scrub(uri)}: has {len(names):,} classes, and a class map holds 2 to {MOST_CLASSES}; merge some"
        )
    return json.dumps({"classes": names, "ignore_index": VOID}).encode()


def _instances(
    images: Sequence[Document], document: Document, numbers: Mapping[int, int]
) -> tuple[list[Entry], list[str], Literal["label"]]:
    """The shapes of each picture, whose drawing is its label."""
    shapes: defaultdict[object, list[list[object]]] = defaultdict(list)
    for each in cast("list[Document]", document["annotations"]):
        kind = VOID if each.get("iscrowd") else numbers[each["category_id"]] + 1
        shapes[each["image_id"]].append([kind, each["segmentation"]])
    documents = [{"size": [image["height"], image["width"]], "shapes": shapes[image["id"]]} for image in images]
    return [], [json.dumps(each, separators=(",", ":")) for each in documents], "label"


def _panoptic(
    uri: str,
    images: Sequence[Document],
    document: Document,
    numbers: Mapping[int, int],
    access: Access,
    ignored: Ignored,
) -> tuple[list[Entry], list[str], Literal["segments"]]:
    """The panoptic pictures, which lie in a folder named like the file, and the class of each of their segments."""
    folder = uri.removesuffix(".json")
    pictures = unique((name_below(entry.uri, folder), entry) for entry in pictures_below(folder, access, ignored))
    by_image = {each["image_id"]: each for each in cast("list[Document]", document["annotations"])}
    if missing := [str(image["file_name"]) for image in images if image["id"] not in by_image]:
        raise DataError(f"{scrub(uri)}: {missing[0]} and {len(missing) - 1:,} more have no annotation; leave them out")
    listed = [by_image[image["id"]] for image in images]
    files = [_named(pictures, str(each["file_name"]), uri) for each in listed]
    texts = [json.dumps({str(one["id"]): _class_of(one, numbers) for one in each["segments_info"]}) for each in listed]
    return files, texts, "segments"


def _class_of(segment: Document, numbers: Mapping[int, int]) -> int:
    return VOID if segment.get("iscrowd") else numbers[segment["category_id"]]

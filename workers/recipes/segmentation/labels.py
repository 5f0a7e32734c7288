"""Read class ids from label files, and report what is wrong with unusable ones.

A label is a picture of class ids. Pixels of the ignored id are void: no loss, no metric.

Legend: H height, W width, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pixelmill.workers.codecs.id_png import decode_ids
from pixelmill.workers.drawn_classes import Colour
from pixelmill.workers.errors import DataError, RowError
from pixelmill.workers.recipes import Sample

VOID = 255
MOST_CLASSES = VOID


class ClassList(BaseModel):
    """classes.json: the names by id, the id of pixels without a class, the class of each id where files hold others, and the
    colour of each class where files are drawn in colours."""

    model_config = ConfigDict(frozen=True)

    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=MOST_CLASSES)]
    ignore_index: Annotated[int, Field(ge=0, le=65535)] | None = None
    ids: dict[Annotated[int, Field(ge=0, le=65535)], Annotated[int, Field(ge=0, lt=MOST_CLASSES)]] | None = None
    colours: tuple[Colour, ...] | None = None

    @model_validator(mode="after")
    def _has_a_colour_for_each(self) -> Self:
        if self.colours is not None and (len(self.colours), len(set(self.colours))) != (len(self.classes),) * 2:
            raise ValueError("colours has to have one [red, green, blue] of its own for each class, in their order")
        return self


@lru_cache(maxsize=8)
def read_class_list(data: bytes) -> ClassList:
    try:
        return ClassList.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "JSON"
        raise DataError(
            f'classes.json: {field}: {first["msg"]}; write {{"classes": [names], "ignore_index": id}}'
        ) from error


def read_ids(data: bytes) -> np.ndarray:
    """The class ids HW that a grey or palette PNG stores; DataError for a file that can't hold ids.

    The ids of a palette PNG are its indices, not its colours. `decode_picture` would turn them into colours, and would keep
    only the high byte of 16 bits.
    """
    try:
        ids_HW, _ = decode_ids(data)
    except RowError as error:
        raise DataError(f"the label can't be read: {error}") from error
    return ids_HW


def to_void(ids_HW: np.ndarray, classes: int, ignore_index: int | None) -> np.ndarray:
    """uint8 HW: 0 to K - 1, or VOID for the ignored id; DataError for every other id."""
    found = np.unique(ids_HW)
    if strangers := [int(number) for number in found if number >= classes and number != ignore_index]:
        ignored = "" if ignore_index is None else f" and {ignore_index} (ignored)"
        raise DataError(
            f"the label holds the ids {strangers[:5]}, but there are only 0 to {classes - 1}{ignored}: "
            f"{_what_to_do([int(number) for number in found], strangers, classes)}"
        )
    if ignore_index is None:
        return ids_HW.astype(np.uint8)
    return np.where(ids_HW == ignore_index, VOID, ids_HW).astype(np.uint8)


def _what_to_do(found: list[int], strangers: list[int], classes: int) -> str:
    """Advice for labels with these ids; careful with ignore_index, because an ignored class is never learned."""
    if classes == 2 and set(found) <= {0, 255}:
        return "a mask of black and white has 255 for its class 1: write 1 for 255, or set map_ids to {255: 1}"
    if strangers == [255]:
        return "where 255 stands for no class, set ignore_index to 255; where it is one, write its number"
    return "correct the label, set classes, or give the right ids with map_ids"


def mapped(ids_HW: np.ndarray, changes: Mapping[int, int] | None) -> np.ndarray:
    if not changes:
        return ids_HW
    table = np.arange(65536, dtype=np.uint16)
    table[list(changes)] = list(changes.values())
    return table[ids_HW]


def class_names_of(sample: Sample) -> tuple[str, ...]:
    return tuple(json.loads(sample["classes"].tobytes()))

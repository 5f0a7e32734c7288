"""Encode masks of class ids for a column: as pictures with a palette, or as COCO's run lengths.

Legend: H height, W width.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pixelmill.workers.stages.picture_column import picture_field, picture_value

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from pixelmill.workers.models.picture_model import Classes, Colour

Encoding = Literal["png", "rle"]


@dataclass(frozen=True)
class MaskEncoding:
    """The field of a column of masks, and the function that encodes uint8 ids HW with the palette as the value of a row."""

    field: Callable[[str, Mapping[str, str]], pa.Field[Any]]
    encoded: Callable[[np.ndarray, Sequence[Colour]], object]


def class_metadata(classes: Classes) -> dict[str, str]:
    """Field metadata that describes the ids, as JSON: the names of the classes in order, and their colours."""
    colours = {} if classes.colours is None else {"colours": json.dumps(classes.colours)}
    return {"classes": json.dumps(classes.names, ensure_ascii=False), **colours}


def _picture_field(name: str, metadata: Mapping[str, str]) -> pa.Field[Any]:
    return picture_field(name, metadata=metadata)


def _picture(ids_HW: np.ndarray, colours: Sequence[Colour]) -> object:
    from pixelmill.workers.codecs.encode import encode_png_palette

    return picture_value(encode_png_palette(ids_HW, colours))


def _runs_field(name: str, metadata: Mapping[str, str]) -> pa.Field[Any]:
    """list<struct<class_id, size, counts>>: an entry for each class that occurs, as COCO has it; size is height, width."""
    import pyarrow as pa

    entry = pa.struct(
        [pa.field("class_id", pa.int32()), pa.field("size", pa.list_(pa.int32(), 2)), pa.field("counts", pa.string())]
    )
    return pa.field(name, pa.list_(entry), metadata=dict(metadata))


def _runs(ids_HW: np.ndarray, _colours: Sequence[Colour]) -> object:
    from pixelmill.workers.codecs.coco_rle import encode_rle

    size = list(ids_HW.shape)
    return [{"class_id": number, "size": size, "counts": counts} for number, counts in encode_rle(ids_HW).items()]


ENCODINGS: dict[Encoding, MaskEncoding] = {
    "png": MaskEncoding(_picture_field, _picture),
    "rle": MaskEncoding(_runs_field, _runs),
}

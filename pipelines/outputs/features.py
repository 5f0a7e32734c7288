"""Describe columns to Hugging Face `datasets`: pictures, which it would otherwise load as structs of bytes, and all features."""

from __future__ import annotations

import json
from typing import Any, cast

import pyarrow as pa

from pixelmill.pipelines.arrow import fields_of
from pixelmill.pipelines.outputs.encoding import PICTURE, is_picture

KEY = b"huggingface"


def picture_features(schema: pa.Schema) -> dict[bytes, bytes]:
    """The metadata of a Parquet file that makes `load_dataset` return pictures; empty if the file has no column of pictures.

    It names only these columns: `datasets` infers the others from their types.
    """
    pictures = {field.name: {"_type": "Image"} for field in fields_of(schema) if is_picture(field.type)}
    return {KEY: json.dumps({"info": {"features": pictures}}).encode()} if pictures else {}


def shown_type(kind: str) -> str:
    """The type of a column, as people read it, from Arrow's name for it."""
    return "image" if kind == str(PICTURE) else kind


def stated_features(schema: pa.Schema) -> list[dict[str, object]] | None:
    """The features of a data set as the front matter of its card states them; None where `datasets` has no name for one of the
    types, so that it infers all of them.
    """
    features = [(field.name, _feature_of(field.type)) for field in fields_of(schema)]
    if any(feature is None for _, feature in features):
        return None
    return [{"name": name, **cast("dict[str, object]", feature)} for name, feature in features]


PLAIN = {"float": "float32", "double": "float64", "halffloat": "float16", "string": "string", "bool": "bool"} | {
    f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
"""Arrow's names of types, and those of `datasets`."""


def _feature_of(kind: pa.DataType) -> dict[str, object] | None:
    if is_picture(kind):
        return {"dtype": "image"}
    if not (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)):
        name = PLAIN.get(str(kind))
        return None if name is None else {"dtype": name}
    several = cast("Any", kind)
    inner = _feature_of(several.value_type)
    if inner is None or inner == {"dtype": "image"}:
        return None
    length = {"length": several.list_size} if pa.types.is_fixed_size_list(kind) else {}
    # `sequence` is read by every version; `list`, its newer name, by those since 4.
    return {"sequence": inner.get("dtype", inner), **length}

"""What Hugging Face `datasets` has to be told of columns: which of them are pictures. Without it they are structs of bytes."""

from __future__ import annotations

import json

import pyarrow as pa

from pixelmill.pipelines.arrow import fields_of
from pixelmill.pipelines.outputs.encoding import PICTURE, is_picture

KEY = b"huggingface"


def picture_features(schema: pa.Schema) -> dict[bytes, bytes]:
    """The metadata of a Parquet file with which `load_dataset` gives pictures; empty where there is no column of them.

    It names these columns alone: what the others are, `datasets` sees by their types.
    """
    pictures = {field.name: {"_type": "Image"} for field in fields_of(schema) if is_picture(field.type)}
    return {KEY: json.dumps({"info": {"features": pictures}}).encode()} if pictures else {}


def shown_type(kind: str) -> str:
    """The type of a column for a person, by the name that Arrow has for it."""
    return "image" if kind == str(PICTURE) else kind

"""Mark the columns of pictures for Hugging Face `datasets`, which would otherwise load them as structs of bytes."""

from __future__ import annotations

import json

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

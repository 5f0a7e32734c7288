"""Names of an output's folders and metadata keys, and the columns that every row has."""

from __future__ import annotations

import pyarrow as pa

from pixelmill.pipelines.arrow import Field
from pixelmill.pipelines.inputs.earlier_runs import METADATA_KEY, SOURCE_ID

DATA, FAILED = "data", "failed"
FAILURES_KEY = b"pixelmill_failed"
METADATA_KEYS = (METADATA_KEY, FAILURES_KEY)
SUCCESS = "_SUCCESS"

MEANINGS = {
    "id": "128-bit hash of the uri, and of the member for one of many in an archive",
    "uri": "where the input lies, as it was listed",
    "member": "its name or row within an archive or a table",
    "source_id": "the id that the input had in the first of a chain of runs over runs",
    "place": "which of the rows of an input this is, from 0, where a decoder makes many",
    "width": "of the picture as it is shown, in pixels",
    "height": "of the picture as it is shown, in pixels",
    "stage": "where it failed: list, fetch, decode, worker, or the name of a stage",
    "error_type": "a short name to count by",
    "error": "a sentence: the fact and the next step",
}
"""The meanings of the columns that no stage makes; `StageConfig.meanings` has those of the others."""

PLACE = pa.field("place", pa.int32())
"""The place of a row among the rows of its input, from 0; only where a decoder makes several rows of an input."""


def input_fields(*, makes_many: bool = False, has_source_ids: bool = False) -> tuple[Field, ...]:
    """The columns that identify the input of a row, before those that the stages make."""
    return (
        pa.field("id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("member", pa.string()),
        *((SOURCE_ID,) if has_source_ids else ()),
        *((PLACE,) if makes_many else ()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
    )


INPUT_FIELDS = input_fields()
FAILED_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("member", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("error_type", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
    ]
)
ERROR_COLUMNS = ("stage", "error_type", "error")
"""The columns in which a failure travels from the worker that met it to the one that files it."""

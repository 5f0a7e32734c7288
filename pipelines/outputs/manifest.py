"""Names of several modules of this room under one, for callers that have not moved to these modules yet."""

from __future__ import annotations

from pixelmill.pipelines.inputs.manifest_rows import SCHEMA, input_id, table_of
from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.layout import FOLDER, segment_name
from pixelmill.pipelines.outputs.listing import Listing, tables_of
from pixelmill.pipelines.outputs.parts import Part, RowBytes, plan_parts, size_parts
from pixelmill.pipelines.outputs.rows import Rows, read_files, superseding_ids
from pixelmill.pipelines.outputs.segments import Segment, carries_source_ids, read_segments, remove_strays

__all__ = [
    "FOLDER",
    "SCHEMA",
    "Known",
    "Listing",
    "Part",
    "RowBytes",
    "Rows",
    "Segment",
    "carries_source_ids",
    "input_id",
    "plan_parts",
    "read_files",
    "read_segments",
    "remove_strays",
    "segment_name",
    "size_parts",
    "superseding_ids",
    "table_of",
    "tables_of",
]

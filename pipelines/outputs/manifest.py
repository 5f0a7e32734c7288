"""List a source once into the run's manifest, and cut it into parts: the units of work, of output and of commit.

    _run/manifest/000000-0001-5f1c0e9a-0000.parquet   id, uri, member, container, offset, size, version, problem,
                                                      pieces, source_id
    _run/manifest/000000.json                         created once, after them: rows, the sizes of the parts, what was ignored

A manifest grows by segments: the first listing is segment 0, inputs that a later run finds new are segment 1, and what a
retry redoes is a segment too, whose rows supersede the earlier ones of the same ids. A part is a range of rows of
one segment, fixed when the segment is committed, so that part 17 is the same inputs for every attempt, on every machine, for
ever; that is what makes output exactly-once by name. Of two attempts that list at once, the first to create the segment
decides what is in it, and the other one reads that.
"""

from __future__ import annotations

from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.layout import FOLDER, SCHEMA, segment_name
from pixelmill.pipelines.outputs.listing import Listing, input_id, table_of, tables_of
from pixelmill.pipelines.outputs.parts import Part, plan_parts
from pixelmill.pipelines.outputs.rows import Rows, read_files, superseding_ids
from pixelmill.pipelines.outputs.segments import Segment, carries_source_ids, read_segments, remove_strays

__all__ = [
    "FOLDER",
    "SCHEMA",
    "Known",
    "Listing",
    "Part",
    "Rows",
    "Segment",
    "carries_source_ids",
    "input_id",
    "plan_parts",
    "read_files",
    "read_segments",
    "remove_strays",
    "segment_name",
    "superseding_ids",
    "table_of",
    "tables_of",
]

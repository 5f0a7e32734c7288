"""Where objects lie is read from the manifest, and what was listed last counts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from pixelmill.pipelines.ct.places import Place, places_of
from pixelmill.pipelines.inputs.manifest_rows import SCHEMA
from pixelmill.pipelines.outputs.layout import file_name, segment_name
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import write_parquet


def test_a_later_listing_counts_and_other_objects_do_not(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), Access())
    for number, version in enumerate(("old", "new")):
        names = ["a", "b", "c"] if number == 0 else ["b"]
        rows = [{"id": n, "uri": f"/x/{n}", "offset": 512 * number, "size": 7, "version": version} for n in names]
        folder.publish(file_name(number, "w", 0), write_parquet(pa.Table.from_pylist(rows, SCHEMA)))
        segment = Segment(number, len(rows), (len(rows),), (len(rows),), 0, writer="w")
        folder.publish(segment_name(number), segment.to_json())
    assert places_of(folder, ["a", "b"]) == {"a": Place("/x/a", 0, 7, "old"), "b": Place("/x/b", 512, 7, "new")}

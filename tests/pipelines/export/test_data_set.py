"""Places of a data set: below the shared folder, and never the folders of a machine."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pixelmill.pipelines.export.data_set import below, chosen_columns
from pixelmill.workers.errors import JobError


@pytest.mark.parametrize(
    ("root", "uri", "place"),
    [
        ("/home/alice/in", "/home/alice/in/a/b.png", "a/b.png"),
        ("s3://photos/2026", "s3://photos/2026/é/x.png", "é/x.png"),
        ("/home/älice/in", "/home/älice/in/ü.png", "ü.png"),
        ("/home/alice/all", "/home/alice/all.tar", "all.tar"),
        ("s3:/", "s3://photos/x.png", "photos/x.png"),
        ("", "photos/x.png", "x.png"),
    ],
)
def test_a_place_is_below_the_shared_folder_or_a_last_name(root: str, uri: str, place: str) -> None:
    assert below(pa.chunked_array([[uri]]), root).to_pylist() == [place]


def test_chosen_columns_keep_the_keys_and_the_order_of_the_run() -> None:
    schema = pa.schema([(name, pa.string()) for name in ("id", "uri", "place", "width", "mask", "depth")])
    assert chosen_columns(schema, ()) == schema.names
    assert chosen_columns(schema, ("depth", "mask")) == ["id", "uri", "place", "mask", "depth"]
    with pytest.raises(JobError, match="is no column"):
        chosen_columns(schema, ("nothing",))

"""`datasets.load_dataset` of an output gives pictures, and what fields say of their columns is in the files."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pixelmill.pipelines.explore import column_types
from pixelmill.pipelines.outputs.attempt import Attempt
from pixelmill.pipelines.outputs.card import CARD
from pixelmill.pipelines.outputs.columns import ERROR_COLUMNS, INPUT_FIELDS
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.features import picture_features, shown_type, stated_features
from pixelmill.pipelines.outputs.publishing import publish
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.stages.picture_column import picture_field, picture_value
from tests.pipelines.outputs.by_hand import Held

CLASSES = {"class_names": json.dumps(["sky", "road"])}
FIELDS = [picture_field("mask", metadata=CLASSES), picture_field("depth_m"), pa.field("share", pa.list_(pa.float32()))]


def png(mode: str, level: int) -> bytes:
    file = io.BytesIO()
    picture = Image.new(mode, (5, 4), level)
    if mode == "P":
        picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.save(file, "PNG")
    return file.getvalue()


def output(root: Path) -> Folder:
    folder = Folder(str(root), Access())
    row = {"mask": picture_value(png("P", 1)), "depth_m": picture_value(png("I;16", 40_000)), "share": [0.0, 1.0]}
    rows: list[dict[str, Any]] = [{"id": str(n), "uri": f"/p/{n}", **row} for n in range(3)]
    rows[1] = {"id": "1", "uri": "/p/1", "stage": "decode", "error_type": "Corrupt", "error": "broken"}
    schema = pa.schema([*INPUT_FIELDS, *FIELDS, *(pa.field(name, pa.string()) for name in ERROR_COLUMNS)])
    publish(folder, "part-000000", pa.Table.from_pylist(rows, schema), {}, Compression())
    Attempt(folder, Held(1), lambda _: 1, 1).succeed({"inputs": 3, "done": 2, "failed": 1})
    return folder


LOAD = """
import datasets, json, sys
rows = datasets.load_dataset(sys.argv[1], split="train")
seen = [(row["mask"].mode, row["mask"].getpixel((4, 3)), row["mask"].size, row["depth_m"].getpixel((0, 0))) for row in rows]
print(json.dumps([{name: type(feature).__name__ for name, feature in rows.features.items()}, seen, rows["share"][:]]))
"""


def test_datasets_gives_pictures_and_the_values_in_them(tmp_path: Path) -> None:
    output(tmp_path / "out")
    caches = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", LOAD, str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | caches, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    features, seen, shares = json.loads(done.stdout.splitlines()[-1])
    assert (features["mask"], features["depth_m"], features["uri"]) == ("Image", "Image", "Value")
    assert seen == [["P", 1, [5, 4], 40_000]] * 2
    assert shares == [[0.0, 1.0]] * 2


def test_the_metadata_of_a_field_are_in_the_file(tmp_path: Path) -> None:
    output(tmp_path / "out")
    schema = pq.read_schema(tmp_path / "out/data/part-000000.parquet")
    assert schema.field("mask").metadata == {b"class_names": b'["sky", "road"]'}
    assert schema.field("depth_m").metadata is None


def test_the_card_calls_them_images(tmp_path: Path) -> None:
    folder = output(tmp_path / "out")
    assert [shown_type(kind) for name, kind in column_types(folder).items() if name in {"mask", "depth_m"}] == [
        "image"
    ] * 2
    card = (tmp_path / "out" / CARD).read_text()
    assert "| `mask` | image |" in card
    assert "| `share` | list" in card


def test_an_output_without_pictures_has_no_such_metadata() -> None:
    assert picture_features(pa.schema([*INPUT_FIELDS, pa.field("share", pa.list_(pa.float32()))])) == {}


AGREE = """
import datasets, json, pyarrow as pa, sys
schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(sys.argv[1])))
stated = datasets.Features._from_yaml_list(json.loads(sys.argv[2]))
print(stated == datasets.Features.from_arrow_schema(schema))
"""


def test_stated_features_are_those_that_datasets_finds_itself(tmp_path: Path) -> None:
    kinds = [pa.string(), pa.bool_(), pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.uint64()]
    lists = [
        pa.list_(pa.float32(), 4),
        pa.list_(pa.string()),
        pa.list_(pa.list_(pa.int16())),
        pa.list_(pa.float64(), 1),
    ]
    schema = pa.schema([pa.field(f"c{number}", kind) for number, kind in enumerate([*kinds, *lists])])
    command = [sys.executable, "-W", "ignore", "-c", AGREE, schema.serialize().to_pybytes().hex()]
    command.append(json.dumps(stated_features(schema)))
    caches = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=os.environ | caches, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["True"], done.stderr


def test_a_column_without_a_feature_leaves_all_of_them_to_datasets() -> None:
    assert stated_features(pa.schema([("id", pa.string()), ("pair", pa.struct([("x", pa.int8())]))])) is None

"""Small runs with vectors and fingerprints, published by hand as a worker would."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pixelmill.pipelines.outputs.attempt import IDENTITY, SPEC
from pixelmill.pipelines.outputs.columns import ERROR_COLUMNS, INPUT_FIELDS
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.publishing import publish
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.fingerprint import FingerprintConfig
from pixelmill.workers.typed_torch import from_numpy

TEXTS = [pa.field(name, pa.string()) for name in ERROR_COLUMNS]
WEIGHTS = "a" * 64
FINGERPRINT = FingerprintConfig().build(StageContext("cpu", 1, 1, None))


def open_out(root: Path, weights: str = WEIGHTS, **options: object) -> Folder:
    """A run of one stage embed without a part yet."""
    folder = Folder(str(root), Access())
    folder.publish(SPEC, b"version: 1\nsource: nowhere\nout: here\nstages: [embed]\n")
    made = {"column": "embedding", "layer": None, "precision": "auto", "weights_sha256": weights, **options}
    folder.publish(IDENTITY, json.dumps({"version": 1, "stages": [{"embed": made}]}).encode())
    return folder


def add_part(
    folder: Folder,
    names: Sequence[str],
    vectors_ND: np.ndarray | None = None,
    pictures: Sequence[np.ndarray] | None = None,
    weights: str = WEIGHTS,
    failed: Sequence[str] = (),
) -> None:
    """A part with a row for each name: its vector, and the fingerprint of its picture HWC, as far as these are given."""
    fields: list[Any] = list(INPUT_FIELDS)
    rows: list[dict[str, Any]] = [{"id": f"id-{name}", "uri": f"/p/{name}.jpg"} for name in names]
    if vectors_ND is not None:
        fields.append(pa.field("embedding", pa.list_(pa.float32(), vectors_ND.shape[1])))
        rows = [{**row, "embedding": vector} for row, vector in zip(rows, vectors_ND.tolist(), strict=True)]
    if pictures is not None:
        fields += FINGERPRINT.fields
        rows = [{**row, **fingerprint_of(picture)} for row, picture in zip(rows, pictures, strict=True)]
    error = {"stage": "decode", "error_type": "Corrupt", "error": "broken"}
    rows += [{"id": f"id-{name}", "uri": f"/p/{name}.jpg", **error} for name in failed]
    table = pa.Table.from_pylist(rows, pa.schema([*fields, *TEXTS]))
    part = f"part-{len(folder.names('data')):06d}"
    publish(folder, part, table, {"weights": {"0.embed": weights}}, Compression())


def fingerprint_of(picture_HWC: np.ndarray) -> Mapping[str, Any]:
    sample = FINGERPRINT.prepare(Picture(from_numpy(picture_HWC.transpose(2, 0, 1).copy())))
    columns: Mapping[str, Any] = FINGERPRINT.run([sample]).columns
    return {name: column[0].as_py() for name, column in columns.items()}


def directions(count: int, each: int, spread: float = 0.05, seed: int = 0) -> np.ndarray:
    """Vectors in `count` directions, `each` of them near every one."""
    labels = np.repeat(np.arange(count), each)
    return (np.eye(count)[labels] + spread * np.random.default_rng(seed).normal(size=(len(labels), count))).astype(
        np.float32
    )


def noise(seed: int, size: int = 64) -> np.ndarray:
    """A picture HWC of smooth noise, unlike that of any other seed."""
    small = np.random.default_rng(seed).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC))


def compressed(picture_HWC: np.ndarray, quality: int = 40) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture_HWC).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def vectors(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def by_id(made: Any) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in made.rows.to_pylist()}

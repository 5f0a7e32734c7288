"""Tables as `ct ingest` writes them, of phantoms, and labelled folders of slices, for tests of what reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pixelmill.workers.ct.phantom_volume import phantom_volume


def write_table(path: Path, patients: int, slices: int = 4, side_px: int = 32, *, step_mm: float = 2.0) -> Path:
    """One series for each patient, p0, p1, ..."""
    rows: list[dict[str, object]] = []
    for number in range(patients):
        hu_DHW = phantom_volume(slices, side_px, number).hu_DHW.astype(np.int16)
        for place, hu_HW in enumerate(hu_DHW):
            rows.append(
                {"id": f"{number}-{place}", "patient_id": f"p{number}", "series_id": f"s{number}", "width": side_px,
                 "height": side_px, "position_mm": place * step_mm, "hu": hu_HW.ravel().tolist()}
            )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    at = table.schema.get_field_index("hu")
    table = table.set_column(at, "hu", table["hu"].cast(pa.list_(pa.int16())))
    pq.write_table(table, path)
    return path


def write_blocks(path: Path, patients: int, block: tuple[int, int, int] = (16, 32, 32)) -> Path:
    """Blocks as `ct ingest --volumes` writes them: two of each patient, p0, p1, ..."""
    rows: list[dict[str, object]] = []
    depth, height, width = block
    for number in range(patients):
        hu_DHW = phantom_volume(2 * depth, height, number).hu_DHW.astype(np.int16)
        shared = {"id": f"{number}", "patient_id": f"p{number}", "series_id": f"s{number}"}
        size = {"depth": depth, "height": height, "width": width}
        halves = (hu_DHW[place * depth : (place + 1) * depth, :, :width] for place in range(2))
        rows += [{**shared, **size, "place": at, "hu": half_DHW.ravel().tolist()} for at, half_DHW in enumerate(halves)]
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    at = table.schema.get_field_index("hu")
    pq.write_table(table.set_column(at, "hu", table["hu"].cast(pa.list_(pa.int16()))), path)
    return path


def write_lungs(folder: Path, patients: int, slices: int = 2, side_px: int = 32) -> Path:
    """images/ID_*.tif in Hounsfield units, masks/ID_*.png of 0 and 255."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(patients):
        made = phantom_volume(slices, side_px, number)
        for place in range(slices):
            stem = f"ID_{number:04d}_Z_{place:04d}"
            Image.fromarray(made.hu_DHW[place].astype(np.int32)).save(folder / "images" / f"{stem}.tif")
            mask_HW = made.lungs_DHW[place].astype(np.uint8) * 255
            Image.fromarray(mask_HW).save(folder / "masks" / f"{stem}.png")
    return folder


def write_classes(folder: Path, patients: int, side_px: int = 32) -> Path:
    """normal/ and lesions/, slices of 8 bits through a lung window, one for each patient."""
    for number in range(patients):
        name = ("normal", "lesions")[number % 2]
        made = phantom_volume(3, side_px, number, has_lesions=name == "lesions")
        grey_HW = np.clip((made.hu_DHW[1] + 1350) / 1500 * 255, 0, 255).astype(np.uint8)
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey_HW).save(folder / name / f"{number:03d}.png")
    return folder

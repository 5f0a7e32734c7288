"""NIfTI files for tests, as bytes, with texts that identify in every field that holds some."""

from __future__ import annotations

import gzip
from typing import Any

import nibabel
import numpy as np

CANARY = "KANARIENVOGEL"


def a_volume(
    hu_IJK: np.ndarray, affine: np.ndarray | None = None, *, slope: float = 1, intercept: float = 0, **tags: Any
) -> bytes:
    """The file of a volume with this affine to RAS; without one it states no place. `tags` replace fields of the header."""
    image: Any = nibabel.Nifti1Image(hu_IJK, affine if affine is not None else np.eye(4))
    header = image.header
    for name in ("descrip", "aux_file", "intent_name", "db_name"):
        header[name] = f"{CANARY}^ANNA"[:15]
    header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", f"{CANARY} in an extension".encode()))
    header["magic"] = b"n+1"
    for name, value in tags.items():
        header[name] = value
    data = image.to_bytes()
    if affine is None:
        data = data[:252] + bytes(4) + data[256:]  # the codes of qform and sform
    if (slope, intercept) == (1, 0):
        return data
    return data[:112] + np.array([slope, intercept], "<f4").tobytes() + data[120:]


def compressed(data: bytes) -> bytes:
    return gzip.compress(data, 1)


def a_body(shape_IJK: tuple[int, int, int] = (20, 18, 12), seed: int = 0) -> np.ndarray:
    """Tissue in air, int16, of which no two axes or directions look the same."""
    random = np.random.default_rng(seed)
    i, j, k = np.meshgrid(*(np.linspace(-1, 1, count) for count in shape_IJK), indexing="ij")
    hu = np.where((i - 0.2) ** 2 + (2 * j + 0.3) ** 2 + (0.5 * k + 0.1) ** 2 < 0.7, 40.0, -1000.0)
    return np.rint(hu + 30 * i - 20 * j + 10 * k + random.normal(0, 5, shape_IJK)).astype(np.int16)

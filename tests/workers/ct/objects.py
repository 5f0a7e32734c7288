"""DICOM objects for tests, as bytes: a small CT slice with any tag changed."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

SIDE = 16


def a_slice(number: int = 0, *, drop: tuple[str, ...] = (), **tags: Any) -> FileDataset:
    """A slice at number x 2 mm with every tag that a good one has; `tags` replace, `drop` removes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": f"1.2.3.{number + 1}", "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "PatientID": "p1", "SeriesInstanceUID": "1.2.9",
        "ImagePositionPatient": [0, 0, 2.0 * number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.7, 0.7], "RescaleSlope": 1, "RescaleIntercept": -1024, "Rows": SIDE, "Columns": SIDE,
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 12,
        "HighBit": 11, "PixelRepresentation": 0,
    }  # fmt: skip
    for keyword, value in (values | tags).items():
        if keyword not in drop:
            setattr(dataset, keyword, value)
    dataset.PixelData = np.arange(SIDE * SIDE, dtype="<u2").tobytes()
    return dataset


def saved(dataset: FileDataset) -> bytes:
    """The bytes of its file."""
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def an_enhanced_object(frames: int = 6, *, without: str | None = None, step_mm: float = 2.0) -> FileDataset:
    """Frames in falling order along the normal, each with its own intercept; `without` drops a group of the last frame."""
    dataset = a_slice(
        drop=("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept")
    )
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    dataset.NumberOfFrames = frames
    dataset.SharedFunctionalGroupsSequence = [
        _groups(
            PixelMeasuresSequence={"PixelSpacing": [0.7, 0.8]},
            PlaneOrientationSequence={"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        _groups(
            PlanePositionSequence={"ImagePositionPatient": [0, 0, -step_mm * number]},
            PixelValueTransformationSequence={"RescaleSlope": 1, "RescaleIntercept": -1000 - number},
        )
        for number in range(frames)
    ]
    if without is not None:
        delattr(dataset.PerFrameFunctionalGroupsSequence[-1], without)
    values = [np.arange(SIDE * SIDE, dtype="<u2") * 6 + number for number in range(frames)]
    dataset.PixelData = np.concatenate(values).tobytes()
    return dataset


def _groups(**groups: dict[str, Any]) -> Dataset:
    made = Dataset()
    for keyword, tags in groups.items():
        item = Dataset()
        for name, value in tags.items():
            setattr(item, name, value)
        setattr(made, keyword, [item])
    return made

"""Slices or blocks of CT without labels: tables of `ct ingest`, and pictures that were windowed before; each knows its patient.

Of a table the column patient_id is the patient. Of a file it is the ID in its name, as in ID_0007_Z_0142.tif; a file without
one counts as a patient of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, ClassVar, cast

import numpy as np
import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.inputs.sources import Ignored, Source
from pixelmill.pipelines.stores.access import Access, join, open_store
from pixelmill.pipelines.stores.patient_file import open_patiently
from pixelmill.pipelines.stores.tables import open_parquet, read_rows
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.folders import children
from pixelmill.pipelines.training.layouts.pictures import listed
from pixelmill.workers.credentials import scrub
from pixelmill.workers.ct.object_names import IDENTIFIED
from pixelmill.workers.ct.slice_facts import SliceFacts
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Role

FACTS = ("patient_id", "series_id")
PLACE = "position_mm"
"""Of slices; blocks lie beside each other too, and have none."""


class CtSlices:
    """A slice, in Hounsfield units or windowed, or a block of slices."""

    ROLES: ClassVar[tuple[Role, ...]] = (Role("image", "hu"),)

    def is_here(self, uris: Sequence[str], access: Access) -> bool:
        return True

    def find(self, uris: Sequence[str], access: Access, classes: Sequence[str] | None) -> DataSet:
        ignored = Ignored()
        table = listed(Source(tuple(_data_of(uri, access) for uri in uris), access=access), ignored)
        if table.num_rows == 0:
            raise DataError(
                f"{', '.join(map(scrub, uris))}: no slices are there; give what `ct ingest` wrote, or pictures"
            )
        facts, notes = facts_of(table, access)
        return DataSet({"image": table}, access, ignored=ignored.by_suffix, notes=notes, slices=facts)


def _data_of(uri: str, access: Access) -> str:
    """The tables of a run, which has others beside them; another place as it is."""
    return join(uri, "data") if {"_run", "data"} <= children(uri, access).keys() else uri


def facts_of(table: pa.Table, access: Access) -> tuple[SliceFacts, tuple[str, ...]]:
    """Patient, series and place of every slice, and a note where names say no patient."""
    uris, rows = strings_of(table["uri"]), cast("list[int]", table["offset"].to_pylist())
    tables = {uri: None for uri, kind in zip(uris, table["container"].to_pylist(), strict=True) if kind == "parquet"}
    stated = {uri: _columns_of(uri, access) for uri in tables}
    patients, series = list[str](), list[str]()
    positions_mm = np.full(len(uris), np.nan)
    for index, (uri, row, member) in enumerate(zip(uris, rows, table["member"].to_pylist(), strict=True)):
        if (columns := stated.get(uri)) is None:
            patients.append(patient_of(member or uri))
            series.append(patients[-1])
            continue
        patients.append(_known(columns["patient_id"][row], uri, row))
        series.append(columns["series_id"][row] or patients[-1])
        place_mm = columns[PLACE][row]
        positions_mm[index] = np.nan if place_mm is None else place_mm
    return SliceFacts(tuple(patients), tuple(series), positions_mm), _notes(uris, patients)


def patient_of(name: str) -> str:
    """The ID in the name of a file; its name where there is none."""
    stem = PurePosixPath(name).stem
    found = IDENTIFIED.search(stem)
    return found[1] if found else stem


def _columns_of(uri: str, access: Access) -> dict[str, list[Any]]:
    store, path = open_store(uri, access)
    with open_patiently(store, path, access) as file, open_parquet(file) as parquet:
        if missing := [name for name in FACTS if name not in parquet.schema_arrow.names]:
            raise DataError(f"{scrub(uri)}: has no column {missing[0]}; give what `ct ingest` wrote")
        rows = read_rows(parquet, [*FACTS, PLACE])
        places = rows[PLACE].to_pylist() if PLACE in rows.column_names else [None] * rows.num_rows
        return {**{name: cast("list[Any]", rows[name].to_pylist()) for name in FACTS}, PLACE: cast("list[Any]", places)}


def _known(patient: str | None, uri: str, row: int) -> str:
    if patient is None:
        raise DataError(f"{scrub(uri)}: row {row} has no patient_id, and slices are split by patient")
    return patient


def _notes(uris: Sequence[str], patients: Sequence[str]) -> tuple[str, ...]:
    """What is taken for granted of patients."""
    nameless = sum(PurePosixPath(uri).stem == patient for uri, patient in zip(uris, patients, strict=True))
    said = [f"{len(patients):,} slices of {len(set(patients)):,} patients"]
    if nameless:
        said.append(f"{nameless:,} files have no ID in their names; each counts as a patient of its own")
    return tuple(said)

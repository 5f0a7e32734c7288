"""Keyed ids of objects that state none: NIfTI files and pictures, by their names below the archive."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from pixelmill.workers.ct.keyed_ids import IdKey
from pixelmill.workers.ct.object_names import NAMED_KINDS, ids_of_name


@dataclass(frozen=True)
class Naming:
    """`root` is the folder that was listed, as the uris of its objects spell it; `patient_pattern` is what the user says of the
    patients in names."""

    key: IdKey
    root: str
    patient_pattern: str | None = None

    def identified(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row of an object, with ids by its name where it has none of its own."""
        if row["kind"] not in NAMED_KINDS:
            return dict(row)
        found = ids_of_name(row["kind"], self.name_of(row), self.key, self._pattern)
        return {
            **row,
            "object_id": found.object_id,
            "series_id": found.series_id,
            "patient_id": found.patient_id,
            "scanner_id": self.key.id_of("scanner", "by name"),
        }

    def name_of(self, row: Mapping[str, Any]) -> str:
        """The path of an object below the root, and that of a member within its archive behind it."""
        uri: str = row["uri"]
        below = self._below(uri) if uri.startswith(f"{self.root}/") else uri.rpartition("/")[2]
        return f"{below}/{row['member']}" if row.get("member") else below

    def folder_of(self, row: Mapping[str, Any]) -> str:
        """The folder of an object below the root, and that of a member within its archive behind it; not the archive's name, as
        shards cut a folder anywhere."""
        folder, member = PurePosixPath(self._below(row["uri"])).parent, PurePosixPath(row.get("member") or "").parent
        return str(folder / member)

    def _below(self, uri: str) -> str:
        """The path below the root; the whole of what lies elsewhere."""
        return uri.removeprefix(self.root).lstrip("/") if uri.startswith(f"{self.root}/") else uri

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        return None if self.patient_pattern is None else re.compile(self.patient_pattern)

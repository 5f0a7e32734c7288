"""What the name of a file says of its patient and series, where the file itself says nothing: NIfTI and pictures.

Names go into keyed ids and into nothing else. A name is the path below the archive, and of a member that within its tar or
zip too, so that ids stay when an archive moves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pixelmill.workers.ct.facts import ObjectKind
from pixelmill.workers.ct.keyed_ids import IdKey

NAMED_KINDS: Final[frozenset[ObjectKind]] = frozenset({"nifti", "picture"})
IDENTIFIED = re.compile(r"(?:^|[_-])(ID[_-]?[0-9A-Za-z]+)", re.IGNORECASE)
"""As in ID_0007_Z_0142.tif."""
_SUBJECT = re.compile(r"(?:^|/)(sub-[0-9A-Za-z]+)(?=[_/.])")
"""As BIDS names people: sub-03/ct/sub-03_ct.nii.gz."""
_SUFFIXES = re.compile(r"(?:\.nii)?(?:\.[A-Za-z0-9]{1,5})?$")
_NUMBERS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class NamedIds:
    """Keyed ids that follow from a name."""

    object_id: str
    series_id: str
    patient_id: str


def ids_of_name(kind: ObjectKind, name: str, key: IdKey, patients: re.Pattern[str] | None = None) -> NamedIds:
    """A NIfTI file is a series of its own, the pictures of a folder are one, and those with an ID in their names one of each
    ID. `patients` finds the patient in a name, by its first group; where it finds none, that is the `sub-LABEL` of BIDS, an
    ID, or else the file or folder itself."""
    folder, _, file = name.rpartition("/")
    stem = _SUFFIXES.sub("", file)
    identified = IDENTIFIED.search(stem)
    whole = f"{folder}/{stem}" if kind == "nifti" else folder
    series = name if kind == "nifti" else "\0".join((folder, identified[1] if identified else ""))
    patient = _found(patients, name) or _found(_SUBJECT, name) or (identified[1] if identified else whole)
    return NamedIds(
        key.id_of("object", "by name", name),
        key.id_of("series", "by name", series),
        key.id_of("patient", "by name", patient),
    )


def natural_order(name: str) -> tuple[tuple[int, int | str], ...]:
    """A sort key by which slice 2 comes before slice 10."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in _NUMBERS.split(name))


def _found(pattern: re.Pattern[str] | None, name: str) -> str | None:
    found = pattern.search(name) if pattern is not None else None
    return None if found is None else found[1]

"""Mark the samples that a training used, so that an evaluation recognises them, also in a copy of the data."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import PurePosixPath

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.splits import PARTS


def marks_of(data: DataSet | None) -> tuple[str, ...]:
    """The marks of these samples, sorted: 32 bits each, of the file's name and size, and of its part where it lies in
    one, because train/0001.png and val/0001.png may have one size."""
    if data is None:
        return ()
    return tuple(sorted({_in_part(plain, part) for plain, part in zip(data.fingerprints(), _parts(data), strict=True)}))


def are_marked(data: DataSet, marks: Collection[str]) -> list[bool]:
    """Whether each sample has one of these marks. Marks of earlier versions are of name and size alone."""
    pairs = zip(data.fingerprints(), _parts(data), strict=True)
    return [plain in marks or (part is not None and _in_part(plain, part) in marks) for plain, part in pairs]


def _parts(data: DataSet) -> list[str | None]:
    return [_part_of(uri) for uri in strings_of(data.first["uri"])]


def _part_of(uri: str) -> str | None:
    """The part that a file lies in, by the innermost folder that is called like one."""
    for folder in reversed(PurePosixPath(uri).parts[:-1]):
        for part, names in PARTS.items():
            if folder in names:
                return part
    return None


def _in_part(plain: str, part: str | None) -> str:
    return plain if part is None else hashlib.blake2b(f"{part}\0{plain}".encode(), digest_size=4).hexdigest()

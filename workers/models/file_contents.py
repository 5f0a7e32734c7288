"""Read the files of a model once for its plan: their SHA-256, and whether a weight is no number. Imports no torch.

A plan asks for the same file several times. Results are kept for a file as long as its size and its times stay as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.safetensors_header import LENGTH_BYTES

MOST_FILES = 1024
CHUNK_BYTES = 1 << 22
LISTED = 6
EXPONENTS: dict[str, tuple[type[np.unsignedinteger[Any]], int]] = {
    "F64": (np.uint64, 0x7FF << 52),
    "F32": (np.uint32, 0xFF << 23),
    "F16": (np.uint16, 0x1F << 10),
    "BF16": (np.uint16, 0xFF << 7),
    "F8_E5M2": (np.uint8, 0x1F << 2),
}
"""By the name of a type in safetensors: unsigned integers of its size, and the bits of its exponent, which are all set in NaN
and infinity. F8_E4M3 has no infinity and is not stored by the libraries that are read here."""


class _Version(NamedTuple):
    """A file with what changes when it is written."""

    path: str
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    return _sha256_of(_version_of(file))


def require_finite_weights(files: Iterable[Path]) -> None:
    """ModelError with the names of the tensors if whole safetensors files hold NaN or infinite weights."""
    for file in files:
        broken = _broken_in(_version_of(file))
        if broken:
            several = ", ".join(broken[:LISTED]) + (f" and {len(broken) - LISTED} more" if len(broken) > LISTED else "")
            raise ModelError(
                f"{file}: {several} hold values that are no numbers (NaN or infinity); fetch the weights again, or take "
                "an earlier checkpoint"
            )


def _version_of(file: Path) -> _Version:
    stat = file.stat()
    return _Version(str(file.resolve()), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@lru_cache(MOST_FILES)
def _sha256_of(version: _Version) -> str:
    with Path(version.path).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@lru_cache(MOST_FILES)
def _broken_in(version: _Version) -> tuple[str, ...]:
    """The names of the tensors with a NaN or an infinite value."""
    with Path(version.path).open("rb") as opened:
        header_bytes = int.from_bytes(opened.read(LENGTH_BYTES), "little")
        header: dict[str, Any] = json.loads(opened.read(header_bytes))
        broken: list[str] = []
        for name, tensor in header.items():
            if name == "__metadata__" or tensor.get("dtype") not in EXPONENTS:
                continue
            start, stop = tensor["data_offsets"]
            opened.seek(LENGTH_BYTES + header_bytes + max(0, start))
            if any(has_no_number(chunk, tensor["dtype"]) for chunk in _chunks(opened, stop - start)):
                broken.append(name)
    return tuple(sorted(broken))


def _chunks(opened: Any, left_bytes: int) -> Iterator[bytes]:
    while left_bytes > 0:
        chunk = opened.read(min(CHUNK_BYTES, left_bytes))
        if not chunk:
            return
        left_bytes -= len(chunk)
        yield chunk


def has_no_number(data: bytes | memoryview, dtype: str) -> bool:
    """Whether the little-endian floats of a type of EXPONENTS include NaN or infinity."""
    integers, exponent = EXPONENTS[dtype]
    bits = np.frombuffer(data, integers, count=len(data) // np.dtype(integers).itemsize)
    return bool(np.any((bits & integers(exponent)) == integers(exponent)))

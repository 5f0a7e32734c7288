"""The header of a safetensors file, by which a plan finds a cut or foreign file. Imports no torch, and reads no tensor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from pixelmill.workers.errors import ModelError

MOST_HEADER_BYTES = 16 << 20
LENGTH_BYTES = 8
"""Of the number that a file begins with: how long its header is."""


def require_whole(file: Path) -> frozenset[str]:
    """The names of the tensors. ModelError where the file is no safetensors file, or is shorter or longer than it states."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        header_bytes = int.from_bytes(opened.read(LENGTH_BYTES), "little")
        if not 2 <= header_bytes <= min(MOST_HEADER_BYTES, size - LENGTH_BYTES):
            raise _broken(file, "it does not begin with a header")
        text = opened.read(header_bytes)
    tensors = _tensors(file, text)
    stated = LENGTH_BYTES + header_bytes + max((_end(file, tensor) for tensor in tensors.values()), default=0)
    if stated != size:
        raise _broken(file, f"it has {size:,} bytes, and its header states {stated:,}")
    return frozenset(tensors)


def _tensors(file: Path, text: bytes) -> dict[str, object]:
    try:
        header: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _broken(file, "its header is no JSON") from error
    if not isinstance(header, dict):
        raise _broken(file, "its header is no JSON object")
    tensors = cast("dict[str, object]", header)
    return {name: tensor for name, tensor in tensors.items() if name != "__metadata__"}


def _end(file: Path, tensor: object) -> int:
    """Where a tensor ends, in bytes from the end of the header."""
    match tensor:
        case {"data_offsets": [int(), int() as end]}:
            return end
        case _:
            raise _broken(file, "its header does not state where its tensors are")


def _broken(file: Path, fact: str) -> ModelError:
    return ModelError(f"{file}: not a whole safetensors file ({fact}); fetch or convert it again")

"""Decoded samples in one file that is mapped into memory, so that the workers of a node share its pages.

    samples.bin    the arrays of all samples one after another, as they lie in memory, each at a multiple of ALIGNED bytes
    index.npz      for each sample the number of its kind (BROKEN for one without arrays), its first byte, its checksum
    entry.json     kinds: the names, types and shapes of a sample's arrays; broken samples; sizes and the index's checksum

Nothing is pickled. A file that is damaged is noticed by its sizes and checksums.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from pixelmill.workers.recipes import Sample

DATA, INDEX, ENTRY = "samples.bin", "index.npz", "entry.json"
ALIGNED = 64
BROKEN = -1
Kind = tuple[tuple[str, str, tuple[int, ...]], ...]
"""Name, type and shape of each array of a sample."""

Array = tuple[str, np.dtype[Any], tuple[int, ...]]


class Damaged(Exception):
    """The files are not what was written."""


def write_samples(folder: Path, samples: Iterable[Sample | None], broken: Callable[[], Any]) -> None:
    """Write samples into an empty folder. `broken` is asked at the end, for JSON that is kept with them."""
    kinds: dict[Kind, int] = {}
    numbers: list[int] = []
    starts: list[int] = []
    sums: list[int] = []
    with (folder / DATA).open("xb") as file:
        for sample in samples:
            starts.append(file.tell())
            numbers.append(BROKEN if sample is None else kinds.setdefault(_kind(sample), len(kinds)))
            checksum = 0
            for array in (sample or {}).values():
                data = np.asarray(array, order="C")
                padded = data.tobytes() + bytes(-data.nbytes % ALIGNED)
                file.write(padded)
                checksum = zlib.crc32(padded, checksum)
            sums.append(checksum)
        size = file.tell()
    index = io.BytesIO()
    np.savez(index, kind=np.array(numbers, np.int32), start=np.array(starts, np.int64), sum=np.array(sums, np.uint32))
    (folder / INDEX).write_bytes(index.getvalue())
    entry = {"kinds": list(kinds), "bytes": size, "index": zlib.crc32(index.getvalue()), "broken": broken()}
    (folder / ENTRY).write_text(json.dumps(entry), encoding="utf-8")


def _kind(sample: Sample) -> Kind:
    for name, array in sample.items():
        if array.dtype.hasobject:
            raise TypeError(f"{name} holds objects, which are no bytes")
    return tuple((name, array.dtype.str, array.shape) for name, array in sample.items())


class MappedSamples(Sequence[Sample | None]):
    """The samples in a folder; a broken one is None.

    `otherwise` gives a sample whose bytes are damaged. Arrays may be written to: the change is this process's alone.
    """

    def __init__(self, folder: Path, otherwise: Callable[[int], Sample | None]) -> None:
        """Raises Damaged where the files do not fit together."""
        self._otherwise = otherwise
        try:
            entry: dict[str, Any] = json.loads((folder / ENTRY).read_text(encoding="utf-8"))
            index = (folder / INDEX).read_bytes()
            if zlib.crc32(index) != entry["index"] or (folder / DATA).stat().st_size != entry["bytes"]:
                raise Damaged(f"{folder}: its checksum or size is another")
            with np.load(io.BytesIO(index), allow_pickle=False) as columns:
                self._kind, self._start, self._sum = columns["kind"], columns["start"], columns["sum"]
            self.broken: Any = entry["broken"]
            kinds: list[list[list[Any]]] = entry["kinds"]
            self._kinds: list[list[Array]] = [_arrays(each) for each in kinds]
            self._bytes = _mapped(folder / DATA, entry["bytes"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Damaged(f"{folder}: {error}") from error
        self._is_checked = np.zeros(len(self._kind), bool)
        self._mended: dict[int, Sample | None] = {}

    def __len__(self) -> int:
        return len(self._kind)

    @overload
    def __getitem__(self, index: int) -> Sample | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample | None]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample | None] | None:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self._kind[index] == BROKEN:
            return None
        if index not in self._mended and not self._is_whole(index):
            self._mended[index] = self._otherwise(index)
        return self._mended[index] if index in self._mended else self._views(index)

    def _is_whole(self, index: int) -> bool:
        """Whether the bytes are those that were written; each sample is checked once."""
        if not self._is_checked[index]:
            first, end = self._extent(index)
            if zlib.crc32(self._bytes[first:end].data) != self._sum[index]:
                return False
            self._is_checked[index] = True
        return True

    def _extent(self, index: int) -> tuple[int, int]:
        first = int(self._start[index])
        return first, first + sum(_padded(kind, shape) for _, kind, shape in self._kinds[int(self._kind[index])])

    def _views(self, index: int) -> Sample:
        start = int(self._start[index])
        sample: Sample = {}
        for name, kind, shape in self._kinds[int(self._kind[index])]:
            sample[name] = np.ndarray(shape, kind, self._bytes.data, start)
            start += _padded(kind, shape)
        return sample


def _arrays(kind: list[list[Any]]) -> list[Array]:
    return [(name, np.dtype(scalar), tuple(shape)) for name, scalar, shape in kind]


def _padded(kind: np.dtype[Any], shape: tuple[int, ...]) -> int:
    size = kind.itemsize * int(np.prod(shape, dtype=np.int64))
    return size + -size % ALIGNED


def _mapped(path: Path, size: int) -> np.ndarray:
    if not size:
        return np.empty(0, np.uint8)  # an empty file can't be mapped
    return np.memmap(path, np.uint8, "c")

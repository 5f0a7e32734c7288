"""Write samples: a file for each picture, or tar shards that WebDataset reads."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Mapping, Sequence

from pixelmill.pipelines.export.destination import Destination, as_json
from pixelmill.pipelines.export.exporting import Sample
from pixelmill.pipelines.export.pictures import folder_of
from pixelmill.workers.errors import RunRefused

MOST_MARK = 32
"""Most characters of a column's name in that of a member; with the stem and the suffix they are less than 255 bytes."""
MOST_LISTED = 64
"""The index leaves out longer lists of numbers, such as embeddings."""


class Files:
    """A file for each picture: STEM.png, or with several columns COLUMN/STEM.png."""

    def __init__(self, destination: Destination, columns: Sequence[str], *, portable: bool = False) -> None:
        self._destination = destination
        self._folders = {column: folder_of(column, columns, portable=portable) for column in columns}

    begun: frozenset[str] = frozenset()

    def start(self, part: str) -> None:
        pass

    def add(self, sample: Sample) -> list[dict[str, object]]:
        entries: list[dict[str, object]] = []
        for column, (data, suffix) in sample.files.items():
            name = f"{self._folders[column]}{sample.stem}{suffix}"
            self._destination.put(name, data)
            entries.append({"file": name, "column": column, **_listed(sample.row.others)})
        return entries

    def finish(self) -> dict[str, object]:
        return {}


class Shards:
    """Tar shards: a sample is STEM.json and STEM.png, or with several columns STEM.COLUMN.png.

    A shard holds rows of one part, so that a part can be repeated. Shards are numbered in the order of writing: a part that was
    begun is finished before another one starts, which would otherwise use the numbers of its shards.
    """

    def __init__(self, destination: Destination, columns: Sequence[str], shard_bytes: int) -> None:
        self._destination, self._most_bytes = destination, shard_bytes
        self._marks = {column: f".{_mark(column)}" for column in columns}
        self._is_one = len(columns) == 1
        finished = destination.finished_parts()
        self._next = max((_number(record.get("next_shard")) for record in finished.values()), default=0)
        self.begun = destination.begun_parts() - finished.keys()
        self._file, self._tar, self._count = _new_tar()

    def start(self, part: str) -> None:
        self._file, self._tar, self._count = _new_tar()
        self._destination.begin_part(part)

    def add(self, sample: Sample) -> list[dict[str, object]]:
        members = [
            (f"{sample.stem}{'' if self._is_one else self._marks[column]}{suffix}", data)
            for column, (data, suffix) in sample.files.items()
        ]
        if not members:
            return []
        sample_bytes = sum(len(data) for _, data in members)
        if self._count and self._file.tell() + sample_bytes > self._most_bytes:
            self._publish()
        for name, data in [(f"{sample.stem}.json", as_json(sample.row.others).encode()), *members]:
            self._add_member(name, data)
        self._count += 1
        shard = shard_name(self._next)
        return [{"shard": shard, "file": name, **_listed(sample.row.others)} for name, _ in members]

    def _add_member(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)  # without owner and time, so that equal samples make equal shards
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))

    def _publish(self) -> None:
        self._tar.close()
        self._destination.put(shard_name(self._next), self._file.getvalue())
        self._next += 1
        self._file, self._tar, self._count = _new_tar()

    def finish(self) -> dict[str, object]:
        if self._count:
            self._publish()
        return {"next_shard": self._next}


def _mark(column: str) -> str:
    """The column in the name of a member, which a file system has to take whole."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", column)
    if len(plain) <= MOST_MARK:
        return plain
    return f"{plain[: MOST_MARK - 9]}-{hashlib.blake2b(column.encode(), digest_size=4).hexdigest()}"


def shard_name(number: int) -> str:
    return f"shard-{number:06d}.tar"


def _new_tar() -> tuple[io.BytesIO, tarfile.TarFile, int]:
    file = io.BytesIO()
    return file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT), 0


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise RunRefused(
            f"a part that was exported before has no number of its next shard ({value}); choose another folder"
        )
    return value


def _listed(others: Mapping[str, object]) -> dict[str, object]:
    """The columns of a row that the index includes."""
    return {name: value for name, value in others.items() if not (isinstance(value, list) and len(value) > MOST_LISTED)}  # pyright: ignore[reportUnknownArgumentType]

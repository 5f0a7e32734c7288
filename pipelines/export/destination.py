"""The folder that an export writes into: the records of this export, and files that are created and never overwritten.

DEST/
  photos/a.png              files, or shard-000000.tar
  _export/export.json       the exported run, columns, format and root
  _export/index/PART.jsonl  a line for each file of a part: its name, the id and uri of its input, the other columns of the row
  _export/parts/PART.begun  the number of the part's first shard; written before any shard
  _export/parts/PART.json   written when all files of the part exist; a repeated export skips the part
  _export/failed.jsonl      the inputs of the run that failed
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, cast

from pixelmill.pipelines.export.naming import MARKS
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.whole_files import ANY_SIZE
from pixelmill.workers.errors import RunRefused

Put = Literal["written", "kept", "replaced"]
DESCRIPTION = f"{MARKS}/export.json"
BEGUN = ".begun"


class Destination:
    """Files by their names below one folder; thread-safe."""

    def __init__(self, folder: Folder, *, overwrite: bool = False) -> None:
        self.folder = folder
        self._overwrite = overwrite

    @property
    def uri(self) -> str:
        return self.folder.uri

    def claim(self, description: Mapping[str, object]) -> None:
        """Record the description of the export. RunRefused if another export wrote here."""
        data = json.dumps(description, indent=1, sort_keys=True).encode()
        with explained(self.uri, "writing to the folder of the export"):
            if self.folder.create(DESCRIPTION, data):
                return
            found = json.loads(self.folder.read(DESCRIPTION) or b"{}")
        if found != json.loads(data):
            raise RunRefused(
                f"{self.uri}: holds another export ({_difference(found, description)}); choose another folder"
            )

    def put(self, name: str, data: bytes) -> Put:
        """Create a file. RunRefused if one with other content exists, unless it may be overwritten."""
        with explained(f"{self.uri}/{name}", "writing a picture"):
            if self.folder.create(name, data):
                return "written"
            if self.folder.read(name, ANY_SIZE) == data:
                return "kept"
            if not self._overwrite:
                raise RunRefused(
                    f"{self.uri}/{name}: exists already and has other content; choose another folder, or --overwrite"
                )
            self.folder.publish(name, data)
            return "replaced"

    def finished_parts(self) -> dict[str, dict[str, object]]:
        """The record of each complete part."""
        with explained(self.uri, "reading what was exported before"):
            names = [name for name in self.folder.names(f"{MARKS}/parts") if name.endswith(".json")]
            return {name.removesuffix(".json"): self._record(name) for name in names}

    def _record(self, name: str) -> dict[str, object]:
        return json.loads(self.folder.read(f"{MARKS}/parts/{name}") or b"{}")

    def begun_parts(self) -> frozenset[str]:
        """Parts that were begun, finished or not."""
        with explained(self.uri, "reading what was exported before"):
            names = self.folder.names(f"{MARKS}/parts")
        return frozenset(name.removesuffix(BEGUN) for name in names if name.endswith(BEGUN))

    def begin_part(self, part: str) -> None:
        with explained(self.uri, "writing the index of the export"):
            self.folder.publish(f"{MARKS}/parts/{part}{BEGUN}", b"{}")

    def finish_part(self, part: str, record: Mapping[str, object], index: Iterable[Mapping[str, object]]) -> None:
        with explained(self.uri, "writing the index of the export"):
            self.folder.publish(f"{MARKS}/index/{part}.jsonl", _lines(index))
            self.folder.publish(f"{MARKS}/parts/{part}.json", json.dumps(record).encode())

    def list_failed(self, failed: Iterable[Mapping[str, object]]) -> None:
        with explained(self.uri, "writing the list of inputs that failed"):
            self.folder.publish(f"{MARKS}/failed.jsonl", _lines(failed))


def _lines(rows: Iterable[Mapping[str, object]]) -> bytes:
    return "".join(f"{as_json(row)}\n" for row in rows).encode()


def as_json(row: Mapping[str, object]) -> str:
    """A value for JSON: NaN and infinity become null, bytes become their length."""
    return json.dumps(_plain(row), ensure_ascii=False, allow_nan=False)


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in cast("Sequence[object]", value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)


def _difference(found: Mapping[str, object], wanted: Mapping[str, object]) -> str:
    names = [name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)]
    return ", ".join(f"{name} {found.get(name)} and not {wanted.get(name)}" for name in names)

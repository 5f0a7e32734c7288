"""Walk through a manifest that anybody may have written: each part knows its path, and nothing is taken for granted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast


@dataclass(frozen=True)
class Fault:
    """What is wrong, where, and what to do."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


@dataclass(frozen=True)
class ManifestPart:
    """A value of a manifest and its path; a missing value is None."""

    value: object
    path: str

    def __getitem__(self, key: str) -> ManifestPart:
        mapping = cast("dict[str, object]", self.value) if isinstance(self.value, dict) else {}
        return ManifestPart(mapping.get(key), f"{self.path}.{key}")

    def at(self, keys: str) -> ManifestPart:
        """The part below several keys, separated by dots."""
        part = self
        for key in keys.split("."):
            part = part[key]
        return part

    def __bool__(self) -> bool:
        return self.value not in (None, "", [], {}, False)

    @property
    def is_set(self) -> bool:
        return self.value is not None

    def items(self) -> Iterator[ManifestPart]:
        """The entries of a list."""
        for index, value in enumerate(cast("list[object]", self.value) if isinstance(self.value, list) else []):
            yield ManifestPart(value, f"{self.path}[{index}]")

    def pairs(self) -> Iterator[tuple[str, ManifestPart]]:
        """The keys of a mapping with their values."""
        for key, value in (cast("dict[str, object]", self.value) if isinstance(self.value, dict) else {}).items():
            yield str(key), ManifestPart(value, f"{self.path}.{key}")

    @property
    def text(self) -> str:
        """The text; empty for anything else."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def number(self) -> float | None:
        """The number; None for anything else. True and False are none."""
        return self.value if isinstance(self.value, int | float) and not isinstance(self.value, bool) else None

    def fault(self, text: str) -> Fault:
        return Fault(self.path, text)
